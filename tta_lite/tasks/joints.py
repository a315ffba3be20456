"""Joints from heat maps, as the reference of Simple Baselines reads them. NumPy alone: it also runs on the board.

Xiao, Wu and Wei, Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018, section 2 and its published code.
"""

from __future__ import annotations

import numpy as np


def decode_heat_maps(heat_maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The place of the highest value, moved a quarter pixel towards the higher neighbour.

    As in the reference, a maximum on the border (first two or last pixels) is not moved, and a joint whose maximum is
    not above zero is put at (0, 0).

    Args:
      heat_maps: [B, H, W, J].

    Returns:
      joints [B, J, 2] float32 (x, y in heat-map pixels) and confidences [B, J] (the maximum).

    >>> maps = np.zeros((1, 8, 8, 1), np.float32)
    >>> maps[0, 3, 4, 0], maps[0, 3, 5, 0] = 1.0, 0.5
    >>> decode_heat_maps(maps)[0].tolist()
    [[[4.25, 3.0]]]
    """
    batch, height, width, joints = heat_maps.shape
    flat = heat_maps.reshape(batch, height * width, joints)
    best = flat.argmax(axis=1)
    confidence = np.take_along_axis(flat, best[:, None, :], axis=1)[:, 0]
    x, y = best % width, best // width
    b, j = np.arange(batch)[:, None], np.arange(joints)[None, :]
    movable = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    left, right = np.clip(x - 1, 0, None), np.clip(x + 1, None, width - 1)
    above, below = np.clip(y - 1, 0, None), np.clip(y + 1, None, height - 1)
    dx = np.sign(heat_maps[b, y, right, j] - heat_maps[b, y, left, j])
    dy = np.sign(heat_maps[b, below, x, j] - heat_maps[b, above, x, j])
    place = np.stack([x + 0.25 * dx * movable, y + 0.25 * dy * movable], axis=-1).astype(np.float32)
    return place * (confidence > 0)[..., None], confidence


def average_with_mirrored(heat_maps: np.ndarray, mirrored: np.ndarray, flip_order: np.ndarray) -> np.ndarray:
    """The flip test: the mean of the heat maps of a picture and of its mirrored picture.

    The mirrored maps are mirrored back, left and right joints change places, and, as in the reference, they are moved
    one pixel to the right, because mirroring a map of stride 4 misaligns it.

    Args:
      heat_maps: [B, H, W, J] of the pictures.
      mirrored: [B, H, W, J] of the mirrored pictures.
      flip_order: [J] int, `JointSet.flip_order`.
    """
    back = mirrored[:, :, ::-1][..., flip_order]
    aligned = np.concatenate([back[:, :, :1], back[:, :, :-1]], axis=2)
    return (heat_maps + aligned) * 0.5


def joints_in_picture(heat_maps: np.ndarray, mode_size: tuple[int, int], picture_size: tuple[int, int]) -> np.ndarray:
    """-> [J, 3] float64: x, y in pixels of the picture that was given, and the maximum of each heat map.

    A heat-map pixel is every so many pixels of the picture that the network took, from pixel 0 on. If that was a
    resized one, its edges were those of the picture that was given: p there is (p + 0.5) / ratio - 0.5.

    Args:
      heat_maps: [H, W, J].
      mode_size: height and width of the picture that the network took.
      picture_size: of the one that was given.

    The fifth pixel of a map of stride 4 is pixel 16; of a picture twice as large, 32.5:

    >>> maps = np.zeros((8, 8, 1), np.float32)
    >>> maps[4, 4, 0] = 1.0
    >>> joints_in_picture(maps, (32, 32), (32, 32)).tolist(), joints_in_picture(maps, (32, 32), (64, 64)).tolist()
    ([[16.0, 16.0, 1.0]], [[32.5, 32.5, 1.0]])
    """
    places, confidence = decode_heat_maps(heat_maps[None])
    # x, y.
    maps, mode, picture = (np.array(size[::-1], np.float64) for size in (heat_maps.shape[:2], mode_size, picture_size))
    found = places[0].astype(np.float64) * mode / maps
    found = (found + 0.5) * picture / mode - 0.5
    return np.concatenate([found, confidence[0][:, None]], axis=1)
