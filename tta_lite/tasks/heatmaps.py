"""Heat maps of joints: how they are made and how they are read.

Both follow the reference implementation of Simple Baselines for Human Pose Estimation and Tracking
(Xiao, Wu and Wei, ECCV 2018, section 2 and its published code).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras


def gaussian_heat_maps(joints: tf.Tensor, height: int, width: int, sigma: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Gaussians of height 1 around the joints, cut off at 3 sigma.

    As in the reference, the centre is the joint rounded to a whole heat-map pixel.

    Args:
      joints: [B, J, 3] float32: x, y in heat-map pixels, and a weight (0: not annotated).
      height: H, rows of the heat map.
      width: W, columns of the heat map.
      sigma: in heat-map pixels; the reference takes 2.

    Returns:
      heat maps [B, H, W, J] float32 and weights [B, J] float32: the weight is 0 for a joint whose Gaussian lies
      wholly outside the map.
    """
    # Towards zero, as the reference's int(): left of and above the map that is not the nearest pixel.
    center = tf.cast(tf.cast(joints[..., :2] + 0.5, tf.int32), tf.float32)
    reach = tf.floor(3.0 * sigma)
    size = tf.constant([width, height], tf.float32)
    inside = tf.reduce_all((center - reach < size) & (center + reach + 1 >= 0), axis=-1)
    weights = joints[..., 2] * tf.cast(inside, tf.float32)

    def profile(length: int, middle: tf.Tensor) -> tf.Tensor:
        distance = tf.range(length, dtype=tf.float32)[None, :, None] - middle[:, None, :]
        value = tf.exp(-tf.square(distance) / (2.0 * sigma**2))
        return tf.where(tf.abs(distance) <= reach, value, 0.0)

    rows, columns = profile(height, center[..., 1]), profile(width, center[..., 0])
    return rows[:, :, None, :] * columns[:, None, :, :], weights


@keras.utils.register_keras_serializable("tta_lite")
class JointsMSE(keras.losses.Loss):
    """Half the mean squared error of the heat maps of the annotated joints (`JointsMSELoss` of the reference).

    ``y_true`` is [B, J, 3] (x, y in heat-map pixels, weight) and not a heat map: the Gaussians are made in the graph,
    which keeps the input pipeline light. ``y_pred`` is [B, H, W, J].
    """

    def __init__(self, sigma: float = 2.0, name: str = "joints_mse", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.sigma = sigma

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """-> [B], one loss an example."""
        y_pred = tf.cast(y_pred, tf.float32)
        target, weights = gaussian_heat_maps(tf.cast(y_true, tf.float32), y_pred.shape[1], y_pred.shape[2], self.sigma)
        return 0.5 * tf.reduce_mean(tf.square((y_pred - target) * weights[:, None, None, :]), axis=(1, 2, 3))

    def to_teacher(self, taught: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """-> [B], the same to a teacher's heat maps [B, H, W, J], those of joints that are not annotated too.

        Zhang, Zhu and Ye, Fast Human Pose Estimation, CVPR 2019, https://arxiv.org/abs/1811.05419.
        """
        return 0.5 * tf.reduce_mean(tf.square(tf.cast(y_pred, tf.float32) - taught), axis=(1, 2, 3))

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "sigma": self.sigma}


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
