"""``tta-lite train`` and ``tta-lite distill``: what they write, that they go on, and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.recipes.in_process import recipe, typed
from tests.training.conftest import same_weights
from tta_lite.compat import keras
from tta_lite.models.files import load_network
from tta_lite.tasks.find import find_task

QUICK = ["--num_threads=1", "--rounds=1", "--num_runs=2", "--min_secs=0"]
TASK = ("--task=digits:40", "--network=lenet_100_50")


def rows(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> str:
    """-> a wider network of the same kind, trained in a second."""
    keras.utils.set_random_seed(5)
    image = keras.Input((8, 8, 1))
    x = keras.layers.Dense(150, activation="relu", name="wide")(keras.layers.Flatten()(image))
    net = keras.Model(image, keras.layers.Dense(10, name="scores")(x))
    task = find_task("digits:40", net, pixels="-1..1")
    net.compile("adam", task.loss())
    net.fit(task.train_data(seed=0), steps_per_epoch=task.steps_per_epoch, epochs=30, verbose=0)
    file = tmp_path_factory.mktemp("teacher") / "heavy.keras"
    net.save(file)
    return str(file)


def test_a_network_of_the_zoo_learns(capfd, tmp_path):
    words = (*TASK, "--epochs=30", "--batch_size=8", f"--out={tmp_path}/run", *QUICK)
    with recipe("train") as module:
        code, out, err = typed(module, capfd)(*words)
        assert code == 0, err
        before, after = rows(tmp_path / "run")
        # Ten classes: a tenth by chance.
        assert before["report"]["accuracy"] < 30 < 60 < after["report"]["accuracy"]
        assert after["why"] == "asked for: fully_connected, trained for 30 epochs" and "train: taken." in out
        net = load_network(tmp_path / "run/steps/01-train/model.keras")
        task = find_task("digits:40", net, pixels="-1..1")
        assert task.score(lambda batch: net(batch).numpy()).value == pytest.approx(after["report"]["accuracy"], abs=0.3)
        # Finished: said again, and not done again.
        changed = (tmp_path / "run/steps/01-train/model.keras").stat().st_mtime_ns
        assert typed(module, capfd)(*words)[0] == 0
        assert (tmp_path / "run/steps/01-train/model.keras").stat().st_mtime_ns == changed


def test_what_the_teacher_brought_is_told(capfd, tmp_path, teacher):
    with recipe("distill") as module:
        code, out, err = typed(module, capfd)(
            *TASK, f"--teacher={teacher}", "--epochs=3", "--losses=answers=0.9,hint=0.5", "--pairs=dense1:wide",
            f"--out={tmp_path}/run", *QUICK,
        )  # fmt: skip
    assert code == 0, err
    record = rows(tmp_path / "run")[1]["details"]["distillation"]
    assert record["gain"] == pytest.approx(record["taught"] - record["alone"]) and len(record["gain_interval"]) == 2
    assert "with heavy.keras as its teacher (distillation, weight 0.9, hint 0.5)" in out
    student = load_network(tmp_path / "run/steps/01-distil/model.keras")
    assert [layer.name for layer in student.layers] == ["image", "flatten", "dense1", "dense2", "scores"]


@pytest.mark.slow
def test_fitnets_in_two_stages(capfd, tmp_path, teacher):
    with recipe("distill") as module:
        code, _, err = typed(module, capfd)(
            *TASK, f"--teacher={teacher}", "--epochs=3", "--hint_epochs=1", "--losses=answers=0.9,hint",
            "--pairs=dense1:wide", f"--out={tmp_path}/run", *QUICK,
        )  # fmt: skip
    assert code == 0, err
    assert "taught by answers=0.9, hint, in two stages" in rows(tmp_path / "run")[1]["why"]
    assert rows(tmp_path / "run")[1]["details"]["distillation"]["hint_epochs"] == 1
    student = load_network(tmp_path / "run/steps/01-distil/model.keras")
    assert [layer.name for layer in student.layers] == ["image", "flatten", "dense1", "dense2", "scores"]


@pytest.mark.slow
def test_losses_change_what_is_learnt_and_a_file_of_another_kind_teaches(capfd, tmp_path, teacher):
    """A .tflite of the teacher gives the same lessons as its network, to rounding; another loss does not."""
    from tta_lite.export.tflite import export_tflite
    from tta_lite.types import FP32

    flat = tmp_path / "heavy.tflite"
    flat.write_bytes(export_tflite(load_network(teacher), FP32))
    found = {}
    with recipe("distill") as module:
        for name, words in {
            "keras": (f"--teacher={teacher}",),
            "tflite": (f"--teacher={flat}",),
            "other": (f"--teacher={teacher}", "--losses=sp=10", "--pairs=dense1:wide"),
        }.items():
            code, _, err = typed(module, capfd)(
                *TASK, *words, "--epochs=1", "--nocontrol", f"--out={tmp_path}/{name}", *QUICK
            )
            assert code == 0, err
            found[name] = load_network(tmp_path / name / "steps/01-distil/model.keras")
    weights = {name: np.concatenate([one.ravel() for one in net.get_weights()]) for name, net in found.items()}
    assert not same_weights(found["keras"], found["other"])
    near = np.abs(weights["keras"] - weights["tflite"]).max()
    assert near < 1e-4 < 1e-3 < np.abs(weights["keras"] - weights["other"]).max()


@pytest.mark.parametrize(
    ("name", "words", "text"),
    [
        ("train", (), "--task must be given"),
        ("train", TASK[:1], "--model (a file) or --network (of the zoo) must be given. Received: none"),
        ("train", (*TASK, "--model=net.keras"), "Received: both"),
        ("train", (TASK[0], "--network=mobilenet_v2"), "digits has grey pictures of 8 x 8"),
        ("train", (*TASK, "--bottleneck=8"), "A bottleneck is for the Deconvs of a pose net. Received: 8 with digits"),
        ("train", (*TASK, "--input_size=16"), "lenet_100_50 is for digits, mnist, cifar10, at their own size"),
        ("train", ("--task=a.b:c", "--network=resnet18"), "give the network of any other one"),
        ("distill", (*TASK, "--losses=fsp"), "--losses must name some of answers, at, sp, hint"),
        ("distill", (*TASK, "--losses=at=big"), "--losses: a weight must be a number, as at=1000. Received: 'at=big'"),
        ("distill", (*TASK, "--losses=answers=2"), "that of the answers at most 1. Received: 'answers=2'"),
        ("distill", (*TASK, "--pairs=a:b"), "--pairs means something only with --losses of at, sp or hint"),
        ("distill", (*TASK, "--losses=sp", "--pairs=a"), "--pairs must be layers as mine:theirs. Received: 'a'"),
        ("distill", (*TASK, "--hint_epochs=1"), "--hint_epochs means something only with hint among --losses"),
        ("distill", (*TASK, "--losses=hint", "--hint_epochs=3", "--epochs=3"), "leave one or more for the whole"),
        ("distill", (*TASK, "--losses=at"), "Student and teacher must have layers of one height and width"),
        ("distill", (*TASK, "--teacher=none.keras"), "A teacher must be a file that exists"),
    ],
)  # fmt: skip
def test_flags_that_cannot_be(capfd, tmp_path, teacher, name, words, text):
    more = () if name == "train" or any(one.startswith("--teacher") for one in words) else (f"--teacher={teacher}",)
    with recipe(name) as module:
        code, _, err = typed(module, capfd)(*words, *more, f"--out={tmp_path}/run", *QUICK)
    assert code == 2 and text in err, err
    assert not (tmp_path / "run").exists()
