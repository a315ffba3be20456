"""CIFAR-10: 60,000 colour pictures of 32 x 32 pixels in ten classes. Imports no TensorFlow.

A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009, https://www.cs.toronto.edu/~kriz/cifar.html.
Both of its forms are read: the binary one, and the one for Python. That is a pickle, which may run any code when it is
opened: here it may make arrays of NumPy and nothing else.
"""

from __future__ import annotations

import codecs
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.datasets.picture_arrays import PictureArrays
from tta_lite.types import InputError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE, CHANNELS = 32, 3
PICTURE = SIDE * SIDE * CHANNELS
TRAIN, TEST = tuple(f"data_batch_{number}" for number in range(1, 6)), ("test_batch",)
# Where the files lie within a folder into which the archive was unpacked.
INNER = ("", "cifar-10-batches-bin", "cifar-10-batches-py")


def read_cifar10(folder: str | Path) -> tuple[PictureArrays, PictureArrays]:
    """-> the pictures to learn from and those to score, each [32, 32, 3].

    Args:
      folder: holds ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, or the same without ``.bin``
        (the form for Python), or the folder in which they came.

    Raises:
      InputError: a file is missing or damaged, or a pickle that wants to do more than make arrays.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "a file; an archive must be unpacked" if folder.is_file() else "which is not there"
        raise InputError(f"CIFAR-10 must be a folder with its six files. Received: {str(folder)!r}, {what}")
    for inner in INNER:
        for suffix, read in ((".bin", read_binary), ("", read_python)):
            files = [folder / inner / f"{name}{suffix}" for name in (*TRAIN, *TEST)]
            if not any(file.is_file() for file in files):
                continue
            if missing := [file for file in files if not file.is_file()]:
                raise InputError(f"{missing[0].parent} must hold all six files. Received: no {missing[0].name}")
            return _part("CIFAR-10 train", files[: len(TRAIN)], read), _part("CIFAR-10 test", files[len(TRAIN) :], read)
    raise InputError(
        f"{folder} must hold {TRAIN[0]}.bin to {TRAIN[-1]}.bin and {TEST[0]}.bin, or the same without .bin. "
        "Received: none of them"
    )


def read_binary(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """-> pictures [N, 32, 32, 3] uint8 and labels [N] of one binary file: a byte of label and 3,072 of pixels each.

    Raises:
      InputError: it is truncated, or holds something else.
    """
    try:
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"{path} cannot be read. Expected: a binary batch of CIFAR-10. Received: {error}") from error
    if not len(data) or len(data) % (1 + PICTURE):
        raise InputError(
            f"{path} is truncated or damaged. Expected: records of {1 + PICTURE} bytes. Received: {len(data)} bytes"
        )
    records = data.reshape(-1, 1 + PICTURE)
    return _checked(path, records[:, 1:], records[:, 0])


def read_python(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """-> pictures [N, 32, 32, 3] uint8 and labels [N] of one file in the form for Python.

    Raises:
      InputError: it is damaged, holds something else, or wants to do more than make arrays.
    """
    try:
        found = _ArraysOnly(io.BytesIO(Path(path).read_bytes()), encoding="bytes").load()
    except InputError:
        raise
    except Exception as error:  # A damaged pickle may raise anything.
        raise InputError(
            f"{path} is truncated or damaged. Expected: a batch of CIFAR-10 for Python. Received: "
            f"{type(error).__name__}: {error}"
        ) from error
    # Written by Python 2, its keys are bytes; written anew by Python 3 they are texts.
    record = {key.decode() if isinstance(key, bytes) else key: value for key, value in found.items()} if isinstance(
        found, dict) else {}  # fmt: skip
    data, labels = record.get("data"), record.get("labels")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != PICTURE:
        raise InputError(
            f"{path} must hold `data`, [N, {PICTURE}] uint8. Received: {getattr(data, 'shape', type(data).__name__)}"
        )
    if not isinstance(labels, list) or not all(type(one) is int for one in labels):
        raise InputError(f"{path} must hold `labels`, a list of numbers. Received: {type(labels).__name__}")
    return _checked(path, data, np.asarray(labels, np.int64))


def _checked(path: str | Path, rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(rows) != len(labels):
        raise InputError(f"{path} must have a label for each of its {len(rows)} pictures. Received: {len(labels)}")
    if (wrong := np.flatnonzero((labels < 0) | (labels >= len(CLASSES)))).size:
        raise InputError(
            f"{path}: every label must lie in 0..{len(CLASSES) - 1}. Received: {labels[wrong[0]]} of picture {wrong[0]}"
        )
    # The red plane, then the green one, then the blue one.
    pictures = rows.reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pictures), labels.astype(np.int64)


def _part(name: str, files: list[Path], read: Callable[[str | Path], tuple[np.ndarray, np.ndarray]]) -> PictureArrays:
    found = [read(file) for file in files]
    pictures, labels = (np.concatenate([one[place] for one in found]) for place in (0, 1))
    return PictureArrays(name, pictures, labels, CLASSES)


class _ArraysOnly(pickle.Unpickler):
    """Knows what the form for Python needs, by the names that NumPy 1 and 2 give it."""

    def find_class(self, module: str, name: str) -> Any:
        """-> the function or class; an `InputError` for all others."""
        reconstruct = np.empty(0).__reduce__()[0]  # type: ignore[index]
        known = {
            ("numpy.core.multiarray", "_reconstruct"): reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            # How Python 3 writes bytes in the old protocols.
            ("_codecs", "encode"): codecs.encode,
        }
        if (module, name) not in known:
            raise InputError(
                "A batch of CIFAR-10 may hold arrays, lists, numbers and texts only; it is not opened. Received: a "
                f"pickle that asks for {module}.{name}"
            )
        return known[module, name]
