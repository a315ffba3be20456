from __future__ import annotations

import dataclasses
import io
import itertools
import math

import numpy as np
import pytest
from PIL import Image

from tta_lite.datasets.pose_set import LSP14, MPII16
from tta_lite.report import plot_labels, plots, skeletons
from tta_lite.types import InputError


def decode(png: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(png))
    picture.load()
    assert picture.format == "PNG"
    return np.asarray(picture.convert("RGBA")).astype(int)


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_plots_are_pictures_of_the_stated_size_on_their_page_colour(ladder, theme):
    for draw in (plots.accuracy_latency, plots.accuracy_size):
        pixels = decode(draw(ladder, plots.THEMES[theme]))
        assert pixels.shape == (700, 960, 4)
        assert (pixels[0, 0, :3] == rgb(plots.THEMES[theme].page)).all()


def test_marks_stand_at_the_rows_figures_in_the_rows_colour(ladder):
    figure = plots.figure_latency(ladder)
    axes = figure.axes[0]
    drawn = {line.get_label(): (float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines}
    assert drawn == {e.name: (e.report.latency_ms.p50, e.report.accuracy) for e in ladder}
    assert axes.get_xscale() == "log"
    pixels = decode(plots._png(figure))
    for entry, colour in plots.row_colours(ladder).items():
        if entry == "G1+G2":  # lies under the mark of G1+G2+G4
            continue
        x, y = axes.transData.transform(drawn[entry])
        assert (pixels[round(700 - y), round(x), :3] == rgb(colour)).all(), entry


def test_size_plot_is_in_megabytes_and_intervals_reach_their_ends(ladder):
    axes = plots.figure_size(ladder).axes[0]
    assert sorted(float(line.get_xdata()[0]) for line in axes.lines)[0] == 3.72
    ends = sorted(tuple(path.vertices[:, 1]) for bars in axes.collections for path in bars.get_paths())
    assert ends == sorted(e.report.accuracy_interval for e in ladder)
    low, high = axes.get_ylim()
    assert low < 47.1 and high > 57.0


def scattered(ladder, seed: int):
    """The ladder at random places, two of them all but equal."""
    random = np.random.default_rng(seed)
    moved = []
    for entry in ladder:
        p50, accuracy = float(10 ** random.uniform(1, 3)), float(random.uniform(40, 60))
        latency = dataclasses.replace(entry.report.latency_ms, p50=p50)
        report = dataclasses.replace(
            entry.report, latency_ms=latency, accuracy=accuracy, accuracy_interval=(accuracy - 2, accuracy + 2)
        )
        moved.append(dataclasses.replace(entry, report=report))
    twin = dataclasses.replace(
        moved[1].report, latency_ms=dataclasses.replace(moved[1].report.latency_ms, p50=p50 * 1.01)
    )
    return [moved[0], dataclasses.replace(moved[1], report=twin), *moved[2:]]


@pytest.mark.parametrize("seed", [None, 0, 1, 2, 3])
def test_names_cover_no_mark_no_other_name_and_stay_in_the_picture(ladder, seed, monkeypatch):
    placed = {}

    def spy(figure, axes, rows, theme):
        placed.update(plot_labels.place_labels(figure, axes, rows, theme))
        return placed

    monkeypatch.setattr(plots, "place_labels", spy)
    entries = ladder if seed is None else scattered(ladder, seed)
    figure = plots.figure_latency(entries)
    axes = figure.axes[0]
    assert set(placed) == {entry.name for entry in entries}
    for one, two in itertools.combinations(placed.values(), 2):
        assert plot_labels.overlap(one, two) == 0
    for name, (left, bottom, right, top) in placed.items():
        assert left >= 0 and bottom >= 0 and right <= 960 and top <= 700, name
        for line in axes.lines:
            x, y = axes.transData.transform((line.get_xdata()[0], line.get_ydata()[0]))
            assert not (left < x < right and bottom < y < top), name


def test_rows_without_figures_are_left_out_and_colours_stay_with_their_rows(ladder, skipped_entry):
    blank = dataclasses.replace(ladder[1], report=dataclasses.replace(ladder[1].report, accuracy=math.nan))
    entries = [ladder[0], blank, skipped_entry, ladder[2]]
    names = [line.get_label() for line in plots.figure_latency(entries).axes[0].lines]
    assert names == ["none", "G1+G2"]
    assert plots.figure_latency(entries).axes[0].lines[1].get_color() == plots.row_colours(entries)["G1+G2"]
    assert decode(plots.accuracy_latency([skipped_entry])).shape == (700, 960, 4)
    assert decode(plots.accuracy_size(ladder[:1])).shape == (700, 960, 4)


def test_row_colours_differ():
    assert len(set(plots.PALETTE)) == len(plots.PALETTE) == len(set(plots.MARKS))


# One person in a picture of 24 x 24: every tile pixel is a tenth of a picture's pixel.
def one_person(joints, truth=None, annotated=None, joint_set=MPII16):
    count = len(joint_set)
    full = np.full((1, count, 2), np.nan)
    for j, at in joints.items():
        full[0, j] = at
    true = np.zeros((1, count, 2))
    for j, at in (truth or {}).items():
        true[0, j] = at
    marks = np.zeros((1, count), bool)
    marks[0, list(annotated if annotated is not None else (truth or {}))] = True
    grey = np.full((1, 24, 24, 3), 60, np.uint8)
    return decode(skeletons.skeleton_strip(grey, full, true, marks, joint_set))


def near(pixel: np.ndarray, colour: str) -> bool:
    return bool(np.abs(pixel[:3] - rgb(colour)).max() <= 25)


def test_joints_lie_on_pixel_centres_in_the_colour_of_their_side():
    # Picture pixel 3 has its centre at tile coordinate (3 + 0.5) * 10 - 0.5 = 34.5.
    pixels = one_person({0: (3, 7), 5: (20, 7), 9: (12, 20)})
    assert near(pixels[75, 35], skeletons.RIGHT) and near(pixels[75, 34], skeletons.RIGHT)
    assert near(pixels[75, 205], skeletons.LEFT)
    assert near(pixels[205, 125], skeletons.MIDDLE)
    drawn = np.abs(pixels[:100, :100, :3] - 60).max(axis=-1) > 30
    assert [float(axis.mean()) for axis in np.nonzero(drawn)] == pytest.approx([74.5, 34.5], abs=1.0)


def test_bones_are_drawn_between_their_joints_and_need_both():
    pixels = one_person({0: (3, 4), 1: (3, 20), 4: (20, 4)})
    assert near(pixels[125, 35], skeletons.RIGHT)
    assert near(pixels[125, 205], "#3c3c3c")


def test_truth_is_drawn_only_where_it_is_annotated():
    seen = one_person({}, {0: (3, 4), 1: (3, 20)})
    assert near(seen[125, 34], skeletons.TRUTH) or near(seen[125, 35], skeletons.TRUTH)
    assert near(one_person({}, {0: (3, 4), 1: (3, 20)}, annotated=[0])[125, 35], "#3c3c3c")


def test_strip_has_a_tile_a_person_with_clear_gaps():
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 32, 3), dtype=np.uint8)
    zeros = np.zeros((3, 14, 2))
    pixels = decode(skeletons.skeleton_strip(images, zeros, zeros, np.zeros((3, 14), bool), LSP14))
    assert pixels.shape == (240, 3 * 160 + 2 * 8, 4)
    assert (pixels[:, 160:168, 3] == 0).all() and (pixels[:, 328:336, 3] == 0).all()
    assert (np.delete(pixels[..., 3], [*range(160, 168), *range(328, 336)], axis=1) == 255).all()


@pytest.mark.parametrize("wrong", ["images", "joints", "truth", "annotated", "empty"])
def test_wrong_shapes_name_the_argument(wrong):
    arrays = {
        "images": np.zeros((2, 8, 8, 3), np.uint8), "joints": np.zeros((2, 14, 2)), "truth": np.zeros((2, 14, 2)),
        "annotated": np.zeros((2, 14), bool),
    }  # fmt: skip
    if wrong == "images":
        arrays["images"] = arrays["images"].astype(float)
    elif wrong == "empty":
        arrays = {name: array[:0] for name, array in arrays.items()}
    else:
        arrays[wrong] = arrays[wrong][:, :13]
    with pytest.raises(InputError, match=f"`{'images' if wrong == 'empty' else wrong}`.*Received"):
        skeletons.skeleton_strip(joint_set=LSP14, **arrays)
