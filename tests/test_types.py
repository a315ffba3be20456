from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_lite.types import (
    DYNAMIC,
    FP16,
    FP32,
    INT8,
    PRESETS,
    Accuracy,
    Candidate,
    ExportSpec,
    InputError,
    Latency,
    LedgerEntry,
    MeasuredOn,
    Report,
    Verdict,
)

# The keys that the design of the run folder promises to whoever reads a report.json.
PROMISED = {
    "accuracy", "metric", "accuracy_interval", "init_s", "latency_ms", "size_bytes", "zip_bytes", "peak_memory_bytes",
    "macs", "params", "activation_bytes", "measured_on",
}  # fmt: skip
PROMISED_LATENCY = {"p50", "p90", "mean", "min", "max", "std", "runs"}
PROMISED_PLACE = {"board", "runtime", "delegate", "threads", "cpu", "emulated"}

numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**63)
scores = st.floats(0, 100)
latencies = st.builds(Latency, *[numbers] * 6, counts)
places = st.builds(MeasuredOn, st.text(), st.text(), st.text(), counts, st.text(), st.booleans())
reports = st.builds(
    Report,
    **{field.name: st.none() | counts for field in dataclasses.fields(Report)}
    | {
        "accuracy": st.none() | scores,
        "metric": st.none() | st.text(),
        "accuracy_interval": st.none() | st.tuples(scores, scores),
        "accuracy_parts": st.none() | st.dictionaries(st.text(), scores),
        "keras_accuracy": st.none() | scores,
        "init_s": st.none() | numbers,
        "latency_ms": st.none() | latencies,
        "measured_on": st.none() | places,
    },
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
entries = st.builds(
    LedgerEntry,
    name=st.text(),
    clause=st.text(),
    verdict=st.sampled_from(Verdict),
    why=st.text(),
    report=reports,
    seconds=numbers,
    details=st.dictionaries(st.text(), plain),
)


def through_json(record):
    return json.loads(json.dumps(record, allow_nan=False))


@given(reports)
def test_a_report_comes_back_from_json_as_it_was(report):
    assert Report.from_json(through_json(report.to_json())) == report


@given(entries)
def test_a_ledger_entry_comes_back_from_json_as_it_was(entry):
    assert LedgerEntry.from_json(through_json(entry.to_json())) == entry


def test_a_report_has_the_promised_keys():
    report = Report(latency_ms=Latency(1, 2, 3, 4, 5, 6, 7), measured_on=MeasuredOn("b", "r", "d", 1, "c"))
    record = report.to_json()
    assert set(record) >= PROMISED
    assert set(record["latency_ms"]) == PROMISED_LATENCY
    assert set(record["measured_on"]) == PROMISED_PLACE


def test_what_was_not_measured_is_none_and_not_zero():
    assert set(Report().to_json().values()) == {None}


def test_a_report_of_a_newer_version_is_refused():
    with pytest.raises(InputError, match=r"keys this version does not know. Received: \['joules', 'watts'\]"):
        Report.from_json({"watts": 3, "accuracy": 1.0, "joules": 4})


def test_a_ledger_entry_needs_no_details():
    entry = LedgerEntry("G1", "6.1.1", Verdict.TAKEN, "why", Report(), 1.0)
    record = entry.to_json()
    assert record["verdict"] == "taken"
    del record["details"]
    assert LedgerEntry.from_json(record) == entry


@pytest.mark.parametrize("verdict", ["took", "TAKEN", None])
def test_an_unknown_verdict_is_refused(verdict):
    record = {**LedgerEntry("G1", "", Verdict.TAKEN, "", Report(), 1.0).to_json(), "verdict": verdict}
    with pytest.raises(ValueError, match="not a valid Verdict"):
        LedgerEntry.from_json(record)


def test_the_verdicts_are_those_of_the_ledger():
    assert [verdict.value for verdict in Verdict] == ["taken", "skipped", "too lossy", "no gain"]


def test_export_presets():
    assert {spec.preset for spec in (FP32, FP16, DYNAMIC, INT8)} < set(PRESETS)
    with pytest.raises(InputError, match=r"one of fp32, fp16, dynamic, .*int16x8. Received: 'int4'"):
        ExportSpec("int4")
    with pytest.raises(InputError, match=r"`calibration_images` must be 1 or more. Received: 0"):
        ExportSpec("int8", 0)
    with pytest.raises(InputError, match=r"`repairs` must hold some of equalize.*Received: \['paint'\]"):
        ExportSpec("int8", repairs=("paint",))
    with pytest.raises(InputError, match=r"are of the presets int8, int16x8. Received: ranges with dynamic"):
        ExportSpec("dynamic", ranges="mse")
    # From JSON.
    assert ExportSpec("int8", keep_float=["conv"]) == ExportSpec("int8", keep_float=("conv",))  # type: ignore[arg-type]


@given(scores, scores, scores)
def test_an_accuracy_takes_any_score_and_an_ordered_interval(value, one, other):
    low, high = sorted((one, other))
    assert Accuracy(value, "PCKh@0.5", (low, high)).interval == (low, high)
    if low < high:
        with pytest.raises(InputError, match="Received: "):
            Accuracy(value, "PCKh@0.5", (high, low))


@pytest.mark.parametrize("value", [-0.1, 100.1, math.inf])
def test_an_accuracy_out_of_range_is_refused(value):
    with pytest.raises(InputError, match=f"must lie in 0..100.*Received: {value}"):
        Accuracy(value, "PCKh@0.5", (0.0, 100.0))


@pytest.mark.parametrize("interval", [(-1.0, 2.0), (1.0, 101.0), (math.nan, 2.0)])
def test_an_interval_out_of_range_is_refused(interval):
    with pytest.raises(InputError, match=r"Received: 1.5 with"):
        Accuracy(1.5, "PCKh@0.5", interval)


def test_nobody_scored_is_an_accuracy_of_nan():
    assert math.isnan(Accuracy(math.nan, "PCKh@0.5", (math.nan, math.nan)).value)


def test_quantisation_changes_the_export_and_leaves_the_candidate():
    candidate = Candidate(model=None, trail=("G1",))
    quantised = dataclasses.replace(candidate, export=INT8)
    assert (candidate.export, quantised.export, quantised.trail) == (FP32, INT8, ("G1",))
    with pytest.raises(dataclasses.FrozenInstanceError):
        candidate.export = INT8


def test_a_users_mistake_is_a_value_error():
    assert issubclass(InputError, ValueError)
