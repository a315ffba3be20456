"""The code in the docs runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from tta_lite.compat import keras
from tta_lite.tasks.find import find_task

DOCS = Path(__file__).parents[1] / "docs"


def test_the_task_of_one_s_own(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "your_own_task.md").read_text(encoding="utf-8"), re.DOTALL)
    small = code.replace("TRAIN, TEST, BATCH = 64, 3, 2000, 200, 16", "TRAIN, TEST, BATCH = 64, 3, 64, 40, 16")
    assert small != code
    (tmp_path / "shapes.py").write_text(small.replace("channels=32", "channels=8"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "shapes.py", "unet.keras", "1"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "mean IoU" in done.stdout
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    model = keras.models.load_model("unet.keras", compile=False)
    task = find_task("shapes:make_task", model)
    first, again = (next(task.train_data(seed=1, start_step=2).as_numpy_iterator()) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    later = list(task.train_data(seed=1).take(3).as_numpy_iterator())[2]
    np.testing.assert_array_equal(first[0], later[0])
    shown = task.show(first[0], np.eye(3)[first[1]])
    assert shown.shape == first[0].shape and shown.dtype == np.uint8
    assert task.score(lambda pictures: np.eye(3)[_truth(task, pictures)]).value == 100.0
    # Who always says ground has all of it less what is not, and nothing else.
    ground = task.score(lambda pictures: np.broadcast_to([1.0, 0, 0], (*pictures.shape[:3], 3)))
    assert 0 < ground.parts["ground"] < 100 and ground.parts["disc"] == ground.parts["square"] == 0.0


def _truth(task, pictures):
    """-> [B, 64, 64]: the classes that were drawn with these pictures."""
    for drawn, classes in task.validation_data().as_numpy_iterator():
        if np.array_equal(drawn, pictures):
            return classes
    raise AssertionError("no such pictures")
