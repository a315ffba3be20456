"""`tta-lite boards` as a user types it, in a terminal of 80 columns."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tta_lite.boards.profile import boards
from tta_lite.boards.show import print_board

ROOT = Path(__file__).parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    command = [sys.executable, "-m", "recipes.cli", "boards", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT, env=environment)


def test_all_of_them_in_one_table():
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if line.startswith(" ") and line[1:2].isalpha()][1:] == list(boards())
    assert any("dotprod" in line for line in lines if line.startswith(" rk3588"))


@pytest.mark.parametrize("name", boards())
def test_one_with_its_sources_and_answers(name):
    out = io.StringIO()
    print_board(name, console=Console(file=out, width=80))
    assert max(map(len, out.getvalue().splitlines())) <= 80
    text = " ".join(out.getvalue().split())
    for question in ("does FP16 pay? ", "does int8 pay? yes", "does sparsity pay? ", "does its library load? "):
        assert question in text
    assert "source: " in text


def test_the_rk3399_in_words():
    text = " ".join(run("rk3399").stdout.split())
    assert "does FP16 pay? no: Cortex-A72 and Cortex-A53 have no arithmetic in half precision" in text
    assert "the big cluster; CPU 4, 5; 1800 MHz" in text and "L2 1024 KiB for 2 cores" in text
    assert "it needs glibc 2.34, and Ubuntu 18.04 has 2.27; Debian 12 would do" in text


def test_ops_and_a_file_of_ones_own():
    done = run("benchmarks/boards/no_int8.toml", "--ops")
    assert done.returncode == 0 and "does int8 pay? no: float-only 1.0 runs files of fp32, fp16" in " ".join(
        done.stdout.split()
    )
    lines = run("rk3399", "--ops").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:2] == ["TRANSPOSE_CONV", "float32,"] for line in lines)


def test_one_op_in_every_type():
    text = " ".join(run("rk3399", "--op=TRANSPOSE_CONV").stdout.split())
    assert "yes: litert-xnnpack 2.3.0 takes TRANSPOSE_CONV in int8" in text
    assert "yes: armnn 20.08 takes TRANSPOSE_CONV in float32" in text
    assert "no: armnn 20.08 refused TRANSPOSE_CONV in int8" in text and "with 3 inputs at most" in text
    # One line says it where it has the op in no type.
    assert run("rk3399", "--op=DEPTH_TO_SPACE").stdout.count("armnn 20.08 has no DEPTH_TO_SPACE") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rk9999",), "error: A board is one of "),
        (("none.toml",), "Received: 'none.toml'"),
        (("--ops",), "one board must be named"),
        (("--op=ADD",), "one board must be named"),
        (("rk3399", "--op=add"), "Received: 'add'"),
        (("rk3399", "rk3588"), "Received: rk3399 rk3588"),
    ],
)
def test_mistakes_end_in_one_line(words, said):
    done = run(*words)
    assert done.returncode == 2 and done.stdout == ""
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


def test_it_loads_no_tensorflow():
    code = (
        "import sys; from tta_lite.boards.show import print_board; print_board('rk3399'); "
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert done.returncode == 0, done.stderr
