"""Inputs and the outputs that belong to them, so that a firmware team can check their own runtime."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.export.runner import Edge, TFLitePredictor

INDEX = "golden.json"
TOLERANCE_NOTE = (
    "the largest difference from the golden output, in real numbers, that other kernels may show: twice that "
    "of the runtime's own kernels against XNNPACK on these inputs, and at least one step of the output's scale or, for "
    "float, a hundred-thousandth of the largest output"
)
# Sums in another order differ in the last bits, and kernels that agree here may not agree on another processor.
FLOAT_TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class Golden:
    """Golden vectors.

    Attributes:
      input: the file's input, its shape that of the vectors.
      output: the same of its output.
      inputs: one array a vector, as the file stores it.
      outputs: what LiteRT with XNNPACK gives for them, as the file stores it.
      kernel_difference: the largest difference, in real numbers, of the runtime's own kernels.
    """

    input: Edge
    output: Edge
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    kernel_difference: float

    @property
    def tolerance(self) -> float:
        """The largest difference, in real numbers, that other kernels may show."""
        largest = max(float(np.abs(self.output.dequantise(stored)).max()) for stored in self.outputs)
        step = self.output.scale or FLOAT_TOLERANCE * largest
        return max(2 * self.kernel_difference, step)


def make_golden(tflite: bytes, images: np.ndarray) -> Golden:
    """-> the vectors of a file with one input and one output.

    Args:
      tflite: the flatbuffer.
      images: [N, ...] float32, normalised.

    Raises:
      InputError: images of another shape than the file's.
    """
    predictor = TFLitePredictor(tflite)
    images = np.asarray(images, dtype=np.float32)
    # Checks the shape, and gives real numbers to compare with.
    expected = predictor(images)
    # Kernels may round otherwise: XNNPACK's and the runtime's own differ by a step or two of int8.
    other = TFLitePredictor(tflite, kernels="builtin")(images)
    inputs = tuple(predictor.input.quantise(image[None]) for image in images)
    outputs = tuple(predictor.run(stored) for stored in inputs)
    return Golden(
        # An open dimension becomes what it is here.
        input=dataclasses.replace(predictor.input, shape=inputs[0].shape),
        output=dataclasses.replace(predictor.output, shape=outputs[0].shape),
        inputs=inputs,
        outputs=outputs,
        kernel_difference=float(np.abs(other - expected).max()),
    )


def write_golden(folder: Path, golden: Golden) -> dict[str, Any]:
    """Writes ``golden/*.bin``; -> what ``golden.json`` says of them."""
    (folder / "golden").mkdir()
    vectors = []
    for number, (stored, output) in enumerate(zip(golden.inputs, golden.outputs, strict=True)):
        record = {"input": f"golden/input_{number}.bin", "output": f"golden/output_{number}.bin"}
        (folder / record["input"]).write_bytes(little_endian(stored))
        (folder / record["output"]).write_bytes(little_endian(output))
        vectors.append(record)
    return {
        "vectors": vectors,
        "input": edge_record(golden.input),
        "output": edge_record(golden.output),
        "made_by": runtime(),
        "kernel_difference": golden.kernel_difference,
        "tolerance": golden.tolerance,
        "tolerance_note": TOLERANCE_NOTE,
    }


def edge_record(edge: Edge) -> dict[str, Any]:
    """-> what the JSON files say of an input or output."""
    record = {"name": edge.name, "shape": edge.shape, "dtype": edge.dtype.name}
    if not edge.scale:
        return {**record, "quantisation": None}
    formula = "stored = round(real / scale) + zero_point, clipped to the type; real = (stored - zero_point) * scale"
    return {**record, "quantisation": {"scale": edge.scale, "zero_point": edge.zero_point, "formula": formula}}


def little_endian(stored: np.ndarray) -> bytes:
    """-> the bytes of an array as boards have them."""
    return stored.astype(stored.dtype.newbyteorder("<")).tobytes()


def runtime() -> str:
    """-> what made the golden outputs."""
    return f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}, XNNPACK, batch 1"
