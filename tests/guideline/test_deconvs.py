"""Which form of a Deconv is taken; what is faster is the measurement's to say, so that it is given here."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tta_lite.boards.profile import get_board
from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.guideline import deconvs
from tta_lite.guideline.deconvs import NEW, OLD, choose_subpixel
from tta_lite.measure.benchmark import Benchmark, Comparison
from tta_lite.types import InputError, Latency, MeasuredOn

L = keras.layers
RULES = {"rounds": 3}


@pytest.fixture
def network() -> keras.Model:
    image = x = keras.Input((4, 4, 8), name="image")
    for place in (1, 2):
        x = L.Conv2DTranspose(8, 4, strides=2, padding="same", use_bias=False, name=f"up{place}")(x)
        x = L.ReLU(name=f"act{place}")(L.BatchNormalization(name=f"bn{place}")(x))
        x = L.Conv2D(4, 1, name=f"pconv{place}")(x)
    return keras.Model(image, x, name="net")


@pytest.fixture
def timed(monkeypatch):
    """`timed(*rounds)`: the milliseconds of the new form for one Deconv after the other; the old one takes 10."""
    seen = []

    def set_times(*layers):
        waiting = list(layers)

        def together(files, **rules):
            seen.append(({form: read_contents(path.read_bytes()) for form, path in files.items()}, rules))
            new = waiting.pop(0)
            place = MeasuredOn("host", "LiteRT", "XNNPACK", 1, "cpu")

            def of(values):
                return Benchmark(0.1, Latency(float(np.median(values)), 1, 1, 1, 1, 0, 1), None, place)

            rounds = {OLD: (10.0,) * len(new), NEW: tuple(map(float, new))}
            return Comparison({form: of(values) for form, values in rounds.items()}, rounds)

        monkeypatch.setattr(deconvs, "benchmark_together", together)
        return seen

    return set_times


def test_each_layer_is_measured_with_what_follows_and_only_the_faster_are_taken(network, timed):
    seen = timed((5, 4, 6), (5, 12, 5))
    found = choose_subpixel(network, rules=RULES, write=lambda line: None)
    assert [one.taken for one in found.choices] == [True, False]
    assert found.choices[0].speedup.median == 2
    # The PConv that follows is in both segments, and the other Deconv in none.
    for forms, rules in seen:
        assert sum(op.name == "TRANSPOSE_CONV" for op in forms[OLD].ops) == 1
        assert [op.name for op in forms[NEW].ops if op.name == "TRANSPOSE_CONV"] == []
        assert forms[OLD].ops[-1].name == "CONV_2D"
        assert rules["rounds"] == 3
    kinds = [type(layer).__name__ for layer in found.model.layers]
    assert kinds.count("DepthToSpace") == 1 and kinds.count("Conv2DTranspose") == 1
    assert found.model.get_layer("up2").strides == (2, 2)
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 8)).astype(np.float32)
    np.testing.assert_allclose(found.model(x), network(x), rtol=1e-4, atol=1e-5)
    assert "not faster in every round" in found.table()


def test_what_the_board_does_not_take_is_not_chosen_however_fast(network, timed):
    timed((1, 1, 1), (1, 1, 1))
    board = get_board("rk3399")
    listed = dataclasses.replace(board.runtime("armnn"), name="listed")
    board = dataclasses.replace(board, runtimes=(*board.runtimes, listed))
    found = choose_subpixel(network, board, runtime="listed", rules=RULES, write=lambda line: None)
    assert [one.missing for one in found.choices] == [("DEPTH_TO_SPACE",)] * 2
    assert not any(one.taken for one in found.choices)
    timed((1, 1, 1), (1, 1, 1))
    found = choose_subpixel(network, board, preset="int8", rules=RULES, write=lambda line: None)
    assert all(one.taken for one in found.choices)


def test_without_a_deconv():
    image = keras.Input((4, 4, 8))
    with pytest.raises(InputError, match="Deconvs of stride 2 or more was expected"):
        choose_subpixel(keras.Model(image, L.ReLU()(image)))
