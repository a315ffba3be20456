from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from tta_lite.export import selftest
from tta_lite.export.golden import make_golden
from tta_lite.export.model_io import model_io_header
from tta_lite.export.op_resolver import op_resolver_header
from tta_lite.export.runner import TFLitePredictor
from tta_lite.export.selftest import golden_count, golden_count_in, selftest_files

CXX = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
pytestmark = pytest.mark.skipif(CXX is None, reason="needs a C++ compiler")
STRICT = ["-std=c++17", "-Wall", "-Wextra", "-Werror"]

# Reads what another runtime computed; the exit code of `run_model` comes from outside too.
RUN_MODEL = r"""
#include <cstdio>
#include <cstdlib>
#include "model_io.h"
#include "selftest_hook.h"
int run_model(const void*, void* output) {
  static std::FILE* file = std::fopen("outputs.bin", "rb");
  if (std::fread(output, 1, MODEL_OUTPUT_BYTES, file) != MODEL_OUTPUT_BYTES) return 0;
  return std::getenv("CODE") ? std::atoi(std::getenv("CODE")) : 0;
}
"""


@pytest.fixture(scope="module", params=["fp32", "int8"])
def built(request, files, images, tmp_path_factory):
    """-> (the folder with the program, the golden vectors, what the plain loops give for them)."""
    tflite = files[request.param]
    golden = make_golden(tflite, images[:2])
    folder = tmp_path_factory.mktemp("built")
    for name, content in selftest_files(golden, symbol=None, arena_bytes=None).items():
        (folder / name).write_bytes(content)
    (folder / "model_io.h").write_text(model_io_header(golden.input, golden.output, name="n"))
    (folder / "run_model.cc").write_text(RUN_MODEL)
    sources = ["selftest.cc", "golden_data.cc", "run_model.cc"]
    subprocess.run([CXX, *STRICT, *sources, "-o", "selftest"], cwd=folder, check=True)
    reference = TFLitePredictor(tflite, kernels="reference")
    return folder, golden, [reference.run(stored) for stored in golden.inputs]


def _run(folder, outputs, **environment):
    (folder / "outputs.bin").write_bytes(b"".join(output.tobytes() for output in outputs))
    return subprocess.run(["./selftest"], cwd=folder, env=environment, capture_output=True, text=True)


def test_another_runtimes_outputs_pass(built):
    folder, _, outputs = built
    done = _run(folder, outputs)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("ok   golden vector") == 2


def _moved(golden, place, real):
    """-> the golden outputs with one element moved by `real`, as the file stores it."""
    outputs = [output.copy() for output in golden.outputs]
    flat = outputs[1].reshape(-1)
    flat[place] += np.array(real / (golden.output.scale or 1.0)).round(6).astype(flat.dtype)
    return outputs


def test_the_tolerance_is_where_it_fails(built):
    folder, golden, _ = built
    # An element in the middle of the type's range can move both ways.
    place = int(np.argmin(np.abs(golden.outputs[1].astype(float))))
    step = golden.output.scale or golden.tolerance / 8
    allowed = int(golden.tolerance / step * 1.001)
    assert _run(folder, _moved(golden, place, (allowed - 0.5 * (not golden.output.scale)) * step)).returncode == 0
    done = _run(folder, _moved(golden, place, (allowed + 1) * step))
    assert done.returncode == 1
    assert "ok   golden vector 0" in done.stdout and "FAIL golden vector 1" in done.stdout
    assert "1 of 16384 places beyond it" in done.stdout


def test_a_run_that_fails_fails(built):
    folder, golden, _ = built
    done = _run(folder, golden.outputs, CODE="7")
    assert done.returncode == 1 and "run_model returned 7" in done.stdout


def test_an_output_that_is_not_written_fails(built):
    folder, _, _ = built
    assert _run(folder, []).returncode == 1


def test_not_a_number_fails(built):
    folder, golden, _ = built
    if golden.output.scale:
        pytest.skip("an integer is always a number")
    outputs = [output.copy() for output in golden.outputs]
    outputs[0][0, 3, 3, 1] = np.nan
    done = _run(folder, outputs)
    assert done.returncode == 1 and "1 of 16384 places" in done.stdout


def test_the_arrays_hold_the_vectors(built):
    folder, golden, _ = built
    assert golden_count_in(folder) == 2
    text = (folder / "golden_data.cc").read_text()
    body = text.split("golden_outputs[] = {\n")[1].split("};")[0]
    found = bytes(int(value, 16) for value in body.replace("\n", "").rstrip(",").split(","))
    assert found == b"".join(output.tobytes() for output in golden.outputs)


def test_as_many_vectors_as_fit(built, monkeypatch):
    _, golden, _ = built
    each = golden.inputs[0].nbytes + golden.outputs[0].nbytes
    for limit, count in ((2 * each, 2), (2 * each - 1, 1), (each - 1, 0)):
        monkeypatch.setattr(selftest, "GOLDEN_ARRAY_LIMIT", limit)
        assert golden_count(golden) == count


# Only what selftest.cc and op_resolver.h say to TensorFlow Lite Micro, so that they are compiled without it.
STAND_IN = {
    "tensorflow/lite/micro/micro_mutable_op_resolver.h": """
        #pragma once
        enum TfLiteStatus { kTfLiteOk, kTfLiteError };
        namespace tflite {
        template <unsigned N> struct MicroMutableOpResolver {
          unsigned added = 0;
          TfLiteStatus Add() { return ++added <= N ? kTfLiteOk : kTfLiteError; }
          TfLiteStatus AddAdd() { return Add(); }
          TfLiteStatus AddConv2D() { return Add(); }
        };
        }
    """,
    "tensorflow/lite/micro/micro_interpreter.h": """
        #pragma once
        #include <cstddef>
        #include <cstdint>
        #include <cstring>
        #include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
        #include "tensorflow/lite/schema/schema_generated.h"
        struct TfLiteTensor { struct { char* raw; } data; std::size_t bytes; };
        namespace tflite {
        struct MicroInterpreter {
          TfLiteTensor in{}, out{};
          MicroInterpreter(const Model*, const MicroMutableOpResolver<2>& ops, std::uint8_t* arena, std::size_t size) {
            if (ops.added == 2 && size == 4096 && reinterpret_cast<std::uintptr_t>(arena) % 16 == 0) {
              in = {{reinterpret_cast<char*>(arena)}, IN};
              out = {{reinterpret_cast<char*>(arena) + IN}, OUT};
            }
          }
          TfLiteStatus AllocateTensors() { return kTfLiteOk; }
          TfLiteTensor* input(std::size_t) { return &in; }
          TfLiteTensor* output(std::size_t) { return &out; }
          TfLiteStatus Invoke() { std::memcpy(out.data.raw, in.data.raw, OUT); return kTfLiteOk; }
        };
        }
    """,
    "tensorflow/lite/schema/schema_generated.h": """
        #pragma once
        namespace tflite {
        struct Model {};
        inline const Model* GetModel(const void* data) { return static_cast<const Model*>(data); }
        }
    """,
}


def test_the_interpreter_of_tflite_micro_is_called_as_it_wants(files, images, tmp_path):
    # A network that gives its input back, as far as the stand-in goes: vectors of 12 bytes.
    whole = make_golden(files["int8"], images[:1])
    vector = np.arange(12, dtype=np.int8).reshape(1, 2, 2, 3)
    shapes = {"input": whole.input.__class__("x", 0, vector.shape, vector.dtype, 0.5, 0)}
    golden = whole.__class__(shapes["input"], shapes["input"], (vector,), (vector,), 0.0)
    for name, content in selftest_files(golden, symbol="net_tflite", arena_bytes=4096).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "model_io.h").write_text(model_io_header(golden.input, golden.output, name="n"))
    (tmp_path / "op_resolver.h").write_text(op_resolver_header(["CONV_2D", "ADD"]))
    (tmp_path / "model_data.h").write_text("static const unsigned char net_tflite[1] = {0};\n")
    for name, text in STAND_IN.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    flags = [*STRICT, "-I.", "-DSELFTEST_TFLM", "-DIN=12", "-DOUT=12"]
    command = [CXX, *flags, "selftest.cc", "golden_data.cc", "-o", "selftest"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run(["./selftest"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    # A smaller arena than its own comes from the command line.
    subprocess.run([*command, "-DSELFTEST_ARENA_BYTES=64"], cwd=tmp_path, check=True)
    assert subprocess.run(["./selftest"], cwd=tmp_path, capture_output=True).returncode == 1


def test_an_arena_that_was_not_measured_must_be_given(files, images, tmp_path):
    golden = make_golden(files["int8"], images[:1])
    source = selftest_files(golden, symbol="net_tflite", arena_bytes=None)["selftest.cc"].decode()
    assert '#error "The arena was not measured' in source
    assert "SELFTEST_TFLM" not in selftest_files(golden, symbol=None, arena_bytes=9)["selftest.cc"].decode()
