"""Decode picture files, and keep the decoded pictures in memory while they fit. Imports no TensorFlow."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tta_lite.types import InputError

CACHE_BYTES = 2 * 1024**3

# More than 8 bits a channel: Pillow would clip these when it converts them to RGB.
_DEEP_MODES = ("I", "F")
# What Pillow raises on a file that is damaged or no picture.
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, Image.DecompressionBombError)


def decode_image(path: str | Path) -> np.ndarray:
    """-> [H, W, 3] uint8 RGB, read-only.

    Grey, palette and CMYK pictures are converted and an alpha channel is dropped. The EXIF orientation is ignored, as
    in the reference (`cv2.IMREAD_IGNORE_ORIENTATION`): joints are marked on the stored pixels.

    Raises:
      InputError: the file is missing, truncated, or no 8-bit picture.
    """
    with _open(path) as picture:
        try:
            pixels = np.asarray(picture.convert("RGB"))
        except _DECODE_ERRORS as error:
            raise _damaged(path, error) from error
    pixels.flags.writeable = False
    return pixels


def check_image(path: str | Path) -> tuple[int, int]:
    """-> (width, height) of a picture after its whole file was decoded; a JPEG at 1/8 size, about three times faster.

    Raises:
      InputError: as `decode_image`.
    """
    with _open(path) as picture:
        size = picture.size
        picture.draft("RGB", (1, 1))
        try:
            picture.load()
        except _DECODE_ERRORS as error:
            raise _damaged(path, error) from error
    return size


def _open(path: str | Path) -> Image.Image:
    if not Path(path).is_file():
        raise InputError(f"The picture {path} is missing. Expected: a file. Received: {_what_is_at(path)}")
    try:
        picture = Image.open(path)
    except _DECODE_ERRORS as error:
        raise InputError(
            f"{path} is not a picture. Expected: a JPEG, PNG or other file that Pillow reads. "
            f"Received: {Path(path).stat().st_size} bytes ({error})"
        ) from error
    if picture.mode.startswith(_DEEP_MODES):
        mode = picture.mode
        picture.close()
        raise InputError(f"The picture {path} must have 8 bits a channel. Received: mode {mode}")
    return picture


def _what_is_at(path: str | Path) -> str:
    return "a folder" if Path(path).is_dir() else "nothing at that path"


def _damaged(path: str | Path, error: BaseException) -> InputError:
    return InputError(
        f"The picture {path} is truncated or damaged. Expected: a file that decodes to its end. "
        f"Received: {Path(path).stat().st_size} bytes ({error})"
    )


class CachedLoader:
    """index -> picture. A decoded picture is kept until `limit_bytes` of them are held; the rest are decoded each time.

    It may be called from several threads. Two threads that ask for one picture at once may both decode it.
    """

    def __init__(self, paths: Sequence[str | Path], limit_bytes: int = CACHE_BYTES) -> None:
        """`paths` may name a file twice: it is decoded once."""
        self.paths = tuple(paths)
        self.limit_bytes = limit_bytes
        self._pictures: dict[str | Path, np.ndarray] = {}
        self._held_bytes = 0
        self._full = False
        self._lock = threading.Lock()

    def __call__(self, index: int) -> np.ndarray:
        """-> [H, W, 3] uint8 RGB, read-only."""
        path = self.paths[index]
        # Reading a dict is atomic: only writers take the lock.
        picture = self._pictures.get(path)
        if picture is None:
            picture = decode_image(path)
            self._keep(path, picture)
        return picture

    def check(self, index: int) -> tuple[int, int]:
        """-> (width, height), after the picture was decoded once; it is kept when there is room."""
        if self._full:
            return check_image(self.paths[index])
        height, width = self(index).shape[:2]
        return width, height

    @property
    def held_bytes(self) -> int:
        """Bytes of the pictures in memory."""
        return self._held_bytes

    def _keep(self, path: str | Path, picture: np.ndarray) -> None:
        with self._lock:
            if path in self._pictures:
                return
            if self._held_bytes + picture.nbytes > self.limit_bytes:
                self._full = True
                return
            self._pictures[path] = picture
            self._held_bytes += picture.nbytes
