"""The precision of each layer under a limit on size or latency (6.2.1): the layers that lose most get more bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from tta_lite.export.quantize.debug import Debug, Metric, debug_export, output_sqnr, to_keep, true_outputs
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.export.runner import TFLitePredictor
from tta_lite.types import ExportSpec, InputError

# What a layer may be raised to, from int8.
PRECISIONS = ("int16x8", "float")
# A gain below this many units of the score is none: 0.01 dB.
LEAST_GAIN = 0.01
# A file -> milliseconds an inference: measured, or predicted.
Latency = Callable[[bytes], float]


@dataclasses.dataclass(frozen=True)
class Tried:
    """One file of the search.

    Attributes:
      layer: the layer that was raised; empty for the file that all began with.
      ops: that were raised for it, named by the tensors that they write.
      precision: one of `PRECISIONS`; of the first file, ``int8``.
      phase: ``alone``: this layer raised in the int8 file; ``together``: on top of what had been chosen before.
      score: of the file; None if it could not be made.
      size_bytes: of the file; None if it could not be made.
      latency_ms: of the file; None without a limit on it, or where the file was over the size.
      taken: whether the search went on from it.
      why: why not.
    """

    layer: str
    ops: tuple[str, ...]
    precision: str
    phase: str
    score: float | None = None
    size_bytes: int | None = None
    latency_ms: float | None = None
    taken: bool = False
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Mixed:
    """What a search found.

    Attributes:
      spec: of the file: `keep_float` and `keep_16x8` say which ops were raised.
      tflite: the file.
      score, size_bytes, latency_ms: of the file; the latency is None without a limit on it.
      raised: layer -> its precision, of those that are not in int8.
      tried: every file of the search, in order.
    """

    spec: ExportSpec
    tflite: bytes
    score: float
    size_bytes: int
    latency_ms: float | None
    raised: Mapping[str, str]
    tried: tuple[Tried, ...]

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain values; the file is left out."""
        record = {one.name: getattr(self, one.name) for one in dataclasses.fields(self) if one.name != "tflite"}
        tried = [dataclasses.asdict(one) for one in self.tried]
        return {**record, "spec": dataclasses.asdict(self.spec), "tried": tried}


def search_mixed_precision(
    post: PostTraining,
    images: Sequence[np.ndarray],
    *,
    spec: ExportSpec = ExportSpec("int8"),  # noqa: B008
    max_size_bytes: int | None = None,
    max_latency_ms: float | None = None,
    latency: Latency | None = None,
    metric: Metric | None = None,
    precisions: Sequence[str] = PRECISIONS,
    most: int = 12,
    found: Debug | None = None,
    layers: Collection[str] = (),
) -> Mixed:
    """-> the file with the best score that keeps the limits, as far as a greedy search finds it.

    The search begins with all layers in int8. Each of the worst layers is raised by itself to each precision; what
    gains most for each byte, or each millisecond, is then raised for good, one after the other, as long as the score
    grows and the limits hold. A layer whose output range does the harm is raised together with the layers that read
    it, for an int8 layer reads int8.

    Args:
      post: the network and its calibration images.
      images: each [1, H, W, C] float32; tell how near a file is to the float network.
      spec: of the int8 file: ranges, repairs, what is kept anyway.
      max_size_bytes: that the file may have.
      max_latency_ms: that an inference may take by `latency`.
      latency: tells it of a file; is asked once or twice a tried file.
      metric: what to make large; the SQNR of the network's output if None.
      precisions: some of `PRECISIONS`.
      most: layers that are tried.
      found: what the debugger found of the same spec, if it has run.
      layers: names of the Keras network's layers, if it is at hand.

    Raises:
      InputError: no limit, one that the int8 file itself breaks, a limit on latency without a function that tells it,
        or a spec of another preset.
    """
    limits = _Limits(max_size_bytes, max_latency_ms, latency)
    if spec.preset != "int8":
        raise InputError(f"The search begins with the preset int8. Received: {spec.preset}")
    if unknown := sorted(set(precisions) - set(PRECISIONS)) or not precisions:
        raise InputError(f"Argument `precisions` must hold some of {', '.join(PRECISIONS)}. Received: {unknown}")
    found = found or debug_export(post, spec, images, layers=layers)
    score = metric or output_sqnr(images, true_outputs(post.source.tflite, images))
    # Repaired once; every file of the search starts from there.
    start = PostTraining(post.repaired(spec), post.images) if spec.repairs else post
    search = _Search(start, dataclasses.replace(spec, repairs=()), limits, score)
    search.begin()
    moves = [search.alone(one.layer, to_keep(one), precision) for one in found.worst(most) for precision in precisions]
    for move in sorted((one for one in moves if one.rate > 0), key=lambda one: -one.rate):
        search.together(move)
    chosen = search.checked()
    named = {one.tensor: one.layer for one in found.ops}
    raised = {named[tensor]: "float" for tensor in chosen.spec.keep_float if tensor in named}
    raised |= {named[tensor]: "int16x8" for tensor in chosen.spec.keep_16x8 if tensor in named}
    # It says what keep_float and keep_16x8 do to the network as it was given, repairs included.
    return Mixed(
        dataclasses.replace(chosen.spec, repairs=spec.repairs), chosen.tflite, chosen.score, len(chosen.tflite),
        chosen.latency_ms, raised, tuple(search.tried),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Limits:
    size_bytes: int | None
    latency_ms: float | None
    latency: Latency | None

    def __post_init__(self) -> None:
        if self.size_bytes is None and self.latency_ms is None:
            raise InputError("A search needs a limit: max_size_bytes, max_latency_ms or both. Received: neither")
        if self.latency_ms is not None and self.latency is None:
            raise InputError(
                "A limit on latency needs a function `latency`, which tells the milliseconds of a file. Received: None"
            )

    def told(self, tflite: bytes) -> float | None:
        """-> the milliseconds of a file; None without a limit on them, or if the file is too large anyway."""
        if self.latency_ms is None or self.latency is None or self.broken(tflite, None):
            return None
        return self.latency(tflite)

    def broken(self, tflite: bytes, latency_ms: float | None) -> str:
        """-> which limit a file breaks; empty if none."""
        if self.size_bytes is not None and len(tflite) > self.size_bytes:
            return f"{len(tflite):,} bytes, more than {self.size_bytes:,}"
        if self.latency_ms is not None and latency_ms is not None and latency_ms > self.latency_ms:
            return f"{latency_ms:.3f} ms, more than {self.latency_ms:g}"
        return ""


@dataclasses.dataclass(frozen=True)
class _File:
    spec: ExportSpec
    tflite: bytes
    score: float
    latency_ms: float | None


@dataclasses.dataclass(frozen=True)
class _Move:
    layer: str
    ops: tuple[str, ...]
    precision: str
    rate: float


class _Search:
    def __init__(self, post: PostTraining, spec: ExportSpec, limits: _Limits, metric: Metric) -> None:
        self.post, self.spec, self.limits, self.metric = post, spec, limits, metric
        self.tried: list[Tried] = []
        self.taken: list[_File] = []

    @property
    def best(self) -> _File:
        """The file that all moves start from."""
        return self.taken[-1]

    def begin(self) -> None:
        file = self._make(self.spec)
        if said := self.limits.broken(file.tflite, file.latency_ms):
            raise InputError(
                f"The limits must leave room for the file with every layer in int8. Received: it has {said}"
            )
        self.taken.append(file)
        self._note("", (), "int8", "alone", file, True, "")

    def alone(self, layer: str, ops: tuple[str, ...], precision: str) -> _Move:
        """-> what it gains to raise one layer of the int8 file, for each byte or millisecond; 0 if nothing."""
        file, why = self._raised(self.best.spec, ops, precision)
        gain = file.score - self.best.score if file else 0.0
        rate = 0.0
        if file is not None and gain >= LEAST_GAIN:
            costs = []
            if self.limits.size_bytes is not None:
                room = max(1, self.limits.size_bytes - len(self.best.tflite))
                costs.append((len(file.tflite) - len(self.best.tflite)) / room)
            if self.limits.latency_ms is not None and file.latency_ms is not None:
                before = self.best.latency_ms or 0.0
                costs.append((file.latency_ms - before) / max(1e-9, self.limits.latency_ms - before))
            # As a share of the room that is left, of the limit that it uses most of; what costs nothing comes first.
            rate = gain / max(1e-6, *costs) if costs else gain
        self._note(layer, ops, precision, "alone", file, False, why or ("" if rate else "nothing gained"))
        return _Move(layer, ops, precision, rate)

    def together(self, move: _Move) -> None:
        """Raises a layer for good if the score grows and the limits hold."""
        kept = {*self.best.spec.keep_float, *self.best.spec.keep_16x8}
        if kept.issuperset(move.ops):
            return
        ops = tuple(op for op in move.ops if op not in kept)
        file, why = self._raised(self.best.spec, ops, move.precision)
        if file is not None:
            why = self.limits.broken(file.tflite, file.latency_ms)
            if not why and file.score < self.best.score + LEAST_GAIN:
                why = "the score does not grow"
        taken = file is not None and not why
        self._note(move.layer, ops, move.precision, "together", file, taken, why)
        if file is not None and taken:
            self.taken.append(file)

    def checked(self) -> _File:
        """-> the best file that keeps the limits when it is asked once more: a measured latency may have been luck."""
        while len(self.taken) > 1:
            again = self.limits.told(self.best.tflite)
            if not (why := self.limits.broken(self.best.tflite, again)):
                return dataclasses.replace(self.best, latency_ms=again)
            last = max(number for number, one in enumerate(self.tried) if one.taken)
            self.tried[last] = dataclasses.replace(self.tried[last], taken=False, why=f"measured again: {why}")
            self.taken.pop()
        return self.best

    def _raised(self, spec: ExportSpec, ops: tuple[str, ...], precision: str) -> tuple[_File | None, str]:
        kept = {*spec.keep_float, *spec.keep_16x8}
        added = tuple(op for op in ops if op not in kept)
        if precision == "float":
            spec = dataclasses.replace(spec, keep_float=(*spec.keep_float, *added))
        else:
            spec = dataclasses.replace(spec, keep_16x8=(*spec.keep_16x8, *added))
        try:
            return self._make(spec), ""
        except InputError as error:
            return None, str(error)

    def _make(self, spec: ExportSpec) -> _File:
        tflite = self.post.quantize(spec)
        # It is run, so that a file that the runtime refuses is never chosen.
        score = self.metric(TFLitePredictor(tflite))
        return _File(spec, tflite, score, self.limits.told(tflite))

    def _note(
        self, layer: str, ops: tuple[str, ...], precision: str, phase: str, file: _File | None, taken: bool, why: str
    ) -> None:
        self.tried.append(
            Tried(
                layer, ops, precision, phase,
                score=file.score if file else None,
                size_bytes=len(file.tflite) if file else None,
                latency_ms=file.latency_ms if file else None,
                taken=taken,
                why=why,
            )
        )  # fmt: skip
