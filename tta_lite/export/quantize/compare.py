"""Two files of one network side by side, tensor by tensor: what quantisation did to each. Imports no TensorFlow."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.runner import load
from tta_lite.types import InputError


class Agreement:
    """How near quantised values are to true ones; values may come in parts.

    >>> seen = Agreement()
    >>> seen.add(np.array([3.0, 4.0]), np.array([3.0, 3.5]))
    >>> round(seen.sqnr_db, 2), round(seen.cosine, 4), seen.mean_error
    (20.0, 0.9979, -0.25)
    """

    def __init__(self) -> None:
        self.signal = self.noise = self.other = self.product = self.difference = 0.0
        self.count = 0

    def add(self, true: np.ndarray, quantised: np.ndarray) -> None:
        """Two arrays of one size."""
        true, quantised = true.ravel().astype(np.float64), quantised.ravel().astype(np.float64)
        error = quantised - true
        # By NumPy's own sums: BLAS would start threads for each, which costs more than it gives.
        self.signal += float(np.square(true).sum())
        self.other += float(np.square(quantised).sum())
        self.product += float((true * quantised).sum())
        self.noise += float(np.square(error).sum())
        self.difference += float(error.sum())
        self.count += true.size

    @property
    def sqnr_db(self) -> float:
        """10 log10 of the power of the true values over the power of the errors; infinite if there is no error."""
        if self.noise == 0:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf

    @property
    def cosine(self) -> float:
        """Of the angle between the two, as vectors; 1 where both are zero, 0 where one is."""
        length = math.sqrt(self.signal * self.other)
        return min(1.0, self.product / length) if length else float(self.signal == self.other)

    @property
    def mean_error(self) -> float:
        """Quantised less true, averaged: other than zero, it shifts what follows (what bias correction mends)."""
        return self.difference / self.count if self.count else 0.0


@dataclasses.dataclass(frozen=True)
class Grid:
    """The numbers that a quantised tensor can hold: ``(code - zero_point) * scale``.

    Attributes:
      scale, zero_point: of the whole tensor.
      first, last: its codes, as -128 and 127.

    Example:
      >>> Grid(0.5, -128, -128, 127).range
      (0.0, 127.5)
    """

    scale: float
    zero_point: int
    first: int
    last: int

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest number."""
        return (self.first - self.zero_point) * self.scale, (self.last - self.zero_point) * self.scale

    def rounded(self, values: np.ndarray) -> np.ndarray:
        """-> the nearest numbers that it can hold, float32."""
        codes = np.clip(np.rint(values / np.float32(self.scale)) + self.zero_point, self.first, self.last)
        return ((codes - self.zero_point) * self.scale).astype(np.float32)

    def clipped(self, values: np.ndarray) -> int:
        """-> how many values lie more than half a step outside."""
        low, high = self.range
        return int(np.count_nonzero((values < low - self.scale / 2) | (values > high + self.scale / 2)))


class Probe:
    """Runs a file and gives every tensor that is asked for, in real numbers.

    Args:
      tflite: one graph of fixed shapes, one input.
      names: tensors that ops write, or the input.
      num_threads: of the interpreter; those of this machine, four at most, if None.

    Attributes:
      names: of the tensors.
      file: that is run: as it was given, but for its outputs.
    """

    def __init__(self, tflite: bytes, names: Sequence[str], num_threads: int | None = None) -> None:
        edit = GraphEdit(tflite)
        self.places = {edit.text(place): place for place in written(edit)}
        self.names = [name for name in names if name in self.places]
        # XNNPACK keeps to itself what is no output.
        edit.graph.outputs = np.array(list(dict.fromkeys(self.places[name] for name in self.names)), np.int32)
        edit.model.signatureDefs = []
        self.file = edit.to_bytes()
        self._load(num_threads)

    def _load(self, num_threads: int | None = None) -> None:
        self._interpreter = load(self.file, num_threads=num_threads or min(4, os.cpu_count() or 1))
        self._input = self._interpreter.get_input_details()[0]
        self._details: dict[int, Any] = {one["index"]: one for one in self._interpreter.get_tensor_details()}

    def of(self, file: bytes) -> Probe:
        """-> the same for another file, which is `Probe.file` but for its constants."""
        other = copy.copy(self)
        other.file = file
        other._load()
        return other

    @property
    def shape(self) -> tuple[int, ...]:
        """[1, H, W, C] of the input."""
        return tuple(int(size) for size in self._input["shape"])

    def grid(self, name: str) -> Grid | None:
        """-> the numbers that a tensor can hold; None if it is not quantised."""
        if name not in self.places:
            return None
        details = self._details[self.places[name]]
        scale, zero_point = details["quantization"]
        if not scale or not np.issubdtype(details["dtype"], np.integer):
            return None
        limits = np.iinfo(details["dtype"])
        return Grid(float(scale), int(zero_point), int(limits.min), int(limits.max))

    def __call__(self, image: np.ndarray, only: Sequence[str] = ()) -> Iterator[tuple[str, np.ndarray]]:
        """[1, H, W, C] float32 -> name and values of each tensor, or of those named alone, float32."""
        interpreter, argument = self._interpreter, self._input
        scale, zero_point = argument["quantization"]
        if np.issubdtype(argument["dtype"], np.integer):
            limits = np.iinfo(argument["dtype"])
            image = np.clip(np.rint(image / np.float32(scale)) + zero_point, limits.min, limits.max)
        interpreter.set_tensor(argument["index"], image.astype(argument["dtype"]))
        interpreter.invoke()
        for name in only or self.names:
            values = interpreter.get_tensor(self.places[name])
            if (grid := self.grid(name)) is not None:
                values = (values.astype(np.float32) - np.float32(grid.zero_point)) * np.float32(grid.scale)
            yield name, values


def written(edit: GraphEdit) -> list[int]:
    """-> the input and what ops write, without what is computed from constants alone."""
    found = [int(tensor) for tensor in edit.graph.inputs]
    known = set(found)
    for op in edit.ops:
        if any(int(tensor) in known for tensor in op.inputs):
            known.update(int(tensor) for tensor in op.outputs)
            found += [int(tensor) for tensor in op.outputs]
    return found


@dataclasses.dataclass(frozen=True)
class Compared:
    """One tensor of both files.

    Attributes:
      agreement: of its values.
      rounded: of the true values, rounded to what the quantised tensor can hold.
      low, high: the smallest and the largest true value.
      clipped: share of true values outside of what the quantised tensor can hold.
      grid: what it can hold; None if it is float.
    """

    agreement: Agreement
    rounded: Agreement
    low: float
    high: float
    clipped: float
    grid: Grid | None


def compare(float_tflite: bytes, quantised_tflite: bytes, images: Sequence[np.ndarray]) -> dict[str, Compared]:
    """-> name of a tensor -> what became of it; for all tensors that both files have under one name.

    Both back ends keep the names of the float file. What has no twin, as what QUANTIZE writes, is left out.

    Args:
      float_tflite: the truth.
      quantised_tflite: made from it.
      images: each [1, H, W, C] float32.

    Raises:
      InputError: the files have no tensor in common, or shapes differ.
    """
    edit = GraphEdit(float_tflite)
    names = [edit.text(place) for place in written(edit)]
    theirs = GraphEdit(quantised_tflite)
    known = {theirs.text(place): theirs.shape(place) for place in written(theirs)}
    shapes = {edit.text(place): edit.shape(place) for place in written(edit)}
    common = [name for name in names if name in known]
    if len(common) < 2 or any(known[name] != shapes[name] for name in common):
        raise InputError(
            "The quantised file must be made of the float file, and have tensors of the same names and shapes. "
            f"Received: {len(common)} common names of {len(names)}"
        )
    true, quantised = Probe(float_tflite, common), Probe(quantised_tflite, common)
    agreements = {name: Agreement() for name in common}
    rounded = {name: Agreement() for name in common}
    clipped = dict.fromkeys(common, 0)
    ends = dict.fromkeys(common, (math.inf, -math.inf))
    for image in images:
        for (name, values), (_, others) in zip(true(image), quantised(image), strict=True):
            agreements[name].add(values, others)
            ends[name] = min(ends[name][0], float(values.min())), max(ends[name][1], float(values.max()))
            if (grid := quantised.grid(name)) is not None:
                clipped[name] += grid.clipped(values)
            rounded[name].add(values, values if grid is None else grid.rounded(values))
    return {
        name: Compared(seen, rounded[name], *ends[name], clipped[name] / max(1, seen.count), quantised.grid(name))
        for name, seen in agreements.items()
    }
