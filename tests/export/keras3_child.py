"""Keras 3 alone reads the networks of a folder, and writes what they say (python -m tests.export.keras3_child DIR)."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np


def main(folder: Path) -> None:
    """net.keras and net.npz -> net.out.npz."""
    for path in sorted(folder.glob("*.keras")):
        net = keras.saving.load_model(path, safe_mode=True)
        with np.load(path.with_suffix(".npz")) as given:
            batches = [given[f"arr_{number}"] for number in range(len(given.files))]
        found = net(batches[0] if len(batches) == 1 else batches, training=False)
        np.savez(path.with_suffix(".out"), *[np.asarray(one) for one in keras.tree.flatten(found)])
    assert not {"tf_keras", "tta_lite"} & set(sys.modules)
    print(keras.__version__)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
