"""What a profile says of FP16, against what two files say that are timed in turn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.networks import net
from tta_lite.boards.profile import get_board
from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.guideline import half_precision
from tta_lite.guideline.half_precision import HalfPrecision, confirmed_by_rows, measure_half_precision
from tta_lite.measure.benchmark import Speedup
from tta_lite.types import FP16, FP32, InputError, LedgerEntry, MeasuredOn, Report, Verdict

RK3399, RK3588 = get_board("rk3399"), get_board("rk3588")
PLACE = MeasuredOn("a board", "LiteRT", "XNNPACK", 1, "a core")


def rows(speedup: Speedup, **timing) -> tuple[LedgerEntry, LedgerEntry]:
    first = LedgerEntry("none", "7.2", Verdict.TAKEN, "", Report(size_bytes=1000, measured_on=PLACE), 0.0)
    details = {"speedup": {"over": "none", **dataclasses.asdict(speedup)}, "timing": {"rounds": 5, **timing}}
    report = Report(size_bytes=510, measured_on=PLACE)
    return first, LedgerEntry("G4", "6.2.2", Verdict.TAKEN, "", report, 0.0, details)


SLOW, FAST = Speedup(1.01, 0.98, 1.04, 5), Speedup(1.7, 1.5, 1.9, 5)


@pytest.mark.parametrize(
    ("board", "speedup", "profile", "confirmed", "said"),
    [
        # ARMv8.0: size, and not speed.
        (RK3399, SLOW, False, True, "size and not speed, for Cortex-A72 and Cortex-A53 have no arithmetic in half"),
        (RK3399, FAST, False, False, "contradicted, and what was measured counts"),
        (RK3588, FAST, True, True, "by its profile: faster, for"),
        (RK3588, SLOW, True, False, "contradicted"),
        # Faster at the median, but not in every round; or in every round, but by too little.
        (RK3588, Speedup(1.3, 0.99, 1.4, 5), True, False, "contradicted"),
        (RK3399, Speedup(1.03, 1.01, 1.04, 5), False, True, "Confirmed."),
    ],
)
def test_a_board_that_was_timed_itself(board, speedup, profile, confirmed, said):
    found = confirmed_by_rows(*rows(speedup, connect="ssh://pi", board=board.name), board)
    assert (found.profile, found.confirmed, found.on_target) == (profile, confirmed, True)
    assert said in str(found) and "0.51 of the size" in str(found)
    assert found.to_json()["confirmed"] is confirmed and found.size == 0.51


def test_what_was_not_timed_on_the_board_leaves_it_open():
    for timing in ({}, {"connect": "local", "board": "host"}, {"connect": "ssh://pi", "board": "raspberry_pi_4"}):
        found = confirmed_by_rows(*rows(SLOW, **timing), RK3399)
        assert found.confirmed is None and not found.on_target
        assert "Open for Firefly" in str(found) or f"Open for {RK3399.title}" in str(found)
    guessed = confirmed_by_rows(*rows(Speedup(1.0, 0.9, 1.1, 0), connect="ssh://pi", board="rk3399"), RK3399)
    assert guessed.confirmed is None and "Predicted: " in str(guessed)


def test_the_cores_that_were_timed_are_asked_about(monkeypatch):
    asked = []
    real = half_precision.fp16_pays
    monkeypatch.setattr(half_precision, "fp16_pays", lambda *a: asked.append(a) or real(*a))
    confirmed_by_rows(*rows(SLOW, connect="ssh://pi", board="rk3399", cores="little"), RK3399)
    assert asked[-1][2] == "little"


def test_rows_of_two_comparisons_are_refused():
    first, second = rows(SLOW)
    other = dataclasses.replace(second, details={**second.details, "speedup": {"over": "G2"}})
    with pytest.raises(InputError, match=r"timed together. Received: 'none' and 'G4', with a speed-up over 'G2'"):
        confirmed_by_rows(first, other, RK3399)
    with pytest.raises(InputError, match="with no speed-up"):
        confirmed_by_rows(first, dataclasses.replace(second, details={}), RK3399)


def test_two_files_are_timed_on_this_machine(tmp_path):
    L = keras.layers  # noqa: N806
    model = net(L.Conv2D(64, 3), L.Conv2D(64, 3), shape=(16, 16, 8))
    for name, spec in (("fp32", FP32), ("fp16", FP16)):
        (tmp_path / name).write_bytes(export_tflite(model, spec))
    rules = {"rounds": 2, "num_runs": 4, "min_secs": 0.0}
    found = measure_half_precision(tmp_path / "fp32", tmp_path / "fp16", get_board("host"), **rules)
    assert isinstance(found, HalfPrecision) and found.on_target and found.speedup.rounds == 2
    sizes = [(tmp_path / name).stat().st_size for name in ("fp16", "fp32")]
    assert found.size == sizes[0] / sizes[1] and 0.5 < found.size < 0.6
    # Of this machine it is told whether it is so; of a board nothing is.
    assert found.confirmed in (True, False)
    assert np.isfinite(found.speedup.median)
    away = measure_half_precision(tmp_path / "fp32", tmp_path / "fp16", RK3399, **rules)
    assert away.confirmed is None and "this machine" in str(away)
