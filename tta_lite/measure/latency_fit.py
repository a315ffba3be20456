"""From profiles of networks to a model of latency, and how far it can be trusted. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from tta_lite.measure.kind_fit import Sample, fit_kind
from tta_lite.measure.latency_model import OTHER, KindCost, LatencyModel, NetworkCost, Place, Sizes
from tta_lite.measure.op_features import MATRIX_KINDS, NONE, OpFeatures, file_dtype
from tta_lite.types import InputError

COVERAGE = 0.9
# Of the sizes of kernels and caches the ones that fit best are taken.
COLUMNS, CHANNELS, NEAR_BYTES = (4, 8, 16), (1, 4, 8), tuple(kib << 10 for kib in (128, 256, 512, 1024, 2048))
_NOWHERE = Place("", "", 1, {})


@dataclasses.dataclass(frozen=True)
class Profiled:
    """One network that ran.

    Attributes:
      name: of its file.
      family: networks of one family are left out together when the fit is judged.
      features: of its ops.
      times_us: of its ops; empty if only the whole was timed.
      latency_us: of the whole network, p50.
      probe: whether it was made to be fitted to: it is never left out, and nothing is judged by it.
    """

    name: str
    family: str
    features: tuple[OpFeatures, ...]
    times_us: tuple[float, ...]
    latency_us: float
    probe: bool = False

    def __post_init__(self) -> None:
        if self.times_us and len(self.times_us) != len(self.features):
            raise InputError(
                f"{self.name} must have a time for each of its {len(self.features)} ops. Received: {len(self.times_us)}"
            )
        if not 0 < self.latency_us < math.inf:
            raise InputError(f"The latency of {self.name} must be above 0. Received: {self.latency_us!r}")

    @property
    def dtype(self) -> str:
        """Of the file."""
        return file_dtype(self.features)


Write = Callable[[str], Any]


def fit_model(
    networks: Sequence[Profiled],
    place: Place,
    *,
    write: Write = lambda line: None,
) -> LatencyModel:
    """-> the model that fits the profiles best, with its error on families that were left out.

    Args:
      networks: of two families or more in each type; their ops were timed.
      place: where they ran.
      write: where progress goes.

    Raises:
      InputError: too few networks to fit or to judge the fit.
    """
    if any(not one.times_us for one in networks):
        raise InputError("A fit needs times of ops: run each network with --profile_runs. Received: some without")
    sizes = {dtype: _best_sizes(networks, dtype) for dtype in sorted({one.dtype for one in _ops(networks)})}
    write(f"sizes of kernels and caches: {sizes}")
    whole = _Fit.of(networks, sizes)
    costs = {}
    for dtype in sorted({one.dtype for one in networks}):
        same = [one for one in networks if one.dtype == dtype]
        scale, overhead = whole.networks[dtype]
        errors = _left_out(same, whole)
        costs[dtype] = _judged(dtype, scale, overhead, errors)
        write(f"{dtype}: {len(same)} networks, median error {costs[dtype].median_error:.1%} on families left out")
    names = tuple(one.name for one in networks)
    return LatencyModel(place, names, sizes, whole.kinds, costs)


def rescaled(model: LatencyModel, networks: Sequence[Profiled], place: Place) -> LatencyModel:
    """-> the model for another machine of which only whole networks were timed.

    Each type gets its own scale and overhead; what one kind of op costs beside another stays as on the first machine.
    The error is that on each network by a scale that was fitted without its family.

    Args:
      model: of the first machine.
      networks: that ran on the other one.
      place: of that one.

    Raises:
      InputError: too few networks, or types that the model does not know.
    """
    costs = {}
    for dtype in sorted({one.dtype for one in networks}):
        if dtype not in model.networks:
            raise InputError(
                f"The model to begin with knows the types {', '.join(model.networks)}. Received: {dtype} networks"
            )
        same = [one for one in networks if one.dtype == dtype]
        sums = {one.name: sum(model.op_us(op) for op in one.features) for one in same}
        errors = []
        for family in {one.family for one in same}:
            rest = [one for one in same if one.family != family]
            if rest:
                scale, overhead = _scale([sums[one.name] for one in rest], [one.latency_us for one in rest])
                errors += [
                    math.log((scale * sums[one.name] + overhead) / one.latency_us)
                    for one in same if one.family == family
                ]  # fmt: skip
        scale, overhead = _scale([sums[one.name] for one in same], [one.latency_us for one in same])
        costs[dtype] = _judged(dtype, scale, overhead, errors)
    names = tuple(one.name for one in networks)
    return LatencyModel(place, names, model.sizes, model.kinds, costs)


@dataclasses.dataclass(frozen=True)
class _Fit:
    kinds: Mapping[str, Mapping[str, KindCost]]
    sizes: Mapping[str, Sizes]
    networks: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, networks: Sequence[Profiled], sizes: Mapping[str, Sizes], start: _Fit | None = None) -> _Fit:
        groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        for sample in _samples(networks):
            groups[sample.op.dtype, sample.op.kind].append(sample)
            if not sample.op.macs:
                groups[sample.op.dtype, OTHER].append(sample)
        kinds: dict[str, dict[str, KindCost]] = {dtype: {} for dtype, _ in sorted(groups)}
        for (dtype, kind), found in sorted(groups.items()):
            near = None if start is None else start.kinds[dtype].get(kind)
            kinds[dtype][kind] = fit_kind(kind, found, sizes[dtype], near)[0]
        model = LatencyModel(_NOWHERE, (), sizes, kinds, {})
        scales = {}
        for dtype in {one.dtype for one in networks}:
            same = [one for one in networks if one.dtype == dtype]
            sums = [sum(model.op_us(op) for op in one.features) for one in same]
            scales[dtype] = _scale(sums, [one.latency_us for one in same])
        return cls(kinds, sizes, scales)

    def latency_us(self, one: Profiled) -> float | None:
        """-> None if it holds an op of a kind that was not in the fit: of those `predict` warns, or refuses them."""
        if any(op.kind not in self.kinds.get(op.dtype, {}) for op in _ops([one])):
            return None
        model = LatencyModel(_NOWHERE, (), self.sizes, self.kinds, {})
        scale, overhead = self.networks[one.dtype]
        return scale * sum(model.op_us(op) for op in one.features) + overhead


def _ops(networks: Iterable[Profiled]) -> Iterable[OpFeatures]:
    return (op for one in networks for op in one.features if op.kind != NONE)


def _samples(networks: Iterable[Profiled]) -> Iterable[Sample]:
    for one in networks:
        total = sum(one.times_us)
        for op, time_us in zip(one.features, one.times_us, strict=True):
            if op.kind != NONE:
                yield Sample(op, time_us, time_us / max(total, 1e-9))


def _best_sizes(networks: Sequence[Profiled], dtype: str) -> Sizes:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in _samples(networks):
        if sample.op.dtype == dtype:
            groups[sample.op.kind].append(sample)

    def cost(kinds: Iterable[str], sizes: Sizes) -> float:
        return sum(fit_kind(kind, groups[kind], sizes)[1] for kind in kinds if kind in groups)

    matrices = ("conv_1x1", "stem", "grouped_conv")
    best = min(
        (Sizes(columns, channels) for channels in CHANNELS for columns in COLUMNS), key=lambda one: cost(matrices, one)
    )
    moving = [kind for kind in groups if kind not in MATRIX_KINDS]
    return min((dataclasses.replace(best, near_bytes=near) for near in NEAR_BYTES), key=lambda one: cost(moving, one))


def _scale(sums_us: Sequence[float], latencies_us: Sequence[float]) -> tuple[float, float]:
    """-> scale and overhead (us) from the sums over the ops to the latencies, by relative error."""
    sums, logs = np.array(sums_us), np.log(latencies_us)
    first = float(np.median(logs - np.log(sums)))
    if len(sums) < 3:
        return math.exp(first), 0.0
    found = least_squares(
        lambda x: np.log(np.exp(x[0]) * sums + x[1]) - logs,
        [first, 1.0],
        bounds=([-20, 0], [20, 1e6]),
        x_scale=[1.0, 100.0],
        loss="soft_l1",
        f_scale=0.05,
    )
    return float(math.exp(found.x[0])), float(found.x[1])


def _left_out(same: Sequence[Profiled], whole: _Fit) -> list[float]:
    """-> log of predicted over measured, each network of one type by a fit without its family."""
    errors = []
    for family in sorted({one.family for one in same if not one.probe}):
        rest = [one for one in same if one.family != family]
        if not rest:
            continue
        fit = _Fit.of(rest, whole.sizes, whole)
        for one in same:
            if one.family == family and (latency := fit.latency_us(one)) is not None:
                errors.append(math.log(latency / one.latency_us))
    return errors


def _judged(dtype: str, scale: float, overhead_us: float, errors: Sequence[float]) -> NetworkCost:
    if not errors:
        raise InputError(
            f"A fit is judged on families of networks that were left out: expected two {dtype} families or more that "
            "hold the same kinds of ops. Received: networks of which none could be left out"
        )
    sizes = sorted(abs(error) for error in errors)
    count = len(sizes)
    # Of the next network's error, as of any of count + 1 that are alike: a split conformal interval.
    place = min(count, math.ceil((count + 1) * COVERAGE))
    return NetworkCost(
        scale=scale,
        overhead_us=overhead_us,
        median_error=float(np.median([abs(math.exp(error) - 1) for error in errors])),
        factor=math.exp(sizes[place - 1]),
        coverage=min(COVERAGE, place / (count + 1)),
        judged=count,
    )
