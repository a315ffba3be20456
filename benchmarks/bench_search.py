"""Random search, TPE and NSGA-II on the same budget: what each finds of a space that is known as a whole.

  python benchmarks/bench_search.py
  python benchmarks/bench_search.py --trials=100 --seeds=5
  python benchmarks/bench_search.py --table=runs/search/search.json

The surface is a formula over a space of 13,824 points that behaves as networks do: accuracy rises and flattens with
size, choices work with and against each other, and latency is no function of accuracy. Or --table: the trials of a
search that measured many points (``search.json``); samplers then choose among these alone, so that the accuracies are
of real trainings. Every point costs one trial, none is measured twice, and nothing is given up early. Figures: the area
between the front and a reference point, in % of what all points together have (`tta_lite.search.reward.hypervolume`),
and the best reward. Means over the seeds and 95 % intervals (Student's t); no verdict.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tta_lite.report.lottery import interval
from tta_lite.search.goal import Goal
from tta_lite.search.reward import hypervolume
from tta_lite.search.samplers import SAMPLERS, Asking, all_points
from tta_lite.search.space import Choice, Point, Space
from tta_lite.search.trial import Measured, State, Trial, key_of

SPACE = Space(
    "made up",
    (
        Choice("resolution", (96, 128, 160, 192)),
        Choice("width", (0.35, 0.5, 0.75, 1.0)),
        Choice("depth", (-1, 0, 1)),
        Choice("kernel", (3, 5, 7)),
        Choice("expand", (2, 3, 4, 6)),
        Choice("excite", (False, True)),
        Choice("bottleneck", (0, 32, 64)),
        Choice("filters", (64, 128, 192, 256)),
    ),
)


def formula(point: Point) -> Measured:
    """-> accuracy and latency of a point; no network has them, but networks behave so."""
    size = float(point["resolution"]) / 128
    width, depth, kernel = float(point["width"]), 1 + 0.25 * float(point["depth"]), float(point["kernel"])
    expand, excite = float(point["expand"]) / 6, bool(point["excite"])
    head = float(point["filters"]) / 256 * (1.6 if point["bottleneck"] == 0 else float(point["bottleneck"]) / 96)
    body = size**2 * width**1.6 * depth * (0.35 + 0.65 * expand) * (1 + 0.02 * (kernel - 3) ** 2)
    latency_ms = 0.5 + 2.2 * body * (1.12 if excite else 1.0) + 1.6 * size**2 * head
    # A larger kernel helps larger pictures; squeezing helps narrow nets; a narrow neck hurts wide heads.
    power = math.log2(1 + 3 * width * depth * expand**0.5) + 0.5 * math.log2(size * 2)
    power += 0.12 * (kernel - 3) / 2 * (size - 0.9) + (0.12 if excite and width < 0.75 else 0.02 if excite else 0.0)
    power += 0.25 * math.log2(1 + 3 * float(point["filters"]) / 256)
    power -= 0.1 * float(point["filters"]) / 256 if point["bottleneck"] == 32 else 0.0
    return Measured(100 * (1 - math.exp(-0.62 * power)), latency_ms, "by a formula")


def tabulated(path: Path) -> tuple[Space, dict[str, Measured]]:
    """-> the space that the trials of a ``search.json`` span, and what was measured of them."""
    record = json.loads(path.read_text(encoding="utf-8"))
    trials = [one for one in record["trials"] if one["accuracy"] is not None]
    names = list(dict.fromkeys(name for one in trials for name in one["point"]))
    names = [name for name in names if all(name in one["point"] for one in trials)]
    choices = []
    for name in names:
        values = tuple(sorted({one["point"][name] for one in trials}))
        if len(values) > 1:
            choices.append(Choice(name, values))
    space = Space("tabulated", tuple(choices))
    known: dict[str, Measured] = {}
    for one in trials:
        key = key_of({choice.name: one["point"][choice.name] for choice in choices})
        known.setdefault(key, Measured(one["accuracy"], one["latency_ms"], one["latency_source"]))
    return space, known


def search(asking: Asking, measure: Callable[[Point], Measured | None]) -> list[Measured]:
    """-> what one search measures; points that a table does not hold cost nothing and are not asked for again."""
    found: dict[str, Trial | None] = {}
    measured: list[Measured] = []
    while len(measured) < asking.trials:
        point, _ = asking.propose(found)
        if point is None:
            break
        result = measure(point)
        state = State.FAILED if result is None else State.DONE
        found[key_of(point)] = Trial(len(found), point, state, measured=result)
        measured += [] if result is None else [result]
    return measured


def compare(
    space: Space, measure: Callable[[Point], Measured | None], everything: Sequence[Measured], trials: int, seeds: int
) -> str:
    """-> Markdown: a row a sampler and goal."""
    worst_ms = max(one.latency_ms for one in everything)
    worst = min(one.accuracy for one in everything)
    latencies = sorted(one.latency_ms for one in everything)
    goals: Mapping[str, Goal] = {"front": Goal("front"), "hard": Goal("hard", latencies[len(latencies) // 4])}

    def area(measured: Sequence[Measured]) -> float:
        return hypervolume(measured, worst_accuracy=worst, worst_ms=worst_ms)

    lines = [
        f"{trials} trials of {len(everything)} points, {seeds} seeds; target of the reward "
        f"{goals['hard'].target_ms:.3g} ms.",
        "",
        "| sampler | wants | area of the front, % of all points' | best reward, % of the best there is | s a search |",
        "|---|---|---:|---:|---:|",
    ]
    best = max(goals["hard"].values(one.accuracy, one.latency_ms)[0] for one in everything)
    for name, goal in goals.items():
        for sampler in SAMPLERS:
            areas, rewards, began = [], [], time.monotonic()
            for seed in range(seeds):
                measured = search(Asking(space, goal, sampler, trials, seed), measure)
                areas.append(100 * area(measured) / area(everything))
                values = [goals["hard"].values(one.accuracy, one.latency_ms)[0] for one in measured]
                rewards.append(100 * max(values) / best)
            seconds = (time.monotonic() - began) / seeds
            cells = [
                f"{one.mean:.1f}" + (f" ({one.low:.1f} to {one.high:.1f})" if math.isfinite(one.low) else "")
                for one in (interval(areas), interval(rewards))
            ]
            lines.append(f"| {sampler} | {name} | {' | '.join(cells)} | {seconds:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", type=Path, default=None)
    words = parser.parse_args()
    if words.table is None:
        everything = [formula(point) for point in all_points(SPACE)]
        print(compare(SPACE, formula, everything, words.trials, words.seeds))
        return
    space, known = tabulated(words.table)
    print(compare(space, lambda point: known.get(key_of(point)), list(known.values()), words.trials, words.seeds))


if __name__ == "__main__":
    main()
