"""``tta-lite remove-channels``: what it writes, that the ladder writes the same, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.recipes.in_process import recipe, typed
from tests.training.conftest import tiny_net, tiny_task
from tta_lite.boards.profile import get_board
from tta_lite.compat import keras
from tta_lite.guideline import program
from tta_lite.guideline.bench import START, State
from tta_lite.guideline.settings import CLAUSES, Settings
from tta_lite.guideline.steps import guideline_steps
from tta_lite.guideline.workshop import Workshop
from tta_lite.models.files import load_network
from tta_lite.report.run_folder import RunFolder
from tta_lite.training.fit import FitSettings
from tta_lite.types import Budget, Candidate

RULES = {"num_threads": 1, "rounds": 1, "num_runs": 2, "min_secs": 0}
QUICK = [f"--{name}={value}" for name, value in RULES.items()]
TASK = "--task=tests.recipes.test_remove_channels_recipe:make_task"


def make_task(model: keras.Model):
    """What `--task` calls."""
    return tiny_task()


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("net") / "net.keras"
    tiny_net().save(file)
    return f"--model={file}"


@pytest.fixture
def run(capfd):
    with recipe("remove_channels") as module:
        yield typed(module, capfd)


def rows(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "run/ledger.jsonl").read_text().splitlines()]


def test_structure_alone(run, net, tmp_path):
    code, out, err = run(net, "--macs=0.6", "--floor=4", "--round_to=4", f"--out={tmp_path}/run", *QUICK)
    assert code == 0, err
    before, after = rows(tmp_path)
    assert (after["name"], after["clause"]) == ("channels", "6.2.3")
    assert 0.3 < after["report"]["macs"] / before["report"]["macs"] <= 0.6
    assert after["why"] == "channels by l1_norm, 60% of the MACs"
    table = (tmp_path / "run/changes.txt").read_text()
    assert "narrow" in table and table.strip() in out
    smaller = load_network(tmp_path / "run/steps/01-channels/model.keras")
    filters = [smaller.get_layer(name).filters for name in ("stem", "narrow", "deconv1", "heatmaps")]
    assert all(one % 4 == 0 for one in filters[:3]) and filters[3] == 3 and filters != [12, 16, 12, 3]
    assert smaller.output_shape == (None, 8, 8, 3)


def test_down_to_a_latency(run, net, tmp_path, monkeypatch):
    """Found by halving, with a clock that counts the parameters."""
    counted = []

    def milliseconds(model: keras.Model, rules: object) -> float:
        counted.append(model.count_params())
        return counted[-1] / 100

    monkeypatch.setattr("tta_lite.guideline.timing.milliseconds", milliseconds)
    whole = load_network(net.removeprefix("--model=")).count_params()
    words = ("--floor=4", "--round_to=4", f"--out={tmp_path}/run", *QUICK)
    code, _, err = run(net, f"--latency_ms={0.7 * whole / 100:.2f}", *words)
    assert code == 0, err
    smaller = load_network(tmp_path / "run/steps/01-channels/model.keras").count_params()
    # Nothing larger that was tried keeps the limit.
    assert smaller == max(count for count in counted if count <= 0.7 * whole)
    assert rows(tmp_path)[1]["why"].endswith(" ms")


def test_the_step_by_itself_gives_the_files_of_the_ladder(run, net, tmp_path):
    """Same network, setting and seed: bit by bit, with a teacher and fitted to the same pictures."""
    model, fit = load_network(net.removeprefix("--model=")), FitSettings(1, seed=3, tensorboard=False)
    settings = Settings(channels=(0.7,), finetune_epochs=1, calibration_images=4)
    request = program.Request(Budget(max_latency_ms=1e-6), get_board("rk3399"), None, settings, fit, RULES)
    task, runtime = make_task(model), request.board.runtime(None)

    def bench() -> Workshop:
        folder = RunFolder(tmp_path / "ladder")
        return Workshop(model, task, runtime, tuple(CLAUSES), folder, fit, RULES, write=lambda line: None)

    entry = bench().start()
    step = next(one for one in guideline_steps(program.setting_of(task, request)) if one.name == "channels")
    (trial,) = step.trials(State(request.budget, Candidate(model), START, {START: entry}))
    sketch = bench().sketch("channels", trial)
    assert not sketch.fault and sketch.report.macs < entry.report.macs
    # By another process, which knows of the teacher what the folder says.
    inside = bench().finish("channels", trial.name)
    assert "with none as its teacher (distillation, weight 0.5)" in inside.details["note"]
    bench().keep("channels", trial.name)
    code, out, err = run(
        net, TASK, "--macs=0.7", "--finetune_epochs=1", "--calibration_images=4", "--seed=3", "--board=rk3399",
        f"--out={tmp_path}/run", *QUICK,
    )  # fmt: skip
    assert code == 0, err
    found, expected = tmp_path / "run/steps/01-channels", tmp_path / "ladder/steps/04-channels"
    assert (found / "model.tflite").read_bytes() == (expected / "model.tflite").read_bytes()
    weights = [load_network(folder / "model.keras").get_weights() for folder in (found, expected)]
    assert all(np.array_equal(one, other) for one, other in zip(*weights, strict=True))
    alone = rows(tmp_path)[1]
    assert alone["verdict"] == "taken" and alone["report"]["accuracy"] == inside.report.accuracy
    assert "channels: taken. asked for: channels by taylor, 70% of the MACs" in out


@pytest.mark.slow
def test_without_a_teacher_it_learns_something_else(run, net, tmp_path):
    """And by a criterion that asks no loss."""
    found = []
    for more in (("--nodistil",), ("--nodistil_control",)):
        folder = tmp_path / str(len(found))
        code, _, err = run(
            net, TASK, "--criterion=hrank", "--macs=0.7", "--finetune_epochs=1", "--calibration_images=4", *more,
            f"--out={folder}/run", *QUICK,
        )  # fmt: skip
        assert code == 0, err
        found.append((folder / "run/steps/01-channels/model.tflite").read_bytes())
        assert ("teacher" in rows(folder)[1]["details"]["note"]) == (more != ("--nodistil",))
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--macs=0.5", "--params=0.5"), "One target: --macs, --params or --latency_ms. Received: 2"),
        (("--finetune_epochs=1",), "--finetune_epochs means something only with --task"),
        ((TASK, "--nodistil", "--temperature=2"), "--temperature means something only with --distil"),
        (
            (TASK, "--finetune_epochs=0", "--distil_control"),
            "--distil_control means something only where there is a training",
        ),
        ((TASK, "--teacher=none.onnx"), "--teacher must be a file, or the folder of a SavedModel. Received: none.onnx"),
        ((TASK, "--images=a.npy"), "--images are for a network without a --task"),
        (("--criterion=size",), "Argument `criterion` must be one of l1_norm"),
        (("--criterion=taylor",), "needs"),
        (("--protected=head*",), "head*"),
        (("--macs=0.01",), "least"),
    ],
)
def test_flags_that_cannot_be(run, net, tmp_path, flags, text):
    code, _, err = run(net, *flags, f"--out={tmp_path}/run", *QUICK)
    assert code == 2 and text in err, err
    assert not (tmp_path / "run").exists()
