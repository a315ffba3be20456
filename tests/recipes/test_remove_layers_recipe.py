"""``tta-lite remove-layers``: what it writes, with and without a task, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.networks import randomised
from tests.recipes.in_process import recipe, typed
from tests.training.conftest import tiny_task
from tta_lite.compat import keras
from tta_lite.models.files import load_network

L = keras.layers
QUICK = ["--num_threads=1", "--rounds=1", "--num_runs=2", "--min_secs=0"]
TASK = "--task=tests.recipes.test_remove_layers_recipe:make_task"


def make_task(model: keras.Model):
    """What `--task` calls."""
    return tiny_task()


def residual_net() -> keras.Model:
    """[32, 32, 3] -> [8, 8, 3], as the task wants it; three blocks on 6 channels."""
    image = keras.Input((32, 32, 3), name="image")
    x = L.Conv2D(6, 3, strides=4, padding="same", activation="relu", name="stem")(image)
    for name in ("a", "b", "c"):
        y = L.Conv2D(6, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
        x = L.Add(name=f"{name}_add")([x, L.BatchNormalization(name=f"{name}_bn")(y)])
    return randomised(keras.Model(image, L.Conv2D(3, 1, name="heatmaps")(x), name="residual"))


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("net") / "net.keras"
    residual_net().save(file)
    return f"--model={file}"


@pytest.fixture
def run(capfd):
    with recipe("remove_layers") as module:
        yield typed(module, capfd)


def rows(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "run/ledger.jsonl").read_text().splitlines()]


def test_structure_alone(run, net, tmp_path):
    images = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    code, out, err = run(net, "--blocks=2", f"--images={tmp_path}/images.npy", f"--out={tmp_path}/run", *QUICK)
    assert code == 0, err
    before, after = rows(tmp_path)
    assert (after["name"], after["clause"]) == ("layers", "6.2.3")
    # 64 places, 6 x 6 x 9 products.
    assert before["report"]["macs"] - after["report"]["macs"] == 2 * 64 * 324
    assert after["why"] == "layers by block_influence, 2 blocks less"
    text = (tmp_path / "run/changes.txt").read_text()
    assert text.count("left") == 2 and "20,736" in text and text.strip() in out
    smaller = load_network(tmp_path / "run/steps/01-layers/model.keras")
    assert len(smaller.layers) == len(residual_net().layers) - 6


def test_with_a_task_it_learns_from_the_network_as_it_was(run, net, tmp_path):
    code, out, err = run(
        net, TASK, "--criterion=taylor", "--macs=0.7", "--finetune_epochs=1", "--calibration_images=4",
        f"--out={tmp_path}/run", *QUICK,
    )  # fmt: skip
    assert code == 0, err
    entry = rows(tmp_path)[1]
    assert entry["verdict"] == "taken" and entry["clause"] == "6.2.3"
    assert "with none as its teacher (distillation, weight 0.5)" in entry["details"]["note"]
    assert entry["report"]["macs"] <= 0.7 * rows(tmp_path)[0]["report"]["macs"]
    assert "layers: taken. asked for: layers by taylor, 70% of the MACs" in out
    new, old = load_network(tmp_path / "run/steps/01-layers/model.keras"), residual_net()
    # Trained: more than the layers that a repair fits is new.
    assert not np.array_equal(new.get_layer("stem").get_weights()[0], old.get_layer("stem").get_weights()[0])


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--macs=0.5", "--blocks=1"), "One target: --macs, --params, --latency_ms or --blocks. Received: 2"),
        (("--finetune_epochs=1",), "--finetune_epochs means something only with --task"),
        (("--criterion=size",), "Argument `criterion` must be one of block_influence"),
        (("--blocks=1",), "needs `images`"),
        (("--criterion=random", "--blocks=4"), "without all 3 blocks"),
        (("--criterion=random", "--macs=0.01"), "least"),
    ],
)
def test_flags_that_cannot_be(run, net, tmp_path, flags, text):
    code, _, err = run(net, *flags, f"--out={tmp_path}/run", *QUICK)
    assert code == 2 and text in err, err
    assert not (tmp_path / "run").exists()
