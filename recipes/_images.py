"""Pictures that a flag names: a .npy file [N, H, W, C]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tta_lite.types import InputError

if TYPE_CHECKING:
    import numpy as np


def read_images(path: str, flag: str = "--images") -> np.ndarray:
    """-> [N, H, W, C] float32.

    Args:
      path: of the file.
      flag: that named it.

    Raises:
      InputError: no file of numbers, another number of dimensions, or numbers that are not finite.
    """
    import numpy as np

    try:
        images = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{flag} must be a .npy file of numbers ({error}). Received: {path}") from error
    if not isinstance(images, np.ndarray) or images.ndim != 4 or not np.isfinite(images).all():
        raise InputError(
            f"{flag} must hold finite numbers [N, H, W, C]. Received: {getattr(images, 'shape', images)} in {path}"
        )
    return images.astype(np.float32)
