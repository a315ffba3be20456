"""``report.html`` of an architecture search: for whoever watches it. It reads itself anew until the search is done."""

from __future__ import annotations

import base64
import datetime

from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.plots import DARK
from tta_lite.report.search_plot import front_plot
from tta_lite.report.search_tables import counts_of, summary, tables
from tta_lite.report.templating import environment
from tta_lite.search.goal import Goal
from tta_lite.search.run import Found
from tta_lite.search.trial import Trial

PAGE, TEMPLATE = "report.html", "search.html.j2"
# A browser reads the page anew so often while the search goes on.
REFRESH_S = 15
# Trials in the list of the newest.
NEWEST = 12


def render_page(
    found: Found,
    goal: Goal,
    metric: str,
    plot: bytes | None,
    *,
    total: int | None = None,
    say: Language = ENGLISH,
    now: datetime.datetime | None = None,
) -> str:
    """-> the page as HTML: no script, no file or address outside it; every text is escaped.

    Args:
      found: so far.
      goal: of the search.
      metric: what the accuracies are.
      plot: PNG of `front_plot` in light colours; None: nothing is measured yet.
      total: how many networks the search tries.
      say: the language.
      now: when it is written; None: now.
    """
    written = (now or datetime.datetime.now(datetime.timezone.utc)).strftime("%Y-%m-%d %H:%M:%S UTC")
    dark = None if plot is None else front_plot(found, goal, metric, DARK, say=say)
    return environment().get_template(TEMPLATE).render(
        say=say,
        title=say("Architecture search"),
        headline=summary(found, goal, metric, total, say),
        state=say("Done.") if found.done else say("At work. This page reads itself anew every {seconds} s.",
                                                  seconds=REFRESH_S),
        counts=counts_of(found.trials, say),
        written=say("Written: {time}", time=written),
        wanted=_wanted(goal, say),
        refresh_s=None if found.done else REFRESH_S,
        light=None if plot is None else _address(plot),
        dark=None if dark is None else _address(dark),
        tables=[one for one in reversed(tables(found, goal, metric, say)) if one.rows],
        newest=[_line(trial, say) for trial in reversed(found.trials[-NEWEST:])],
    )  # fmt: skip


def _wanted(goal: Goal, say: Language) -> str:
    if goal.kind == "front":
        return say("Wanted: accuracy and latency as two objectives.")
    return say(
        "Wanted: MnasNet's {kind} reward for a latency of {ms} ms.", kind=say(goal.kind), ms=f"{goal.target_ms:g}"
    )  # fmt: skip


def _line(trial: Trial, say: Language) -> dict[str, str]:
    measured = trial.measured
    steps = [f"{accuracy:.1f}" for _, accuracy in sorted(trial.steps.items())]
    return {
        "number": str(trial.number),
        "state": say(trial.state.value),
        "accuracy": f"{measured.accuracy:.1f}" if measured else "",
        "latency": "" if trial.latency_ms is None else f"{trial.latency_ms:.3g}",
        "steps": " ".join(steps),
        "why": trial.why,
        "point": ", ".join(f"{name} {value}" for name, value in trial.point.items()),
    }


def _address(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
