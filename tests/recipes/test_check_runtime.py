from __future__ import annotations

import json

import pytest
from absl.testing import flagsaver

from recipes import _app
from tests import single_op_files as one
from tests.recipes import in_process
from tta_lite.measure import local_runtimes
from tta_lite.measure.runtime_answers import Answer, OpAnswer, RuntimeAnswer


@pytest.fixture
def check_runtime():
    with in_process.recipe("check_runtime") as loaded:
        yield loaded


@pytest.fixture
def run(check_runtime, tmp_path, monkeypatch, capsys):
    """-> a function of a file's bytes and flags: the exit code and what was printed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(tflite: bytes | None, **given):
        path = tmp_path / "model.tflite"
        if tflite is not None:
            path.write_bytes(tflite)
        with flagsaver.flagsaver(**given):
            try:
                code = _app.guarded(check_runtime.main, ["check_runtime", str(path)], words=1)
            except SystemExit as ended:
                code = ended.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_a_file_that_xnnpack_takes(run, tmp_path):
    out = tmp_path / "out.json"
    code, said, _ = run(one.deconv(), runtime="litert-xnnpack", out=str(out))
    assert code == 0
    assert said.splitlines()[1].split() == ["0", "TRANSPOSE_CONV", "layer2", "taken"]
    assert "It runs wholly in ai-edge-litert" in said
    record = json.loads(out.read_text())
    assert record["runs"] is True and record["board"] == "rk3399"
    assert record["ops"][0]["op"] == "TRANSPOSE_CONV" and record["ops"][0]["answer"]["answer"] == "taken"


def test_an_op_that_xnnpack_leaves(run):
    code, said, _ = run(one.deconv(kernel=(2, 2), stride=3, int8=True), runtime="litert-xnnpack")
    assert code == 1
    assert "fallback" in said and "XNNPACK has no kernel for TRANSPOSE_CONV" in said
    assert "It does not run wholly in ai-edge-litert" in said and "1 fallback, of 1 ops." in said


@pytest.mark.parametrize(
    ("tflite", "given", "said"),
    [
        (None, {"runtime": "litert-xnnpack"}, "A .tflite file that can be read is expected (No such file"),
        (b"none", {"runtime": "litert-xnnpack"}, "A .tflite file has the letters TFL3"),
        (b"", {"runtime": "other"}, "has the runtimes litert-xnnpack"),
        (b"", {"out": "/no/such/folder/x"}, "Flag --out must name a file in a folder that exists"),
        (one.deconv()[:300], {"runtime": "armnn", "rewritten": "/tmp/x"}, "The .tflite file is damaged"),
        (one.deconv(), {"runtime": "armnn", "connect": "telnet:x"}, "--connect takes local"),
        (one.deconv(), {"runtime": "armnn"}, "must be set up once: tta-lite setup-emulator --runtime=armnn"),
    ],
)
def test_a_mistake_is_one_line_and_2(run, tmp_path, tflite, given, said):
    code, _, wrong = run(tflite, **given)
    if "must be set up" in said and "needs qemu" in wrong:
        pytest.skip("needs qemu-aarch64 (package qemu-user)")
    # LiteRT says on its own that it has XNNPACK.
    errors = [line for line in wrong.splitlines() if not line.startswith("INFO: ")]
    assert code == 2 and said in errors[0] and len(errors) == 1
    assert not (tmp_path / "cache").exists()


def test_the_rewritten_file_is_asked_about_and_kept(check_runtime, run, tmp_path, monkeypatch):
    asked = []

    def ask(name, tflite):
        asked.append(tflite)
        ops = (OpAnswer(0, "ADD", "up", Answer("taken", "", 3e-7, "of the largest value")),)
        whole = Answer("taken", "", 2.0, "codes of 8 bits") if len(asked) > 1 else None
        return RuntimeAnswer("Arm NN 20.08", "an emulated board", ops, whole)

    monkeypatch.setattr(check_runtime, "_ask", ask)
    code, said, _ = run(one.deconv(), runtime="armnn")
    assert code == 1 and said.splitlines()[-1].startswith("--rewritten=FILE writes it in ops that armnn takes")
    kept = tmp_path / "for_armnn.tflite"
    code, said, _ = run(one.deconv(), runtime="armnn", rewritten=str(kept))
    assert code == 0 and kept.read_bytes() == asked[1] != asked[0] == one.deconv()
    assert said.splitlines()[1:] == [
        "0  ADD  up  taken  3e-07",
        "The whole file: taken; largest difference from LiteRT: 2 codes of 8 bits",
        "It runs wholly in Arm NN 20.08: 1 ops.",
    ]


def test_tflite_micro_names_the_op_that_it_stopped_at(monkeypatch):
    from tta_lite.export.micro import MicroResult

    tflite = one.deconv()
    monkeypatch.setattr(local_runtimes, "measure_micro", lambda *_: MicroResult("7", reason="Node X (number 0) failed"))
    answer = local_runtimes.ask_micro(tflite)
    assert not answer.runs and answer.ops[0].answer == Answer("refused", "Node X (number 0) failed")
    monkeypatch.setattr(local_runtimes, "measure_micro", lambda *_: MicroResult("7", 96, {}, 0.0))
    answer = local_runtimes.ask_micro(tflite)
    assert answer.runs and answer.whole == Answer("taken", "an arena of 96 bytes", 0.0, "of the largest value")
    monkeypatch.setattr(local_runtimes, "measure_micro", lambda *_: MicroResult(reason="not installed"))
    with pytest.raises(local_runtimes.InputError, match=r"must be there to be asked\. Received: not installed"):
        local_runtimes.ask_micro(tflite)
