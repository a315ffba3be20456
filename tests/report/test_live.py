"""The panel: what it says in several states and widths, and what it leaves behind on a terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from absl import flags, logging
from rich.console import Console

from recipes import _app
from tests.guideline.made_up import Figures, KilledError, MadeUpBench, run, step
from tta_lite.guideline.progress import Cost, RowBegan, RowFinished, Scoring, Timed, Trained, TrialBegan
from tta_lite.report import live
from tta_lite.report.live import LiveDisplay
from tta_lite.report.run_folder import RunFolder
from tta_lite.types import Budget, InputError, Latency, LedgerEntry, Report, Verdict

ROOT = Path(__file__).parents[2]
ROWS = ("none", "G1", "G2", "subpixel", "G5", "G3", "G4")
BUDGET = Budget(max_latency_ms=0.4, max_size_kib=200)
COSTS = {"none": Cost(last_s=10), "G1": Cost(trials=1, last_s=600), "G2": Cost(trials=2, train_s=450, finishes=2)}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def row(name: str, verdict=Verdict.TAKEN, *, accuracy=98.04, ms=0.144, kib=341, speedup=1.562) -> RowFinished:
    report = Report(
        accuracy=accuracy,
        metric="top-1 accuracy",
        latency_ms=Latency(ms, ms, ms, ms, ms, 0.0, 5),
        size_bytes=kib * 1024,
    )
    return RowFinished(LedgerEntry(name, "", verdict, "", report, 1.0, {"speedup": {"median": speedup}}))


def skipped(name: str, verdict=Verdict.SKIPPED) -> RowFinished:
    return RowFinished(LedgerEntry(name, "", verdict, "", Report(), 0.0))


def display(*events, width=80, costs=COSTS, encoding="utf-8") -> tuple[LiveDisplay, Clock]:
    clock = Clock()
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    panel = LiveDisplay(ROWS, BUDGET, console=console, clock=clock)
    if costs:
        panel.plan(costs)
    for event in events:
        panel.tell(event)
    return panel, clock


def drawn(panel: LiveDisplay) -> list[str]:
    """-> the lines between the borders."""
    with panel.console.capture() as capture:
        panel.console.print(panel)
    lines = capture.get().splitlines()
    assert {len(line) for line in lines} == {panel.console.width}
    return [line[1:-1].strip() for line in lines[1:-1]]


UNTIL_G2 = (RowBegan("none", 1, 7), row("none", kib=849), RowBegan("G1", 2, 7), row("G1", Verdict.NO_GAIN))


def test_at_80_columns():
    panel, clock = display(*UNTIL_G2, RowBegan("G2", 3, 7), TrialBegan("bottlenecks, 50% of the MACs", 2, 2, True))
    panel.tell(Trained(0.7, 3, {"loss": 0.12345}))
    clock.now = 252
    assert drawn(panel) == [
        "step 3/7       \u2713 none  x G1  > G2  subpixel  G5  G3  G4",
        "promising 2/2  bottlenecks, 50% of the MACs",
        "now            training, epoch 1/3, loss 0.123",
        "latest row     G1 no gain: top-1 accuracy 98.0, 0.144 ms (speed-up 1.56),",
        "341 KiB",
        "latency 0.144 of 0.4 ms (within the limit), file 341 of 200",
        "KiB (1.71 times the limit)",
        # 450 s less 0.7 of 3 epochs.
        "time           4 min 12 s so far, at most 6 min left",
    ]


def test_at_60_columns_nothing_is_lost():
    panel, _ = display(*UNTIL_G2, RowBegan("G2", 3, 7), TrialBegan("bottlenecks, 50% of the MACs", 1, 2, False))
    lines = drawn(panel)
    for text in (
        "step 3/7",
        "> G2",
        "trial 1/2",
        "untrained",
        "G1 no gain",
        "341 KiB",
        "1.71 times",
        "at most 15 min left",
    ):
        assert text in " ".join(" ".join(line.split()) for line in lines), text


def test_what_runs_now():
    panel, _ = display(RowBegan("none", 1, 7))
    assert drawn(panel)[0].startswith("step 1/7")
    for event, text in (
        (Scoring(), "now scoring"),
        (Timed(3, 45), "now timing, turn 4/45"),
        (Timed(45, 45), "now timing, turn 45/45"),
        (Trained(0, 3), "now training, epoch 1/3"),
        (Trained(3, 3, {"loss": 0.5}), "now training, epoch 3/3, loss 0.5"),
    ):
        panel.tell(event)
        assert text in [" ".join(line.split()) for line in drawn(panel)]


def test_the_latest_row_is_the_latest_that_was_measured():
    panel, _ = display(row("none", kib=849), skipped("G1"), skipped("G2", Verdict.NO_GAIN))
    lines = drawn(panel)
    assert lines[0] == "step 4/7       \u2713 none  \u2013 G1  x G2  subpixel  G5  G3  G4"
    assert lines[2] == "latest row     none taken: top-1 accuracy 98.0, 0.144 ms, 849 KiB"


def test_a_row_that_lacks_what_is_limited_stands_nowhere():
    lost = RowFinished(LedgerEntry("G3", "", Verdict.TOO_LOSSY, "", Report(size_bytes=2048), 1.0))
    panel, _ = display(lost)
    assert [line.split("  ")[0] for line in drawn(panel)] == ["step 2/7", "now", "latest row", "time"]


def test_without_a_plan_there_is_no_time_left():
    panel, clock = display(costs=None)
    panel.doing("a few steps of training are timed")
    clock.now = 3
    assert drawn(panel)[-2:] == ["now            a few steps of training are timed", "time           3 s so far"]


def test_at_the_end_all_steps_are_told():
    panel, _ = display(row("none"), *(skipped(name) for name in ROWS[1:]))
    assert drawn(panel)[0].startswith("step 7/7") and drawn(panel)[-1].endswith("at most 1 min left")


def test_a_terminal_without_unicode_gets_plain_marks():
    panel, _ = display(*UNTIL_G2, skipped("G2"), encoding="ascii")
    assert drawn(panel)[0] == "step 4/7       + none  x G1  - G2  subpixel  G5  G3  G4"
    panel.console.print(panel)
    panel.console.file.flush()
    panel.console.file.buffer.getvalue().decode("ascii")


def test_names_are_no_markup():
    panel, _ = display(RowBegan("G1", 2, 7), TrialBegan("[bold]net[/nothing]", 1, 1, False))
    assert "[bold]net[/nothing]" in drawn(panel)[1]
    panel.write("[red] line [/nothing]")
    panel.console.file.flush()
    assert "[red] line [/nothing]" in panel.console.file.buffer.getvalue().decode()


def test_a_run_is_the_same_under_the_panel():
    trials = {("G1", "a"): Figures(ms=60), ("G1", "b"): Figures(fault="no HARD_SWISH"), ("G3", "c"): Figures(ms=30)}
    steps = [step("G1", "a", "b"), step("G2", why="left_out"), step("G3", "c")]
    plain = run(MadeUpBench(Figures(), trials), steps, Budget(max_latency_ms=50))
    panel, _ = display()
    with panel:
        shown = run(MadeUpBench(Figures(), trials), steps, Budget(max_latency_ms=50), tell=panel.tell)
    assert [(e.name, e.verdict, e.why) for e in shown.entries] == [(e.name, e.verdict, e.why) for e in plain.entries]


SCRIPT = """
import sys
from tests.report.test_live import on_a_terminal
on_a_terminal(sys.argv[1])
"""


def on_a_terminal(how: str) -> None:
    """A made-up run on standard output, which ends or fails."""
    # As a recipe does: before it, the log goes to whatever standard error is.
    flags.FLAGS(["recipe"])
    logging.use_absl_handler()
    assert live.is_shown()
    bench = MadeUpBench(Figures(), {("G1", "a"): Figures(ms=60)}, 4 if how == "fails" else None)
    with LiveDisplay(ROWS, BUDGET) as panel, _app.log_to(sys.stderr):
        logging.warning("a line of the log")
        panel.plan(COSTS)
        panel.write("[2/7] G1: a line")
        print("a print", flush=True)
        print("a warning", file=sys.stderr, flush=True)
        try:
            run(bench, [step("G1", "a")], Budget(max_latency_ms=50), tell=panel.tell)
        except KilledError as error:
            raise KeyboardInterrupt from error
        time.sleep(0.1)
    logging.warning("after the panel")
    print("the table", flush=True)


@pytest.mark.parametrize("how", ["ends", "fails"])
def test_a_terminal_is_left_as_it_was(how):
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, how], stdin=follower, stdout=follower, stderr=follower, env=environment, cwd=ROOT
    )
    os.close(follower)
    seen = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        seen += part
    os.close(leader)
    assert (process.wait(timeout=600) == 0) == (how == "ends"), seen.decode()
    text = seen.decode()
    for line in ("a line of the log", "[2/7] G1: a line", "a print", "a warning", "step 2/7", "at most"):
        assert line in text
    # Hidden once, shown again after the last panel; what comes then has no panel under it.
    assert text.count("\x1b[?25l") == 1 and text.rindex("\x1b[?25h") > text.rindex("step ")
    after = text[text.rindex("\x1b[?25h") :]
    # What stands above the panel was written where the panel had been erased.
    for line in ("a line of the log", "a warning"):
        assert "step " not in text[: text.index(line)].split("\x1b[2K")[-1]
    assert ("after the panel" in after) == (how == "ends")
    assert ("the table" if how == "ends" else "KeyboardInterrupt") in after
    assert "tensorflow" not in text


def test_it_is_shown_on_a_terminal_only(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert not live.is_shown()
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not live.is_shown()
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert live.is_shown()
    monkeypatch.setenv("TERM", "dumb")
    assert not live.is_shown()


def test_a_run_folder_from_before_the_flag_goes_on(tmp_path):
    recipe = {"flags": {"seed": 0}, "recipe": "guideline", "seed": 0}
    RunFolder.open(tmp_path, recipe, display_flags=("live",))
    for shown in (True, False):
        later = {**recipe, "flags": {"seed": 0, "live": shown}}
        RunFolder.open(tmp_path, later, display_flags=("live",))
    with pytest.raises(InputError, match="other flags"):
        RunFolder.open(tmp_path, {**recipe, "flags": {"seed": 1}}, display_flags=("live",))
