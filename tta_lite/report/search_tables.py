"""What the tables of an architecture search say, on a terminal and on its page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tta_lite.report.language import ENGLISH, Language
from tta_lite.search.finalists import Finalist
from tta_lite.search.goal import Goal
from tta_lite.search.reward import front
from tta_lite.search.run import Found
from tta_lite.search.trial import State, Trial
from tta_lite.types import Report

# Rows of the table of rewards.
MOST = 10


@dataclasses.dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
      title: above it.
      heads: of its columns.
      numbers: which columns are written flush right.
      rows: texts, as many as there are heads.
    """

    title: str
    heads: tuple[str, ...]
    numbers: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]


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


def best_of(trials: Sequence[Trial], goal: Goal) -> list[Trial]:
    """-> those that were measured, the best reward first; none if there are two objectives."""
    if goal.kind == "front":
        return []
    known = [trial for trial in trials if trial.measured is not None]
    return sorted(known, key=lambda trial: reward_of(trial, goal) or 0.0, reverse=True)


def counts_of(trials: Sequence[Trial], say: Language = ENGLISH) -> str:
    """-> how the trials ended."""
    counts = {
        name: sum(trial.state is state for trial in trials)
        for name, state in (("done", State.DONE), ("pruned", State.PRUNED), ("failed", State.FAILED),
                            ("running", State.RUNNING))
    }  # fmt: skip
    return say(
        "{trials} networks: {done} measured, {pruned} given up, {failed} cannot be used, {running} at work.",
        trials=len(trials), **counts,
    )  # fmt: skip


def summary(found: Found, goal: Goal, metric: str, total: int | None, say: Language = ENGLISH) -> str:
    """-> one line: how far the search is, and the best so far.

    Args:
      found: so far.
      goal: of the search.
      metric: what the accuracies are.
      total: how many networks the search tries; None: those that are there.
      say: the language.
    """
    settled = sum(trial.state.finished for trial in found.trials)
    far = say("{done} of {total} networks settled", done=settled, total=total or len(found.trials))
    known, best = front_of(found.trials), best_of(found.trials, goal)
    if not known:
        return far
    if best:
        (one, measured), worth = (best[0], best[0].measured), reward_of(best[0], goal)
        assert measured is not None
        return say(
            "{far}; best so far: trial {number}, {metric} {accuracy} at {ms} ms, reward {reward}",
            far=far, number=one.number, metric=say.known(metric), accuracy=f"{measured.accuracy:.1f}",
            ms=f"{measured.latency_ms:.3g}", reward=f"{worth:.1f}",
        )  # fmt: skip
    first, last = known[0].measured, known[-1].measured
    assert first is not None and last is not None
    return say(
        "{far}; the front: {count}, from {metric} {low} at {fast} ms to {high} at {slow} ms",
        far=far, count=len(known), metric=say.known(metric), low=f"{first.accuracy:.1f}",
        fast=f"{first.latency_ms:.3g}", high=f"{last.accuracy:.1f}", slow=f"{last.latency_ms:.3g}",
    )  # fmt: skip


def tables(found: Found, goal: Goal, metric: str, say: Language = ENGLISH) -> list[Table]:
    """-> the front, the best rewards if there is one objective, and the finalists if there are some."""
    made = [networks(front_of(found.trials), say("The front of the short trainings"), goal, metric, say)]
    if goal.kind != "front":
        title = say("The best rewards of the short trainings")
        made.append(networks(best_of(found.trials, goal)[:MOST], title, goal, metric, say))
    if found.finalists:
        made.append(_finalists(found, metric, say))
    return made


def networks(trials: Sequence[Trial], title: str, goal: Goal, metric: str, say: Language = ENGLISH) -> Table:
    """-> a row a trial that was measured, with its point."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.point))
    reward = [] if goal.kind == "front" else [say("Reward")]
    heads = [
        say("Trial"),
        say.known(metric),
        say("Latency (ms)"),
        *reward,
        "MACs",
        say("Source of the latency"),
        *names,
    ]
    rows = []
    for trial in trials:
        measured = trial.measured
        assert measured is not None
        worth = reward_of(trial, goal)
        rows.append((
            str(trial.number), f"{measured.accuracy:.1f}", f"{measured.latency_ms:.3g}",
            *([] if worth is None else [f"{worth:.1f}"]), f"{measured.macs or 0:,}", measured.source,
            *(str(trial.point.get(name, "")) for name in names),
        ))  # fmt: skip
    numbers = (True,) * (4 + len(reward)) + (False,) * (1 + len(names))
    return Table(title, tuple(heads), numbers, tuple(rows))


def _finalists(found: Found, metric: str, say: Language) -> Table:
    heads = (
        say("Trial"), say.known(metric), say("95 % interval"), say("Latency (ms)"), "MACs", say("File, MB"),
    )  # fmt: skip
    rows = []
    for trial, result in found.finalists:
        if not isinstance(result, Report):
            rows.append((str(trial.number), result, "", "", "", ""))
            continue
        low, high = result.accuracy_interval or (float("nan"),) * 2
        latency = result.latency_ms.p50 if result.latency_ms else float("nan")
        rows.append((
            str(trial.number), f"{result.accuracy:.1f}", f"{low:.1f}–{high:.1f}", f"{latency:.3g}",  # noqa: RUF001
            f"{result.macs or 0:,}", f"{(result.size_bytes or 0) / 1e6:.2f}",
        ))  # fmt: skip
    return Table(say("Trained in full"), heads, (True,) * len(heads), tuple(rows))
