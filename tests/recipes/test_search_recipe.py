"""``tta-lite search``: one command on digits, its folder, the same command again, a worker, and what it refuses."""

from __future__ import annotations

import json
import re

import pytest

from tests.recipes.in_process import recipe, typed

pytest.importorskip("sklearn")
pytest.importorskip("optuna")
QUICK = (
    "--space=tests.search.digits_nets:make", "--task=digits:100", "--pixels=-1..1", "--reward=front", "--epochs=1",
    "--sampler=random", "--final_epochs=1",
)  # fmt: skip


@pytest.fixture
def run(capfd, monkeypatch):
    with recipe("search") as module:
        # Another process starts for each file that is timed; tests/search/test_latency.py does that.
        monkeypatch.setattr(module, "_latency", lambda: lambda model: (model.count_params() / 100, "by parameters"))
        yield typed(module, capfd)


def test_a_search_its_second_half_and_a_worker(run, tmp_path):
    words = (*QUICK, f"--storage=journal:{tmp_path}/log", "--finalists=1")
    code, out, err = run(*words, "--trials=3", f"--out={tmp_path}/run")
    assert code == 0, err
    record = json.loads((tmp_path / "run/search.json").read_text())
    assert record["done"] and [one["state"] for one in record["trials"]].count("done") >= 2
    assert all(one["latency_source"] == "by parameters" for one in record["trials"] if one["state"] == "done")
    assert (tmp_path / "run/plots/front.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "run/table.md").read_text().strip() in out
    (final,) = record["finalists"]
    (place,) = (tmp_path / "run/steps").iterdir()
    assert place.name == f"00-trial-{final['trial']}"
    assert {"model.keras", "model.tflite", "report.json", "point.json"} <= {file.name for file in place.iterdir()}
    # Trials: on ten of the hundred that they could have learnt from; the finalist: on the test part.
    of_ten = [one["accuracy"] / 10 for one in record["trials"] if one["state"] == "done"]
    assert of_ten == pytest.approx([round(one) for one in of_ten])
    report = json.loads((place / "report.json").read_text())
    right = report["accuracy"] / 100 * 1697  # of 1797 digits
    assert right == pytest.approx(round(right))
    assert 0 < report["accuracy"] <= 100 and report["size_bytes"] == (place / "model.tflite").stat().st_size
    # Nothing is trained again, and more is added to what is there: by a worker that knows nothing but the storage.
    code, out, err = run(*words, "--trials=3", f"--out={tmp_path}/run")
    assert code == 0 and not re.search(r"(?m)^trial", out), out
    code, out, err = run("--worker", f"--storage=journal:{tmp_path}/log", "--trials=4", f"--out={tmp_path}/worker")
    assert code == 0, err
    later = json.loads((tmp_path / "worker/search.json").read_text())
    kept = [{**one, "front": None} for one in record["trials"]]
    assert [{**one, "front": None} for one in later["trials"][:3]] == kept and len(later["trials"]) == 4
    assert not (tmp_path / "worker/steps").exists() and "password" not in out
    # Each network that was measured knows what it may cost.
    assert "| Source of the latency |" in (tmp_path / "run/table.md").read_text()


def test_when_the_time_is_up_the_same_command_goes_on(run, tmp_path):
    code, out, err = run(*QUICK, "--trials=2", "--max_hours=0.000003", f"--out={tmp_path}/run")
    assert code == 0 and "the same command goes on with it" in out, err
    assert not json.loads((tmp_path / "run/search.json").read_text())["done"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--space=",), "--space must be given"),
        (("--task=",), "--task must be given"),
        (("--space=nowhere",), "A space is pose, pose_by_stage, mnasnet, .* Received: 'nowhere'"),
        (("--space=tests.search.digits_nets:nothing",), "AttributeError"),
        (("--space=pose",), "Pose nets need the task pose:"),
        (("--weights=imagenet",), "are its own matter"),
        (("--reward=hard",), "The reward hard needs a target"),
        (("--target_ms=-1",), "a number of ms above 0"),
        (("--max_hours=0",), "--max_hours must be above 0"),
        (("--only=width=3",), r"--only takes NAME=VALUE\|VALUE ... of filters, kernel, hidden"),
        (("--only=filters=3",), "The choice 'filters' must be one of 2, 4, 8. Received: '3'"),
        (("--worker",), "--storage must be given with --worker"),
        (("--worker", "--storage=journal:{folder}/none"), "no search 'search' in"),
        (("--first={folder}/points.json",), "must be readable"),
        (("--storage=oracle://me:secret@host",), r"A storage is .* Received: 'oracle://me:\*\*\*@host'"),
    ],
)
def test_mistakes_end_before_any_training(run, tmp_path, words, said):
    code, out, err = run(*QUICK, f"--out={tmp_path}/run", *(word.format(folder=tmp_path) for word in words))
    assert code == 2 and re.search(said, err), err
    assert "trial" not in out and "secret@" not in err
