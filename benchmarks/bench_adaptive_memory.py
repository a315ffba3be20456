"""One file with a signature for each mode against a file for each: bytes on the disk, and memory while they run.

  python benchmarks/bench_adaptive_memory.py --out=runs/memory

MobileNetV2 (random weights: neither figure hangs on them) in three picture sizes whose batch norms have the same
statistics, so that all bytes are shared, and in three widths, which share none. Each folder is loaded by a process of
its own that runs every mode (`tta_lite.adaptive.timing.memory_in_child`); a third row loads the largest mode alone.
XNNPACK packs the weights of each graph for itself, so that memory shares less than the file does. Some minutes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from tta_lite.adaptive.folder import write_adaptive
from tta_lite.adaptive.many_in_one import many_in_one_modes
from tta_lite.adaptive.timing import memory_in_child
from tta_lite.compat import keras
from tta_lite.measure.machine import summary
from tta_lite.training.resolutions import MultiResolution
from tta_lite.training.slimmable import Slimmable
from tta_lite.types import Accuracy

_OUT = flags.DEFINE_string("out", None, "A folder.", required=True)
_ALPHA = flags.DEFINE_float("alpha", 1.0, "Width of MobileNetV2.", 0)
_SIZE = flags.DEFINE_integer("size", 192, "Of the largest pictures, a multiple of 6.", 6)
_REPEATS = flags.DEFINE_integer("repeats", 3, "Processes a folder; the median is told.", 1)


class Blank:
    """Scores nothing: this is about bytes."""

    def calibration(self, count: int, *, seed: int = 0) -> list[np.ndarray]:
        """None."""
        return []

    def score(self, predict) -> Accuracy:
        """0, of one example."""
        return Accuracy(0.0, "none", (0.0, 0.0), examples=1)


def main(argv: Sequence[str]) -> None:
    """Writes the folders, measures, prints the table."""
    del argv
    size = _SIZE.value
    keras.utils.set_random_seed(0)
    net = keras.applications.MobileNetV2((size, size, 3), alpha=_ALPHA.value, weights=None, classes=1000)
    forms = {
        "three sizes, all bytes shared": MultiResolution(net, (size * 5 // 6, size * 2 // 3)),
        "three widths, none shared": Slimmable(net, (0.75, 0.5)),
    }
    print(f"\n{summary()}\n\n| modes | in | files, MB | memory, MB |\n|---|---|---:|---:|")
    for name, many in forms.items():
        for join in (True, False, None):
            found = many_in_one_modes(many, None, task_of=lambda model: Blank(), join=bool(join))
            policy, files = found.policy, found.files
            told = {True: "one file", False: "three files", None: "the largest alone"}[join]
            if join is None:
                policy = dataclasses.replace(policy, stages=policy.stages[:1], modes=policy.modes[:1])
                files = {policy.stages[0].file: files[policy.stages[0].file]}
            place = Path(_OUT.value) / policy.kind / told.replace(" ", "_")
            write_adaptive(place, policy, files, [np.zeros((size, size, 3), np.float32)])
            grown = np.median([memory_in_child(place) or np.nan for _ in range(_REPEATS.value)])
            print(f"| {name} | {told} | {sum(map(len, files.values())) / 1e6:.1f} | {grown / 1e6:.1f} |", flush=True)


if __name__ == "__main__":
    app.run(main)
