"""Calibration images from a folder of pictures or a ``.npy`` file. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tta_lite.datasets.image_folder import SUFFIXES
from tta_lite.datasets.images import decode_image
from tta_lite.types import InputError

# Pixels [..., C] of 0..255 -> float32 of the same shape, as the network wants them.
Normalise = Callable[[np.ndarray], np.ndarray]


def read_calibration(
    path: str | Path, shape: Sequence[int], normalise: Normalise | None = None, *, count: int = 100, seed: int = 0
) -> list[np.ndarray]:
    """-> up to `count` images, each [1, H, W, C] float32, drawn by `seed`.

    Pictures of a folder and of the folders in it are scaled as a whole to H x W (bilinear) and normalised. A ``.npy``
    file holds [N, H, W, C]: uint8 is normalised, float is taken as the network wants it.

    Args:
      path: a folder of pictures (.jpg, .jpeg, .png, .bmp, .gif, .webp) or a ``.npy`` file.
      shape: [H, W, C] of the network's input; C is 3, or 1 for grey pictures.
      normalise: what the training did with pixels of 0..255, as `tta_lite.models.backbones.Normalisation.apply`.
      count: at most so many.
      seed: of the draw.

    Raises:
      InputError: nothing there, a picture that cannot be read, another shape, or pixels and no normalisation.
    """
    path = Path(path)
    height, width, channels = (int(size) for size in shape)
    if path.is_dir():
        found = _pictures(path, (height, width, channels), normalise, count, seed)
    elif path.suffix == ".npy":
        found = _array(path, (height, width, channels), normalise, count, seed)
    else:
        what = "nothing there" if not path.exists() else "a file of another kind"
        raise InputError(
            f"Calibration images must be a folder of pictures or a .npy file. Received: {str(path)!r}, {what}"
        )
    images = [np.ascontiguousarray(image[None], dtype=np.float32) for image in found]
    if images[0].shape != (1, height, width, channels):
        raise InputError(
            f"The normalisation must keep the shape {[height, width, channels]}. Received: {list(images[0].shape[1:])}"
        )
    return images


def _pictures(
    folder: Path, shape: tuple[int, int, int], normalise: Normalise | None, count: int, seed: int
) -> list[np.ndarray]:
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(f"{folder} must hold pictures ({', '.join(SUFFIXES)}) for calibration. Received: none")
    if normalise is None:
        raise InputError(f"Pictures of {folder} must be normalised as for the training. Received: no normalisation")
    height, width, channels = shape
    if channels not in (1, 3):
        raise InputError(
            f"Pictures are for networks that take 1 or 3 channels; others need a .npy file. Received: {channels}"
        )
    found = []
    for place in _drawn(len(files), count, seed):
        picture = Image.fromarray(decode_image(files[place]))
        scaled = picture.resize((width, height), Image.Resampling.BILINEAR).convert("RGB" if channels == 3 else "L")
        found.append(normalise(np.asarray(scaled).reshape(shape)))
    return found


def _array(
    path: Path, shape: tuple[int, int, int], normalise: Normalise | None, count: int, seed: int
) -> list[np.ndarray]:
    try:
        # Read where it lies: only the images that are drawn come into memory.
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"A .npy file of numbers is expected ({error}). Received: {path}") from error
    wanted = f"[N, {', '.join(map(str, shape))}] of float32, or uint8 and a normalisation"
    if images.ndim != 4 or images.shape[1:] != shape or not len(images):
        raise InputError(f"{path} must hold images {wanted}. Received: {list(images.shape)} {images.dtype}")
    drawn = _drawn(len(images), count, seed)
    if images.dtype == np.uint8 and normalise is not None:
        return [normalise(np.asarray(images[place])) for place in drawn]
    if images.dtype.kind != "f":
        raise InputError(
            f"{path} must hold images {wanted}. Received: {images.dtype}, which looks like pixels of 0..255"
        )
    return [np.asarray(images[place], np.float32) for place in drawn]


def _drawn(available: int, count: int, seed: int) -> list[int]:
    if count < 1:
        raise InputError(f"Argument `count` must be 1 or more. Received: {count}")
    return [int(place) for place in np.random.default_rng(seed).permutation(available)[:count]]
