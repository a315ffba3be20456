"""``tta-lite prune --sparsities``: what it writes, that a killed run goes on, and what it refuses."""

from __future__ import annotations

import json
import zlib

import pytest

from tests.recipes.in_process import recipe, typed
from tests.training.conftest import tiny_net, tiny_task
from tta_lite.models.files import load_network
from tta_lite.training.pruning import layer_sparsities

TASK = "--task=tests.recipes.test_prune_recipe:make_task"
QUICK = ("--num_threads=1", "--rounds=1", "--num_runs=2", "--min_secs=0")
ROWS = [f"{share}{preset}" for share in ("dense", "50 %", "75 %") for preset in ("", " int8", " int8, 4 bits")]


def make_task(model):
    """What `--task` calls."""
    return tiny_task()


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("net") / "net.keras"
    tiny_net(norm=False).save(file)
    return f"--model={file}"


@pytest.fixture
def run(capfd):
    with recipe("prune") as module:
        yield typed(module, capfd)


def read(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]


def test_several_sparsities(run, net, tmp_path):
    words = (net, TASK, "--sparsities=0.5,0.75", "--finetune_epochs=1", "--calibration_images=4", "--skip_layers=heat*",
             "--weight_bits=4", f"--out={tmp_path}", *QUICK)  # fmt: skip
    code, out, err = run(*words)
    assert code == 0, err
    rows = read(tmp_path)
    assert [row["name"] for row in rows] == ROWS
    assert [row["details"]["sparsity"] for row in rows] == [0, 0, 0, 0.5, 0.5, 0.5, 0.75, 0.75, 0.75]
    assert all(row["verdict"] == "taken" and row["report"]["accuracy"] is not None for row in rows)
    folders = ["00-none", "01-dense-int8", "02-dense-int8-4-bits", "03-50", "04-50-int8", "05-50-int8-4-bits", "06-75",
               "07-75-int8", "08-75-int8-4-bits"]  # fmt: skip
    for place, (row, folder) in enumerate(zip(rows, folders, strict=True)):
        file = (tmp_path / "steps" / folder / "model.tflite").read_bytes()
        first = int(place % 3 > 0)
        dense = (tmp_path / "steps" / folders[first] / "model.tflite").read_bytes()
        assert row["report"]["size_bytes"] == len(file)
        # `zip` is deflate at level 9 and some bytes of the archive around it.
        ratio = len(zlib.compress(dense, 9)) / len(zlib.compress(file, 9))
        assert row["details"]["zip_ratio"] == pytest.approx(ratio, rel=0.01)
        assert place < 2 or f"{row['name']}: the zip of {ROWS[first]} is {ratio:.1f}"[:-1] in out
    assert rows[6]["details"]["zip_ratio"] > rows[3]["details"]["zip_ratio"] > 1.1
    for place in (2, 5, 8):
        assert rows[place]["details"]["zip_ratio"] > rows[place - 1]["details"]["zip_ratio"]
    for folder, share in (("03-50", 0.5), ("06-75", 0.75)):
        found = layer_sparsities(load_network(tmp_path / "steps" / folder / "model.keras"))
        assert found == {"stem": pytest.approx(share, abs=0.01), "down": 0, "narrow": pytest.approx(share, abs=0.01),
                         "deconv1": pytest.approx(share, abs=0.01), "heatmaps": 0}  # fmt: skip
    said = [row["details"].get("sparse_kernels", "") for row in rows]
    assert said[:3] == ["", "", ""] and all(one in out for one in said)
    # Its only 1 x 1 convolution was left out; sparse kernels of 8 bits there are none.
    assert all("0% of the weights" in said[place] for place in (3, 6))
    assert all("compute in float" in said[place] for place in (4, 5, 7, 8))
    for name in ("accuracy_sparsity", "accuracy_zip"):
        assert (tmp_path / f"plots/{name}.png").read_bytes().startswith(b"\x89PNG")
    table = (tmp_path / "table.md").read_text()
    assert all(f"| {name} |" in table for name in ROWS) and (tmp_path / "table.csv").exists()
    # As if it had been killed before the last row: the others stay as they are.
    (tmp_path / "ledger.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:8]))
    code, said, err = run(*words)
    assert code == 0, err
    again = read(tmp_path)
    assert [row["name"] for row in again] == ROWS and "[9/9]" in said and "[8/9]" not in said
    assert [row["report"]["accuracy"] for row in again] == [row["report"]["accuracy"] for row in rows]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--sparsities=0.5,1",), "`sparsity` must be between 0 and 1. Received: 1.0"),
        (("--sparsities=0.5,half",), "numbers above 0 and below 1. Received: 0.5,half"),
        (("--sparsities=0.5,0.50",), "each once. Received: [0.5, 0.5]"),
        (("--sparsities=0.5", "--begin=0.7", "--end=0.2"), "0 <= begin < end <= 1. Received: 0.7 and 0.2"),
        (("--sparsities=0.5", "--schedule=linear"), "one of polynomial_decay, constant. Received: 'linear'"),
        (("--sparsities=0.5", "--layers=stem_relu"), "Received: 'stem_relu', a ReLU"),
        (("--sparsities=0.5", "--skip_layers=block_*"), "Received: 'block_*'"),
        (("--sparsities=0.5", "--pattern=1:4"), "With the pattern 1:4 the sparsity is 0.75. Received: 0.5"),
        (("--sparsities=0.5", "--weight_bits=five"), "must list whole numbers of 2 to 7. Received: five"),
        (("--sparsities=0.5", "--weight_bits=1"), "a whole number of 2 to 8. Received: 1"),
        (("--sparsities=0.5", "--weight_bits=8"), "numbers below 8, each once"),
        (("--sparsities=0.5", "--sparsity=0.5"), "--sparsity"),
        (("--pattern=2:4",), "--pattern"),
    ],
)
def test_refuses(run, net, tmp_path, words, message):
    code, _, err = run(net, TASK, *words, f"--out={tmp_path}/run", *QUICK)
    assert code != 0 and message in err and "Traceback" not in err
    assert not list(tmp_path.glob("run/steps/*/model.tflite"))


def test_needs_a_task(run, net, tmp_path):
    code, _, err = run(net, "--sparsities=0.5", f"--out={tmp_path}/run")
    assert code != 0 and "--task must be given" in err
