"""A panel at the bottom of the terminal: the step, the time left, the latest row. Lines scroll above it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tta_lite.guideline import budget as budgets
from tta_lite.guideline import progress
from tta_lite.guideline.bench import START
from tta_lite.report import columns as cols
from tta_lite.report.page import duration
from tta_lite.types import Budget, InputError, LedgerEntry, Verdict

# Drawn once a second: the clock needs no more, and what is timed meanwhile must not notice.
DRAWN_A_SECOND = 1
MARKS = {Verdict.TAKEN: "\N{CHECK MARK}", Verdict.SKIPPED: cols.DASH}
PLAIN_MARKS = {Verdict.TAKEN: "+", Verdict.SKIPPED: "-"}
STYLES = {Verdict.TAKEN: "green", Verdict.SKIPPED: "dim"}
NOW, NOT_TAKEN = ">", "x"


def is_shown() -> bool:
    """-> whether standard output is a terminal that can be drawn on."""
    return sys.stdout.isatty() and not Console().is_dumb_terminal


class LiveDisplay:
    """Shows where a run of the guideline is; within a ``with``.

    Args:
      rows: their names, in order.
      budget: the limits.
      console: of a terminal; standard output if None.
      clock: -> seconds.
    """

    def __init__(
        self,
        rows: Sequence[str],
        budget: Budget,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rows, self.budget, self.console, self.clock = rows, budget, console or Console(), clock
        self._began = clock()
        self._forecast: progress.Forecast | None = None
        self._verdicts: dict[str, Verdict] = {}
        self._row = self._trial = self._label = self._now = ""
        self._latest: LedgerEntry | None = None
        # Standard error may be a file of its own: then it is left alone.
        self._live = Live(
            self,
            console=self.console,
            refresh_per_second=DRAWN_A_SECOND,
            transient=True,
            redirect_stderr=sys.stderr.isatty(),
        )

    def __enter__(self) -> LiveDisplay:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def write(self, line: str) -> None:
        """A line above the panel."""
        # A text, not a string: a name such as "[bold]" must not be read as markup.
        self.console.print(Text(line), soft_wrap=True)

    def doing(self, what: str) -> None:
        """What is done before the first row."""
        self._now = what
        self._live.refresh()

    def plan(self, costs: Mapping[str, progress.Cost]) -> None:
        """From here on the time left is shown."""
        self._forecast = progress.Forecast(costs, clock=self.clock)

    def tell(self, event: progress.Event) -> None:
        """Follows the run."""
        if self._forecast is not None:
            self._forecast.tell(event)
        if isinstance(event, progress.RowBegan):
            self._row, self._trial, self._label, self._now = event.name, "", "", ""
        elif isinstance(event, progress.TrialBegan):
            self._trial = f"{'promising' if event.promising else 'trial'} {event.number}/{event.count}"
            self._label, self._now = event.label, "made ready" if event.promising else "built and exported, untrained"
        elif isinstance(event, progress.Trained):
            epoch = min(int(event.done) + 1, event.count)
            loss = event.figures.get("loss")
            self._now = f"training, epoch {epoch}/{event.count}" + (f", loss {loss:.3g}" if loss is not None else "")
        elif isinstance(event, progress.Scoring):
            self._now = "scoring"
        elif isinstance(event, progress.Timed):
            self._now = f"timing, turn {min(event.done + 1, event.count)}/{event.count}"
        elif isinstance(event, progress.RowFinished):
            self._finished(event.entry)
        if not isinstance(event, progress.Trained | progress.Timed):
            self._live.refresh()

    def _finished(self, entry: LedgerEntry) -> None:
        self._verdicts = {**self._verdicts, entry.name: entry.verdict}
        self._row = self._trial = self._label = self._now = ""
        if entry.report.size_bytes is not None:
            self._latest = entry

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim", no_wrap=True, min_width=len("promising 1/2"))
        grid.add_column(overflow="fold")
        for head, text in self._lines(PLAIN_MARKS if options.ascii_only else MARKS):
            grid.add_row(head, text)
        yield Panel(grid, title="tta-lite guideline", title_align="left", border_style="dim")

    def _lines(self, marks: Mapping[Verdict, str]) -> list[tuple[str, RenderableType]]:
        lines: list[tuple[str, RenderableType]] = []
        # Drawn by another thread: what it reads is replaced meanwhile and never changed.
        row, verdicts = self._row, self._verdicts
        place = self.rows.index(row) + 1 if row else min(len(verdicts) + 1, len(self.rows))
        lines.append((f"step {place}/{len(self.rows)}", self._steps(marks)))
        if self._trial:
            lines.append((self._trial, Text(self._label)))
        lines.append(("now", Text(self._now)))
        if self._latest is not None:
            lines.append(("latest row", Text(latest_text(self._latest))))
            standing = standing_text(self._latest, self.budget)
            if standing:
                lines.append(("", Text(standing)))
        lines.append(("time", Text(self._time())))
        return lines

    def _steps(self, marks: Mapping[Verdict, str]) -> Columns:
        steps = []
        for name in self.rows:
            verdict = self._verdicts.get(name)
            if verdict is not None:
                steps.append(Text(f"{marks.get(verdict, NOT_TAKEN)} {name}", STYLES.get(verdict, "yellow")))
            elif name == self._row:
                steps.append(Text(f"{NOW} {name}", "bold"))
            else:
                steps.append(Text(name, "dim"))
        return Columns(steps, padding=(0, 2))

    def _time(self) -> str:
        text = f"{duration(self.clock() - self._began)} so far"
        return text if self._forecast is None else f"{text}, at most {left_text(self._forecast.left())} left"


def left_text(seconds: float) -> str:
    """-> whole minutes, rounded up.

    >>> left_text(0), left_text(61), left_text(7200.5)
    ('1 min', '2 min', '2 h 1 min')
    """
    minutes = max(math.ceil(seconds / 60), 1)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def latest_text(entry: LedgerEntry) -> str:
    """-> a row in a line: its verdict, and what was measured of it."""
    report = entry.report
    figures = []
    if cols.finite(report.accuracy) is not None:
        figures.append(f"{report.metric or 'accuracy'} {report.accuracy:.1f}")
    p50, faster = cols.latency(entry, "p50"), cols.finite((entry.details.get("speedup") or {}).get("median"))
    if p50 is not None:
        gain = f" (speed-up {faster:.2f})" if faster is not None and entry.name != START else ""
        figures.append(f"{budgets.figure(p50)} ms{gain}")
    if report.size_bytes is not None:
        figures.append(f"{budgets.figure(report.size_bytes / 1024)} KiB")
    return f"{entry.name} {entry.verdict.value}: {', '.join(figures)}"


def standing_text(entry: LedgerEntry, budget: Budget) -> str:
    """-> the row against the limits; empty if something that is limited was not measured of it."""
    try:
        return budgets.standing(entry.report, budget)
    except InputError:
        return ""
