"""What does an op take on one machine? A formula a kind of op, with coefficients that were fitted to its profiles.

    time of an op = overhead + p-norm of (arithmetic, memory)
    arithmetic    = the sum of the op's amounts of work, each times what one unit takes
    memory        = bytes of values x time a byte, more for those beyond the near cache, bytes of weights x time a byte
    of a network  = scale x the sum over its ops + overhead

A p-norm with a large p is the larger of the two, as in the roofline model (Williams, Waterman, Patterson, *Roofline*,
CACM 2009); with p = 1 it is their sum: cores that run in order, or wait for weights, overlap little. Imports no
TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.files import atomic_write, to_json_text
from tta_lite.measure.op_features import DEPTHWISE_KINDS, MATRIX_KINDS, NONE, OpFeatures
from tta_lite.types import InputError

FORMAT, WHAT = 1, "tta_lite latency model"
MICROSECONDS, CYCLES = "microseconds", "thousands of busy cycles"
# The kind that stands for ops without MACs that the fit has not seen.
OTHER = "other"
# Level 1 data cache of every core here but the smallest (Cortex-A53 to A76, Zen): 32 KiB.
NEAREST_BYTES = 32 << 10
# Depthwise kernels take this many channels at once.
DEPTHWISE_CHANNELS = 8


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of a machine's kernels and caches.

    Attributes:
      columns: output channels that a kernel computes at once: fewer at the end take as long.
      channels: input channels that it takes at once.
      near_bytes: what an op moves within the near cache.
    """

    columns: int = 8
    channels: int = 1
    near_bytes: int = 512 << 10


@dataclasses.dataclass(frozen=True)
class KindCost:
    """The coefficients of one kind of op in one type.

    Attributes:
      overhead_us: of each op.
      work_us: microseconds a unit of each amount of work, see `amounts`.
      byte_us: a byte of its inputs and outputs.
      far_byte_us: on top, for each of them beyond the near cache.
      weight_byte_us: a byte of its weights, which other ops have driven out of the caches since the last inference.
      power: the p of the p-norm.
      ops: that it was fitted to.
      most_work: the largest first amount among them: beyond it, it extrapolates.
    """

    overhead_us: float
    work_us: tuple[float, ...]
    byte_us: float
    far_byte_us: float
    weight_byte_us: float
    power: float
    ops: int
    most_work: float

    def times_us(self, work: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """[N, amounts], [N, 3] -> [N] microseconds.

        >>> cost = KindCost(1.0, (0.5,), 0.1, 0.2, 0.0, 50.0, 1, 100.0)
        >>> cost.times_us(np.array([[10.0], [10.0]]), np.array([[20.0, 0.0, 0.0], [100.0, 50.0, 0.0]])).round(3)
        array([ 6., 21.])
        """
        return formula(np.array(self.coefficients), work, moved)

    @property
    def coefficients(self) -> tuple[float, ...]:
        """All of them, as `formula` takes them."""
        return (self.overhead_us, *self.work_us, self.byte_us, self.far_byte_us, self.weight_byte_us, self.power)


def formula(coefficients: np.ndarray, work: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """-> [N] microseconds; the coefficients in the order of `KindCost`."""
    amounts_count = work.shape[1]
    overhead, power = coefficients[0], coefficients[-1]
    arithmetic = work @ coefficients[1 : 1 + amounts_count] + 1e-12
    memory = moved @ coefficients[1 + amounts_count : -1] + 1e-12
    larger = np.maximum(arithmetic, memory)
    return overhead + larger * ((arithmetic / larger) ** power + (memory / larger) ** power) ** (1 / power)


def amounts(op: OpFeatures, sizes: Sizes, kind: str | None = None) -> tuple[float, ...]:
    """-> how much work of each sort an op is; `kind` stands for the op's own if it is given.

    Products of matrices: MACs with both sizes rounded up to what a kernel takes at once; output values, rounded up too;
    input values, as often as they are gathered. Depthwise: MACs; output values; output pixels; output pixels where the
    channels do not fill the kernel; MACs whose weights and pixels do not stay in the nearest cache. Poolings: values
    that are looked at; output values. Transpositions: values; rows of values that lie side by side. All else: values.
    """
    kind = kind or op.kind
    if kind in MATRIX_KINDS:
        columns = _up(op.columns, sizes.columns)
        inner = op.taps * _up(op.inner // op.taps, sizes.channels)
        rows = op.groups * op.rows
        return (rows * columns * inner, rows * columns, rows * op.inner)
    if kind in DEPTHWISE_KINDS:
        pixels = op.outputs / max(1, op.columns)
        window = 2 * op.taps * op.columns * op.written_bytes / max(1, op.outputs)
        spilled = min(1.0, max(0.0, window / NEAREST_BYTES - 1))
        odd = op.columns % DEPTHWISE_CHANNELS != 0
        return (op.macs, op.outputs, pixels, pixels * odd, op.macs * spilled)
    if kind in ("average_pool", "max_pool"):
        return (op.outputs * op.taps, op.outputs)
    if kind == "transpose":
        return (op.values, op.values / max(1, op.columns))
    return (op.values,)


def moved_bytes(op: OpFeatures, sizes: Sizes) -> tuple[float, float, float]:
    """-> the bytes of values that an op moves, those of them beyond the near cache, and the bytes of its weights."""
    values = op.bytes - op.weight_bytes
    return values, max(0, op.bytes - sizes.near_bytes), op.weight_bytes


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


@dataclasses.dataclass(frozen=True)
class NetworkCost:
    """What networks of one type take beside their ops, and how well they are predicted.

    Attributes:
      scale: by which the sum over the ops is multiplied.
      overhead_us: of each inference.
      median_error: the median of |predicted - measured| / measured over networks whose family was left out of the fit.
      factor: within which of the prediction, up and down, a share of `coverage` of those lay.
      coverage: that share, 0..1.
      judged: how many networks were left out, each in its turn.
    """

    scale: float
    overhead_us: float
    median_error: float
    factor: float
    coverage: float
    judged: int


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the profiles come from.

    Attributes:
      board: for people.
      runtime: that ran them.
      threads: of it.
      machine: more of that place, as it describes itself.
      unit: of the profiles: `MICROSECONDS`, or `CYCLES` of an emulated core, which are no time.
    """

    board: str
    runtime: str
    threads: int
    machine: Mapping[str, Any]
    unit: str = MICROSECONDS

    @property
    def is_time(self) -> bool:
        """Whether what the model predicts is a latency."""
        return self.unit == MICROSECONDS


@dataclasses.dataclass(frozen=True)
class LatencyModel:
    """A fitted model of one machine.

    Attributes:
      place: where the profiles come from.
      fitted_to: names of the networks.
      sizes: type -> sizes of the kernels.
      kinds: type -> kind -> its cost.
      networks: type of a file -> what is beside the ops.
    """

    place: Place
    fitted_to: tuple[str, ...]
    sizes: Mapping[str, Sizes]
    kinds: Mapping[str, Mapping[str, KindCost]]
    networks: Mapping[str, NetworkCost]

    def op_us(self, op: OpFeatures) -> float:
        """-> what one op takes, microseconds, not scaled; a kind that was not in the fit counts as `OTHER`.

        Raises:
          KeyError: neither is there.
        """
        if op.kind == NONE:
            return 0.0
        kinds = self.kinds[op.dtype]
        kind = op.kind if op.kind in kinds else OTHER
        sizes = self.sizes[op.dtype]
        work, moved = np.array([amounts(op, sizes, kind)], float), np.array([moved_bytes(op, sizes)], float)
        return float(kinds[kind].times_us(work, moved)[0])

    def save(self, path: str | Path) -> None:
        """Writes one JSON file."""
        record = {"what": WHAT, "format": FORMAT, **dataclasses.asdict(self)}
        atomic_write(path, to_json_text(record, indent=1) + "\n")


def load_model(path: str | os.PathLike[str]) -> LatencyModel:
    """-> the model that `LatencyModel.save` wrote.

    Raises:
      InputError: there is no such file, it is not one, of another version, or damaged.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.pop("what", None) != WHAT:
            raise ValueError(f"no {WHAT}")
        if (version := record.pop("format", None)) != FORMAT:
            raise ValueError(f"format {version}")
        model = LatencyModel(
            **{
                **record,
                "place": Place(**record["place"]),
                "fitted_to": tuple(record["fitted_to"]),
                "sizes": {dtype: Sizes(**one) for dtype, one in record["sizes"].items()},
                "kinds": {
                    dtype: {kind: KindCost(**{**one, "work_us": tuple(one["work_us"])}) for kind, one in kinds.items()}
                    for dtype, kinds in record["kinds"].items()
                },
                "networks": {dtype: NetworkCost(**one) for dtype, one in record["networks"].items()},
            }
        )
        _check(model)
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"A latency model must be a file that `tta-lite predict --fit` wrote, format {FORMAT}. Received: {path}, "
            f"{type(error).__name__}: {error}"
        ) from error
    return model


def _check(model: LatencyModel) -> None:
    if model.place.unit not in (MICROSECONDS, CYCLES):
        raise ValueError(f"figures in {model.place.unit!r}")
    if not set(model.networks) <= set(model.kinds) == set(model.sizes):
        raise ValueError("types that do not belong together")
    for kinds in model.kinds.values():
        for kind, cost in kinds.items():
            probe = OpFeatures(0, "", "", kind, "", columns=1)
            if len(cost.work_us) != len(amounts(probe, Sizes())):
                raise ValueError(f"{kind} with {len(cost.work_us)} amounts of work")
            _require(kind, cost.power, 1.0)
            for value in (*cost.coefficients, cost.most_work):
                _require(kind, value, 0.0)
    for dtype, network in model.networks.items():
        for value, low in ((network.scale, 1e-9), (network.overhead_us, 0.0), (network.factor, 1.0)):
            _require(dtype, value, low)
        _require(dtype, network.median_error, 0.0)
        if not 0 < network.coverage < 1:
            raise ValueError(f"{dtype} with a coverage of {network.coverage!r}")
    for sizes in model.sizes.values():
        if min(dataclasses.astuple(sizes)) < 1:
            raise ValueError(f"sizes of {sizes}")


def _require(where: str, value: Any, low: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value < math.inf:
        raise ValueError(f"{where} with a figure of {value!r}")
