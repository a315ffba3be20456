"""The callbacks under Keras 3: in a process of its own, where Keras 2 is never loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_a_keras_3_loop_with_the_callbacks_of_the_house(tmp_path):
    # What `tta_lite` has set here for TFMOT makes TensorFlow load Keras 2.
    settings = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run(
        [sys.executable, str(HERE / "keras3_loop.py"), str(tmp_path)],
        cwd=HERE.parents[1], env=settings, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1] == "done"
