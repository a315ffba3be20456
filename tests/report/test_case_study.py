from __future__ import annotations

import csv
import dataclasses
import functools
import hashlib
import io
import json
import re
import types

import numpy as np
import pytest
from PIL import Image

from tta_lite.compat import keras
from tta_lite.datasets.synthetic import synthetic_pose
from tta_lite.export.manifest import network_bytes
from tta_lite.export.tflite import export_tflite
from tta_lite.guideline import case_study
from tta_lite.guideline.rows import ROWS
from tta_lite.report import case_study as report
from tta_lite.report import skeletons
from tta_lite.report.environment import describe_run
from tta_lite.report.page import data_uri
from tta_lite.report.run_folder import RunFolder
from tta_lite.tasks.pose import PoseTask
from tta_lite.training.fit import FitSettings
from tta_lite.types import FP32

NAMES = ("none", "G1", "G1+G2+G3")
STUDY = case_study.CaseStudy(rows=NAMES, backbone="resnet18", fit=FitSettings(epochs=7, seed=3))
COMMAND = "tta-lite case_study --epochs=7 --out='a <b>'"
PEOPLE = 9


def small_file(channels):
    """A file with the inputs of a network for 32 x 32 crops."""
    image = keras.Input((32, 32, 3), name="image")
    model = keras.Model(image, keras.layers.Conv2D(channels, 4, strides=4, name="heatmaps")(image))
    return export_tflite(model, FP32)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, ladder):
    """A run with the figures of the made-up ladder; its networks are one layer each."""
    path = tmp_path_factory.mktemp("run")
    folder = RunFolder.open(path, describe_run({"epochs": 7}, recipe="case_study", seed=3))
    entries = [entry for entry in ladder if entry.name in NAMES]
    folder.write_ledger(entries)
    train = dataclasses.replace(synthetic_pose(16, seed=0, picture_size=48), name="drawn train", skipped=("p7: torn",))
    test = dataclasses.replace(synthetic_pose(PEOPLE, seed=1, picture_size=48), name="drawn test")
    rng = np.random.default_rng(0)
    for entry in entries:
        step = folder.step_dir(list(ROWS).index(entry.name), entry.name)
        # Each another file; that of G1+G2+G3, the fourth, has an output for each of the 16 joints.
        (step / "model.tflite").write_bytes(small_file(12 + list(ROWS).index(entry.name)))
        np.save(step / "joints.npy", rng.uniform(0, 48, test.joints.shape))

    @functools.cache
    def task_for(normalisation):
        return PoseTask(train, test, normalisation, input_size=32, batch_size=8)

    def write(max_drop, study=STUDY):
        return report.write_report(
            folder, entries, study, task_for, max_drop=max_drop, strips=3, command=COMMAND, notes=["Only drawn people."]
        )

    page = write(max_drop=2.0)
    return types.SimpleNamespace(path=path, folder=folder, entries=entries, people=test, page=page, write=write)


def test_the_page_is_where_it_says(finished):
    assert finished.page == finished.path / "report.html"
    names = {path.name for path in finished.path.iterdir()}
    assert names >= {
        "recipe.json", "ledger.jsonl", "table.md", "table.csv", "report.html", "plots", "steps", "artifact",
    }  # fmt: skip
    assert not [name for name in names if name.startswith(".tmp-")]


def test_the_tables_have_a_line_a_row(finished):
    text = (finished.path / "table.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(row) for row in cells}) == 1
    assert [row[:2] for row in cells[2:]] == [[entry.name, entry.details["label"]] for entry in finished.entries]
    # The report's own 81.4 and 76.3 stand beside what was measured here.
    assert "81.4" in cells[2] and "51.3" in cells[2]
    assert "77.7" in cells[3] and "54.9" in cells[3]
    assert "of drawn test" in text
    assert "RK3399 in 2019" in text
    rows = list(csv.DictReader(io.StringIO((finished.path / "table.csv").read_text())))
    assert [row["row"] for row in rows] == list(NAMES)
    # 612.4 ms against 612.4 and 161.2 ms.
    assert [float(row["speed_up"]) for row in rows[:2]] == pytest.approx([1.0, 612.4 / 161.2])


def test_the_plots_are_pictures(finished):
    plots = list((finished.path / "plots").glob("*.png"))
    assert plots
    for plot in plots:
        with Image.open(plot) as picture:
            assert min(picture.size) > 200


def test_the_page_tells_all_and_needs_nothing_else(finished):
    page = finished.page.read_text()
    texts = [
        "Only drawn people.", "of drawn test", "drawn train: left out p7: torn", "16 (drawn train)",
        "7 epochs, Adam, learning rate 0.001", "a tenth of it after 64%, 86%", "seed 3",
    ]  # fmt: skip
    for text in (*NAMES, *texts):
        assert text in page
    assert "--out=&#39;a &lt;b&gt;&#39;" in page
    for address in re.findall(r'(?:src|href|srcset)\s*=\s*"([^"]*)"', page):
        assert address.startswith(("data:image/", "#"))
    assert "<script" not in page and "@import" not in page
    assert not re.findall(r"url\((?!['\"]?data:)", page)


def test_a_strip_a_row_shows_the_people(finished):
    views = report._strips(finished.folder, finished.entries, finished.people, 3)
    assert list(views) == list(NAMES)
    sizes = {Image.open(io.BytesIO(png)).size for png in views.values()}
    assert len(sizes) == 1
    assert sizes.pop()[0] >= 3 * skeletons.CROP
    # Other predictions, other pictures.
    assert len(set(views.values())) == len(views)
    page = finished.page.read_text()
    assert all(data_uri(png) in page for png in views.values())


def test_the_artifact_is_the_fastest_row_near_the_best(finished):
    artifact = finished.path / "artifact"
    listed = {}
    for line in (artifact / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ", 1)
        listed[name] = digest
    # What `sha256sum -c` does, and nothing that it would not look at.
    there = {p.relative_to(artifact).as_posix(): p for p in artifact.rglob("*") if p.is_file()}
    assert set(there) - {"SHA256SUMS"} == set(listed)
    assert {name: hashlib.sha256(there[name].read_bytes()).hexdigest() for name in listed} == listed
    # At most 2 points below G1's 54.9, G1+G2+G3 is the fastest.
    step = finished.folder.step_dir(4, "G1+G2+G3")
    manifest = json.loads((artifact / "MANIFEST.json").read_text())
    assert network_bytes(artifact, manifest) == (step / "model.tflite").read_bytes()
    assert manifest["name"] == "pose G1+G2+G3"
    assert manifest["labels"] == list(finished.people.joint_set.names)
    assert manifest["report"]["row"] == "G1+G2+G3" and manifest["report"]["size_bytes"] > 0
    # MobileNet takes -1..1.
    assert manifest["normalisation"]["mean"] == manifest["normalisation"]["std"] == [127.5] * 3
    assert len(list((artifact / "golden").glob("input_*.bin"))) == report.GOLDEN


def test_the_headline_warns_of_pretrained_weights_on_one_side_only(finished):
    warning = "started from pretrained weights"
    assert warning not in finished.page.read_text()
    page = finished.write(2.0, dataclasses.replace(STUDY, light_weights="light.npz")).read_text()
    # Before the table, beside the headline.
    assert 0 < page.find(warning) < page.find("The ladder")


def test_another_limit_replaces_the_artifact(finished):
    before = finished.page.read_text()
    finished.write(max_drop=0.5)
    artifact = finished.path / "artifact"
    step = finished.folder.step_dir(1, "G1")
    manifest = json.loads((artifact / "MANIFEST.json").read_text())
    assert network_bytes(artifact, manifest) == (step / "model.tflite").read_bytes()
    assert manifest["name"] == "pose G1"
    assert finished.page.read_text() != before
    assert [path.name for path in finished.path.iterdir() if path.name.startswith(".tmp-")] == []
