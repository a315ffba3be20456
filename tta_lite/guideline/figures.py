"""The figures of rows from one comparison, and the sentences that speak of them. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from tta_lite.guideline import budget as budgets
from tta_lite.guideline.bench import START, State, Step
from tta_lite.guideline.reasons import Reason, Said, reason, sentence, to_details
from tta_lite.measure.benchmark import Benchmark, Comparison, Speedup
from tta_lite.types import Budget, LedgerEntry, Report, Verdict


def judgement(verdict: Verdict, label: Said, gains: Said, report: Report, state: State, count: int) -> Reason:
    """-> the sentence on a trial that was finished.

    Args:
      verdict: on it.
      label: what it is.
      gains: see `gains`.
      report: what was measured of it.
      state: what it was compared with.
      count: how many were finished.
    """
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


def gains(before: Mapping[str, float], after: Mapping[str, float], speedup: Speedup) -> tuple[Reason, ...]:
    """-> what changed on the limited quantities, for people."""
    parts = []
    for key, ratio in after.items():
        what = budgets.name(key)
        if key == "latency":
            figures = {"median": speedup.median, "least": speedup.min, "most": speedup.max}
            texts = {gap: f"{value:.2f}" for gap, value in figures.items()}
            if speedup.rounds:
                parts.append(reason("gain_latency", what=what, rounds=speedup.rounds, **texts))
            else:
                parts.append(reason("gain_predicted", what=what, **texts))
        else:
            parts.append(reason("gain", what=what, times=f"{before[key] / ratio:.2f}"))
    return tuple(parts)


def conditions_details(timed: Benchmark) -> dict[str, Any]:
    """-> what a board said of its clocks and temperatures, and whether a clock moved; or what a prediction rests on."""
    if timed.predicted is not None:
        return {"predicted": dataclasses.asdict(timed.predicted)}
    found = timed.conditions
    if found is None or not (found.governors or found.khz or found.degrees):
        return {}
    return {"conditions": str(found), "clock_moved": ", ".join(map(str, found.moved))}


def with_latencies(
    rows: Mapping[str, LedgerEntry],
    comparison: Comparison,
    keys: Mapping[str, str],
    rules: Mapping[str, Any],
    budget: Budget,
) -> dict[str, LedgerEntry]:
    """Only figures of one comparison may be divided by one another: all rows get theirs from the same one.

    So do the sentences that speak of them.

    Args:
      rows: name -> entry.
      comparison: of all of them that have a file.
      keys: row -> what it is called in the comparison, if not by its name.
      rules: of the comparison.
      budget: what the sentences hold the figures against.
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
                **conditions_details(comparison[key]),
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
                "gains": gains(before, after, comparison.speedups(against)[key]),
            }
            why = [_with_values(Reason.from_json(one), fresh) for one in entry.details["why"]]
            result[name] = dataclasses.replace(
                entry, why=sentence(why), details={**entry.details, "why": to_details(why)}
            )
    return result


def _with_values(said: Reason, fresh: Mapping[str, Said]) -> Reason:
    return Reason(said.code, {gap: fresh.get(gap, value) for gap, value in said.values.items()})


def entry_of(
    step: Step,
    verdict: Verdict,
    why: Sequence[Reason],
    report: Report,
    seconds: float,
    details: Mapping[str, Any] | None = None,
) -> LedgerEntry:
    """-> a step's row, with its reasons as codes beside the text."""
    said = {**(details or {}), "why": to_details(why)}
    return LedgerEntry(step.name, step.clause, verdict, sentence(why), report, seconds, said)
