"""Somebody's trained network to try `tta-lite guideline` on: of keras.applications, on handwritten digits.

  python benchmarks/digits_network.py runs/digits
  python benchmarks/digits_network.py runs/digits50 resnet50

Writes <folder>/pictures (1,397 to learn from, 400 to score: the digits that come with scikit-learn, enlarged) and
<folder>/net.keras: MobileNetV1 0.25 at 96 x 96, trained for 40 epochs, or ResNet-50 at 64 x 64 for 12; from four to
eight minutes on 2 cores.
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

TEST = 400
# -> builder, side of the pictures, epochs.
NETWORKS = {
    "mobilenet": (lambda **options: keras.applications.MobileNet(alpha=0.25, **options), 96, 40),
    "resnet50": (keras.applications.ResNet50, 64, 12),
}


def write_pictures(folder: Path, side: int) -> None:
    """``<folder>/train/<digit>/*.png`` and ``<folder>/test/<digit>/*.png``."""
    digits = load_digits()
    for place, index in enumerate(np.random.default_rng(0).permutation(len(digits.images))):
        target = folder / ("test" if place < TEST else "train") / str(digits.target[index])
        target.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((digits.images[index] * 15.9).astype(np.uint8))
        picture.resize((side, side), Image.Resampling.BICUBIC).convert("RGB").save(target / f"{index:04d}.png")


def main(out: Path, network: str) -> None:
    """Draws, trains, scores, saves."""
    build, side, epochs = NETWORKS[network]
    write_pictures(out / "pictures", side)
    keras.utils.set_random_seed(0)
    net = build(input_shape=(side, side, 3), weights=None, classes=10)
    task = find_task(f"image_folder:{out}/pictures", net, pixels="-1..1", mirror=False)
    trained = fit(Candidate(net), task, FitSettings(epochs), out / "training", label="digits").model
    print(task.score(lambda images: np.asarray(trained(images, training=False))))
    trained.save(out / "net.keras")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], *([name] for name in NETWORKS)):
        sys.exit(f"error: expected a folder and one of {', '.join(NETWORKS)}. Received: {' '.join(sys.argv[1:])}")
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "mobilenet")
