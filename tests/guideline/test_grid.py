"""A grid of sizes: costs by hand arithmetic, and what becomes of accuracies and mistakes."""

from __future__ import annotations

import pytest

from tta_lite.compat import keras
from tta_lite.guideline.grid import Size, grid_table, scaling_grid
from tta_lite.types import Accuracy, InputError

L = keras.layers
RULES = {"rounds": 2, "num_runs": 2, "min_secs": 0.0}


def build(width=1.0, resolution=16):
    image = keras.Input((resolution, resolution, 3), name="image")
    x = L.Conv2D(int(8 * width), 3, padding="same", name="conv")(image)
    return keras.Model(image, L.Conv2D(2, 1, name="head")(x), name="net")


def quiet(line):
    pass


def test_costs_by_hand_in_the_order_given():
    cells = scaling_grid(build, widths=[1.0, 0.5], resolutions=[16, 8], rules=RULES, write=quiet)
    assert [cell.size for cell in cells] == [Size(1.0, None, 16), Size(1.0, None, 8), Size(0.5, None, 16),
                                             Size(0.5, None, 8)]  # fmt: skip
    assert [cell.macs for cell in cells] == [
        pixels * (27 * filters + 2 * filters) for filters in (8, 4) for pixels in (256, 64)
    ]
    assert [cell.params for cell in cells] == [28 * f + 2 * f + 2 for f in (8, 8, 4, 4)]
    assert cells[0].speedup.median == 1
    assert all(cell.p50_ms > 0 and cell.speedup.rounds == 2 for cell in cells)
    assert grid_table(cells).splitlines()[0].endswith("| speed-up |")


def test_what_was_trained_is_what_is_scored_and_exported():
    seen = []

    def accuracy(model, size):
        seen.append(size.resolution)
        # As a pruning would: another network than the one that was built.
        bigger = build(width=2.0, resolution=size.resolution)
        return bigger, Accuracy(50.0 + size.resolution, "score", (40.0, 80.0))

    cells = scaling_grid(build, resolutions=[16, 8], accuracy=accuracy, rules=RULES, write=quiet)
    assert seen == [16, 8]
    assert cells[0].macs == 256 * 29 * 16
    assert [cell.accuracy.value for cell in cells] == [66, 58]
    assert "| 66.0 (40.0 to 80.0) |" in grid_table(cells)


def test_a_size_that_cannot_be_is_said_before_anything_is_trained():
    def accuracy(model, size):
        raise AssertionError("trained")

    with pytest.raises(InputError, match="must take `depth`"):
        scaling_grid(build, depths=[None, 0.5], accuracy=accuracy, write=quiet)
    with pytest.raises(InputError, match="each once"):
        scaling_grid(build, widths=[1.0, 1.0], write=quiet)
    with pytest.raises(InputError, match="one size or more"):
        scaling_grid(build, widths=[], write=quiet)
