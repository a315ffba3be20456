"""The layer debugger's page: waste is drawn and told, names are the network's, and Korean is Korean."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests import networks
from tests.report.test_language import ENGLISH_WORD, NAMES, shown
from tta_lite.compat import keras
from tta_lite.export.quantize.compare import Grid
from tta_lite.export.quantize.debug import debug_export
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.export.quantize.single_error import Weights
from tta_lite.export.quantize.statistics import BINS, TensorStatistics
from tta_lite.report.language import ENGLISH, KOREAN
from tta_lite.report.quantization import PAGE, range_sentence, weights_sentence, write_debug
from tta_lite.report.quantization_plots import CLIPPED, activation_figure, codes_reached, weights_figure
from tta_lite.report.run_folder import RunFolder
from tta_lite.types import ExportSpec

L = keras.layers


def weights(values: np.ndarray, scale: float) -> Weights:
    codes = np.rint(values / scale).astype(np.int8)
    return Weights(values, codes, np.array([scale], np.float32), 0, 0, (codes * scale).astype(np.float32))


def held(values: np.ndarray, reach: float) -> TensorStatistics:
    counts = np.histogram(values, bins=BINS, range=(-reach, reach))[0]
    low, high = float(values.min()), float(values.max())
    return TensorStatistics(low, high, low, high, counts, reach, 1)


def strip_of(figure) -> np.ndarray:
    """-> what the strip below shows: 1 for a code in use."""
    return np.asarray(figure.axes[1].images[0].get_array())


def test_a_range_four_times_too_wide_wastes_three_quarters_of_the_codes():
    # Weights that lie in -0.25..0.25, and a scale for -1..1.
    found = weights(np.tile(np.linspace(-0.25, 0.25, 72).reshape(1, 3, 3, 8), (32, 1, 1, 1)), 1 / 127)
    assert weights_sentence(found) == (
        "75 % of the 255 codes are never used: a channel's weights reach 65 of them on average, those of the narrowest "
        "channel 65. All channels share one scale."
    )
    strip = strip_of(weights_figure(found))
    assert strip.shape == (32, 255) and strip.mean() == pytest.approx(65 / 255)
    # Real values below, and the axis shows the whole of the codes, idle ones too.
    axes = weights_figure(found).axes[1]
    assert axes.get_xlim()[0] <= -1 and axes.get_xlim()[1] >= 1
    full = weights(np.tile(np.linspace(-1, 1, 72).reshape(1, 3, 3, 8), (32, 1, 1, 1)), 1 / 127)
    assert weights_sentence(full).startswith("0 % of the 255 codes")
    assert strip_of(weights_figure(full)).mean() == 1


def test_an_activation_that_uses_a_quarter_of_its_codes():
    grid = Grid(4 / 255, -128, -128, 127)
    seen = held(np.linspace(0, 1, 5000), 2.0)
    assert codes_reached(seen, grid) == 65
    assert range_sentence(seen, grid) == (
        "75 % of the 256 codes are never used: they reach from 0 to 4, the values from 0 to 1."
    )
    assert strip_of(activation_figure(seen, grid)).sum() == 65
    assert not any(bar.get_facecolor() == _rgba(CLIPPED) and bar.get_height() for bar in _bars(seen, grid))


def test_values_without_a_code_are_drawn_and_told():
    grid, seen = Grid(1 / 255, -128, -128, 127), held(np.linspace(0, 2, 5000), 4.0)
    assert range_sentence(seen, grid) == "All 256 codes are in use, from 0 to 1. What lies outside is clipped."
    clipped = sum(bar.get_height() for bar in _bars(seen, grid) if bar.get_facecolor() == _rgba(CLIPPED))
    assert clipped == pytest.approx(2500, rel=0.03)


def _bars(seen: TensorStatistics, grid: Grid) -> list:
    return list(activation_figure(seen, grid).axes[0].patches)


def _rgba(colour: str) -> tuple[float, ...]:
    return (*(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)), 1.0)


@pytest.fixture(scope="module")
def found():
    net = networks.net(
        L.Conv2D(8, 3, padding="same", activation="relu", name="first"),
        L.Conv2D(4, 1, name="second"),
        shape=(8, 8, 3),
    )
    images = list(np.random.default_rng(0).uniform(-1, 1, (4, 1, 8, 8, 3)).astype(np.float32))
    post = PostTraining(FloatFile.of_model(net), images)
    return debug_export(post, ExportSpec("int8", 4, per_tensor=True), images, leave_one_out=True), images


@pytest.mark.parametrize("say", [ENGLISH, KOREAN], ids=lambda say: say.code)
def test_the_page_and_its_record(found, tmp_path, say):
    debug, images = found
    page = write_debug(RunFolder(tmp_path), "net.keras", debug, images, facts={"preset": "int8"}, say=say)
    html = page.read_text()
    assert page.name == PAGE and "<script" not in html and f'lang="{say.code}"' in html
    seen = shown(html)
    assert any("first" in text for text in seen)
    record = json.loads((tmp_path / "debug.json").read_text())
    assert record["worst"] == [one.layer for one in debug.worst(10)] and record["facts"] == {"preset": "int8"}
    assert len(list((tmp_path / "plots").glob("*.png"))) == 4
    if say is KOREAN:
        names = ("first", "second", "net.keras", "preset")
        texts = [NAMES.sub("", text) for text in seen]
        for name in names:
            texts = [text.replace(name, "") for text in texts]
        assert [text for text in texts if ENGLISH_WORD.search(text)] == []
