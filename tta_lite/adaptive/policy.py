"""``policy.json``: the modes of an adaptive network, what each costs and what it reaches. Imports no TensorFlow.

A *stage* is something that runs: one signature of one file. A *mode* is a way to an answer: one stage; or several, one
after the other, with the thresholds that say when an answer is sure enough to stop. That is all that the kinds differ
in: the modes of a slimmable or elastic network, or one of several sizes, have a stage each; those of early exits and
cascades share their stages and differ in thresholds. Stages of early exits take the features of those before them.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tta_lite.adaptive.modes import CLOSE, IMAGE, Mode, Stage, check_text, is_number
from tta_lite.adaptive.sureness import SIGNALS
from tta_lite.files import atomic_write, to_json_text
from tta_lite.types import InputError

FORMAT = 1
POLICY = "policy.json"
# Those whose modes may run several stages come first.
STAGED = ("early_exit", "cascade")
KINDS = (*STAGED, "slimmable", "resolution", "elastic")
# Those whose modes may take pictures of several sizes, all made from the largest (`tta_lite.adaptive.pictures`).
RESIZED = ("resolution", "elastic")
# What an answer is: as the network gives it, or joints that are read from its heat maps (`tta_lite.tasks.joints`).
SCORES, HEAT_MAPS = "scores", "heat_maps"


@dataclasses.dataclass(frozen=True)
class Policy:
    """The modes of an adaptive network.

    Attributes:
      name: of the network.
      kind: one of `KINDS`.
      metric: what the accuracies are.
      stages: what can run.
      modes: the ways to an answer, in any order.
      latency_source: where the latencies come from: machine, runtime, threads; empty: there are none, costs are MACs.
      signal: how sure an answer is, one of `tta_lite.adaptive.sureness.SIGNALS`; None: no mode asks.
      logits: whether scores are not yet probabilities.
      answers: `SCORES` or `HEAT_MAPS`, of joints.

    Raises:
      InputError: something in it does not fit the rest.
    """

    name: str
    kind: str
    metric: str
    stages: tuple[Stage, ...]
    modes: tuple[Mode, ...]
    latency_source: str = ""
    signal: str | None = None
    logits: bool = False
    answers: str = SCORES

    def __post_init__(self) -> None:
        check_text("A policy's `name`", self.name)
        check_text("A policy's `metric`", self.metric)
        object.__setattr__(self, "stages", tuple(self.stages))
        object.__setattr__(self, "modes", tuple(self.modes))
        if self.kind not in KINDS:
            raise InputError(f"A policy's `kind` must be one of {', '.join(KINDS)}. Received: {self.kind!r}")
        if self.signal is not None and self.signal not in SIGNALS:
            raise InputError(f"A policy's `signal` must be one of {', '.join(SIGNALS)}. Received: {self.signal!r}")
        if type(self.logits) is not bool or not isinstance(self.latency_source, str):
            raise InputError(
                "A policy's `logits` must be true or false, its `latency_source` a text. "
                f"Received: {self.logits!r}, {self.latency_source!r}"
            )
        if self.answers not in (SCORES, HEAT_MAPS) or (self.answers == HEAT_MAPS and self.kind in STAGED):
            raise InputError(
                f"A policy's `answers` must be {SCORES}, or {HEAT_MAPS} where no mode asks how sure an answer is. "
                f"Received: {self.answers!r} of {self.kind}"
            )
        for what, records in (("stages", self.stages), ("modes", self.modes)):
            names = [record.name for record in records]
            if not names or len(set(names)) != len(names):
                raise InputError(f"A policy's `{what}` must be one or more with different names. Received: {names}")
        timed = [stage.name for stage in self.stages if stage.latency_ms is not None]
        if len(timed) not in (0, len(self.stages)) or bool(timed) != bool(self.latency_source):
            raise InputError(
                "Latencies must be there for all stages with a `latency_source`, or for none without one. "
                f"Received: {len(timed)} of {len(self.stages)}, source {self.latency_source!r}"
            )
        for mode in self.modes:
            self._check_mode(mode)

    def _check_mode(self, mode: Mode) -> None:
        if len(mode.stages) > 1 and (self.kind not in STAGED or self.signal is None):
            raise InputError(
                f"Mode {mode.name!r}: several stages need one of the kinds {', '.join(STAGED)} and a `signal`. "
                f"Received: {self.kind}, {self.signal}"
            )
        known, before = {stage.name: stage for stage in self.stages}, set[str]()
        for name in mode.stages:
            if name not in known:
                raise InputError(f"Mode {mode.name!r}: stages must be of {', '.join(known)}. Received: {name!r}")
            for taken in known[name].inputs.values():
                source, parted, _ = taken.partition("/")
                if taken != IMAGE and not (parted and source in before):
                    raise InputError(
                        f"Mode {mode.name!r}: stage {name!r} must take the {IMAGE} or outputs of stages that ran "
                        f"before it. Received: {taken!r}"
                    )
            before.add(name)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the largest picture that a stage takes."""
        return max((stage.image_shape for stage in self.stages if stage.image_shape is not None), key=math.prod)

    def stage(self, name: str) -> Stage:
        """-> the stage of that name."""
        return next(stage for stage in self.stages if stage.name == name)

    def mode(self, name: str) -> Mode:
        """-> the mode of that name.

        Raises:
          InputError: there is none.
        """
        for mode in self.modes:
            if mode.name == name:
                return mode
        raise InputError(f"A mode must be one of {', '.join(one.name for one in self.modes)}. Received: {name!r}")

    def macs(self, mode: Mode) -> float:
        """-> of one image, on average."""
        return sum(share * self.stage(name).macs for name, share in zip(mode.stages, mode.reached, strict=True))

    def latency_ms(self, mode: Mode) -> float | None:
        """-> of one image, on average; None: not measured."""
        if not self.latency_source:
            return None
        pairs = zip(mode.stages, mode.reached, strict=True)
        return sum(share * (self.stage(name).latency_ms or 0.0) for name, share in pairs)

    def worst_ms(self, mode: Mode) -> float | None:
        """-> of an image that goes through all stages of the mode; None: not measured."""
        if not self.latency_source:
            return None
        return sum(self.stage(name).latency_ms or 0.0 for name in mode.stages)

    def cost(self, mode: Mode) -> float:
        """-> what modes are ordered by: the mean latency in ms where it was measured, else the mean MACs."""
        latency_ms = self.latency_ms(mode)
        return self.macs(mode) if latency_ms is None else latency_ms

    def front(self) -> tuple[Mode, ...]:
        """-> the modes worth running, by rising cost: each is more accurate than all that cost less or as much."""
        chosen: list[Mode] = []
        for mode in sorted(self.modes, key=lambda one: (self.cost(one), -one.accuracy)):
            if not chosen or mode.accuracy > chosen[-1].accuracy:
                chosen.append(mode)
        return tuple(chosen)

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values; beside the attributes it says what each mode costs."""
        record = json.loads(to_json_text(dataclasses.asdict(self)))
        for told, mode in zip(record["modes"], self.modes, strict=True):
            told |= self._told(mode)
        return {"format": FORMAT, **record}

    def _told(self, mode: Mode) -> dict[str, float | None]:
        return {
            "macs": self.macs(mode), "latency_ms": self.latency_ms(mode), "worst_latency_ms": self.worst_ms(mode),
        }  # fmt: skip

    @classmethod
    def from_json(cls, record: Any) -> Policy:
        """The inverse of `to_json`.

        Raises:
          InputError: it is no policy, or one that contradicts itself.
        """
        if not isinstance(record, Mapping) or record.get("format") != FORMAT:
            given = record.get("format") if isinstance(record, Mapping) else type(record).__name__
            raise InputError(f"A policy must be a record of format {FORMAT}. Received: {given!r}")
        stages, modes = ((record.get(key) or []) for key in ("stages", "modes"))
        modes = [dict(_mapping("a mode", mode)) for mode in modes]
        told = [
            {key: mode.pop(key) for key in ("macs", "latency_ms", "worst_latency_ms") if key in mode} for mode in modes
        ]
        policy = _made(
            cls,
            {
                **{key: value for key, value in record.items() if key != "format"},
                "stages": tuple(_made(Stage, stage) for stage in stages),
                "modes": tuple(_made(Mode, mode) for mode in modes),
            },
        )
        for mode, figures in zip(policy.modes, told, strict=True):
            known = policy._told(mode)
            for key, value in figures.items():
                own = known[key]
                same = value is own if own is None else is_number(value) and math.isclose(value, own, rel_tol=CLOSE)
                if not same:
                    raise InputError(
                        f"Mode {mode.name!r}: `{key}` must be what its stages and shares give, {own}. "
                        f"Received: {value!r}"
                    )
        return policy


def write_policy(path: str | Path, policy: Policy) -> Path:
    """Writes it, whole or not at all; -> the path."""
    return atomic_write(path, to_json_text(policy.to_json(), indent=2) + "\n")


def read_policy(path: str | Path) -> Policy:
    """-> what `write_policy` wrote.

    Args:
      path: the file, or the folder that holds it.

    Raises:
      InputError: there is no such file, or it holds no policy.
    """
    place = Path(path)
    place = place / POLICY if place.is_dir() else place
    if not place.is_file():
        raise InputError(f"An adaptive network must be a folder with a {POLICY}. Received: {path}")
    try:
        record = json.loads(place.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{place} must hold JSON: {error}. Received: {place.stat().st_size} bytes") from error
    return Policy.from_json(record)


def _made(cls: Any, record: Any) -> Any:
    what = f"a {cls.__name__.lower()}"
    record = _mapping(what, record)
    fields = dataclasses.fields(cls)
    if unknown := sorted(set(record) - {field.name for field in fields}):
        raise InputError(f"{what[0].upper()}{what[1:]} holds keys this version does not know. Received: {unknown}")
    needed = {field.name for field in fields if field.default is dataclasses.MISSING}
    if lacking := sorted(needed - set(record)):
        raise InputError(f"{what[0].upper()}{what[1:]} lacks {', '.join(lacking)}. Received: {sorted(record)}")
    return cls(**record)


def _mapping(what: str, record: Any) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        raise InputError(f"In a policy {what} must be a record. Received: {record!r}")
    return record
