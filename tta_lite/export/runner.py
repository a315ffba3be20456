"""Runs a flatbuffer on float images, quantising at its edges. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tta_lite.types import InputError

# Which kernels run a graph: XNNPACK's where it has one (what boards with Linux use), the runtime's own, or the plain
# loops that define what each op means.
KERNELS = {
    "xnnpack": OpResolverType.AUTO,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}


@dataclasses.dataclass(frozen=True)
class Edge:
    """An input or output of a file: ``real = (stored - zero_point) * scale``; a scale of 0 means it is not quantised.

    >>> edge = Edge("image", 0, (1, 2), np.dtype(np.int8), scale=0.5, zero_point=-1)
    >>> edge.quantise(np.array([[0.0, 100.0]])).tolist()
    [[-1, 127]]
    >>> edge.dequantise(np.array([[-1, 127]], np.int8)).tolist()
    [[0.0, 64.0]]
    """

    name: str
    index: int
    shape: tuple[int, ...]
    dtype: np.dtype
    scale: float = 0.0
    zero_point: int = 0

    def quantise(self, values: np.ndarray) -> np.ndarray:
        """Real numbers -> what the file stores for them; numbers outside its range become its smallest or largest."""
        if not self.scale:
            return np.asarray(values, dtype=self.dtype)
        limits = np.iinfo(self.dtype)
        stored = np.rint(np.asarray(values, dtype=np.float32) / np.float32(self.scale)) + self.zero_point
        return np.clip(stored, limits.min, limits.max).astype(self.dtype)

    def dequantise(self, stored: np.ndarray) -> np.ndarray:
        """What the file stores -> real numbers, float32."""
        if not self.scale:
            return np.asarray(stored, dtype=np.float32)
        return (stored.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


def load(tflite: bytes, *, num_threads: int = 1, kernels: str = "xnnpack") -> Interpreter:
    """-> an interpreter with its tensors allocated.

    Raises:
      InputError: the bytes are no flatbuffer that the runtime can run.
    """
    if kernels not in KERNELS:
        raise InputError(f"Argument `kernels` must be one of {', '.join(KERNELS)}. Received: {kernels!r}")
    try:
        interpreter = Interpreter(
            model_content=bytes(tflite), num_threads=num_threads, experimental_op_resolver_type=KERNELS[kernels]
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"These bytes cannot be run as a .tflite file: {error}. Received: {len(tflite)} bytes"
        ) from error
    return interpreter


def edges(interpreter: Interpreter) -> tuple[list[Edge], list[Edge]]:
    """-> the inputs and the outputs, under their signature's names where the file has one."""
    names: dict[int, str] = {}
    for key in list(interpreter.get_signature_list())[:1]:
        signature = interpreter.get_signature_runner(key)
        for side in (signature.get_input_details(), signature.get_output_details()):
            names.update({details["index"]: name for name, details in side.items()})
    return (
        [_edge(details, names) for details in interpreter.get_input_details()],
        [_edge(details, names) for details in interpreter.get_output_details()],
    )


def _edge(details: dict[str, Any], names: dict[int, str]) -> Edge:
    scale, zero_point = details["quantization"]
    return Edge(
        name=names.get(details["index"], details["name"]),
        index=details["index"],
        # -1 where the file leaves a dimension open.
        shape=tuple(int(n) for n in details["shape_signature"]),
        dtype=np.dtype(details["dtype"]),
        scale=float(scale),
        zero_point=int(zero_point),
    )


class TFLitePredictor:
    """A file with one input and one output as a function: images [B, ...] float32 -> [B, ...] float32.

    The images run one by one, with a batch of 1, as they do on a board. Not for several threads at once.

    Attributes:
      input: the file's input.
      output: the file's output.

    Raises:
      InputError: bytes that cannot be run, or a file with several inputs or outputs.
    """

    def __init__(self, tflite: bytes, num_threads: int = 1, *, kernels: str = "xnnpack") -> None:
        self._interpreter = load(tflite, num_threads=num_threads, kernels=kernels)
        inputs, outputs = edges(self._interpreter)
        if len(inputs) != 1 or len(outputs) != 1:
            raise InputError(
                "A predictor takes a file with one input and one output. "
                f"Received: {len(inputs)} inputs, {len(outputs)} outputs"
            )
        self.input, self.output = inputs[0], outputs[0]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Images [B, ...] float32 -> [B, ...] float32.

        Raises:
          InputError: images of another shape than the file's, or none.
        """
        images = np.asarray(images)
        wanted = self.input.shape[1:]
        if images.ndim != len(wanted) + 1 or not len(images) or not _fits(images.shape[1:], wanted):
            raise InputError(
                f"Images must have the shape [B, {', '.join(map(str, wanted))}] of the file's input "
                f"`{self.input.name}`, B 1 or more. Received: {list(images.shape)}"
            )
        return np.concatenate([self.output.dequantise(self.run(self.input.quantise(i[None]))) for i in images])

    def run(self, stored: np.ndarray) -> np.ndarray:
        """One example in the file's own type, [1, ...] -> the output in the file's own type, a copy."""
        self._interpreter.set_tensor(self.input.index, stored)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self.output.index)


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return all(size in (want, -1) or want == -1 for size, want in zip(shape, wanted, strict=True))
