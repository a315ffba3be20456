from __future__ import annotations

import dataclasses
import functools
import io
import json
import shutil
import time
import types
import zipfile

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.datasets.synthetic import synthetic_pose
from tta_lite.export.parity import SQNR_LIMITS_DB
from tta_lite.guideline import case_study
from tta_lite.guideline.case_study import CaseStudy
from tta_lite.guideline.rows import ROWS
from tta_lite.models.backbones import Normalisation
from tta_lite.report.run_folder import RunFolder
from tta_lite.tasks.pose import PoseTask
from tta_lite.training.fit import FitSettings, training_seconds
from tta_lite.training.pruning import Pruning
from tta_lite.types import Candidate, InputError, Latency, LedgerEntry, Report, Verdict

# DESIGN: "report.json holds at least these keys".
REPORT_KEYS = {
    "accuracy", "metric", "accuracy_interval", "init_s", "latency_ms", "size_bytes", "zip_bytes", "peak_memory_bytes",
    "macs", "params", "activation_bytes", "measured_on",
}  # fmt: skip
LATENCY_KEYS = {"p50", "p90", "mean", "min", "max", "std", "runs"}
PLACE_KEYS = {"board", "runtime", "delegate", "threads", "cpu", "emulated"}

STUDY = CaseStudy(
    rows=("none", "G1+G2"),
    backbone="mobilenet_v1_0.5",
    light_backbone="mobilenet_v1_0.25",
    bottleneck=8,
    fit=FitSettings(epochs=1, seed=3, tensorboard=False),
    rounds=1,
    num_runs=6,
    min_secs=0.0,
)


def make_task_for(**options):
    train = synthetic_pose(64, seed=0, picture_size=48)
    test = synthetic_pose(options.pop("test_people", 12), seed=1, picture_size=48)

    @functools.cache
    def task_for(normalisation):
        return PoseTask(train, test, normalisation, **{"input_size": 32, "batch_size": 32, **options})

    return task_for


def with_rows(*rows):
    return dataclasses.replace(STUDY, rows=rows)


def record_files(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """One folder through several calls: the first, the same again, one more row (and a lost file), a row by itself."""
    journal = RunFolder(tmp_path_factory.mktemp("run"))
    task_for = make_task_for()
    # What a run leaves that was killed after the training and before the ledger.
    folder = journal.step_dir(0, "none")
    task = task_for(case_study.normalisation_of(STUDY, ROWS["none"]))
    case_study.build(STUDY, ROWS["none"], task).save(folder / "model.keras")
    calls = {}

    def call(name, study):
        lines, began = [], time.monotonic()
        entries = case_study.run(study, task_for, journal, write=lines.append)
        calls[name] = types.SimpleNamespace(
            entries={entry.name: entry for entry in entries},
            order=[entry.name for entry in entries],
            lines=lines,
            seconds=time.monotonic() - began,
            files=record_files(journal.path),
            ledger={entry.name: entry for entry in journal.read_ledger()},
            reports={path.parent.name: json.loads(path.read_text()) for path in journal.path.rglob("report.json")},
        )

    call("first", STUDY)
    call("same", STUDY)
    (journal.step_dir(2, "G1+G2") / "joints.npy").unlink()
    call("more", with_rows("none", "G1+G2", "G1+G2+G3"))
    call("alone", dataclasses.replace(with_rows("G1+G2"), num_runs=4))
    return types.SimpleNamespace(journal=journal, task_for=task_for, **calls)


def trained(call):
    return {line.split(":")[0].split("] ")[1] for line in call.lines if " epoch " in line}


def test_a_network_that_was_trained_before_a_kill_is_not_trained_again(story):
    assert trained(story.first) == {"G1+G2"}
    assert story.first.lines[0] == "[1/2] none: mobilenet_v1_0.5 (from scratch), fp32"
    assert 0 <= story.first.entries["none"].report.accuracy < 20


def test_the_step_folders_hold_the_design_s_files(story):
    steps = story.journal.path / "steps"
    assert sorted(path.name for path in steps.iterdir()) == ["00-none", "02-g1-g2", "04-g1-g2-g3"]
    for folder in ("00-none", "02-g1-g2"):
        names = {path.name for path in (steps / folder).iterdir()}
        assert {"model.keras", "model.tflite", "report.json", "joints.npy"} <= names
    # The optimizer's state of a finished training is of no more use.
    assert not list(steps.rglob("checkpoint"))
    assert (steps / "02-g1-g2" / "training" / "history.csv").is_file()
    assert not [path for path in story.journal.path.rglob("*") if path.name.startswith(".tmp-")]


def test_reports_have_the_promised_keys_and_units(story):
    reports = story.more.reports
    assert set(reports) == {"00-none", "02-g1-g2", "04-g1-g2-g3"}
    for record in reports.values():
        assert set(record) >= REPORT_KEYS
        assert set(record["latency_ms"]) == LATENCY_KEYS
        assert set(record["measured_on"]) == PLACE_KEYS
        assert None not in [record[key] for key in REPORT_KEYS - {"peak_memory_bytes"}]
        low, high = record["accuracy_interval"]
        assert 0 <= low <= record["accuracy"] <= high <= 100
        assert record["metric"] == "PCKh@0.5"
        times = record["latency_ms"]
        assert 0 < times["min"] <= times["p50"] <= times["p90"] <= times["max"]
        # Such a network takes more than a microsecond and less than a second: the unit is right.
        assert 0.001 < times["p50"] < 1000
        assert 0 < record["init_s"] < 30
        assert times["runs"] >= STUDY.num_runs
        assert record["measured_on"]["board"].startswith("this machine")
        assert record["measured_on"]["threads"] == 1
        assert record["zip_bytes"] <= record["size_bytes"] * 1.01


def test_sizes_are_those_of_the_files(story):
    for name, entry in story.more.entries.items():
        data = (story.journal.step_dir(list(ROWS).index(name), name) / "model.tflite").read_bytes()
        assert entry.report.size_bytes == len(data)
        with zipfile.ZipFile(io.BytesIO(), "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.writestr("model.tflite", data)
            assert abs(entry.report.zip_bytes - archive.getinfo("model.tflite").compress_size) <= 8


def test_the_accuracy_is_that_of_the_kept_joints(story):
    test = story.task_for(case_study.normalisation_of(STUDY, ROWS["G1+G2"])).test
    for name, entry in story.alone.ledger.items():
        found = np.load(story.journal.step_dir(list(ROWS).index(name), name) / "joints.npy")
        distance = np.sqrt(((found - test.joints) ** 2).sum(-1))
        right = distance <= 0.5 * test.head_size[:, None]
        # MPII leaves pelvis (6) and thorax (7) out.
        counted = test.annotated & ~np.isin(np.arange(16), (6, 7))
        assert entry.report.accuracy == pytest.approx(100 * right[counted].sum() / counted.sum())


def test_the_parameters_are_those_of_the_network(story):
    model = keras.models.load_model(story.journal.step_dir(2, "G1+G2") / "model.keras", compile=False)
    assert story.first.entries["G1+G2"].report.params == model.count_params()
    assert model.get_layer("pconv1").output_shape == (None, 1, 1, STUDY.bottleneck)
    assert model.output_shape == (None, 8, 8, 16)


def test_the_ledger_has_a_line_a_row_in_the_table_s_order(story):
    assert list(story.more.ledger) == story.more.order == ["none", "G1+G2", "G1+G2+G3"]
    for name, entry in story.more.ledger.items():
        row = ROWS[name]
        assert (entry.clause, entry.why, entry.verdict) == (row.clause, row.why, Verdict.TAKEN)
        assert entry.report == story.more.entries[name].report
        assert entry.details["published"] == row.published
        assert entry.details["parity"]["images"] == 8
        assert entry.seconds > 0
    assert story.more.ledger["G1+G2"].details["label"] == "mobilenet_v1_0.25 (from scratch) + PConv 8, fp32"


def test_the_same_call_again_does_nothing(story):
    assert story.same.lines == ["[1/2] none: finished before", "[2/2] G1+G2: finished before"]
    assert story.same.files == story.first.files
    assert story.same.entries == story.first.ledger


def test_a_row_that_comes_later_leaves_the_trained_ones_and_times_all_together(story):
    assert not trained(story.more)
    assert story.more.lines[0] == "[1/3] none: finished before"
    for path, state in story.first.files.items():
        if path.name == "model.keras" or (path.parent.name == "00-none" and path.name != "report.json"):
            assert story.more.files[path] == state
    assert story.more.entries["none"].seconds == story.first.entries["none"].seconds
    assert story.more.entries["none"].report.latency_ms != story.first.entries["none"].report.latency_ms
    timings = [entry.details["timing"] for entry in story.more.entries.values()]
    assert timings[0] == timings[1] == timings[2] != story.first.entries["none"].details["timing"]
    assert [entry.report.latency_ms.runs for entry in story.more.entries.values()] == [6, 6, 6]
    assert story.more.entries["none"].details["speedup"]["median"] == 1
    assert story.more.entries["G1+G2"].details["speedup"]["over"] == "none"


def test_a_lost_file_is_made_again_and_everything_comes_out_as_before(story):
    assert story.more.lines[1] == "[2/3] G1+G2: mobilenet_v1_0.25 (from scratch) + PConv 8, fp32"
    timed = {"init_s": None, "latency_ms": None, "peak_memory_bytes": None}
    for name in ("none", "G1+G2"):
        before, after = story.first.entries[name].report, story.more.entries[name].report
        assert dataclasses.replace(after, **timed) == dataclasses.replace(before, **timed)
    # The time that its training took before still counts.
    spent = training_seconds(story.journal.step_dir(2, "G1+G2") / "training")
    assert 0 < spent < story.more.entries["G1+G2"].seconds


def test_g3_is_the_network_of_g1_g2_in_integers(story):
    float_row, int_row = story.more.entries["G1+G2"].report, story.more.entries["G1+G2+G3"].report
    assert int_row.keras_accuracy == float_row.keras_accuracy
    assert (int_row.params, int_row.macs) == (float_row.params, float_row.macs)
    assert int_row.size_bytes < 0.5 * float_row.size_bytes
    folder = story.journal.step_dir(4, "G1+G2+G3")
    assert not (folder / "model.keras").exists() and not (folder / "training").exists()
    # Every weight tensor of the file is of 8 or 32 bits.
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(folder / "model.tflite"))
    interpreter.allocate_tensors()
    kinds = {np.dtype(detail["dtype"]).name for detail in interpreter.get_tensor_details() if detail["dtype"]}
    assert "int8" in kinds and "float32" not in kinds - {d["dtype"].__name__ for d in interpreter.get_input_details()}


def test_a_row_by_itself_leaves_the_others_in_the_ledger(story):
    assert story.alone.order == ["G1+G2"]
    assert list(story.alone.ledger) == ["none", "G1+G2", "G1+G2+G3"]
    # It was timed again, for other rules were asked for.
    assert story.alone.entries["G1+G2"].report.latency_ms.runs == 4
    for name in ("none", "G1+G2+G3"):
        assert story.alone.ledger[name] == story.more.ledger[name]
        assert story.alone.ledger[name].details["timing"] != story.alone.ledger["G1+G2"].details["timing"]


def test_a_damaged_network_is_named(tmp_path):
    journal = RunFolder(tmp_path)
    path = journal.step_dir(0, "none") / "model.keras"
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match=rf"{path} cannot be read; remove {path.parent}, .*Received: "):
        case_study.run(with_rows("none"), make_task_for(), journal, write=lambda line: None)
    assert journal.read_ledger() == []


def test_workers_that_do_not_agree_on_what_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(case_study, "mean_and_variance", lambda strategy, trained: (0.5, 0.25))
    for call in (case_study.run, case_study.train_only):
        with pytest.raises(
            InputError, match=r"All workers must have trained the row none, or no worker; .*00-none lacks model.keras. "
        ):
            call(with_rows("none"), make_task_for(), RunFolder(tmp_path), write=lambda line: None)


def test_a_row_whose_network_is_gone_is_named(story, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(story.journal.path, run, ignore=shutil.ignore_patterns("00-none", "model.keras", "04-*"))
    with pytest.raises(InputError, match=r"02-g1-g2/model\.keras cannot be read; remove "):
        case_study.run(with_rows("G1+G2", "G1+G2+G3"), story.task_for, RunFolder(run), write=lambda line: None)


def test_what_can_be_known_before_training_is_checked_before(tmp_path):
    def fails(match, study=STUDY, **options):
        with pytest.raises(InputError, match=match):
            case_study.check(study, make_task_for(**options))

    replace = functools.partial(dataclasses.replace, STUDY)
    fails("Unknown backbone.*Received: 'resnet19'", replace(backbone="resnet19"))
    fails("Unknown backbone.*Received: 'mobilenet_v9'", replace(light_backbone="mobilenet_v9"))
    fails("`width` must lie in.*Received: 9", replace(light_backbone="mobilenet_v1_9"))
    fails("`input_size` must be a positive multiple of 32. Received: 33", input_size=33)
    fails("`batch_size` must be 1 to 64.*Received: 65", batch_size=65)
    fails("`sigma` must be above 0. Received: 0", sigma=0)
    fails("Weights must be 'imagenet' or a file that exists", replace(light_weights=str(tmp_path / "none.npz")))
    fails("exports the network of", with_rows("G1+G2+G3"))
    task = make_task_for()(case_study.normalisation_of(STUDY, ROWS["none"]))
    unscored = dataclasses.replace(
        task, train=task.train.select_joints(["pelvis"]), test=task.test.select_joints(["pelvis"])
    )
    with pytest.raises(InputError, match=r"needs one annotated joint and head size or more. Received: none"):
        case_study.check(STUDY, lambda normalisation: unscored)
    # Without a light row its backbone's weights are nobody's business.
    case_study.check(replace(rows=("none",), light_weights=str(tmp_path / "none.npz")), make_task_for())


@pytest.mark.parametrize("name", ["bottleneck", "num_threads", "rounds", "num_runs"])
def test_a_study_counts_from_one(name):
    with pytest.raises(InputError, match=f"`{name}` must be 1 or more. Received: 0"):
        dataclasses.replace(STUDY, **{name: 0})


@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("nan")])
def test_a_study_is_timed_for_some_seconds(seconds):
    with pytest.raises(InputError, match="`min_secs` must be 0 or more"):
        dataclasses.replace(STUDY, min_secs=seconds)


def test_every_row_is_built_and_trained_by_its_own_rules(tmp_path, monkeypatch):
    """The training itself is left out: what it is given is looked at."""
    given = {}

    def keep(candidate, task, settings, workdir, **options):
        given[workdir.parent.name] = (candidate, settings, task)
        return candidate

    task_for = make_task_for()
    task = task_for(case_study.normalisation_of(STUDY, ROWS["G1"]))
    weights = tmp_path / "light.keras"
    other_seed = dataclasses.replace(STUDY, fit=dataclasses.replace(STUDY.fit, seed=99))
    source = case_study.build(other_seed, ROWS["G1"], task)
    source.save(weights)
    study = dataclasses.replace(
        with_rows("G1+G2+G4", "G1+G2+G5", "G1 scratch"), light_weights=str(weights), pruning=Pruning(0.7)
    )
    monkeypatch.setattr(case_study, "fit", keep)
    case_study.train_only(study, task_for, RunFolder(tmp_path / "run"), write=lambda line: None)

    def first_kernel(candidate):
        return next(layer for layer in candidate.model.layers if layer.get_weights()).get_weights()[0]

    mixed, pruned, scratch = given["03-g1-g2-g4"], given["05-g1-g2-g5"], given["06-g1-scratch"]
    assert (mixed[1].precision, pruned[1].precision, scratch[1].precision) == ("mixed_bfloat16", "float32", "float32")
    assert (mixed[1].pruning, pruned[1].pruning, scratch[1].pruning) == (None, Pruning(0.7), None)
    assert {dataclasses.replace(s, precision="float32", pruning=None) for _, s, _ in given.values()} == {STUDY.fit}
    assert [c.export.preset for c, _, _ in (mixed, pruned, scratch)] == ["fp16", "fp32", "fp32"]
    theirs = first_kernel(Candidate(source))
    assert np.array_equal(first_kernel(mixed[0]), theirs) and np.array_equal(first_kernel(pruned[0]), theirs)
    assert not np.array_equal(first_kernel(scratch[0]), theirs)
    narrow = [{layer.name for layer in c.model.layers if layer.name.startswith("pconv")} for c, _, _ in given.values()]
    assert [len(names) for names in narrow] == [9, 9, 0]
    assert {t.normalisation for _, _, t in given.values()} == {task.normalisation}
    # The same seed gives the same weights, however many networks were built before.
    weights_of = [candidate.model.get_weights() for candidate, _, _ in (mixed, pruned)]
    assert all(np.array_equal(a, b) for a, b in zip(*weights_of, strict=True))


def test_the_text_says_what_a_row_is():
    study = CaseStudy(rows=("none",), light_weights="weights.npz", bottleneck=64, pruning=Pruning(0.5))
    assert {name: case_study.describe(study, row) for name, row in ROWS.items()} == {
        "none": "resnet50 (from scratch), fp32",
        "G1": "mobilenet_v2 (pretrained), fp32",
        "G1+G2": "mobilenet_v2 (pretrained) + PConv 64, fp32",
        "G1+G2+G4": "mobilenet_v2 (pretrained) + PConv 64, fp16",
        "G1+G2+G3": "mobilenet_v2 (pretrained) + PConv 64, int8",
        "G1+G2+G5": "mobilenet_v2 (pretrained) + PConv 64, 50% sparse, fp32",
        "G1 scratch": "mobilenet_v2 (from scratch), fp32",
        "G1+G2 scratch": "mobilenet_v2 (from scratch) + PConv 64, fp32",
    }
    without = dataclasses.replace(study, light_weights=None)
    assert case_study.describe(without, ROWS["G1"]) == "mobilenet_v2 (from scratch), fp32"


def test_each_row_s_pixels_are_those_of_its_backbone():
    study = dataclasses.replace(STUDY, backbone="resnet18")
    # ImageNet's means and deviations in pixels, as ResNets are trained with; MobileNets take -1..1.
    imagenet = case_study.normalisation_of(study, ROWS["none"])
    assert imagenet.mean == pytest.approx([123.675, 116.28, 103.53])
    assert imagenet.std == pytest.approx([58.395, 57.12, 57.375])
    for name in set(ROWS) - {"none"}:
        assert case_study.normalisation_of(study, ROWS[name]) == Normalisation((127.5,) * 3, (127.5,) * 3)


def scored(name, accuracy, p50):
    latency = None if p50 is None else Latency(p50, p50, p50, p50, p50, 0.0, 50)
    return LedgerEntry(name, "", Verdict.TAKEN, "", Report(accuracy=accuracy, latency_ms=latency), 0.0)


@pytest.mark.parametrize(
    ("max_drop", "name"),
    # The best is b with 60.0; within 0: b; within 2: b, a (58.5); within 10: also c (50.0), the fastest.
    [(0.0, "b"), (1.4, "b"), (1.5, "a"), (2.0, "a"), (10.0, "c"), (100.0, "d")],
)
def test_the_artifact_is_the_fastest_of_the_accurate_rows(max_drop, name):
    entries = [
        scored("a", 58.5, 8.0), scored("b", 60.0, 9.0), scored("c", 50.0, 3.0), scored("d", 1.0, 1.0),
        scored("untimed", 99.0, None), scored("unscored", None, 0.1),
    ]  # fmt: skip
    assert case_study.choose(entries, max_drop).name == name


def test_nothing_measured_nothing_chosen():
    assert case_study.choose([scored("untimed", 99.0, None)], 2.0) is None
    assert case_study.choose([], 2.0) is None


@pytest.mark.parametrize("data", [b"", b"a", bytes(100_000), np.random.default_rng(0).bytes(50_000), b"weights" * 999])
def test_zip_bytes_is_what_zip_makes_of_it(data):
    with zipfile.ZipFile(io.BytesIO(), "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("model.tflite", data)
        compressed = archive.getinfo("model.tflite").compress_size
    assert abs(case_study.zip_bytes(data) - compressed) <= 8


def test_a_row_that_loses_too_much_is_a_verdict_and_stops_nothing(story, tmp_path, monkeypatch):
    shutil.copytree(story.journal.path, tmp_path / "run")
    journal = RunFolder(tmp_path / "run")
    (journal.step_dir(4, "G1+G2+G3") / "model.tflite").unlink()
    # No int8 file in the world is that close to its model.
    monkeypatch.setitem(SQNR_LIMITS_DB, "int8", 1000)
    for _ in range(2):
        kept, lost = case_study.run(with_rows("G1+G2", "G1+G2+G3"), story.task_for, journal, write=lambda line: None)
        assert kept.verdict is Verdict.TAKEN and kept.report.latency_ms is not None
        assert lost.verdict is Verdict.TOO_LOSSY and lost.report.size_bytes > 0
        assert lost.report.accuracy is None and lost.report.latency_ms is None
        assert "needs an SQNR of 1000 dB" in lost.details["note"]
        assert not (journal.step_dir(4, "G1+G2+G3") / "model.tflite").exists()
    assert [entry.name for entry in journal.read_ledger()] == ["none", "G1+G2", "G1+G2+G3"]
