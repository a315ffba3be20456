"""The callbacks under Keras 3: in a process of its own, where Keras 2 is never loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_a_keras_3_loop_with_the_callbacks_of_the_house(tmp_path):
    done = subprocess.run(
        [sys.executable, str(HERE / "keras3_loop.py"), str(tmp_path)],
        cwd=HERE.parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1] == "done"
