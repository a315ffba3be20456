"""``tta-lite lottery``: one command, its folder, the same command again, and what it refuses."""

from __future__ import annotations

import csv
import re

import pytest

from tests.recipes.in_process import recipe, typed

pytest.importorskip("sklearn")
QUICK = ("--task=digits", "--network=lenet_100_50", "--steps=20", "--sparsity=0.36", "--seeds=2", "--nojit")


@pytest.fixture
def run(capfd):
    with recipe("lottery") as module:
        yield typed(module, capfd)


def test_a_search_over_two_seeds(run, tmp_path, monkeypatch):
    words = (*QUICK, "--rewind=weights,rate", "--controls=reinit", "--criteria=movement", f"--out={tmp_path}/run")
    code, out, err = run(*words)
    assert code == 0, err
    rows = list(csv.DictReader((tmp_path / "run/tickets.csv").open()))
    assert [row["curve"] for row in rows[::4]] == ["weights", "rate", "reinit", "movement"]
    assert [round(float(row["left"]), 2) for row in rows] == [0.8, 0.8, 0.64, 0.64] * 4
    assert all(0 <= float(row["score"]) <= 100 for row in rows)
    assert (tmp_path / "run/plots/tickets.png").read_bytes().startswith(b"\x89PNG")
    table = (tmp_path / "run/tickets.md").read_text()
    assert table.strip() in out and table.count("\n|") == 4
    assert "seed 1, weights-movement: 80.0 % left" in out
    before = (tmp_path / "run/tickets.csv").read_text()
    code, out, err = run(*words)
    assert code == 0, err
    # Nothing is trained again.
    assert "seed 1" not in out and (tmp_path / "run/tickets.csv").read_text() == before
    # More may be asked of a search that is done: two runs from a step, and masks without training.
    # Masks that are learnt have tests of their own.
    monkeypatch.setattr("tta_lite.training.lottery_untrained.LEARNED", {})
    code, out, err = run(*words, "--seeds=1", "--connect_steps=10", "--connect_left=0.7", "--supermasks")
    assert code == 0, err
    table = (tmp_path / "run/connectivity.md").read_text()
    assert table.strip() in out and "ticket of 64 %: test error" in table
    assert [row.split(" |")[0] for row in table.splitlines()[4:]] == ["| 10"]
    for name in ("barrier", "lines"):
        assert (tmp_path / f"run/plots/{name}.png").read_bytes().startswith(b"\x89PNG")
    rows = (tmp_path / "run/supermasks.md").read_text().splitlines()[4:]
    assert [row.split(" | ")[0] for row in rows] == [
        "| no mask", "| large final", "| large final, same sign", "| large final, same sign, +-constant"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--network=lenet_5",), "--network must be one of lenet_300_100"),
        (("--task=",), "--task must be given"),
        (("--task=image_folder:/nowhere",), "--model must be given"),
        (("--sparsity=1",), "`sparsity` must be between 0 and 1"),
        (("--rewind_step=20",), "`rewind_step` must be a step of the training"),
        (("--rewind=back",), "--rewind must be of weights, rate, fine_tune. Received: 'back'"),
        (("--controls=luck",), "--controls must be of .* Received: 'luck'"),
        (("--criteria=luck",), "--criteria must be of .* Received: 'luck'"),
        (("--layers=none*",), "which is none"),
        (("--connect_steps=0,20",), r"--connect_steps must be steps of the training, 0 to 19\. Received: '20'"),
        (("--connect_steps=5", "--connect_left=1"), "--connect_left must be between 0 and 1"),
        (("--connect_steps=5", "--rewind=rate"), "--connect_steps looks at a ticket of --rewind=weights"),
    ],
)
def test_mistakes_end_before_any_training(run, tmp_path, words, message):
    code, out, err = run(*QUICK, f"--out={tmp_path}/run", *words)
    assert code == 2 and re.search(message, err), err
    assert "left" not in out and not list(tmp_path.rglob("*.npz"))
