"""``tta-lite adapt``: what it writes for each kind, that it goes on, and what it refuses."""

from __future__ import annotations

import csv

import pytest

from tests.adaptive.quick import quicken
from tests.networks import randomised
from tests.recipes.in_process import recipe, typed
from tta_lite.adaptive.folder import verify_adaptive
from tta_lite.adaptive.policy import read_policy
from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.models.files import load_network
from tta_lite.types import FP32

L = keras.layers
TASK = ("--task=digits:1697", "--pixels=-1..1", "--batch_size=800", "--runs=2")


def net(filters: int, name: str) -> keras.Model:
    image = x = keras.Input((8, 8, 1), name="image")
    x = L.Conv2D(filters, 3, 2, padding="same", name="conv0")(x)
    x = L.ReLU(name="relu0")(L.BatchNormalization(name="norm0")(x))
    x = L.Conv2D(filters, 3, 2, padding="same", activation="relu", name="conv1")(x)
    x = L.GlobalAveragePooling2D(name="pool")(x)
    return randomised(keras.Model(image, L.Dense(10, name="scores")(x), name=name), std=0.5)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """-> --model and --light."""
    folder = tmp_path_factory.mktemp("nets")
    for name, filters in (("heavy", 8), ("light", 2)):
        net(filters, name).save(folder / f"{name}.keras")
    return f"--model={folder}/heavy.keras", f"--light={folder}/light.keras"


def rows(folder):
    with (folder / "table.csv").open() as lines:
        return list(csv.DictReader(lines))


def test_widths_are_trained_scored_and_written(files, tmp_path, capfd, monkeypatch):
    quicken(monkeypatch)
    alone = export_tflite(net(2, "small"), FP32)
    (tmp_path / "small.tflite").write_bytes(alone)
    words = ("--kind=slimmable", "--widths=0.5", "--round_to=4", "--epochs=1", files[0], *TASK, f"--out={tmp_path}/run")
    with recipe("adapt") as module:
        code, _, err = typed(module, capfd)(*words, f"--alone={tmp_path}/none.tflite")
        assert code == 2 and "--alone must be TFLite files" in err and not (tmp_path / "run").exists()
        words = (*words, f"--alone={tmp_path}/small.tflite")
        code, out, err = typed(module, capfd)(*words)
        assert code == 0, err
        before = (tmp_path / "run/artifact/policy.json").read_bytes()
        # Finished: said again, and not done again.
        assert typed(module, capfd)(*words, "--language=ko")[0] == 0
        assert (tmp_path / "run/artifact/policy.json").read_bytes() == before
    assert "| 0.5 |" in out and "One file with a signature for each mode" in out
    assert all(check.passed for check in verify_adaptive(tmp_path / "run/artifact"))
    policy = read_policy(tmp_path / "run/artifact")
    *modes, other = rows(tmp_path / "run")
    assert [float(row["accuracy"]) for row in modes] == [mode.accuracy for mode in policy.modes]
    assert [int(float(row["bytes"])) for row in modes] == [
        (tmp_path / "run/artifact" / stage.file).stat().st_size for stage in policy.stages
    ]
    assert (other["mode"], int(other["bytes"]), other["examples"]) == ("alone small", len(alone), "100")
    assert "| alone small |" in out and "timed in turn with the modes" in out
    assert (tmp_path / "run/curve.png").read_bytes().startswith(b"\x89PNG")
    assert load_network(tmp_path / "run/networks/0.5.keras").get_layer("conv0").filters == 4


@pytest.mark.slow
def test_a_cascade_of_two_networks(files, tmp_path, capfd, monkeypatch):
    quicken(monkeypatch)
    with recipe("adapt") as module:
        code, out, err = typed(module, capfd)(
            "--kind=cascade", "--preset=int8", "--calibration_images=8", *files, *TASK, f"--out={tmp_path}/run"
        )
    assert code == 0, err
    policy = read_policy(tmp_path / "run/artifact")
    assert policy.kind == "cascade" and [stage.name for stage in policy.stages] == ["light", "heavy"]
    # Of 100 test digits a quarter tuned the thresholds.
    assert {mode.examples for mode in policy.modes} == {75} and "Scored on 75 examples" in out
    assert all(check.passed for check in verify_adaptive(tmp_path / "run/artifact"))


@pytest.mark.slow
def test_a_run_that_was_killed_while_it_wrote_does_not_train_again(files, tmp_path, capfd):
    words = ("--kind=slimmable", "--widths=0.5", "--round_to=4", "--epochs=1", files[0], *TASK, f"--out={tmp_path}/run")
    with recipe("adapt") as module:
        assert typed(module, capfd)(*words)[0] == 0
        before = read_policy(tmp_path / "run/artifact")
        (tmp_path / "run/table.md").unlink()
        trained = (tmp_path / "run/training/history.csv").stat().st_mtime_ns
        code, again, err = typed(module, capfd)(*words, "--language=ko")
    assert code == 0 and "모드" in again, err
    assert (tmp_path / "run/training/history.csv").stat().st_mtime_ns == trained
    after = read_policy(tmp_path / "run/artifact")
    assert [mode.accuracy for mode in after.modes] == [mode.accuracy for mode in before.modes]


@pytest.mark.slow
def test_an_elastic_network_in_its_phases(tmp_path, capfd):
    image = x = keras.Input((8, 8, 1), name="image")
    x = L.Conv2D(8, 3, padding="same", name="stem")(x)
    y = L.ReLU(name="relu0")(L.BatchNormalization(name="norm0")(L.Conv2D(16, 1, name="expand")(x)))
    y = L.ReLU(name="relu1")(L.DepthwiseConv2D(5, padding="same", name="depthwise")(y))
    x = L.Add(name="add")([x, L.Conv2D(8, 1, name="project")(y)])
    scores = L.Dense(10, name="scores")(L.GlobalAveragePooling2D(name="pool")(x))
    randomised(keras.Model(image, scores, name="block"), std=0.5).save(tmp_path / "net.keras")
    with recipe("adapt") as module:
        run = typed(module, capfd)
        words = ("--kind=elastic", f"--model={tmp_path}/net.keras", *TASK, f"--out={tmp_path}/run")
        code, _, err = run(*words, "--phases=1,1,0,1", "--shares=0.5", "--least_depth=1", "--modes=3", "--round_to=4")
        assert code == 0, err
        for phases in ("1,2", "-1,0,0,1", "0,0,0,0"):
            code, _, err = run(*words[:-1], f"--phases={phases}", f"--out={tmp_path}/other")
            assert code == 2 and "--phases must be 4 numbers" in err
    policy = read_policy(tmp_path / "run/artifact")
    # By hand: of kernels 5 and 3, and of 16 and 8 channels; half way is rounded to even, the larger.
    assert policy.kind == "elastic" and [mode.name for mode in policy.modes] == ["k5-w100", "k3-w50"]
    small = load_network(tmp_path / "run/networks/k3-w50.keras")
    assert small.get_layer("depthwise").kernel_size == (3, 3) and small.get_layer("expand").filters == 8
    assert all(check.passed for check in verify_adaptive(tmp_path / "run/artifact"))
    assert (tmp_path / "run/training/history.csv").read_text().count("\n") == 1 + 3


@pytest.mark.slow
def test_sizes_and_exits(files, tmp_path, capfd):
    with recipe("adapt") as module:
        for name, words in {
            "sizes": ("--kind=resolution", "--sizes=6,4", "--preset=int8", "--calibration_images=8"),
            "exits": ("--kind=early_exits", "--exits=relu0", "--exit_weights=0.5,1", "--signal=entropy"),
        }.items():
            code, _, err = typed(module, capfd)(*words, "--epochs=1", files[0], *TASK, f"--out={tmp_path}/{name}")
            assert code == 0, err
            assert all(check.passed for check in verify_adaptive(tmp_path / name / "artifact"))
    assert [mode.name for mode in read_policy(tmp_path / "sizes/artifact").modes] == ["8", "6", "4"]
    exits = read_policy(tmp_path / "exits/artifact")
    # Training digits tuned the thresholds, and all test digits score.
    assert {stage.file for stage in exits.stages} == {"model.tflite"} and exits.modes[0].examples == 100


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--kind=slimmable",), "--widths must be given with --kind=slimmable"),
        (("--kind=slimmable", "--widths=0.5", "--sizes=4"), "--sizes means something only with --kind=resolution"),
        (("--kind=slimmable", "--widths=half"), "--widths must be numbers. Received: half"),
        (("--kind=slimmable", "--widths=2"), "must be different shares between 0 and 1"),
        (("--kind=resolution", "--sizes=9"), "must be different whole numbers below 8"),
        (("--kind=early_exits", "--exits=relu0", "--preset=int16x8"), "--preset must be one of"),
        (("--kind=early_exits", "--exits=relu0", "--exit_weights=1"), "--exit_weights must be 2. Received: 1"),
        (("--kind=cascade", "--light=light.keras", "--network=lenet_100_50"), "A cascade needs --task, --model"),
        (("--kind=cascade", "--light=light.keras", "--epochs=3"), "--epochs means something only with --kind=slim"),
    ],
)  # fmt: skip
def test_flags_that_cannot_be(files, words, text, tmp_path, capfd):
    model = () if any(word.startswith("--network") for word in words) else files[:1]
    with recipe("adapt") as module:
        code, _, err = typed(module, capfd)(*words, *model, *TASK, f"--out={tmp_path}/run")
    assert code == 2 and text in err, err
    assert not (tmp_path / "run").exists()
