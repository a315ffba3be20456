from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from tta_lite.export import micro, op_resolver
from tta_lite.export.golden import make_golden
from tta_lite.export.micro import measure_micro

INSTALLED = importlib.util.find_spec("tflite_micro") is not None
needs_micro = pytest.mark.skipif(not INSTALLED, reason="needs tflite-micro")

# Stands for the package: what its interpreter does is written into `behaviour`.
FAKE = """
import os, sys, time
import numpy as np
{at_import}

class Interpreter:
    @classmethod
    def from_bytes(cls, data, arena_size):
        print("arena", arena_size, file=sys.stderr)
        {at_start}
        return cls()
    def print_allocations(self):
        print("[RecordingMicroAllocator] Arena allocation total 96 bytes", file=sys.stderr)
        print("[RecordingMicroAllocator] Arena allocation head 64 bytes", file=sys.stderr)
        print("[RecordingMicroAllocator] Arena allocation tail 32 bytes", file=sys.stderr)
        print("[RecordingMicroAllocator] 'Persistent buffer data' used 16 bytes with alignment overhead (requested 9 "
              "bytes for 2 allocations)", file=sys.stderr)
    def set_input(self, data, index):
        self.input = data
    def invoke(self):
        {at_run}
    def get_output(self, index):
        return np.zeros((1, 64, 64, 4), np.int8)
"""


@pytest.fixture(scope="module")
def golden(files, images):
    return make_golden(files["int8"], images[:1])


@pytest.fixture
def fake(tmp_path, monkeypatch):
    def install(at_start="pass", at_run="pass", at_import=""):
        package = tmp_path / "tflite_micro/python/tflite_micro"
        package.mkdir(parents=True)
        for folder in (tmp_path / "tflite_micro", tmp_path / "tflite_micro/python", package):
            (folder / "__init__.py").touch()
        (package / "runtime.py").write_text(FAKE.format(at_start=at_start, at_run=at_run, at_import=at_import))
        (tmp_path / "tflite_micro-7.dist-info").mkdir()
        (tmp_path / "tflite_micro-7.dist-info/METADATA").write_text(
            "Metadata-Version: 2.1\nName: tflite-micro\nVersion: 7"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return install


def test_without_the_package_it_says_how_to_get_it(files, golden, monkeypatch):
    monkeypatch.setattr(micro.importlib.util, "find_spec", lambda name: None)
    found = measure_micro(files["int8"], golden)
    assert found.arena_bytes is None and "pip install 'tta_lite[micro]'" in found.reason


def test_the_plan_and_the_difference_are_read(files, golden, fake):
    fake()
    found = measure_micro(files["int8"], golden)
    assert (found.version, found.arena_bytes, found.reason) == ("7", 96, "")
    assert found.breakdown == {"head": 64, "tail": 32, "persistent buffer data": 16}
    # The stand-in gives zeros.
    assert found.difference == pytest.approx(np.abs(golden.outputs[0].astype(int)).max() * golden.output.scale)


def test_an_abort_takes_the_child_only(files, golden, fake):
    fake(at_start="os.abort()")
    found = measure_micro(files["int8"], golden)
    assert found.arena_bytes is None and "ended by SIGABRT" in found.reason


def test_a_refusal_is_told_in_its_words(files, golden, fake):
    fake(at_start="print('Hybrid models are not supported', file=sys.stderr); raise RuntimeError('no tensors')")
    found = measure_micro(files["int8"], golden)
    assert found.reason.endswith("Hybrid models are not supported no tensors")


def test_a_run_that_takes_too_long_leaves_the_plan(files, golden, fake):
    fake(at_run="time.sleep(60)")
    found = measure_micro(files["int8"], golden, timeout_s=10)
    assert found.arena_bytes == 96 and found.difference is None
    assert "more than 10 s" in found.reason


def test_a_broken_package_says_nothing_about_the_network(files, golden, fake):
    fake(at_import="import a_package_that_it_needs")
    found = measure_micro(files["int8"], golden)
    # As if it were not there: the resolver is written all the same.
    assert found.version == "" and "cannot be loaded: No module named 'a_package_that_it_needs'" in found.reason


def test_an_arena_that_is_too_small_is_tried_larger(files, golden, fake):
    fake(
        at_start="""if arena_size < 4 << 20:
            print('Failed to resize buffer. Requested: 9, available 1, missing: 8', file=sys.stderr)
            raise RuntimeError('no tensors')"""
    )
    assert measure_micro(files["int8"], golden).arena_bytes == 96


def test_an_op_it_lacks_is_named_before_anything_runs(files, golden, fake, monkeypatch):
    fake(at_start="os.abort()")
    monkeypatch.delitem(op_resolver._METHOD_OF, "transposeconv")
    assert measure_micro(files["int8"], golden).reason == "TensorFlow Lite Micro has no kernel for TRANSPOSE_CONV"


@needs_micro
def test_the_arena_is_the_smallest_that_it_starts_in(files, golden, tmp_path):
    found = measure_micro(files["int8"], golden)
    assert found.reason == "" and found.difference <= golden.tolerance * 1.001
    assert found.breakdown["head"] + found.breakdown["tail"] == found.arena_bytes
    # The accumulators of the second Deconv, int32, are a scratch buffer: 64 x 64 x 32 x 4 bytes.
    assert found.breakdown["head"] >= 64 * 64 * 32 * 4
    (tmp_path / "model.tflite").write_bytes(files["int8"])
    code = """
        import sys
        from tflite_micro.python.tflite_micro import runtime
        runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[2]))
    """
    for arena, starts in ((found.arena_bytes, True), (found.arena_bytes - 64, False)):
        command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "model.tflite"), str(arena)]
        assert (subprocess.run(command, capture_output=True).returncode == 0) is starts


@needs_micro
def test_hybrid_kernels_do_not_run_there(files, images):
    found = measure_micro(files["dynamic"], make_golden(files["dynamic"], images[:1]))
    assert found.version and found.arena_bytes is None and "Hybrid models are not supported" in found.reason
