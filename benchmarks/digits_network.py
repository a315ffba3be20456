"""Somebody's small trained network to try `tta-lite guideline` on: MobileNetV1 0.25 at 96 x 96 on handwritten digits.

  python benchmarks/digits_network.py runs/digits

Writes runs/digits/pictures (1,397 to learn from, 400 to score: the digits that come with scikit-learn, enlarged to 96 x
96) and runs/digits/net.keras, trained for 40 epochs; some four minutes on 2 cores.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from tta_lite.compat import keras
from tta_lite.tasks.find import find_task
from tta_lite.training.fit import FitSettings, fit
from tta_lite.types import Candidate

SIDE, TEST, EPOCHS = 96, 400, 40


def write_pictures(folder: Path) -> None:
    """``<folder>/train/<digit>/*.png`` and ``<folder>/test/<digit>/*.png``."""
    digits = load_digits()
    for place, index in enumerate(np.random.default_rng(0).permutation(len(digits.images))):
        target = folder / ("test" if place < TEST else "train") / str(digits.target[index])
        target.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((digits.images[index] * 15.9).astype(np.uint8))
        picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB").save(target / f"{index:04d}.png")


def main(out: Path) -> None:
    """Draws, trains, scores, saves."""
    write_pictures(out / "pictures")
    keras.utils.set_random_seed(0)
    net = keras.applications.MobileNet(input_shape=(SIDE, SIDE, 3), alpha=0.25, weights=None, classes=10)
    task = find_task(f"image_folder:{out}/pictures", net, pixels="-1..1", mirror=False)
    trained = fit(Candidate(net), task, FitSettings(EPOCHS), out / "training", label="digits").model
    print(task.score(lambda images: np.asarray(trained(images, training=False))))
    trained.save(out / "net.keras")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("error: expected one folder, as in: python benchmarks/digits_network.py runs/digits")
    main(Path(sys.argv[1]))
