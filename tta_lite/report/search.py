"""What an architecture search shows: every trial as JSON, a table, and the front, drawn anew after each trial."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.search_plot import front_plot
from tta_lite.search.finalists import Finalist
from tta_lite.search.goal import Goal
from tta_lite.search.reward import front
from tta_lite.search.run import Found
from tta_lite.search.trial import Trial
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
      say: the language of the table and the plot.
    """

    folder: RunFolder
    goal: Goal
    metrics: Collection[str]
    say: Language = ENGLISH

    @property
    def metric(self) -> str:
        """What the accuracies are: what an earlier call noted, before this one has scored anything."""
        file = self.folder.path / RECORD
        if not self.metrics and file.is_file():
            return str(json.loads(file.read_text(encoding="utf-8"))["metric"])
        return ", ".join(sorted(self.metrics)) or "accuracy"

    def __call__(self, found: Found) -> None:
        """Writes ``search.json``, ``table.md`` and ``plots/front.png``."""
        metric = self.metric
        self.folder.write_json(RECORD, record(found, self.goal, metric))
        self.folder.write_text(TABLE, table(found, self.goal, metric, self.say))
        if any(trial.measured for trial in found.trials):
            self.folder.write_bytes(PLOT, front_plot(found, self.goal, metric, say=self.say))


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


def front_of(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """-> those that no other one dominates, the fastest first."""
    known = [
        Finalist(trial, trial.measured.accuracy, trial.measured.latency_ms)
        for trial in trials
        if trial.measured is not None
    ]
    return tuple(one.trial for one in front(known))


def reward_of(trial: Trial, goal: Goal) -> float | None:
    """-> of one objective what the trial is worth; None: of two, or not measured."""
    if trial.measured is None or goal.kind == "front":
        return None
    return goal.values(trial.measured.accuracy, trial.measured.latency_ms)[0]


def table(found: Found, goal: Goal, metric: str, say: Language = ENGLISH) -> str:
    """-> Markdown: how the trials ended, the front, the best rewards, and the finalists after their full training."""
    counts = {
        state: sum(trial.state.value == state for trial in found.trials)
        for state in ("done", "pruned", "failed", "running")
    }
    lines = [
        say(
            "{trials} networks: {done} measured, {pruned} given up, {failed} cannot be used, {running} at work.",
            trials=len(found.trials), **counts,
        ),
        "",
        *_rows(front_of(found.trials), say("The front of the short trainings"), goal, metric, say),
    ]  # fmt: skip
    if goal.kind != "front":
        known = [trial for trial in found.trials if trial.measured is not None]
        best = sorted(known, key=lambda trial: reward_of(trial, goal) or 0.0, reverse=True)[:10]
        lines += _rows(best, say("The best rewards of the short trainings"), goal, metric, say)
    if found.finalists:
        lines += [
            say("Trained in full"), "",
            f"| {say('Trial')} | {say.known(metric)} | {say('95 % interval')} | {say('Latency (ms)')} | MACs | "
            f"{say('File, MB')} |",
            "|---:|---:|---:|---:|---:|---:|",
        ]  # fmt: skip
        for trial, result in found.finalists:
            if isinstance(result, str):
                lines.append(f"| {trial.number} | {result} | | | | |")
                continue
            low, high = result.accuracy_interval or (float("nan"),) * 2
            latency = result.latency_ms.p50 if result.latency_ms else float("nan")
            size = (result.size_bytes or 0) / 1e6
            lines.append(
                f"| {trial.number} | {result.accuracy:.1f} | {low:.1f}–{high:.1f} | "  # noqa: RUF001
                f"{latency:.3g} | {result.macs or 0:,} | {size:.2f} |"
            )
        lines.append("")
    return "\n".join(lines)


def _rows(trials: Sequence[Trial], title: str, goal: Goal, metric: str, say: Language) -> list[str]:
    names = list(dict.fromkeys(name for trial in trials for name in trial.point))
    reward = [] if goal.kind == "front" else [say("Reward")]
    head = [say("Trial"), say.known(metric), say("Latency (ms)"), *reward, "MACs", say("Source of the latency"), *names]
    lines = [title, "", f"| {' | '.join(head)} |", "|---:" * (4 + len(reward)) + "|---" * (1 + len(names)) + "|"]
    for trial in trials:
        measured = trial.measured
        assert measured is not None
        worth = reward_of(trial, goal)
        cells = [
            str(trial.number), f"{measured.accuracy:.1f}", f"{measured.latency_ms:.3g}",
            *([] if worth is None else [f"{worth:.1f}"]), f"{measured.macs or 0:,}", measured.source,
            *(str(trial.point.get(name, "")) for name in names),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]
