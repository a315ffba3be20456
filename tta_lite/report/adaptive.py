"""What is said of an adaptive network: the table of its modes; of a simulation the table and the plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tta_lite.adaptive.modes import Mode
from tta_lite.adaptive.policy import Policy
from tta_lite.adaptive.simulate import ADAPTIVE, DROPPED, IN_TIME, LATE, Run, Simulation
from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.plot_fonts import drawable, families
from tta_lite.report.plot_labels import Theme, framed, mix
from tta_lite.report.plots import LIGHT, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 150
SIZE_INCHES = (7.2, 5.0)


def modes_markdown(
    policy: Policy,
    sizes: Mapping[str, int],
    whole: tuple[int, int] | None = None,
    say: Language = ENGLISH,
    alone: Policy | None = None,
) -> str:
    """-> the table of the modes, with what it rests on, as GitHub Markdown.

    Args:
      policy: with latencies.
      sizes: file -> bytes.
      whole: bytes of one file with a signature a mode, and of a file a mode, where both were made.
      say: the language.
      alone: networks that were trained alone and timed with the modes, of `tta_lite.adaptive.beside`.
    """
    metric = say.known(policy.metric)
    staged = any(len(mode.stages) > 1 for mode in policy.modes)
    heads = [
        say("mode"),
        say("MACs, mean"),
        f"{metric} (%)",
        say("95 % interval"),
        say("mean latency (ms)"),
        *([say("answered by each stage (%)")] if staged else []),
        say("file"),
    ]
    lines = [_row(heads), _row(["---", *["---:"] * (len(heads) - 2), "---"])]
    for known, mode in _modes(policy, alone):
        low, high = mode.interval
        shares = " / ".join(f"{100 * share:.0f}" for share in mode.shares)
        files = dict.fromkeys(known.stage(stage).file for stage in mode.stages)
        latency_ms = known.latency_ms(mode)
        lines.append(_row([
            mode.name, f"{known.macs(mode):,.0f}", f"{mode.accuracy:.2f}", f"{low:.1f}..{high:.1f}",
            "" if latency_ms is None else f"{latency_ms:.3g}", *([shares] if staged else []),
            ", ".join(f"{file} ({sizes[file]:,} B)" for file in files),
        ]))  # fmt: skip
    notes = [say("Scored on {examples} examples.", examples=f"{policy.modes[0].examples:,}")]
    if alone is not None:
        notes.append(
            say("Networks that were trained alone: timed in turn with the modes, scored on {examples} examples.",
                examples=f"{alone.modes[0].examples:,}")
        )  # fmt: skip
    if whole is not None:
        notes.append(
            say(
                "One file with a signature for each mode: {one} bytes; a file for each: {many} bytes together.",
                one=f"{whole[0]:,}", many=f"{whole[1]:,}",
            )
        )  # fmt: skip
    notes.append(say("Latencies: {source}", source=policy.latency_source))
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def modes_csv(policy: Policy, sizes: Mapping[str, int], alone: Policy | None = None) -> str:
    """-> a row a mode, unrounded; the bytes are those of the files that it needs."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["mode", "macs", "accuracy", "low", "high", "examples", "latency_ms", "worst_latency_ms", "bytes"])
    for known, mode in _modes(policy, alone):
        files = {known.stage(stage).file for stage in mode.stages}
        writer.writerow([
            mode.name, known.macs(mode), mode.accuracy, *mode.interval, mode.examples, known.latency_ms(mode),
            known.worst_ms(mode), sum(sizes[file] for file in files),
        ])  # fmt: skip
    return stream.getvalue()


def simulation_markdown(found: Simulation, say: Language = ENGLISH) -> str:
    """-> the table and what it rests on, as GitHub Markdown."""
    metric = say.known(found.policy.metric)
    heads = [
        say("mode"),
        say("{metric} in time (%)", metric=metric),
        say("missed (%)"),
        say("late (%)"),
        say("dropped (%)"),
        say("{metric} of answers (%)", metric=metric),
        say("mean latency (ms)"),
        say("switches"),
    ]
    lines = [_row(heads), _row(["---", *["---:"] * (len(heads) - 1)])]
    for run in found.runs:
        name = say("adaptive") if run.name == ADAPTIVE else run.name
        *shares, mean_ms = _figures(run)
        lines.append(_row([name, *(f"{value:.2f}" for value in shares), f"{mean_ms:.3g}", str(run.switches)]))
    frames, slow = len(found.seconds), found.slowdown
    notes = [
        say(
            "{frames} frames, deadline {deadline} ms; slow-down {low} to {high} times, {mean} on average.",
            frames=f"{frames:,}", deadline=f"{found.deadline_ms:.3g}", low=f"{slow.min():.2f}",
            high=f"{slow.max():.2f}", mean=f"{slow.mean():.2f}",
        ),
        say("In time: a frame that was late or dropped counts as wrong. Missed: late and dropped together."),
        say("Simulated, from latencies that were: {source}", source=found.policy.latency_source),
    ]  # fmt: skip
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def simulation_csv(found: Simulation) -> str:
    """-> a row a way, unrounded."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["mode", "accuracy_in_time", "missed", "late", "dropped", "accuracy_of_answers", "mean_latency_ms", "switches"]
    )
    writer.writerows([run.name, *_figures(run), run.switches] for run in found.runs)
    return stream.getvalue()


def simulation_plot(found: Simulation, say: Language = ENGLISH, theme: Theme = LIGHT) -> bytes:
    """-> PNG: the slow-down over time, the mode that the policy was in, and each way's accuracy against its misses."""
    say = drawable(say)
    with mpl.rc_context({"font.family": families(say), "font.size": 9}):
        figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor=theme.page, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(2, 2, width_ratios=(1.5, 1))
        slow, level = (figure.add_subplot(grid[row, 0]) for row in (0, 1))
        ways = figure.add_subplot(grid[:, 1])
        framed(slow, say("slow-down (times)"), say("time (s)"), theme, size=9)
        slow.plot(found.seconds, found.slowdown, color=theme.faint, linewidth=1.0)
        adaptive, *fixed = found.runs
        framed(level, say("mode of the policy; marks: missed frames"), say("time (s)"), theme, size=9)
        blue = mix(PALETTE[0], "#ffffff", theme.lift)
        red = mix(PALETTE[1], "#ffffff", theme.lift)
        level.step(found.seconds, adaptive.levels, where="post", color=blue, linewidth=1.2)
        missed = adaptive.became != IN_TIME
        level.plot(found.seconds[missed], adaptive.levels[missed], "|", color=red, markersize=6)
        level.set_yticks(range(len(fixed)), [run.name for run in fixed])
        framed(
            ways, say("{metric} in time (%)", metric=say.known(found.policy.metric)), say("missed (%)"), theme, size=9
        )
        _scatter(ways, found, blue, theme, say)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=DPI, facecolor=figure.get_facecolor(), metadata={"Software": None})
    return stream.getvalue()


def _scatter(axes: Axes, found: Simulation, blue: str, theme: Theme, say: Language) -> None:
    adaptive, *fixed = found.runs
    x, y = ([value(run) for run in fixed] for value in (_missed, lambda run: run.accuracy_in_time))
    axes.plot(x, y, "o-", color=theme.faint, markersize=4.5, linewidth=0.8)
    axes.plot([_missed(adaptive)], [adaptive.accuracy_in_time], "D", color=blue, markersize=7)
    low, high = min(*y, adaptive.accuracy_in_time), max(*y, adaptive.accuracy_in_time)
    room = 0.08 * max(high - low, 1.0)
    axes.set_ylim(low - room, high + room)
    axes.set_xlim(-4, max(*x, _missed(adaptive)) * 1.15 + 8)
    # Names at most once in so much height.
    last = np.inf
    for run in sorted(fixed, key=lambda one: -one.accuracy_in_time):
        if last - run.accuracy_in_time > room / 2:
            _name(axes, run, run.name, theme.faint)
            last = run.accuracy_in_time
    _name(axes, adaptive, say("adaptive"), mix(blue, theme.ink, 0.4), above=True)


def _name(axes: Axes, run: Run, name: str, colour: str, *, above: bool = False) -> None:
    axes.annotate(
        name, (_missed(run), run.accuracy_in_time), xytext=(7, 5 if above else -4), textcoords="offset points",
        color=colour, parse_math=False,
    )  # fmt: skip


def _figures(run: Run) -> tuple[float, ...]:
    return (
        run.accuracy_in_time, _missed(run), run.share(LATE), run.share(DROPPED), run.accuracy, run.mean_ms,
    )  # fmt: skip


def _missed(run: Run) -> float:
    return run.share(LATE, DROPPED)


def _modes(policy: Policy, alone: Policy | None) -> list[tuple[Policy, Mode]]:
    return [(known, mode) for known in (policy, alone) if known is not None for mode in known.modes]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
