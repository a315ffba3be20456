"""Can this network be quantised, before anything is trained or calibrated? (Clause 6.2.1.)

"Every op must be quantisable and supported quantised on the target; else the FP32/INT8 boundary must be shown."
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tta_lite.boards.profile import BoardProfile, Runtime
from tta_lite.compat import keras
from tta_lite.export.contents import Contents, read_contents
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.options import Options
from tta_lite.export.quantize.presets import make
from tta_lite.export.quantize.ranges import Ranges, choose_ranges
from tta_lite.export.quantize.statistics import collect
from tta_lite.guideline.boundaries import (
    CONVERSIONS,
    MEASURED,
    Boundary,
    boundaries,
    measured_costs,
    predicted_costs,
)
from tta_lite.guideline.checks import as_if_trained
from tta_lite.guideline.left_ops import LeftOp, left_ops, named
from tta_lite.guideline.reasons import Said, all_of, reason, spoken
from tta_lite.measure.latency_model import LatencyModel
from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True)
class Quantisable:
    """What would become of a network as integers.

    Attributes:
      network: its name.
      preset: ``int8`` or ``int16x8``.
      runtime: that was asked; LiteRT with XNNPACK of this machine if there is no board.
      ops: op -> how often it is in the integer file, conversions left out.
      left: ops that stay in float32 or leave the delegate, in order.
      boundaries: conversions between types, in order.
      file_ms: of the integer file an inference; None: not known.
      float_ms: of the float32 file.
      slower: whether the integer file takes longer.
      how: measured where, predicted for whom, or why no cost is known.
      seconds: stage of this check -> seconds that it took.
      tflite: the integer file, as if it were trained.
    """

    network: str
    preset: str
    runtime: str
    ops: Mapping[str, int]
    left: tuple[LeftOp, ...]
    boundaries: tuple[Boundary, ...]
    file_ms: float | None
    float_ms: float | None
    slower: bool
    how: str
    seconds: Mapping[str, float]
    tflite: bytes = dataclasses.field(repr=False)

    @property
    def float_ops(self) -> tuple[LeftOp, ...]:
        """The ops that stay in float32."""
        return tuple(one for one in self.left if one.stays_float)

    @property
    def keep_float(self) -> tuple[str, ...]:
        """The same for `tta_lite.types.ExportSpec.keep_float`, with which they are no error of an integer preset."""
        return tuple(one.tensor for one in self.float_ops)

    @property
    def crossings(self) -> tuple[Boundary, ...]:
        """The boundaries of floats and integers, without those where only the scale changes."""
        return tuple(one for one in self.boundaries if one.is_of_floats)

    @property
    def crossing_bytes(self) -> int:
        """Read and written at them, an inference."""
        return sum(one.read_bytes + one.written_bytes for one in self.crossings)

    @property
    def crossing_ms(self) -> float | None:
        """What they cost an inference, milliseconds; None: not known."""
        if self.file_ms is None:
            return None
        return sum(one.cost_ms or 0.0 for one in self.crossings)

    def said(self) -> Said:
        """-> the answer as a sentence or more, for the guideline's outlook."""
        total = sum(self.ops.values())
        parts: list[Said] = [
            reason(
                "quantisable_partly",
                count=len(self.float_ops),
                total=total,
                ops=named(self.float_ops),
                crossings=len(self.crossings),
                kib=f"{self.crossing_bytes / 1024:.1f}",
                cost=self._cost(self.crossing_ms),
            )
            if self.float_ops
            else reason("quantisable_whole", total=total, preset=self.preset)
        ]
        if slow := [one for one in self.left if one.why]:
            cost = self._cost(sum(one.cost_ms or 0.0 for one in slow))
            parts.append(reason("quantisable_left", runtime=self.runtime, count=len(slow), ops=named(slow), cost=cost))
        if self.slower:
            parts.append(reason("quantisable_slower", integers=f"{self.file_ms:.3g}", floats=f"{self.float_ms:.3g}"))
        return all_of(parts, "also")

    def _cost(self, cost_ms: float | None) -> Said:
        if cost_ms is None or self.file_ms is None:
            return reason("quantisable_unknown")
        code = "quantisable_cost" if self.how == MEASURED else "quantisable_predicted"
        return reason(code, cost=f"{cost_ms:.3g}", latency=f"{self.file_ms:.3g}")

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values, without the file."""
        record = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "tflite"}
        record["left"] = [{**dataclasses.asdict(one), "why": spoken(one.why)} for one in self.left]
        record["boundaries"] = [dataclasses.asdict(one) for one in self.boundaries]
        sums = {
            "crossings": len(self.crossings),
            "crossing_bytes": self.crossing_bytes,
            "crossing_ms": self.crossing_ms,
        }
        return {"quantisable": not self.float_ops, "said": spoken(self.said()), **record, **sums}


def check_quantisable(
    network: keras.Model | FloatFile,
    board: BoardProfile | None = None,
    *,
    runtime: str | None = None,
    preset: str = "int8",
    latency_model: LatencyModel | None = None,
    timed: bool = True,
    layers: Sequence[str] = (),
) -> Quantisable:
    """-> what would become of a network as integers. No training, no calibration images; seconds.

    An untrained network gets weights as if it were trained, and ranges from two random images: which op has an integer
    kernel hangs on neither. An op without one does not end the check; it stays in float32 between two conversions.

    Args:
      network: one image of a fixed size in, one tensor out; a model is not changed. Or a float file.
      board: the target, whose runtime must take every op; None: LiteRT with XNNPACK here.
      runtime: one of the board's; its first if None.
      preset: ``int8`` or ``int16x8``.
      latency_model: costs are predicted by it, and nothing is timed.
      timed: whether costs are measured here, which takes 3 s.
      layers: names of the layers of the network that a float file was made from.

    Raises:
      InputError: the network does not convert at all, or the runtime runs no such files.
    """
    seconds: dict[str, float] = {}
    chosen = _runtime(board, runtime, preset)
    began = time.monotonic()
    source = network if isinstance(network, FloatFile) else _converted(network)
    seconds["convert"], began = time.monotonic() - began, time.monotonic()
    tflite = make(source, _random_ranges(source), preset, Options())
    seconds["quantise"], began = time.monotonic() - began, time.monotonic()
    costs, how = None, "not timed"
    if timed or latency_model is not None:
        try:
            if latency_model is not None:
                costs = predicted_costs(tflite, source.tflite, latency_model)
            else:
                costs = measured_costs(tflite, source.tflite)
            how = costs.how
        except InputError as error:
            # What crosses is known all the same.
            how = f"not known: {' '.join(str(error).split())}"
        seconds["cost"] = time.monotonic() - began
    names = [op.name for op in read_contents(tflite).ops if op.name not in CONVERSIONS]
    if not isinstance(network, FloatFile):
        layers = [layer.name for layer in network.layers]
    return Quantisable(
        network=source.name,
        preset=preset,
        runtime=chosen.title if chosen else "LiteRT with XNNPACK",
        ops={name: names.count(name) for name in dict.fromkeys(names)},
        left=left_ops(tflite, chosen, layers, costs),
        boundaries=boundaries(tflite, costs),
        file_ms=costs.file_ms if costs else None,
        float_ms=costs.float_ms if costs else None,
        slower=costs is not None and costs.slower,
        how=how,
        seconds=seconds,
        tflite=tflite,
    )


def _converted(model: keras.Model) -> FloatFile:
    try:
        return FloatFile.of_model(as_if_trained(model))
    except InputError:
        # It is no graph of layers that can be copied. As it is it may convert all the same, and what is lost are
        # additions of biases that are zero.
        return FloatFile.of_model(model)


def _runtime(board: BoardProfile | None, runtime: str | None, preset: str) -> Runtime | None:
    if board is None:
        return None
    chosen = board.runtime(runtime)
    if preset in ("fp32", "fp16", "int8") and preset not in chosen.presets:
        raise InputError(
            f"{chosen.title} on {board.title} runs files of {', '.join(chosen.presets)}. Received: {preset!r}"
        )
    return chosen


def _random_ranges(source: FloatFile) -> Ranges:
    shape = _input_shape(read_contents(source.tflite))
    rng = np.random.default_rng(0)
    images = [rng.normal(size=shape).astype(np.float32) for _ in range(2)]
    return choose_ranges(collect(source.tflite, images))


def _input_shape(contents: Contents) -> tuple[int, ...]:
    return contents.tensors[contents.inputs[0]].shape
