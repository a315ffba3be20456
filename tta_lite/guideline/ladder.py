"""Figure 9 of the guideline: which step next, is it kept, are we done? The order, the verdicts, the stop, the resume.

How a network is built, trained, exported and timed is the business of a `Bench`; here is only what is decided from what
it measures. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.guideline import budget as budgets
from tta_lite.guideline.bench import START, Bench, Outcome, Sketch, State, Step, Trial
from tta_lite.guideline.figures import entry_of, gains, judgement, with_latencies
from tta_lite.guideline.progress import RowBegan, RowFinished, Tell, TrialBegan, untold
from tta_lite.guideline.reasons import (
    Reason,
    fault_of,
    from_plain,
    reason,
    said_in,
    sentence,
    to_details,
    to_plain,
    with_said,
)  # fmt: skip
from tta_lite.measure.benchmark import Comparison
from tta_lite.types import Budget, InputError, LedgerEntry, Report, Verdict

# Two settings whose distances to the budget differ by less are told apart by their accuracy, and two whose accuracy
# differs by fewer points by what they cost.
AS_NEAR = 0.05
AS_ACCURATE = 0.5
# One that starts ahead is tried first if it is further by a factor of two at most.
HEAD_START = math.log(2)
NOT_CHOSEN = "not chosen"


def climb(
    steps: Sequence[Step],
    bench: Bench,
    budget: Budget,
    *,
    read: Callable[[], Sequence[LedgerEntry]],
    keep: Callable[[Sequence[LedgerEntry]], None],
    promising: int = 2,
    write: Callable[[str], object] = print,
    tell: Tell = untold,
) -> Outcome:
    """Takes step after step until the budget is met or no step is left.

    Args:
      steps: in the guideline's order.
      bench: does the work.
      budget: the limits.
      read: -> the entries that an earlier call has kept.
      keep: keeps the entries so far.
      promising: how many settings of a step are trained at most.
      write: where progress goes,
      tell: and the same as records.

    Raises:
      InputError: something that is limited cannot be measured, or the bench raises one.
    """
    entries = {entry.name: entry for entry in read()}
    rows = (START, *(step.name for step in steps))
    old = START in entries
    if not old:
        write(f"[1/{len(rows)}] {START}")
        tell(RowBegan(START, 1, len(rows)))
        first = bench.start()
        entries[START] = _timed({START: first}, {START: bench.file(START)}, bench, budget)[START]
        keep(list(entries.values()))
    tell(RowFinished(entries[START], before=old))
    current = [row for row in rows if row in entries and entries[row].verdict is Verdict.TAKEN][-1]
    state = State(budget, bench.load(current), current, entries)
    for place, step in enumerate(steps, start=2):
        title = f"[{place}/{len(rows)}] {step.name}"
        if step.name in entries:
            write(f"{title}: finished before ({entries[step.name].verdict.value})")
            bench.tidy(step.name)
            tell(RowFinished(entries[step.name], before=True))
            continue
        over = budgets.ratios(state.report, budget)
        why = list(step.gate(state))
        if not budgets.broken(over):
            why.insert(0, reason("met", row=state.current, standing=budgets.standings(state.report, budget)))
        if why:
            entries[step.name] = entry_of(step, Verdict.SKIPPED, why, Report(), 0.0)
        else:
            write(f"{title}: {budgets.standing(state.report, budget)}")
            tell(RowBegan(step.name, place, len(rows)))
            entries.update(_tried(step, state, bench, promising, title, write, tell))
            if entries[step.name].verdict is Verdict.TAKEN:
                state = dataclasses.replace(state, candidate=bench.load(step.name), current=step.name)
        write(f"{title}: {entries[step.name].verdict.value}. {entries[step.name].why}")
        keep(list(entries.values()))
        bench.tidy(step.name)
        tell(RowFinished(entries[step.name]))
    met = not budgets.broken(budgets.ratios(state.report, budget))
    return Outcome(tuple(entries.values()), state.current, met, state)


def _tried(
    step: Step, state: State, bench: Bench, promising: int, title: str, write: Callable[[str], object], tell: Tell
) -> dict[str, LedgerEntry]:
    """-> the rows with the new one, all with the latencies of one comparison."""
    began = time.monotonic()
    record = bench.recall(step.name)
    if record is None:
        try:
            trials = list(step.trials(state))
        except InputError as error:
            fault = reason("all_faulty", count=1, fault=fault_of(error))
            return {step.name: entry_of(step, Verdict.SKIPPED, [fault], Report(), time.monotonic() - began)}
        record = _outlook(step, trials, state, bench, promising, title, write, tell)
        record["seconds"] = time.monotonic() - began
        bench.remember(step.name, record)
    else:
        began -= record["seconds"]
    tried = record["trials"]
    chosen = {one["name"]: one["label"] for one in tried if one["status"] == "promising"}
    finished: dict[str, LedgerEntry] = {}
    for number, (name, label) in enumerate(chosen.items(), start=1):
        write(f"{title}: {name} ({number} of {len(chosen)} promising)")
        tell(TrialBegan(label, number, len(chosen), promising=True))
        finished[name] = bench.finish(step.name, name)
    _rescue(step, state, bench, record, finished, title, write, tell)
    if not finished:
        verdict, why = _nothing(tried)
        return {step.name: entry_of(step, verdict, why, Report(), time.monotonic() - began, {"trials": tried})}
    return _judged(step, state, bench, tried, finished, began)


def _rescue(
    step: Step,
    state: State,
    bench: Bench,
    record: dict[str, Any],
    finished: dict[str, LedgerEntry],
    title: str,
    write: Callable[[str], object],
    tell: Tell,
) -> None:
    """Tries the rescues of settings that lost too much, until one does not, and adds them to what is finished."""
    tried = {one["name"]: one for one in record["trials"]}
    lossy = [name for name, entry in finished.items() if not _keeps_floor(entry, state)]
    if not lossy or any(tried[name]["distance"] == 0 for name in finished if name not in lossy):
        return
    known = {trial.name: trial for trial in step.trials(state)}
    for rescue in (rescue for name in lossy if name in known for rescue in known[name].rescues):
        if rescue.name not in tried:
            found = _outlook(step, [rescue], state, bench, 1, title, write, tell)["trials"][0]
            tried[rescue.name] = found
            record["trials"].append(found)
            bench.remember(step.name, record)
        if tried[rescue.name]["status"] != "promising":
            continue
        if rescue.name not in finished:
            write(f"{title}: {rescue.name}, for what was tried before loses too much")
            tell(TrialBegan(rescue.label, 1, 1, promising=True))
            try:
                finished[rescue.name] = bench.finish(step.name, rescue.name)
            except InputError as error:
                # One that fails is no reason to lose what was found before.
                tried[rescue.name] |= {"status": "cannot be used", **with_said("why", fault_of(error))}
                bench.remember(step.name, record)
                continue
        if _keeps_floor(finished[rescue.name], state):
            return


def _keeps_floor(entry: LedgerEntry, state: State) -> bool:
    # Written so that NaN is refused.
    return not entry.details.get("fault") and (entry.report.accuracy or 0.0) >= state.floor


def _outlook(
    step: Step,
    trials: Sequence[Trial],
    state: State,
    bench: Bench,
    promising: int,
    title: str,
    write: Callable[[str], object],
    tell: Tell,
) -> dict[str, Any]:
    """The cheap measure: what each trial costs untrained, and which of them are worth more."""
    records: dict[str, dict[str, Any]] = {}
    sketches: dict[str, Sketch] = {}
    for number, trial in enumerate(trials, start=1):
        label = with_said("label", trial.what)
        write(f"{title}: {trial.label} ({number} of {len(trials)})")
        tell(TrialBegan(trial.label, number, len(trials), promising=False))
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
        near: list[tuple[float, int, int, float, str]] = []
        for name, sketch in sketches.items():
            after = _over(sketch.report, _key(name), comparison, state.budget)
            report = dataclasses.replace(sketch.report, **comparison[_key(name)].report_fields())
            records[name] |= {
                "report": report.to_json(),
                "speedup": dataclasses.asdict(to_start[_key(name)]),
                "gains": to_plain(gains(before, after, to_current[_key(name)])),
                "distance": budgets.distance(after),
            }
            if budgets.is_nearer(before, after, to_current[_key(name)].min):
                # Accuracy is not known yet. Of those that can come to the budget with what later steps may bring, the
                # one that can hold most is tried first; of those that hold as much, the cheapest.
                near.append((_end(step, after), -ahead[name], -(sketch.report.macs or 0), _cost(after), name))
        nearest = min((end for end, *_ in near), default=0.0)
        near.sort(key=lambda one: (one[1] if one[0] <= nearest + HEAD_START else 0, *one))
        for place, (*_, name) in enumerate(near):
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
    gained = from_plain(best["gains"])
    return Verdict.NO_GAIN, [reason("no_gain", label=said_in(best, "label"), count=len(usable), gains=gained)]


@dataclasses.dataclass(frozen=True)
class _Judged:
    """A trial that was finished.

    Attributes:
      verdict: on it.
      why: the reasons.
      end: how far the budget will be after the last step, if the later ones bring what they may.
      cost: see `_cost`.
      entry: its row.
    """

    verdict: Verdict
    why: list[Reason]
    end: float
    cost: float
    entry: LedgerEntry


def _judged(
    step: Step,
    state: State,
    bench: Bench,
    tried: Sequence[Mapping[str, Any]],
    finished: Mapping[str, LedgerEntry],
    began: float,
) -> dict[str, LedgerEntry]:
    """Times what was finished together with all rows, and chooses."""
    # What was not the same function as its network has left no file, and was never timed.
    files = {name: bench.file(name) for name, entry in state.entries.items() if entry.report.latency_ms is not None}
    usable = {name: entry for name, entry in finished.items() if not entry.details.get("fault")}
    files |= {_key(name): bench.file(step.name, name) for name in usable}
    comparison = bench.compare(files)
    before = _over(state.report, state.current, comparison, state.budget)
    speedups = comparison.speedups(state.current)
    judged: dict[str, _Judged] = {}
    for name, entry in finished.items():
        label = said_in(entry.details, "label") or name
        if name not in usable:
            why = [reason("no_numbers", label=label, fault=entry.details["fault"])]
            judged[name] = _Judged(Verdict.TOO_LOSSY, why, math.inf, math.inf, entry)
            continue
        after = _over(entry.report, _key(name), comparison, state.budget)
        speedup = speedups[_key(name)]
        gained = gains(before, after, speedup)
        if not _keeps_floor(entry, state):
            verdict = Verdict.TOO_LOSSY
        elif not budgets.is_nearer(before, after, speedup.min):
            verdict = Verdict.NO_GAIN
        else:
            verdict = Verdict.TAKEN
        report = dataclasses.replace(entry.report, **comparison[_key(name)].report_fields())
        why = [judgement(verdict, label, gained, report, state, len(finished))]
        judged[name] = _Judged(verdict, why, _end(step, after), _cost(after), dataclasses.replace(entry, report=report))
    name = _best(judged)
    verdict, why, entry = judged[name].verdict, judged[name].why, judged[name].entry
    statuses = {name: one.verdict.value for name, one in judged.items()}
    statuses |= {other: NOT_CHOSEN for other, one in judged.items() if other != name and one.verdict is Verdict.TAKEN}
    reports = {one["name"]: _of_its_step(one, judged) for one in tried if one["name"] in judged}
    whys = {name: sentence(one.why) for name, one in judged.items()}
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
    row = entry_of(step, verdict, why, entry.report, time.monotonic() - began, details)
    if not entry.details.get("fault"):
        bench.keep(step.name, name)
    rows = {**state.entries, step.name: row}
    return with_latencies(rows, comparison, {step.name: _key(name)}, bench.timing(), state.budget)


def _of_its_step(one: Mapping[str, Any], judged: Mapping[str, _Judged]) -> dict[str, Any]:
    """-> the report of a finished setting, but timed in the one comparison of all settings of its step."""
    entry = judged[one["name"]].entry
    timed = ("latency_ms", "init_s", "peak_memory_bytes", "measured_on")
    return {**entry.report.to_json(), **{name: one["report"][name] for name in timed}}


def _best(judged: Mapping[str, _Judged]) -> str:
    """-> the trial that becomes the row: one that is taken, else one that was only without gain, else the best."""
    for wanted in (Verdict.TAKEN, Verdict.NO_GAIN, Verdict.TOO_LOSSY):
        group = {name: one for name, one in judged.items() if one.verdict is wanted}
        if group:
            break
    nearest = min(one.end for one in group.values())
    near = {name: one for name, one in group.items() if one.end <= nearest + AS_NEAR}
    most = max(_number(one.entry.report.accuracy) for one in near.values())
    accurate = [name for name, one in near.items() if _number(one.entry.report.accuracy) >= most - AS_ACCURATE]
    return min(accurate, key=lambda name: near[name].cost)


def _end(step: Step, over: Mapping[str, float]) -> float:
    """-> how far the budget will be after the last step, if the later ones bring what they may."""
    return budgets.distance({key: ratio / step.later.get(key, 1.0) for key, ratio in over.items()})


def _cost(over: Mapping[str, float]) -> float:
    """-> the sum of the logarithms of what was measured over what is allowed, also of what lies below."""
    return sum(math.log(ratio) for ratio in over.values())


def _number(accuracy: float | None) -> float:
    return -1.0 if accuracy is None or math.isnan(accuracy) else accuracy


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
    return with_latencies(rows, bench.compare(files), {}, bench.timing(), budget)
