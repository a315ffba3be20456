from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tta_lite
from recipes import cli

ROOT = Path(cli.__file__).resolve().parents[1]


def _run(*words, module="recipes.cli", options=()):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *options, "-m", module, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_without_a_recipe_the_recipes_are_listed(words, capsys):
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    for name, module in cli.RECIPES.items():
        (line,) = [row for row in printed.splitlines() if row.split()[:1] == [name]]
        told = line.removeprefix(f"  {name}").strip()
        assert told and told in Path(importlib.util.find_spec(module).origin).read_text()


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"tta-lite {tta_lite.__version__}\n"


def test_unknown_recipe_names_those_there_are(capsys):
    assert cli.main(["benchmrk"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"error: The recipe must be one of {', '.join(cli.RECIPES)}; benchmark is the nearest. Received: benchmrk"
    ]


def test_the_list_imports_no_tensorflow():
    done = _run("--help", options=("-X", "importtime"))
    assert done.returncode == 0
    imported = {row.rsplit("|", 1)[1].strip().split(".")[0] for row in done.stderr.splitlines() if "|" in row}
    assert "tta_lite" in imported
    assert not imported & {"tensorflow", "tf_keras", "numpy", "absl"}


def test_help_of_a_recipe_shows_its_docstring_and_flags():
    done = _run("benchmark", "--help")
    # absl ends with 1 after --help.
    assert done.returncode in (0, 1)
    assert "each in a process of its own" in done.stdout
    for flag in ("--graph", "--num_threads", "--num_runs", "--[no]use_xnnpack"):
        assert flag in done.stdout


def test_users_mistake_in_a_recipe_is_one_line_and_exit_code_2(tmp_path):
    garbage = tmp_path / "garbage.tflite"
    garbage.write_bytes(b"this is not a model")
    for module, words in (("recipes.cli", ("benchmark",)), ("recipes.benchmark", ())):
        done = _run(*words, f"--graph={garbage}", module=module)
        assert done.returncode == 2
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: The benchmark of ") and "Received: " in line
