"""Heat maps of joints: how they are made; how they are read is in `tta_lite.tasks.joints`.

Both follow the reference implementation of Simple Baselines for Human Pose Estimation and Tracking
(Xiao, Wu and Wei, ECCV 2018, section 2 and its published code).
"""

from __future__ import annotations

from typing import Any

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

    def labels_at(self, labels: tf.Tensor, ratio: float, stride: float) -> tf.Tensor:
        """-> [B, J, 3] float32: the labels of the same pictures in another size.

        `tf.image.resize` keeps the edges of a picture in place: pixel p comes to (p + 0.5) ratio - 0.5. A pixel of a
        heat map is every `stride`-th one of the picture, from pixel 0 on, as `tta_lite.tasks.pose` labels them.

        Args:
          labels: [B, J, 3]: x, y in heat-map pixels, weight.
          ratio: the other size over this one.
          stride: pixels of the picture a heat-map pixel.

        >>> float(JointsMSE().labels_at(tf.constant([[[10.0, 10.0, 1.0]]]), 0.5, 4.0)[0, 0, 0])
        4.9375
        """
        labels = tf.cast(labels, tf.float32)
        places = labels[..., :2] * ratio - 0.5 * (1 - ratio) / stride
        return tf.concat([places, labels[..., 2:]], axis=-1)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "sigma": self.sigma}
