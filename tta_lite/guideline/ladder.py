"""Figure 9 of the guideline: which step next, is it kept, are we done? The order, the verdicts, the stop, the resume.

How a network is built, trained, exported and timed is the business of a `Bench`; here is only what is decided from what
it measures. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tta_lite.guideline import budget as budgets
from tta_lite.guideline.reasons import (
    Reason,
    Said,
    fault_of,
    from_plain,
    reason,
    said_in,
    sentence,
    spoken,
    to_details,
    to_plain,
    with_said,
)  # fmt: skip
from tta_lite.measure.benchmark import Comparison, Speedup
from tta_lite.types import Budget, Candidate, InputError, LedgerEntry, Report, Verdict

START = "none"
# Two settings whose distances to the budget differ by less are told apart by their accuracy.
AS_NEAR = 0.05


@dataclasses.dataclass(frozen=True)
class Trial:
    """One setting of a step.

    Attributes:
      name: unique within its step.
      what: what it is, for people; a reason can be said in other languages too.
      make: -> the network, not trained yet.
      epochs: of training that it needs; 0: none.
      rate: the learning rate as a share of the one that the run was given.
      sparsity: of the pruning schedule that it is trained on; None: no pruning.
      ahead: trials with a higher one are tried first among those that can come to the budget, whatever their size.
      outline: -> a network of the same cost as the trained one, where that hangs on the values of the weights.
    """

    name: str
    what: Said
    make: Callable[[], Candidate]
    epochs: int = 0
    rate: float = 1.0
    sparsity: float | None = None
    ahead: int = 0
    outline: Callable[[], Candidate] | None = None

    @property
    def label(self) -> str:
        """What it is, in English."""
        return spoken(self.what)


@dataclasses.dataclass(frozen=True)
class State:
    """Where a run is.

    Attributes:
      budget: what must be kept.
      candidate: the network that stands.
      current: the row that it comes from.
      entries: all rows so far, in order.
    """

    budget: Budget
    candidate: Candidate
    current: str
    entries: Mapping[str, LedgerEntry]

    @property
    def floor(self) -> float:
        """The least accuracy that is allowed: from the first row, so that small losses cannot creep."""
        return (self.entries[START].report.accuracy or 0.0) - self.budget.max_accuracy_drop

    @property
    def report(self) -> Report:
        """What was measured of the network that stands."""
        return self.entries[self.current].report

    def broken(self) -> list[str]:
        """-> the limits that are not kept, the worst first."""
        return budgets.broken(budgets.ratios(self.report, self.budget))


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of the guideline.

    Attributes:
      name: of its row.
      clause: of the guideline.
      gate: -> why it is not taken here; nothing: it is tried.
      trials: -> the settings to try; an `InputError` says that there is none.
      later: kind of limit -> by how much the steps after this one may still divide what is measured.
    """

    name: str
    clause: str
    gate: Callable[[State], Sequence[Reason]]
    trials: Callable[[State], Sequence[Trial]]
    later: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Sketch:
    """What a trial costs before it is trained: its report without an accuracy, or why it cannot be used."""

    report: Report = dataclasses.field(default_factory=Report)
    fault: Said = ""


class Bench(Protocol):
    """Builds, trains, exports, scores and times. What it has finished it keeps, so that a killed run can go on."""

    def start(self) -> LedgerEntry:
        """The unmodified network, exported and scored; not timed."""

    def load(self, row: str) -> Candidate:
        """The network of a row that was taken."""

    def file(self, row: str, trial: str | None = None) -> Path:
        """The ``.tflite`` file of a row, or of one of its trials."""

    def sketch(self, row: str, trial: Trial) -> Sketch:
        """Builds and exports a trial, not trained."""

    def finish(self, row: str, trial: str) -> LedgerEntry:
        """Trains a sketched trial if it needs that, exports and scores it; not timed. Details: ``fault``."""

    def keep(self, row: str, trial: str) -> None:
        """The trial becomes the row; the other trials are of no more use."""

    def compare(self, files: Mapping[str, Path]) -> Comparison:
        """Times files in turn."""

    def timing(self) -> Mapping[str, Any]:
        """The rules by which files are timed."""

    def recall(self, row: str) -> dict[str, Any] | None:
        """What was remembered of a row."""

    def remember(self, row: str, record: Mapping[str, Any]) -> None:
        """Keeps what a killed run needs to go on within a row."""

    def tidy(self, row: str) -> None:
        """The row is in the ledger: what only its trials needed can go."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      entries: one a row, the unmodified network first.
      chosen: the row that stands: it meets the budget, or comes nearest to it.
      met: whether the budget is met.
      state: for whoever gives advice.
    """

    entries: tuple[LedgerEntry, ...]
    chosen: str
    met: bool
    state: State


def climb(
    steps: Sequence[Step],
    bench: Bench,
    budget: Budget,
    *,
    read: Callable[[], Sequence[LedgerEntry]],
    keep: Callable[[Sequence[LedgerEntry]], None],
    promising: int = 2,
    write: Callable[[str], object] = print,
) -> Outcome:
    """Takes step after step until the budget is met or no step is left.

    Args:
      steps: in the guideline's order.
      bench: does the work.
      budget: the limits.
      read: -> the entries that an earlier call has kept.
      keep: keeps the entries so far.
      promising: how many settings of a step are trained at most.
      write: where progress goes.

    Raises:
      InputError: something that is limited cannot be measured, or the bench raises one.
    """
    entries = {entry.name: entry for entry in read()}
    rows = (START, *(step.name for step in steps))
    if START not in entries:
        write(f"[1/{len(rows)}] {START}")
        first = bench.start()
        entries[START] = _timed({START: first}, {START: bench.file(START)}, bench, budget)[START]
        keep(list(entries.values()))
    current = [row for row in rows if row in entries and entries[row].verdict is Verdict.TAKEN][-1]
    state = State(budget, bench.load(current), current, entries)
    for place, step in enumerate(steps, start=2):
        title = f"[{place}/{len(rows)}] {step.name}"
        if step.name in entries:
            write(f"{title}: finished before ({entries[step.name].verdict.value})")
            bench.tidy(step.name)
            continue
        over = budgets.ratios(state.report, budget)
        why = list(step.gate(state))
        if not budgets.broken(over):
            why.insert(0, reason("met", row=state.current, standing=budgets.standings(state.report, budget)))
        if why:
            entries[step.name] = _entry(step, Verdict.SKIPPED, why, Report(), 0.0)
        else:
            write(f"{title}: {budgets.standing(state.report, budget)}")
            entries.update(_tried(step, state, bench, promising, title, write))
            if entries[step.name].verdict is Verdict.TAKEN:
                state = dataclasses.replace(state, candidate=bench.load(step.name), current=step.name)
        write(f"{title}: {entries[step.name].verdict.value}. {entries[step.name].why}")
        keep(list(entries.values()))
        bench.tidy(step.name)
    met = not budgets.broken(budgets.ratios(state.report, budget))
    return Outcome(tuple(entries.values()), state.current, met, state)


def _tried(
    step: Step, state: State, bench: Bench, promising: int, title: str, write: Callable[[str], object]
) -> dict[str, LedgerEntry]:
    """-> the rows with the new one, all with the latencies of one comparison."""
    began = time.monotonic()
    record = bench.recall(step.name)
    if record is None:
        try:
            trials = list(step.trials(state))
        except InputError as error:
            fault = reason("all_faulty", count=1, fault=fault_of(error))
            return {step.name: _entry(step, Verdict.SKIPPED, [fault], Report(), time.monotonic() - began)}
        record = _outlook(step, trials, state, bench, promising, title, write)
        record["seconds"] = time.monotonic() - began
        bench.remember(step.name, record)
    else:
        began -= record["seconds"]
    tried = record["trials"]
    chosen = [one["name"] for one in tried if one["status"] == "promising"]
    finished: dict[str, LedgerEntry] = {}
    for number, name in enumerate(chosen, start=1):
        write(f"{title}: {name} ({number} of {len(chosen)} promising)")
        finished[name] = bench.finish(step.name, name)
    if not finished:
        verdict, why = _nothing(tried)
        return {step.name: _entry(step, verdict, why, Report(), time.monotonic() - began, {"trials": tried})}
    return _judged(step, state, bench, tried, finished, began)


def _outlook(
    step: Step,
    trials: Sequence[Trial],
    state: State,
    bench: Bench,
    promising: int,
    title: str,
    write: Callable[[str], object],
) -> dict[str, Any]:
    """The cheap measure: what each trial costs untrained, and which of them are worth more."""
    records: dict[str, dict[str, Any]] = {}
    sketches: dict[str, Sketch] = {}
    for number, trial in enumerate(trials, start=1):
        label = with_said("label", trial.what)
        write(f"{title}: {trial.label} ({number} of {len(trials)})")
        sketch = bench.sketch(step.name, trial)
        status = "cannot be used" if sketch.fault else "no gain"
        records[trial.name] = {"name": trial.name, **label, "status": status, **with_said("why", sketch.fault)}
        if not sketch.fault:
            sketches[trial.name] = sketch
    if sketches:
        files = {START: bench.file(START), state.current: bench.file(state.current)}
        files |= {_key(name): bench.file(step.name, name) for name in sketches}
        comparison = bench.compare(files)
        before = _over(state.report, state.current, comparison, state.budget)
        to_start, to_current = comparison.speedups(START), comparison.speedups(state.current)
        ahead = {trial.name: trial.ahead for trial in trials}
        near: list[tuple[float, int, int, str]] = []
        for name, sketch in sketches.items():
            after = _over(sketch.report, _key(name), comparison, state.budget)
            report = dataclasses.replace(sketch.report, **comparison[_key(name)].report_fields())
            records[name] |= {
                "report": report.to_json(),
                "speedup": dataclasses.asdict(to_start[_key(name)]),
                "gains": to_plain(_gains(before, after, to_current[_key(name)])),
                "distance": budgets.distance(after),
            }
            if budgets.is_nearer(before, after, to_current[_key(name)].min):
                # Accuracy is not known yet. Of those that can come to the budget with what later steps may bring, the
                # one that can hold most is tried first.
                end = _end(step, after)
                near.append((end, -ahead[name], -(sketch.report.macs or 0), name))
        for place, (*_, name) in enumerate(sorted(near)):
            records[name]["status"] = "promising" if place < promising else "not tried further"
    return {"trials": list(records.values())}


def _nothing(tried: Sequence[Mapping[str, Any]]) -> tuple[Verdict, list[Reason]]:
    """No setting was promising."""
    usable = [one for one in tried if one["status"] != "cannot be used"]
    if not usable:
        return Verdict.SKIPPED, [
            reason("all_faulty", count=len(tried), fault=said_in(tried[0], "why") if tried else "-")
        ]
    best = min(usable, key=lambda one: one["distance"])
    gains = from_plain(best["gains"])
    return Verdict.NO_GAIN, [reason("no_gain", label=said_in(best, "label"), count=len(usable), gains=gains)]


def _judged(
    step: Step,
    state: State,
    bench: Bench,
    tried: Sequence[Mapping[str, Any]],
    finished: Mapping[str, LedgerEntry],
    began: float,
) -> dict[str, LedgerEntry]:
    """Times what was finished together with all rows, and chooses."""
    files = {name: bench.file(name) for name, entry in state.entries.items() if entry.report.size_bytes is not None}
    usable = {name: entry for name, entry in finished.items() if not entry.details.get("fault")}
    files |= {_key(name): bench.file(step.name, name) for name in usable}
    comparison = bench.compare(files)
    before = _over(state.report, state.current, comparison, state.budget)
    speedups = comparison.speedups(state.current)
    judged: dict[str, tuple[Verdict, list[Reason], float, LedgerEntry]] = {}
    for name, entry in finished.items():
        label = said_in(entry.details, "label") or name
        if name not in usable:
            why = [reason("no_numbers", label=label, fault=entry.details["fault"])]
            judged[name] = (Verdict.TOO_LOSSY, why, math.inf, entry)
            continue
        after = _over(entry.report, _key(name), comparison, state.budget)
        speedup = speedups[_key(name)]
        gains = _gains(before, after, speedup)
        # Written so that NaN is refused.
        if not (entry.report.accuracy or 0.0) >= state.floor:
            verdict = Verdict.TOO_LOSSY
        elif not budgets.is_nearer(before, after, speedup.min):
            verdict = Verdict.NO_GAIN
        else:
            verdict = Verdict.TAKEN
        report = dataclasses.replace(entry.report, **comparison[_key(name)].report_fields())
        why = [_said(verdict, label, gains, report, state, len(finished))]
        judged[name] = (verdict, why, _end(step, after), dataclasses.replace(entry, report=report))
    name = _best(judged)
    verdict, why, _, entry = judged[name]
    statuses = {name: one[0].value for name, one in judged.items()}
    reports = {name: one[3].report.to_json() for name, one in judged.items()}
    whys = {name: sentence(one[1]) for name, one in judged.items()}
    details = {
        **entry.details,
        "trial": name,
        "against": state.current,
        "trials": [
            {**one, "status": statuses[one["name"]], "why": whys[one["name"]], "report": reports[one["name"]]}
            if one["name"] in judged
            else dict(one)
            for one in tried
        ],
    }
    row = _entry(step, verdict, why, entry.report, time.monotonic() - began, details)
    if not entry.details.get("fault"):
        bench.keep(step.name, name)
    rows = {**state.entries, step.name: row}
    return _with_latencies(rows, comparison, {step.name: _key(name)}, bench.timing(), state.budget)


def _best(judged: Mapping[str, tuple[Verdict, list[Reason], float, LedgerEntry]]) -> str:
    """-> the trial that becomes the row: one that is taken, else one that was only without gain, else the best."""
    for wanted in (Verdict.TAKEN, Verdict.NO_GAIN, Verdict.TOO_LOSSY):
        group = {name: one for name, one in judged.items() if one[0] is wanted}
        if group:
            break
    nearest = min(one[2] for one in group.values())
    near = [name for name, one in group.items() if one[2] <= nearest + AS_NEAR]
    return max(near, key=lambda name: _number(group[name][3].report.accuracy))


def _end(step: Step, over: Mapping[str, float]) -> float:
    """-> how far the budget will be after the last step, if the later ones bring what they may."""
    return budgets.distance({key: ratio / step.later.get(key, 1.0) for key, ratio in over.items()})


def _number(accuracy: float | None) -> float:
    return -1.0 if accuracy is None or math.isnan(accuracy) else accuracy


def _said(verdict: Verdict, label: Said, gains: Said, report: Report, state: State, count: int) -> Reason:
    values = {"label": label, "gains": gains, "count": str(count), "metric": report.metric or reason("what_accuracy")}
    if verdict is Verdict.NO_GAIN:
        return reason("no_gain", **values)
    first = state.entries[START].report.accuracy or 0.0
    values |= {
        "accuracy": _accuracy_text(report),
        "floor": f"{state.floor:.1f}",
        "first": f"{first:.1f}",
        "drop": f"{state.budget.max_accuracy_drop:g}",
    }
    if verdict is Verdict.TAKEN:
        values["standing"] = budgets.standings(report, state.budget)
    return reason(verdict.value.replace(" ", "_"), **values)


def _accuracy_text(report: Report) -> Said:
    if report.accuracy_interval is None:
        return f"{report.accuracy:.1f}"
    low, high = report.accuracy_interval
    return reason("accuracy_interval", accuracy=f"{report.accuracy:.1f}", low=f"{low:.1f}", high=f"{high:.1f}")


def _gains(before: Mapping[str, float], after: Mapping[str, float], speedup: Speedup) -> tuple[Reason, ...]:
    """-> what changed on the limited quantities, for people."""
    parts = []
    for key, ratio in after.items():
        what = budgets.name(key)
        if key == "latency":
            figures = {"median": speedup.median, "least": speedup.min, "most": speedup.max}
            texts = {gap: f"{value:.2f}" for gap, value in figures.items()}
            parts.append(reason("gain_latency", what=what, rounds=speedup.rounds, **texts))
        else:
            parts.append(reason("gain", what=what, times=f"{before[key] / ratio:.2f}"))
    return tuple(parts)


def _over(report: Report, name: str, comparison: Comparison, budget: Budget) -> dict[str, float]:
    return budgets.ratios(dataclasses.replace(report, **comparison[name].report_fields()), budget)


def _key(trial: str) -> str:
    # A trial may bear the name of a row.
    return f"trial {trial}"


def _timed(
    rows: Mapping[str, LedgerEntry], files: Mapping[str, Path], bench: Bench, budget: Budget
) -> dict[str, LedgerEntry]:
    said = {"why": to_details([reason("start", standing="")])}
    rows = {name: dataclasses.replace(entry, details={**entry.details, **said}) for name, entry in rows.items()}
    return _with_latencies(rows, bench.compare(files), {}, bench.timing(), budget)


def _with_latencies(
    rows: Mapping[str, LedgerEntry],
    comparison: Comparison,
    keys: Mapping[str, str],
    rules: Mapping[str, Any],
    budget: Budget,
) -> dict[str, LedgerEntry]:
    """Only figures of one comparison may be divided by one another: all rows get theirs from the same one.

    So do the sentences that speak of them.
    """
    speedups = comparison.speedups(START)
    timing = {"at": datetime.datetime.now(datetime.timezone.utc).isoformat(), **rules}
    result = {}
    for name, entry in rows.items():
        key = keys.get(name, name)
        if key in comparison:
            details = {
                **entry.details,
                "speedup": {"over": START, **dataclasses.asdict(speedups[key])},
                "timing": timing,
            }
            report = dataclasses.replace(entry.report, **comparison[key].report_fields())
            entry = dataclasses.replace(entry, report=report, details=details)
        result[name] = entry
    for name, entry in result.items():
        if (key := keys.get(name, name)) in comparison:
            against = entry.details.get("against", START)
            before, after = (budgets.ratios(result[row].report, budget) for row in (against, name))
            fresh: dict[str, Said] = {
                "standing": budgets.standings(entry.report, budget),
                "gains": _gains(before, after, comparison.speedups(against)[key]),
            }
            why = [_with_values(Reason.from_json(one), fresh) for one in entry.details["why"]]
            result[name] = dataclasses.replace(
                entry, why=sentence(why), details={**entry.details, "why": to_details(why)}
            )
    return result


def _with_values(said: Reason, fresh: Mapping[str, Said]) -> Reason:
    return Reason(said.code, {gap: fresh.get(gap, value) for gap, value in said.values.items()})


def _entry(
    step: Step,
    verdict: Verdict,
    why: Sequence[Reason],
    report: Report,
    seconds: float,
    details: Mapping[str, Any] | None = None,
) -> LedgerEntry:
    said = {**(details or {}), "why": to_details(why)}
    return LedgerEntry(step.name, step.clause, verdict, sentence(why), report, seconds, said)
