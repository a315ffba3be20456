"""A bench whose measurements are made up: ladders of any kind in a blink."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.guideline.bench import START, Outcome, Sketch, Step, Trial
from tta_lite.guideline.ladder import climb
from tta_lite.guideline.progress import Tell, untold
from tta_lite.guideline.reasons import Reason
from tta_lite.measure.benchmark import Benchmark, Comparison
from tta_lite.types import Budget, Candidate, InputError, Latency, LedgerEntry, MeasuredOn, Report, Verdict

HERE = MeasuredOn("this machine", "none", "none", 1, "made up")
ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class Figures:
    """What a network measures: milliseconds, KiB, MiB, points; `spread` is the share by which rounds differ."""

    ms: float = 100.0
    kib: float = 1000.0
    accuracy: float = 80.0
    mib: float = 50.0
    zip_kib: float | None = None
    macs: int = 100
    spread: float = 0.0
    fault: str = ""
    lost: str = ""


class MadeUpBench:
    """Keeps what it did in `log`, and raises `KilledError` before the call whose number is `kill_at`."""

    def __init__(self, start: Figures, trials: Mapping[tuple[str, str], Figures], kill_at: int | None = None):
        self.figures = {(START, START): start, **trials}
        self.kept: dict[str, str] = {START: START}
        self.records: dict[str, Any] = {}
        self.finished: dict[tuple[str, str], LedgerEntry] = {}
        self.log: list[str] = []
        self.calls = 0
        self.kill_at = kill_at

    def _call(self, what: str) -> None:
        self.calls += 1
        if self.kill_at is not None and self.calls >= self.kill_at:
            raise KilledError(what)
        self.log.append(what)

    def start(self) -> LedgerEntry:
        self._call("start")
        return self._entry(START, START)

    def load(self, row: str) -> Candidate:
        return Candidate(None, trail=(row,))  # type: ignore[arg-type]

    def file(self, row: str, trial: str | None = None) -> Path:
        return Path(row, self.kept[row] if trial is None else trial)

    def sketch(self, row: str, trial: Trial) -> Sketch:
        self._call(f"sketch {row} {trial.name}")
        found = self.figures[(row, trial.name)]
        entry = self._entry(row, trial.name)
        report = dataclasses.replace(entry.report, accuracy=None, metric=None, accuracy_interval=None)
        return Sketch(fault=found.fault) if found.fault else Sketch(report)

    def finish(self, row: str, trial: str) -> LedgerEntry:
        if (row, trial) not in self.finished:
            self._call(f"finish {row} {trial}")
            self.finished[(row, trial)] = self._entry(row, trial)
        return self.finished[(row, trial)]

    def keep(self, row: str, trial: str) -> None:
        self._call(f"keep {row} {trial}")
        self.kept[row] = trial

    def compare(self, files: Mapping[str, Path]) -> Comparison:
        self._call("compare")
        rounds, benchmarks = {}, {}
        for name, path in files.items():
            found = self.figures[(str(path.parent), path.name)]
            # The slowest round first for one file and last for another, so that noise does not cancel.
            order = range(ROUNDS) if len(name) % 2 else range(ROUNDS - 1, -1, -1)
            p50 = tuple(found.ms * (1 + found.spread * (place / (ROUNDS - 1) - 0.5)) for place in order)
            rounds[name] = p50
            latency = Latency(found.ms, found.ms, found.ms, min(p50), max(p50), 0.0, ROUNDS)
            benchmarks[name] = Benchmark(0.1, latency, int(found.mib * (1 << 20)), HERE)
        return Comparison(benchmarks, rounds)

    def timing(self) -> Mapping[str, Any]:
        return {"rounds": ROUNDS}

    def recall(self, row: str) -> dict[str, Any] | None:
        return self.records.get(row)

    def remember(self, row: str, record: Mapping[str, Any]) -> None:
        self._call(f"remember {row}")
        self.records[row] = dict(record)

    def tidy(self, row: str) -> None:
        self.records.pop(row, None)

    def _entry(self, row: str, trial: str) -> LedgerEntry:
        found = self.figures[(row, trial)]
        zipped = found.kib * 0.9 if found.zip_kib is None else found.zip_kib
        report = Report(
            accuracy=found.accuracy,
            metric="points",
            accuracy_interval=(max(found.accuracy - 1, 0), min(found.accuracy + 1, 100)),
            size_bytes=int(found.kib * 1024),
            zip_bytes=int(zipped * 1024),
            macs=found.macs,
            params=1000,
        )
        details = {"label": trial, **({"fault": found.lost} if found.lost else {})}
        return LedgerEntry(row, "", Verdict.TAKEN, "", report, 1.0, details)


class KilledError(Exception):
    """The power went."""


class Ledger:
    """What a run folder keeps."""

    def __init__(self) -> None:
        self.entries: list[LedgerEntry] = []

    def keep(self, entries: Sequence[LedgerEntry]) -> None:
        # As JSON, so that what a real folder would lose is lost here too.
        self.entries = [LedgerEntry.from_json(entry.to_json()) for entry in entries]


def step(name: str, *trials: str, why: str = "", fault: str = "") -> Step:
    """-> a step with these trials; `why`: it is left out, `fault`: it has no setting to try."""

    def settings(state: Any) -> list[Trial]:
        if fault:
            raise InputError(fault)
        return [Trial(trial, trial, lambda: Candidate(None)) for trial in trials]  # type: ignore[arg-type]

    return Step(name, "6.1", lambda state: [Reason(why)] if why else [], settings)


def run(
    bench: MadeUpBench,
    steps: Sequence[Step],
    budget: Budget,
    ledger: Ledger | None = None,
    promising: int = 2,
    tell: Tell = untold,
) -> Outcome:
    """Climbs silently."""
    ledger = ledger or Ledger()
    return climb(
        steps,
        bench,
        budget,
        read=lambda: ledger.entries,
        keep=ledger.keep,
        promising=promising,
        write=lambda text: None,
        tell=tell,
    )
