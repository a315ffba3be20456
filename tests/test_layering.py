"""The rooms import only from rooms to their left (docs/ARCHITECTURE.md), read from the source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Rooms of one column do not import each other.
COLUMNS = (
    ("compat",),
    ("types",),
    ("files",),
    ("boards", "datasets"),
    ("models",),
    ("transforms",),
    ("tasks", "training"),
    ("export",),
    ("measure",),
    ("adaptive", "search"),
    ("guideline",),
    ("report",),
    ("recipes",),
)
COLUMN_OF = {room: index for index, column in enumerate(COLUMNS) for room in column}
KERAS_PACKAGES = ("keras", "tf_keras")


def room_of(path: Path, root: Path) -> str:
    """The room of a file: `tta_lite/report/table.py` -> `report`; `tta_lite/__init__.py` -> ``."""
    first, *rest = path.relative_to(root).with_suffix("").parts
    if first == "recipes":
        return "recipes"
    return "" if rest == ["__init__"] else rest[0]


def imported_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """-> line and full name of everything imported, wherever in the file; `from a import b` is `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, "." * node.level + ".".join(filter(None, (node.module, alias.name)))
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ("tf.keras", "tensorflow.keras"):
            yield node.lineno, "tensorflow.keras"


def is_other_keras(name: str) -> bool:
    """Is this Keras by another way than `tta_lite.compat`?"""
    parts = name.split(".")
    return (
        parts[0] in KERAS_PACKAGES
        or parts[:2] == ["tensorflow", "keras"]
        or parts[:3] == ["tensorflow", "python", "keras"]
    )


def fault(room: str, name: str) -> str | None:
    """-> what is wrong with `room` importing `name`, or None."""
    if name.startswith("."):
        return f"relative import of {name}; write the full name"
    if is_other_keras(name):
        return None if room == "compat" else f"imports {name}; write `from tta_lite.compat import keras`"
    package, _, rest = name.partition(".")
    if package not in ("tta_lite", "recipes"):
        return None
    target = "recipes" if package == "recipes" else rest.partition(".")[0]
    if target in ("", "__version__") or target == room:
        return None
    if target not in COLUMN_OF:
        return f"imports {name}, which is in no known room"
    if COLUMN_OF[target] >= COLUMN_OF[room]:
        return f"imports {name}; {target} is not to the left of {room}"
    return None


def faults(root: Path) -> list[str]:
    """-> one line for each import under `root` that goes the wrong way, and for each room that is not known."""
    found = []
    for path in sorted((*root.glob("tta_lite/**/*.py"), *root.glob("recipes/**/*.py"))):
        where, room = path.relative_to(root), room_of(path, root)
        if room and room not in COLUMN_OF:
            found.append(f"{where}: {room} is in no known room")
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"), str(where))
        if path.name == "__init__.py":
            # The topmost one sets what TensorFlow reads when it is loaded, and loads its names at their first use.
            allowed = {"os", "importlib", "typing.Any"} if not room else set()
            found += [
                f"{where}:{line}: imports {name}; an __init__ imports nothing"
                for line, name in imported_names(tree)
                if name not in allowed
            ]
            continue
        for line, name in imported_names(tree):
            if what := fault(room, name):
                found.append(f"{where}:{line}: {what}")
    return found


def test_every_import_goes_to_the_left() -> None:
    assert faults(ROOT) == []


def test_the_rooms_were_looked_at() -> None:
    # An empty glob would make the test above pass.
    rooms = {room_of(path, ROOT) for path in ROOT.glob("tta_lite/**/*.py")}
    assert {"compat", "types", "models", "export", "measure"} <= rooms


def plant(root: Path, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return faults(root)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("tta_lite/compat.py", "import tf_keras as keras"),
        ("tta_lite/__init__.py", "import os"),
        ("tta_lite/types.py", "from tta_lite.compat import keras"),
        ("tta_lite/files.py", "from tta_lite.types import InputError"),
        ("tta_lite/models/pose.py", "from tta_lite.models.resnet import resnet"),
        ("tta_lite/models/pose.py", "from tta_lite import types"),
        (
            "tta_lite/report/page.py",
            "import tta_lite\nimport tta_lite.measure.machine\nfrom tta_lite import __version__",
        ),
        ("tta_lite/training/pruning.py", "import tensorflow_model_optimization.sparsity.keras"),
        ("recipes/case_study.py", "from tta_lite.report.page import write_page\nfrom recipes import _app"),
    ],
)
def test_a_right_import_passes(tmp_path: Path, file: str, text: str) -> None:
    assert plant(tmp_path, {file: text}) == []


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("tta_lite/models/pose.py", "from tta_lite.tasks.pose import PoseTask", "tasks is not to the left of models"),
        ("tta_lite/models/pose.py", "import tta_lite.report.page", "report is not to the left of models"),
        ("tta_lite/models/pose.py", "from tta_lite import export", "export is not to the left of models"),
        ("tta_lite/models/pose.py", "import recipes.cli", "recipes is not to the left of models"),
        ("tta_lite/models/pose.py", "from ..tasks import pose", "relative import"),
        ("tta_lite/models/pose.py", "from . import resnet", "relative import"),
        ("tta_lite/models/pose.py", "def f():\n    from tta_lite.tasks import pose", "pose.py:2: "),
        ("tta_lite/models/pose.py", "import importlib\nimportlib.import_module('tta_lite.tasks.pose')", "pose.py:2: "),
        ("tta_lite/tasks/pose.py", "from tta_lite.training.fit import fit", "training is not to the left of tasks"),
        (
            "tta_lite/training/fit.py",
            "from tta_lite.tasks.pose import PoseTask",
            "tasks is not to the left of training",
        ),
        (
            "tta_lite/training/fit.py",
            "from tta_lite.measure import benchmark",
            "measure is not to the left of training",
        ),
        ("tta_lite/boards/toml.py", "from tta_lite.datasets import lsp", "datasets is not to the left of boards"),
        ("tta_lite/compat.py", "from tta_lite.types import InputError", "types is not to the left of compat"),
        ("tta_lite/types.py", "from tta_lite.files import atomic_write", "files is not to the left of types"),
        ("tta_lite/models/pose.py", "import tf_keras as keras", "write `from tta_lite.compat import keras`"),
        ("tta_lite/models/pose.py", "from keras import layers", "write `from tta_lite.compat import keras`"),
        ("tta_lite/models/pose.py", "from tensorflow import keras", "write `from tta_lite.compat import keras`"),
        ("tta_lite/models/pose.py", "from tensorflow.keras import layers", "write `from tta_lite.compat import keras`"),
        (
            "tta_lite/models/pose.py",
            "import tensorflow as tf\nx = tf.keras.layers",
            "pose.py:2: imports tensorflow.keras",
        ),
        ("tta_lite/__init__.py", "from tta_lite.types import Candidate", "__init__.py:1: "),
        ("tta_lite/__init__.py", "import numpy", "an __init__ imports nothing"),
        ("tta_lite/models/__init__.py", "import os", "an __init__ imports nothing"),
        ("tta_lite/models/__init__.py", "from tta_lite.models.pose import pose_resnet", "an __init__ imports nothing"),
        ("tta_lite/helpers/text.py", "", "helpers is in no known room"),
        ("tta_lite/util.py", "", "util is in no known room"),
        ("tta_lite/models/pose.py", "from tta_lite.util import f", "no known room"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, file: str, text: str, said: str) -> None:
    found = plant(tmp_path, {file: text})
    assert len(found) == 1
    assert found[0].startswith(file)
    assert said in found[0]
