"""At which share of the deadline should a mode be left? Simulations of adaptive artifacts with several.

  python benchmarks/bench_margin.py "--artifacts=runs/slim/artifact;runs/exits/artifact"

Each cell is of one artifact and kind of trace: the mean accuracy in time over deadlines, as multiples of what the
dearest mode takes (--deadlines), and over seeds. Beside the adaptive way with each `down` (`up` is 0.875 of it) stand
the mode with the best mean when it alone is kept, and the best mode of each single simulation, which only someone who
knows the trace could have chosen. Early exits and cascades hold their mean cost against the deadline and are cut at it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from absl import flags

from recipes import _app
from tta_lite.adaptive.policy import STAGED, Policy, read_policy
from tta_lite.adaptive.rules import LatencyBudget
from tta_lite.adaptive.runner import MEAN, WORST
from tta_lite.adaptive.simulate import simulate
from tta_lite.adaptive.traces import GENERATED, make_trace

_ARTIFACTS = flags.DEFINE_string("artifacts", None, "Folders with policy.json; ';' between them.", required=True)
_DOWNS = flags.DEFINE_list("downs", ["1", "0.9", "0.8", "0.7", "0.6"], "Shares of the deadline.")
_DEADLINES = flags.DEFINE_list("deadlines", ["1.5", "2", "3"], "Multiples of the latency of the dearest mode.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "How many.", 1)
_FRAMES = flags.DEFINE_integer("frames", 20_000, "Of each simulation.", 1)
UP_OF_DOWN = 0.875


def accuracies(policy: Policy, kind: str, times: float, seed: int, down: float) -> np.ndarray:
    """-> accuracies in time, of the adaptive way and of each mode of the front."""
    staged = policy.kind in STAGED
    period_ms = times * max(policy.cost(mode) for mode in policy.front())
    seconds = _FRAMES.value * period_ms / 1000
    found = simulate(
        policy, make_trace(kind, seconds, seed=seed), duration_s=seconds, period_ms=period_ms,
        rules=[LatencyBudget(period_ms, down, UP_OF_DOWN * down)], hold=MEAN if staged else WORST, cut=staged,
        seed=seed,
    )  # fmt: skip
    return np.array([run.accuracy_in_time for run in found.runs])


def main(argv: Sequence[str]) -> None:
    """Simulates all, prints a table."""
    del argv
    downs = [float(word) for word in _DOWNS.value]
    known = {place: read_policy(place) for place in _ARTIFACTS.value.split(";")}
    rows: dict[str, list[float]] = {"one mode, the best on average": [], "the best mode of each trace": []}
    for policy in known.values():
        for kind in GENERATED:
            moments = [(float(times), seed) for times in _DEADLINES.value for seed in range(_SEEDS.value)]
            for down in downs:
                found = np.array([accuracies(policy, kind, *moment, down) for moment in moments])
                rows.setdefault(f"adaptive, down {down:g}", []).append(found[:, 0].mean())
            rows["one mode, the best on average"].append(found[:, 1:].mean(axis=0).max())
            rows["the best mode of each trace"].append(found[:, 1:].max(axis=1).mean())
    heads = [f"{policy.kind}, {kind}" for policy in known.values() for kind in GENERATED]
    print(f"| way | {' | '.join(heads)} | mean |\n|---{'|---:' * (len(heads) + 1)}|")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(f'{cell:.1f}' for cell in cells)} | {np.mean(cells):.2f} |")


if __name__ == "__main__":
    _app.run(main)
