from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from tta_lite.export.model_io import c_float, c_string, model_io_header
from tta_lite.export.runner import Edge
from tta_lite.models.backbones import IMAGENET, Normalisation
from tta_lite.types import InputError

C, CXX = shutil.which("gcc") or shutil.which("cc"), shutil.which("g++") or shutil.which("c++")
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
needs_compilers = pytest.mark.skipif(not (C and CXX), reason="needs a C and a C++ compiler")
IMAGE = Edge("image", 0, (1, 8, 6, 3), np.dtype(np.int8), scale=0.018658448, zero_point=-14)
SCORES = Edge("scores", 1, (1, 3), np.dtype(np.int8), scale=0.00390625, zero_point=-128)
FLOATS = Edge("image", 0, (1, 8, 6, 3), np.dtype(np.float32))
# Quotes, a backslash, what was a trigraph, letters outside ASCII, and a digit after one of them.
LABELS = ['left "knee"', "a\\b??=", "é1"]

PROGRAM = r"""
#include <stdio.h>
#include "model_io.h"
int main(void) {
  int i, c;
  for (c = 0; c < 3; ++c)
    for (i = 0; i < 256; ++i) printf("%.9g\n", (double)model_input_from_pixel((unsigned char)i, c));
  for (i = 0; i < MODEL_LABEL_COUNT; ++i) printf("%s\n", model_labels[i]);
  printf("%d %d %d %.9g %d %d\n", MODEL_INPUT_ELEMENTS, MODEL_INPUT_BYTES, MODEL_OUTPUT_ELEMENTS,
         (double)MODEL_OUTPUT_SCALE, MODEL_OUTPUT_ZERO_POINT, MODEL_INPUT_DIM_2);
  return 0;
}
"""


def _run(folder, header, command):
    (folder / "model_io.h").write_text(header, encoding="ascii")
    source = folder / ("main.c" if command[0] == C else "main.cc")
    source.write_text(PROGRAM)
    subprocess.run([*command, *STRICT, str(source), "-o", str(folder / "main"), "-lm"], check=True)
    done = subprocess.run([folder / "main"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@needs_compilers
@pytest.mark.parametrize("command", [[C, "-std=c99"], [CXX, "-std=c++17"]], ids=["C", "C++"])
def test_the_constants_and_pixels_are_right_in_c_and_in_cxx(command, tmp_path):
    header = model_io_header(IMAGE, SCORES, name="net */ x", normalisation=IMAGENET, labels=LABELS)
    lines = _run(tmp_path, header, command)
    found = np.array([float(line) for line in lines[:768]]).reshape(3, 256)
    # The formula in double precision, by hand.
    pixels = np.arange(256)
    for channel in range(3):
        real = (pixels - IMAGENET.mean[channel]) / IMAGENET.std[channel]
        assert np.array_equal(found[channel], np.clip(np.rint(real / 0.018658448) - 14, -128, 127))
    assert lines[768:771] == LABELS
    assert lines[771] == "144 144 3 0.00390625 -128 6"


@needs_compilers
def test_a_pixel_of_a_float_network_is_normalised(tmp_path):
    header = model_io_header(FLOATS, SCORES, name="n", normalisation=Normalisation((1, 2, 3), (2, 4, 8)), labels="abc")
    lines = _run(tmp_path, header, [CXX, "-std=c++17"])
    # (5 - 1) / 2, (5 - 2) / 4, (5 - 3) / 8
    assert [float(lines[256 * channel + 5]) for channel in range(3)] == [2.0, 0.75, 0.25]
    assert "MODEL_INPUT_SCALE" not in header and "MODEL_INPUT_IS_QUANTISED 0" in header


@needs_compilers
def test_the_quantised_pixel_of_minus_one_to_one_by_hand(tmp_path):
    edge = Edge("image", 0, (1, 2, 2, 3), np.dtype(np.int8), scale=1 / 64, zero_point=0)
    half = Normalisation((127.5,) * 3, (127.5,) * 3)
    lines = _run(tmp_path, model_io_header(edge, SCORES, name="n", normalisation=half, labels="abc"), [CXX])
    # 0 -> -1.0 -> -64; 255 -> 1.0 -> 64; 51 -> -0.6 -> -38.4 -> -38
    assert [int(lines[pixel]) for pixel in (0, 255, 51)] == [-64, 64, -38]


@pytest.mark.parametrize("value", [0.1, 1.0, 1 / 3, 0.018658448, 1e-30, 127.5, 3e38, 2**-126, 123456789.0])
def test_a_constant_reads_back_as_the_same_float32(value):
    text = c_float(value)
    assert text.endswith("f") and np.float32(text[:-1]) == np.float32(value)


def test_a_string_is_ascii():
    assert c_string("\n한") == '"\\012\\355\\225\\234"'


def test_other_labels_than_outputs_are_refused():
    with pytest.raises(InputError, match=r"3 places .* `scores`\. Received: 2 labels"):
        model_io_header(IMAGE, SCORES, name="n", labels=["a", "b"])


def test_a_type_that_c_does_not_have_is_refused():
    half = Edge("x", 0, (1,), np.dtype(np.float16))
    with pytest.raises(InputError, match=r"tensor `x` must have one of the types int8.*Received: float16"):
        model_io_header(half, SCORES, name="n")
    with pytest.raises(InputError, match=r"fixed shape.*Received: \[-1, 3\]"):
        model_io_header(Edge("x", 0, (-1, 3), np.dtype(np.int8)), SCORES, name="n")
