from __future__ import annotations

import dataclasses

import pytest

from tta_lite.guideline.timing import timed_together
from tta_lite.types import Latency, LedgerEntry, Report, Verdict

RULES = {"num_threads": 1, "rounds": 5, "num_runs": 50, "min_secs": 1.0}
MORNING = {"at": "2026-01-01T08:00:00+00:00", **RULES}
EVENING = {"at": "2026-01-01T20:00:00+00:00", **RULES}


def entry(name, timing):
    report = Report(latency_ms=Latency(1, 1, 1, 1, 1, 0, 50) if timing else None)
    return LedgerEntry(name, "", Verdict.TAKEN, "", report, 0.0, {"timing": timing} if timing else {})


@pytest.mark.parametrize(
    ("timings", "together"),
    [
        ([MORNING], True),
        ([MORNING, MORNING], True),
        ([MORNING, EVENING], False),
        ([MORNING, None], False),
        ([None, MORNING], False),
        ([None, None], False),
    ],
)
def test_only_figures_of_one_comparison_are_together(timings, together):
    entries = [entry(str(place), timing) for place, timing in enumerate(timings)]
    assert timed_together(entries, RULES) is together
    # And as they come back from a ledger.
    assert timed_together([LedgerEntry.from_json(e.to_json()) for e in entries], RULES) is together


@pytest.mark.parametrize(("rule", "value"), [("num_threads", 2), ("rounds", 1), ("num_runs", 51), ("min_secs", 0.5)])
def test_figures_by_other_rules_are_not_those_asked_for(rule, value):
    assert not timed_together([entry("G1", MORNING)], {**RULES, rule: value})


def test_a_latency_without_its_rules_is_timed_again():
    old = dataclasses.replace(entry("G1", MORNING), details={})
    assert not timed_together([old], RULES)
