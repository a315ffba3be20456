"""A self-test in C++: the golden vectors as arrays, and a program that compares what the board computes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tta_lite.export.c_array import ALIGNMENT, c_source
from tta_lite.export.golden import Golden, little_endian
from tta_lite.export.model_io import c_float

SOURCE = "selftest.cc"
HOOK = "selftest_hook.h"
DATA_HEADER, DATA_SOURCE = "golden_data.h", "golden_data.cc"
# A microcontroller must hold the vectors beside the network, and GCC takes 150 bytes of memory for each of theirs.
GOLDEN_ARRAY_LIMIT = 2 << 20

_HOOK = """\
/* What the self-test asks for where it is not built with TensorFlow Lite Micro: write this function, link it. */
#ifndef SELFTEST_HOOK_H_
#define SELFTEST_HOOK_H_

#ifdef __cplusplus
extern "C" {
#endif

/* Runs the network once: MODEL_INPUT_BYTES in, MODEL_OUTPUT_BYTES out, as the file stores them (model_io.h), both on a
   16-byte boundary. Returns 0 if it ran. */
int run_model(const void* input, void* output);

#ifdef __cplusplus
}
#endif

#endif
"""

_MAIN = """\
/* Does this board compute what the network is meant to compute?

   With a runtime of your own: write run_model() of selftest_hook.h in run_model.cc, then
     g++ -std=c++17 selftest.cc golden_data.cc run_model.cc
   @TFLM_HOW@

   The exit code is 0 if every golden output is met within the tolerance, 1 if not. Firmware with a main() of its own
   defines SELFTEST_NO_MAIN and calls model_selftest(). */

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "golden_data.h"
#include "model_io.h"
#include "selftest_hook.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "The golden data and the network are little-endian."
#endif

@TFLM@
namespace {

/* @TOLERANCE_NOTE@ */
constexpr float kTolerance = @TOLERANCE@;

alignas(@ALIGNMENT@) unsigned char input_bytes[MODEL_INPUT_BYTES];
alignas(@ALIGNMENT@) unsigned char output_bytes[MODEL_OUTPUT_BYTES];

float real(const unsigned char* bytes, std::size_t element) {
  model_output_t stored;
  std::memcpy(&stored, bytes + element * sizeof(stored), sizeof(stored));
#if MODEL_OUTPUT_IS_QUANTISED
  return (static_cast<float>(stored) - static_cast<float>(MODEL_OUTPUT_ZERO_POINT)) * MODEL_OUTPUT_SCALE;
#else
  return static_cast<float>(stored);
#endif
}

/* -> the places that are further off than the tolerance; the largest difference is printed. */
std::size_t mismatches(const unsigned char* wanted, std::size_t vector) {
  std::size_t count = 0;
  float largest = 0.0f;
  for (std::size_t i = 0; i < MODEL_OUTPUT_ELEMENTS; ++i) {
    const float difference = std::fabs(real(output_bytes, i) - real(wanted, i));
    /* Written so that a NaN is a mismatch. A step of the scale must not fail by the last bit of a float. */
    if (!(difference <= kTolerance * 1.0001f)) ++count;
    if (!(difference <= largest)) largest = difference;
  }
  std::printf("%s golden vector %u: largest difference %g, allowed %g, %u of %u places beyond it\\n",
              count ? "FAIL" : "ok  ", static_cast<unsigned>(vector), static_cast<double>(largest),
              static_cast<double>(kTolerance), static_cast<unsigned>(count),
              static_cast<unsigned>(MODEL_OUTPUT_ELEMENTS));
  return count;
}

}  // namespace

extern "C" int model_selftest(void);

extern "C" int model_selftest(void) {
  int failed = 0;
  for (std::size_t vector = 0; vector < GOLDEN_COUNT; ++vector) {
    std::memcpy(input_bytes, golden_inputs + vector * MODEL_INPUT_BYTES, MODEL_INPUT_BYTES);
    /* What a run leaves untouched must not pass for its output. */
    std::memset(output_bytes, 0xA5, sizeof(output_bytes));
    const int code = run_model(input_bytes, output_bytes);
    if (code != 0) {
      std::printf("FAIL golden vector %u: run_model returned %d\\n", static_cast<unsigned>(vector), code);
      ++failed;
    } else if (mismatches(golden_outputs + vector * MODEL_OUTPUT_BYTES, vector) != 0) {
      ++failed;
    }
  }
  return failed == 0 ? 0 : 1;
}

#ifndef SELFTEST_NO_MAIN
int main() { return model_selftest(); }
#endif
"""

_TFLM = """\
#ifdef SELFTEST_TFLM
#include "model_data.h"
#include "op_resolver.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

@ARENA@

alignas(@ALIGNMENT@) static unsigned char arena[SELFTEST_ARENA_BYTES];

extern "C" int run_model(const void* input, void* output) {
  static ModelOpResolver resolver;
  static const TfLiteStatus added = AddModelOps(resolver);
  if (added != kTfLiteOk) return 1;
  static tflite::MicroInterpreter interpreter(tflite::GetModel(@SYMBOL@), resolver, arena, sizeof(arena));
  static const TfLiteStatus allocated = interpreter.AllocateTensors();
  if (allocated != kTfLiteOk) return 2;
  if (interpreter.input(0)->bytes != MODEL_INPUT_BYTES || interpreter.output(0)->bytes != MODEL_OUTPUT_BYTES) return 3;
  std::memcpy(interpreter.input(0)->data.raw, input, MODEL_INPUT_BYTES);
  if (interpreter.Invoke() != kTfLiteOk) return 4;
  std::memcpy(output, interpreter.output(0)->data.raw, MODEL_OUTPUT_BYTES);
  return 0;
}
#endif
"""

_ARENA = """\
#ifndef SELFTEST_ARENA_BYTES
/* As measured with the plain kernels on a 64-bit machine; CMSIS-NN's and others may ask for more. */
#define SELFTEST_ARENA_BYTES {}
#endif"""
_NO_ARENA = """\
#ifndef SELFTEST_ARENA_BYTES
#error "The arena was not measured (MANIFEST.json says why): define SELFTEST_ARENA_BYTES."
#endif"""


def golden_count(golden: Golden) -> int:
    """-> how many vectors fit into C arrays; 0: not one."""
    each = golden.inputs[0].nbytes + golden.outputs[0].nbytes
    return min(len(golden.inputs), GOLDEN_ARRAY_LIMIT // each)


def selftest_files(golden: Golden, *, symbol: str | None, arena_bytes: int | None) -> dict[str, bytes]:
    """-> name: content of the self-test's files.

    Args:
      golden: the vectors; as many as fit are used, and one must (`golden_count`).
      symbol: the C array of the network, where TensorFlow Lite Micro can run it; None: only `run_model` is called.
      arena_bytes: what its interpreter needs; None: not measured.
    """
    count = golden_count(golden)
    assert count, "not one golden vector fits"
    return {
        HOOK: _HOOK.encode(),
        DATA_HEADER: _data_header(count).encode(),
        DATA_SOURCE: _data_source(golden.inputs[:count], golden.outputs[:count]),
        SOURCE: _main(golden, symbol, arena_bytes).encode(),
    }


def _main(golden: Golden, symbol: str | None, arena_bytes: int | None) -> str:
    how = "With TensorFlow Lite Micro: MANIFEST.json says under `left_out` why not."
    if symbol:
        how = "With TensorFlow Lite Micro: define SELFTEST_TFLM, and link model_data.cc and the library."
    filled = {
        "TFLM_HOW": how,
        "TFLM": _TFLM if symbol else "",
        "TOLERANCE_NOTE": "The largest difference, in real numbers, that another runtime may show (golden.json).",
        "TOLERANCE": c_float(golden.tolerance),
        "SYMBOL": symbol or "",
        "ARENA": _ARENA.format(arena_bytes) if arena_bytes else _NO_ARENA,
        "ALIGNMENT": str(ALIGNMENT),
    }
    text = _MAIN
    for name, value in filled.items():
        text = text.replace(f"@{name}@", value)
    return text


def _data_header(count: int) -> str:
    return f"""\
/* Golden inputs and the outputs that belong to them, one after the other, as the file stores them. */
#ifndef GOLDEN_DATA_H_
#define GOLDEN_DATA_H_

#define GOLDEN_COUNT {count}

#ifdef __cplusplus
extern "C" {{
#endif

extern const unsigned char golden_inputs[];
extern const unsigned int golden_inputs_len;
extern const unsigned char golden_outputs[];
extern const unsigned int golden_outputs_len;

#ifdef __cplusplus
}}
#endif

#endif
"""


def _data_source(inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> bytes:
    arrays = {"golden_inputs": inputs, "golden_outputs": outputs}
    return b"\n".join(c_source(b"".join(map(little_endian, s)), name, DATA_HEADER) for name, s in arrays.items())


def golden_count_in(folder: Path) -> int:
    """-> how many vectors the arrays of an artifact hold."""
    found = re.search(r"#define GOLDEN_COUNT (\d+)", (folder / DATA_HEADER).read_text(encoding="ascii"))
    return int(found.group(1)) if found else 0
