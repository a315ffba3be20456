"""G1 and G2 on a network from a file, as a user types it: each recipe in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests import own_process
from tta_lite.boards.profile import get_board
from tta_lite.compat import keras
from tta_lite.models.files import load_network

QUICK = ("--rounds=1", "--num_runs=2", "--min_secs=0")
L = keras.layers


def run(recipe: str, *flags: object) -> subprocess.CompletedProcess[str]:
    return own_process.run(f"recipes.{recipe}", *flags)


@pytest.fixture(scope="module")
def few_ops(tmp_path_factory) -> Path:
    """A board of one's own: the RK3399's Arm NN as it would be without HARD_SWISH."""
    ops = sorted(get_board("rk3399").runtime("armnn").ops - {"HARD_SWISH"})
    path = tmp_path_factory.mktemp("board") / "few_ops.toml"
    path.write_text(
        'title = "few ops"\nmemory_mib = 4096\nmemory_source = "made up"\n'
        '[[cores]]\nname = "Cortex-A72"\ncount = 2\nmax_mhz = 1800\nfeatures = ["neon"]\nsource = "made up"\n'
        '[[runtimes]]\nname = "few"\nversion = "1"\npresets = ["fp32"]\nsource = "made up"\n'
        f"ops = {json.dumps(ops)}\nmax_inputs = {{ TRANSPOSE_CONV = 3 }}\n"
    )
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    """A small pose network as someone else would have built it."""
    image = keras.Input((64, 64, 3), name="photo")
    x = image
    for place, filters in enumerate((16, 32, 64, 64, 96)):
        x = L.Conv2D(filters, 3, strides=2, padding="same", activation="relu", name=f"down{place}")(x)
    for place in range(2):
        x = L.Conv2DTranspose(64, 4, strides=2, padding="same", activation="relu", name=f"up{place}")(x)
    path = tmp_path_factory.mktemp("network") / "net.keras"
    keras.Model(image, L.Conv2D(5, 1, name="maps")(x), name="someones").save(path)
    return path


def test_another_backbone(network, tmp_path):
    done = run("swap_backbone", f"--model={network}", "--backbone=mobilenet_v1_0.25", f"--out={tmp_path}/run", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "cut after down4" in done.stdout
    new = load_network(tmp_path / "run/steps/01-g1/model.keras")
    assert new.output_shape == (None, 8, 8, 5)
    rows = [json.loads(line) for line in (tmp_path / "run/ledger.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == ["none", "G1"]
    assert all(row["report"]["latency_ms"]["p50"] > 0 for row in rows)
    assert "| G1 |" in (tmp_path / "run/table.md").read_text()


def test_all_that_are_named_are_compared(network, few_ops, tmp_path):
    names = "mobilenet_v1_0.25,mobilenet_v3_small_0.75,mobilenet_v9"
    done = run(
        "swap_backbone", f"--model={network}", "--compare", f"--candidates={names}", f"--board={few_ops}",
        f"--out={tmp_path}/run", *QUICK,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "run/table.md").read_text().splitlines()
    assert lines[2].startswith("| none |")
    head = [cell.strip() for cell in lines[0].split("|")]
    cells = {row[1]: row for row in ([cell.strip() for cell in line.split("|")] for line in lines[3:5])}
    place = head.index("not supported on the board")
    # Both hold a TRANSPOSE_CONV with a bias, of the head; HARD_SWISH is of the backbone.
    assert cells["mobilenet_v1_0.25"][place] == "TRANSPOSE_CONV"
    assert set(cells["mobilenet_v3_small_0.75"][place].split(", ")) == {"HARD_SWISH", "TRANSPOSE_CONV"}
    assert all(len(row) == len(head) for row in cells.values())
    assert "cannot be used: Unknown backbone." in lines[5]


def test_narrower_convolutions_with_images(network, tmp_path):
    np.save(tmp_path / "images.npy", np.random.default_rng(0).normal(size=(8, 64, 64, 3)))
    done = run(
        "factorize", f"--model={network}", "--select=up*", "--rank=16", f"--images={tmp_path}/images.npy",
        f"--out={tmp_path}/run", *QUICK,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    new = load_network(tmp_path / "run/steps/01-g2/model.keras")
    assert new.get_layer("up1_pconv").filters == 16
    text = (tmp_path / "run/changes.txt").read_text()
    assert "up0" in text and "bottleneck" in text


@pytest.mark.parametrize("how", ["all", "measured"])
def test_subpixel_gives_the_same_outputs(how, network, tmp_path):
    done = run("factorize", f"--model={network}", f"--subpixel={how}", f"--out={tmp_path}/run", *QUICK)
    assert done.returncode == 0, done.stderr
    assert all(name in (tmp_path / "run/changes.txt").read_text() for name in ("up0", "up1"))
    old, new = (load_network(path) for path in (network, tmp_path / "run/steps/01-g2/model.keras"))
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(new(x), old(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("recipe", "flags", "said"),
    [
        ("swap_backbone", ["--model=none.keras"], "A network must be a file that exists"),
        ("swap_backbone", ["--model={torn}"], "cannot be read as a model of tf_keras"),
        ("swap_backbone", ["--model={net}", "--backbone=mobilenet_v9"], "Unknown backbone."),
        ("swap_backbone", ["--model={net}", "--board=rk9999"], "A board is one of cortex_m55"),
        ("swap_backbone", ["--model={net}", "--board=rk3399", "--runtime=tensorrt"], "has the runtimes litert-xnnpack"),
        ("scale", ["--model={net}", "--pose=mobilenet_v2"], "Expected one of --model, --network and --pose"),
        ("scale", ["--model={net}", "--resolutions=big"], "--resolutions must list numbers"),
        ("scale", ["--model={net}", "--widths=0.5"], "A model can change its resolution only"),
        ("factorize", ["--model={net}", "--select=nothing"], "matches no layer"),
        ("factorize", ["--model={net}", "--kept=1.0"], "None of the selected convolutions becomes cheaper so"),
        ("factorize", ["--model={net}", "--images={torn}"], "--images must be a .npy file of numbers"),
    ],
)
def test_mistakes_are_one_line(recipe, flags, said, network, tmp_path):
    torn = tmp_path / "torn.keras"
    torn.write_bytes(b"PK nothing")
    words = [flag.format(net=network, torn=torn) for flag in flags]
    done = run(recipe, *words, f"--out={tmp_path}/run")
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and said in errors[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_grid_of_a_network_of_ones_own(network, tmp_path):
    done = run("scale", f"--model={network}", "--resolutions=64,32", f"--out={tmp_path}/run", *QUICK)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "run/table.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["resolution 64", "resolution 32"]
    macs = [float(line.split("|")[2]) for line in lines[2:]]
    # Every layer works on a quarter of the pixels.
    assert macs[0] == pytest.approx(4 * macs[1], rel=0.1)


@pytest.mark.slow
def test_a_board_that_lacks_an_op_ends_it(network, few_ops, tmp_path):
    done = run(
        "swap_backbone", f"--model={network}", "--backbone=mobilenet_v3_small", f"--board={few_ops}",
        f"--out={tmp_path}/run",
    )  # fmt: skip
    assert done.returncode == 2
    assert "would pass: mobilenet_v1, mobilenet_v2" in done.stderr and "HARD_SWISH of layer" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_grid_that_is_trained_and_goes_on(tmp_path):
    words = (
        "--pose=mobilenet_v1_0.25", "--widths=1.0,0.5", "--resolutions=32", "--train_people=16", "--test_people=4",
        f"--out={tmp_path}/run", *QUICK,
    )  # fmt: skip
    done = run("scale", *words)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "run/table.md").read_text()
    assert "PCKh@0.5" in table
    # Trained already: only scored and timed again.
    again = run("scale", *words)
    assert again.returncode == 0, again.stderr
    scores = [re.findall(r"[\d.]+ \([\d.]+ to [\d.]+\)", text) for text in (table, again.stdout)]
    assert len(scores[0]) == 2 and scores[0] == scores[1]
    assert "epoch 1/1" not in again.stderr
