"""What an architecture search shows: every trial as JSON, tables, and the front, drawn anew after each trial."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.plots import LIGHT
from tta_lite.report.search_page import PAGE, render_page
from tta_lite.report.search_plot import front_plot
from tta_lite.report.search_tables import Table, counts_of, front_of, reward_of, summary, tables
from tta_lite.search.goal import Goal
from tta_lite.search.run import Found
from tta_lite.types import Report

if TYPE_CHECKING:
    from tta_lite.report.run_folder import RunFolder

RECORD, TABLE, PLOT = "search.json", "table.md", "plots/front.png"


@dataclasses.dataclass(frozen=True)
class SearchReport:
    """Writes what a search has found into its folder; call it whenever there is more.

    Attributes:
      folder: of the run.
      goal: of the search.
      metrics: what the accuracies are; it is filled by the first one.
      say: the language of what people read.
      total: how many networks the search tries; None: not known.
      tell: gets a line that says how far the search is.
    """

    folder: RunFolder
    goal: Goal
    metrics: Collection[str]
    say: Language = ENGLISH
    total: int | None = None
    tell: Callable[[str], Any] = lambda line: None

    @property
    def metric(self) -> str:
        """What the accuracies are: what an earlier call noted, before this one has scored anything."""
        file = self.folder.path / RECORD
        if not self.metrics and file.is_file():
            return str(json.loads(file.read_text(encoding="utf-8"))["metric"])
        return ", ".join(sorted(self.metrics)) or "accuracy"

    def __call__(self, found: Found) -> None:
        """Writes ``search.json``, ``table.md``, ``plots/front.png`` and ``report.html``, and tells how far it is."""
        metric = self.metric
        self.folder.write_json(RECORD, record(found, self.goal, metric))
        self.folder.write_text(TABLE, table(found, self.goal, metric, self.say))
        plot = None
        if any(trial.measured for trial in found.trials):
            plot = front_plot(found, self.goal, metric, LIGHT, say=self.say)
            self.folder.write_bytes(PLOT, plot)
        page = render_page(found, self.goal, metric, plot, total=self.total, say=self.say)
        self.folder.write_text(PAGE, page)
        self.tell(summary(found, self.goal, metric, self.total, self.say))


def record(found: Found, goal: Goal, metric: str) -> dict[str, Any]:
    """-> what ``search.json`` holds: plain JSON values."""
    on_front = {trial.number for trial in front_of(found.trials)}
    return {
        "metric": metric,
        "goal": dataclasses.asdict(goal),
        "done": found.done,
        "trials": [
            {**trial.to_json(), "reward": reward_of(trial, goal), "front": trial.number in on_front}
            for trial in found.trials
        ],
        "finalists": [
            {
                "trial": trial.number,
                "report": result.to_json() if isinstance(result, Report) else None,
                "fault": result if isinstance(result, str) else "",
            }
            for trial, result in found.finalists
        ],
    }


def table(found: Found, goal: Goal, metric: str, say: Language = ENGLISH) -> str:
    """-> Markdown: how the trials ended, the front, the best rewards, and the finalists after their full training."""
    made = tables(found, goal, metric, say)
    return "\n".join([counts_of(found.trials, say), "", *(line for one in made for line in _markdown(one))])


def _markdown(one: Table) -> list[str]:
    ends = ["---:" if number else "---" for number in one.numbers]
    rows = [one.heads, ends, *one.rows]
    return [one.title, "", *(f"| {' | '.join(cells)} |" for cells in rows), ""]
