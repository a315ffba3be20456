"""A tiny network, and the runner for this machine: built once for all tests of a process."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import networks
from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.device.build import build_runner
from tta_lite.measure.device.library import litert_library
from tta_lite.measure.device.transport import DeviceError
from tta_lite.types import FP32, INT8

L = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype(np.float32)
# No warm-up, one timed run: what is tested here is no speed.
QUICK = ("--warmup_runs=0", "--warmup_min_secs=0", "--runs=2", "--min_secs=0")


def tiny() -> keras.Model:
    """[B, 16, 16, 3] -> [B, 32, 32, 2]: a Conv, a branch with a residual, a Deconv."""
    image = keras.Input((16, 16, 3), name="image")
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    y = L.DepthwiseConv2D(3, padding="same", name="side")(x)
    x = L.Add(name="join")([x, y])
    x = L.Conv2DTranspose(4, 4, strides=2, padding="same", name="up")(x)
    return networks.randomised(keras.Model(image, L.Conv2D(2, 1, name="last")(x), name="net"))


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> dict[str, Path]:
    """Preset -> .tflite file of `tiny`."""
    folder = tmp_path_factory.mktemp("networks")
    calibration = [image[None] for image in IMAGES]
    for spec in (FP32, INT8):
        tflite = export_tflite(tiny(), spec, calibration if spec is INT8 else ())
        (folder / f"{spec.preset}.tflite").write_bytes(tflite)
    return {path.stem: path for path in folder.iterdir()}


class Program:
    """The runner on this machine, or under an emulator.

    Args:
      words: that begin its command.
      library: LiteRT's.
    """

    def __init__(self, words: list[str], library: Path) -> None:
        self.words, self.library = words, library

    def __call__(self, *flags: str, timeout_s: float = 240, **keywords: Any) -> subprocess.CompletedProcess[str]:
        words = [*self.words, *([] if any("--library" in flag for flag in flags) else [f"--library={self.library}"])]
        return subprocess.run([*words, *flags], capture_output=True, text=True, timeout=timeout_s, **keywords)

    def record(self, model: Path, out: Path, *flags: str, code: int = 0) -> dict[str, Any]:
        """-> what it wrote of a quick run."""
        done = self(f"--model={model}", f"--out={out}", *QUICK, *flags)
        assert done.returncode == code, done.stderr
        return json.loads(out.read_text())


@pytest.fixture(scope="session")
def program() -> Program:
    """The runner, compiled for this machine."""
    try:
        return Program([str(build_runner(platform.machine()))], litert_library(platform.machine()))
    except DeviceError as error:
        pytest.skip(f"needs a C compiler (Debian's package gcc): {error}")
