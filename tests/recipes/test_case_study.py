"""The recipe, in processes of its own: all recipes define their flags in one place, so that one process holds one."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import own_process
from tta_lite.datasets.pose_set import MPII16
from tta_lite.export.manifest import network_bytes

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "data" / "samples"
TINY = (
    "--train_people=64", "--test_people=12", "--input_size=32", "--batch_size=32", "--epochs=3", "--seed=5",
    "--backbone=resnet18", "--light_backbone=mobilenet_v1_0.25", "--bottleneck=8", "--rows=G1+G2",
    "--rounds=1", "--num_runs=5", "--min_secs=0", "--strips=2",
)  # fmt: skip
STEP = Path("steps", "02-g1-g2")

LSP, LSPET, MPII = (f"--data_dir={SAMPLES / name}" for name in ("lsp", "lspet", "mpii"))
# Name -> the flags beside TINY, and what the error must say.
MISTAKES = {
    "unknown row": (["--rows=none,G9"], "Rows must be some of: none, G1, "),
    "row without its network": (["--rows=G1+G2+G3"], "exports the network of G1+G2"),
    "unknown backbone": (["--backbone=resnet19"], "Unknown backbone."),
    "unknown light backbone": (["--light_backbone=mobilenet_v9"], "Unknown backbone."),
    "width out of range": (["--light_backbone=mobilenet_v1_9"], "`width` must lie in"),
    "no data_dir": (["--dataset=lsp"], "The folder of lsp must exist"),
    "missing data_dir": (["--dataset=coco", "--data_dir={place}/none"], "The folder of coco must exist"),
    "another set's data_dir": (["--dataset=mpii", LSP], "is missing"),
    "no test split": (["--dataset=lspet", LSPET], "LSPET has no official test split"),
    "data_dir of a drawn set": ([LSP], "--data_dir means something only with --dataset=lsp or lspet or "),
    "upright of mpii": (["--dataset=mpii", "--upright", MPII], "--upright means something only with --dataset=lspet"),
    "data_seed of photos": (["--dataset=lsp", "--data_seed=1", LSP], "--data_seed means something only with"),
    "missing weights": (["--light_weights={place}/none.npz"], "Weights must be 'imagenet' or a file that exists"),
    "torn weights": (["--light_weights={place}/torn.npz"], "not a readable .npz file of weights"),
    "input_size": (["--input_size=100"], "`input_size` must be a positive multiple of 32. Received: 100"),
    "input_size too large": (["--input_size=2048"], "`picture_size` must be a whole number from 32 to 1024"),
    "batch_size": (["--batch_size=65"], "`batch_size` must be 1 to 64"),
    "unknown joint": (["--joints=r_knee,l_knee,tail"], "Joints of mpii must be different ones of"),
    "half a pair": (["--joints=r_knee"], "r_knee and l_knee change places"),
    "joints that nobody scores": (["--joints=pelvis,thorax"], "needs one annotated joint and head size or more"),
    "sigma": (["--sigma=0"], "`sigma` must be above 0"),
    "learning_rate": (["--learning_rate=0"], "`learning_rate` must be above 0"),
    "sparsity": (["--sparsity=1"], "`sparsity` must be between 0 and 1"),
    "min_secs": (["--min_secs=inf"], "`min_secs` must be 0 or more seconds"),
    "no cluster": (["--strategy=multi_worker"], "needs the environment variable TF_CONFIG"),
    "stray word": (["extra"], "A recipe takes flags only"),
    "out is a file": (["--out={place}/taken"], "The run folder cannot be created"),
}

# Runs each command of a file as the recipe would, and writes what came of it: TensorFlow starts once for all.
DRIVER = """
import contextlib, io, json, sys
from absl import flags
from absl.testing import flagsaver
from recipes import _app, _pose_data, case_study

def run(words):
    out, err = io.StringIO(), io.StringIO()
    with flagsaver.flagsaver(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = _app.guarded(case_study.main, flags.FLAGS(["case_study", *words]))
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}

def tasks(words):
    from tta_lite.guideline.rows import ROWS
    from tta_lite.models.backbones import MINUS_ONE_TO_ONE

    with flagsaver.flagsaver():
        flags.FLAGS(["case_study", *words])
        task_for = _pose_data.tasks(case_study._INPUT_SIZE.value)
        task = task_for(MINUS_ONE_TO_ONE)
        assert task_for(MINUS_ONE_TO_ONE) is task
    return {
        "train": len(task.train), "test": len(task.test), "skipped": len(task.train.skipped),
        "names": [task.train.name, task.test.name], "joints": task.train.joint_set.names,
        "input_size": task.input_size, "sigma": task.sigma, "batch_size": task.batch_size,
        "flip_test": task.flip_test, "first": task.train.joints[0].tolist(), "first_test": task.test.joints[0].tolist(),
    }

def notes(words):
    with flagsaver.flagsaver():
        flags.FLAGS(["case_study", *words])
        return case_study._notes()

kinds = {"tasks": tasks, "notes": notes, "run": run}
commands = json.load(open(sys.argv[1]))
results = {name: kinds[kind](words) for name, (kind, words) in commands.items()}
json.dump(results, open(sys.argv[2], "w"))
"""


def start(*words):
    return own_process.start("recipes.case_study", *words, TF_CONFIG=None)


def finish(process):
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("recipe")


@pytest.fixture(scope="module")
def killed(place):
    """A run that was killed in its training, and what it had printed by then."""
    process = start(*TINY, f"--out={place / 'killed'}")
    printed = []
    for line in process.stdout:
        printed.append(line)
        if "epoch 1/3 done" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL, printed
    steps = place / "killed" / STEP
    assert not (steps / "model.keras").exists() and (steps / "training" / "checkpoints").is_dir()
    return printed


@pytest.fixture(scope="module")
def resumed(killed, place):
    """The same command again."""
    return finish(start(*TINY, f"--out={place / 'killed'}"))


@pytest.fixture(scope="module")
def driven(place):
    """Every mistake, some sets of flags, and one run from beginning to end."""
    (place / "torn.npz").write_bytes(b"PK no more")
    (place / "taken").write_text("a file")
    commands = {
        name: ("run", [*TINY, f"--out={place}/mistakes/{name}", *(word.format(place=place) for word in words)])
        for name, (words, _) in MISTAKES.items()
    }
    commands |= {
        "defaults": ("tasks", []),
        "drawn": ("tasks", [*TINY, "--sigma=3", "--flip_test", "--data_seed=1", "--joints=head_top,l_hip,r_hip"]),
        "lsp": ("tasks", ["--dataset=lsp", f"--data_dir={SAMPLES / 'lsp'}", "--batch_size=1", "--test_people=1"]),
        "mpii": ("tasks", ["--dataset=mpii", f"--data_dir={SAMPLES / 'mpii'}", "--batch_size=1"]),
        "coco": ("tasks", ["--dataset=coco", f"--data_dir={SAMPLES / 'coco'}", "--batch_size=1"]),
        "lspet": (
            "tasks",
            ["--dataset=lspet", f"--data_dir={lspet(place)}", "--batch_size=1", "--upright", "--on_bad_example=skip"],
        ),
        "whole": ("run", [*TINY, f"--out={place / 'whole'}"]),
        "whole in Korean": ("run", [*TINY, f"--out={place / 'whole'}", "--language=ko"]),
        "notes": ("notes", []),
        "notes of photos": ("notes", ["--dataset=lspet", "--epochs=100", "--light_weights=folder/light.npz"]),
    }  # fmt: skip
    (place / "commands.json").write_text(json.dumps(commands))
    (place / "driver.py").write_text(DRIVER)
    command = [sys.executable, place / "driver.py", place / "commands.json", place / "results.json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("TF_CONFIG", None)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=own_process.LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads((place / "results.json").read_text())


def lspet(place):
    """LSPET's sample with a test split, and one picture that is torn."""
    folder = place / "lspet"
    (folder / "images").mkdir(parents=True)
    for path in (SAMPLES / "lspet").rglob("*.*"):
        (folder / path.relative_to(SAMPLES / "lspet")).write_bytes(path.read_bytes())
    torn = folder / "images" / "im00003.jpg"
    torn.write_bytes(torn.read_bytes()[:200])
    (folder / "index.csv").write_text("image,split,upright\n1,train,1\n2,test,1\n3,train,1\n4,train,0\n")
    return folder


def test_a_killed_run_goes_on_where_it_stopped(killed, resumed):
    assert any("epoch 1/3" in line for line in killed)
    code, out, err = resumed
    assert code == 0, err
    assert "epoch 2/3" in out and "epoch 3/3 done" in out
    assert "epoch 1/3" not in out


@pytest.mark.slow
def test_a_killed_run_ends_like_one_that_was_not(resumed, driven, place):
    assert driven["whole"]["code"] == 0, driven["whole"]["err"]
    assert "epoch 1/3" in driven["whole"]["out"]
    stopped, whole = (place / name / STEP for name in ("killed", "whole"))
    reports = [json.loads((folder / "report.json").read_text()) for folder in (stopped, whole)]
    for key in ("accuracy", "accuracy_interval", "accuracy_parts", "keras_accuracy", "size_bytes", "zip_bytes"):
        assert reports[0][key] == reports[1][key]
    assert np.array_equal(np.load(stopped / "joints.npy"), np.load(whole / "joints.npy"))
    assert (stopped / "model.tflite").read_bytes() == (whole / "model.tflite").read_bytes()
    for folder in (stopped, whole):
        assert not (folder / "training" / "checkpoints").exists()
    # A head and a line an epoch.
    assert len((whole / "training" / "history.csv").read_text().splitlines()) == 1 + 3


def test_a_finished_run_is_told_again_in_korean(driven, place):
    again = driven["whole in Korean"]
    assert again["code"] == 0 and "finished before" in again["out"], again["err"]
    page = (place / "whole" / "report.html").read_text(encoding="utf-8")
    assert '<html lang="ko">' in page and "측정 방법" in page and "모든 행을 3에폭 동안 학습함" in page
    assert "PConv 8, fp32" in page and "처음부터 학습" in page


def test_the_page_says_what_its_figures_cannot(driven):
    drawn, photos = driven["notes"], driven["notes of photos"]
    assert [text.split()[0:3] for text in drawn] == [["The", "people", "are"], ["Every", "row", "was"]]
    assert "scores about 14 here" in drawn[0] and "trained for 1 epoch;" in drawn[1]
    # Who starts from where decides what the rows may be compared for.
    assert "start" in photos[0] and "from light.npz" in photos[0]
    assert "neck to head top" in photos[1] and len(photos) == 2


def test_the_table_is_printed_and_the_report_named(resumed, place):
    _, out, _ = resumed
    record = json.loads((place / "killed" / STEP / "report.json").read_text())
    row = next(line for line in out.splitlines() if line.startswith("G1+G2 "))
    assert f" {record['accuracy']:.1f} " in row
    page = Path(out.splitlines()[-1].removeprefix("report: "))
    assert page == place / "killed" / "report.html"
    assert "G1+G2" in page.read_text()
    names = {path.name for path in page.parent.iterdir()}
    assert names == {
        "recipe.json", "ledger.jsonl", "table.md", "table.csv", "report.html", "plots", "steps", "artifact",
    }  # fmt: skip
    recipe = json.loads((page.parent / "recipe.json").read_text())
    assert recipe["flags"]["epochs"] == 3 and recipe["flags"]["sigma"] == 2.0 and recipe["seed"] == 5


def test_the_artifact_is_the_row_s_file(resumed, place):
    artifact = place / "killed" / "artifact"
    network = network_bytes(artifact, json.loads((artifact / "MANIFEST.json").read_text()))
    assert network == (place / "killed" / STEP / "model.tflite").read_bytes()
    for line in (artifact / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ", 1)
        assert hashlib.sha256((artifact / name).read_bytes()).hexdigest() == digest


def test_the_page_names_the_command(resumed, place):
    page = (place / "killed" / "report.html").read_text()
    assert "tta-lite case_study" in page
    for word in ("--rows=G1+G2", "--epochs=3", "--light_backbone=mobilenet_v1_0.25", f"--out={place / 'killed'}"):
        assert word in page
    # Defaults are left out of it.
    assert "--sigma" not in page


@pytest.fixture(scope="module")
def other_flags(resumed, place):
    files = {path: path.stat().st_mtime_ns for path in (place / "killed").rglob("*")}
    result = finish(start(*TINY, "--epochs=5", "--sigma=1.5", f"--out={place / 'killed'}"))
    assert {path: path.stat().st_mtime_ns for path in (place / "killed").rglob("*")} == files
    return result


def test_another_run_s_folder_is_refused(other_flags):
    code, out, err = other_flags
    assert code == 2
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert "--epochs: expected 3, received 5" in line and "--sigma: expected 2.0, received 1.5" in line
    assert "epoch 1" not in out


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(driven, name):
    result = driven[name]
    assert result["code"] == 2
    assert MISTAKES[name][1] in result["err"]
    assert "Received: " in result["err"]
    lines = result["err"].splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert "Traceback" not in result["err"]
    assert "epoch" not in result["out"]


def test_a_mistake_leaves_no_folder(driven, place):
    # Else the mended command would be refused there, for having other flags.
    assert not (place / "mistakes").exists()


def test_flags_of_the_data_reach_the_task(driven):
    task = driven["defaults"]
    assert (task["train"], task["test"], task["input_size"], task["batch_size"]) == (768, 200, 64, 16)
    assert (task["sigma"], task["flip_test"], tuple(task["joints"])) == (2.0, False, MPII16.names)
    drawn = driven["drawn"]
    assert (drawn["train"], drawn["test"], drawn["input_size"], drawn["batch_size"]) == (64, 12, 32, 32)
    assert (drawn["sigma"], drawn["flip_test"]) == (3.0, True)
    assert drawn["joints"] == ["head_top", "l_hip", "r_hip"]
    head_top, l_hip = (MPII16.names.index(name) for name in ("head_top", "l_hip"))
    assert drawn["first"][:2] != [task["first"][head_top], task["first"][l_hip]]
    # Nobody is both learnt from and scored.
    assert task["first"] != task["first_test"]


def test_the_four_data_sets_are_read(driven):
    assert driven["lsp"]["names"] == ["lsp train", "lsp test"]
    assert (driven["lsp"]["train"], driven["lsp"]["test"]) == (2, 1)
    assert driven["mpii"]["names"] == ["mpii train", "mpii valid"]
    assert driven["coco"]["names"] == ["coco train", "coco val"]
    assert [len(driven[name]["joints"]) for name in ("lsp", "mpii", "coco")] == [14, 16, 17]
    assert driven["lspet"]["names"] == ["lspet train upright", "lspet test upright"]
    assert (driven["lspet"]["train"], driven["lspet"]["skipped"], driven["lspet"]["test"]) == (1, 1, 1)


def test_help_shows_the_flags_at_once():
    code, out, _ = finish(start("--helpshort"))
    # absl ends with 1 after --help.
    assert code in (0, 1)
    assert "same ``--out`` goes on" in " ".join(out.split()) or "goes on where a killed run stopped" in out
    for flag in ("dataset", "data_dir", "joints", "light_weights", "rows", "max_drop", "out", "[no]flip_test"):
        assert f"--{flag}:" in out
    assert "resnet50" in out


def test_absl_s_own_checks_leave_no_trace():
    code, _, err = finish(start("--epochs=0"))
    assert code == 1
    assert "flag --epochs=0" in err and "Traceback" not in err
