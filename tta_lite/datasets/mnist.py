"""MNIST, and whatever else comes as IDX files: Fashion-MNIST, KMNIST. Imports no TensorFlow.

The format: LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist/: two zero bytes, the type of a value (8:
unsigned bytes), the number of dimensions, each dimension as four bytes with the highest first, then the values.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from tta_lite.datasets.picture_arrays import PictureArrays
from tta_lite.types import InputError

CLASSES = tuple("0123456789")
UNSIGNED_BYTE = 0x08
# Both spellings are about; each may be compressed.
SEPARATORS = ("-", ".")


def read_mnist(folder: str | Path) -> tuple[PictureArrays, PictureArrays]:
    """-> the pictures to learn from and those to score, each [H, W, 1].

    Args:
      folder: holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
        ``t10k-labels-idx1-ubyte``, or the same as ``.gz``.

    Raises:
      InputError: a file is missing, damaged, or does not go with the others.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "a file" if folder.is_file() else "which is not there"
        raise InputError(f"MNIST must be a folder with its four files. Received: {str(folder)!r}, {what}")
    parts = []
    for part, name in (("train", "MNIST train"), ("t10k", "MNIST test")):
        files = [_file(folder, f"{part}-{kind}", dims) for kind, dims in (("images", 3), ("labels", 1))]
        pictures, labels = (read_idx(file, dims) for file, dims in zip(files, (3, 1), strict=True))
        if not pictures.size:
            raise InputError(f"{files[0]} must hold pictures. Received: {' x '.join(map(str, pictures.shape))} values")
        if len(pictures) != len(labels):
            raise InputError(
                f"{files[1]} must have a label for each of the {len(pictures)} pictures of {files[0]}. Received: "
                f"{len(labels)}"
            )
        parts.append(PictureArrays(name, pictures[..., None], labels.astype(np.int64), CLASSES))
    train, test = parts
    if train.pictures.shape[1:] != test.pictures.shape[1:]:
        raise InputError(
            f"The pictures of both parts of {folder} must be of one size, {list(train.pictures.shape[1:3])}. Received: "
            f"{list(test.pictures.shape[1:3])}"
        )
    return train, test


def read_idx(path: str | Path, dims: int) -> np.ndarray:
    """-> the array of unsigned bytes in an IDX file, compressed or not.

    Args:
      path: the file.
      dims: how many dimensions it must have.

    Raises:
      InputError: it is no such file, or truncated or too long.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read. Expected: an IDX file, perhaps as .gz. Received: {error}") from error
    start = 4 + 4 * dims
    if len(data) < start or data[:4] != bytes((0, 0, UNSIGNED_BYTE, dims)):
        raise InputError(
            f"{path} is no IDX file of unsigned bytes with {dims} dimension(s). Expected: it begins with "
            f"{bytes((0, 0, UNSIGNED_BYTE, dims)).hex(' ')}. Received: {data[:4].hex(' ') or 'an empty file'}"
        )
    shape = struct.unpack(f">{dims}I", data[4:start])
    expected = start + math.prod(shape)
    if len(data) != expected:
        raise InputError(
            f"{path} is truncated or damaged: its head says {' x '.join(map(str, shape))}. Expected: {expected} bytes. "
            f"Received: {len(data)}"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _file(folder: Path, stem: str, dims: int) -> Path:
    names = [f"{stem}{separator}idx{dims}-ubyte{end}" for separator in SEPARATORS for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder} must hold one of {', '.join(names)}. Received: none of them")
