"""`MultiResolution`: one set of weights for pictures of several sizes, for anybody's `compile` and `fit`.

Wang et al., *Resolution Switchable Networks for Runtime Efficient Image Recognition*, ECCV 2020,
https://arxiv.org/abs/2007.09558 (shared weights, batch norms of their own for each size); Touvron et al., *Fixing the
train-test resolution discrepancy*, NeurIPS 2019, https://arxiv.org/abs/1906.06423 (why statistics belong to a size).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.many_in_one import ManyInOne, Part, part
from tta_lite.training.shared_slices import Slice
from tta_lite.transforms.scaling import scale
from tta_lite.types import InputError


class MultiResolution(ManyInOne):
    """Trains a network for several sizes of its pictures at once.

    Pictures come in the size of `model`, the largest; for the others they are made smaller within the step (bilinear,
    antialiased), as `resized` does. It is compiled and fitted as the network would be; logs have its loss and metrics
    beside the mean loss of each other size (``loss_96``). `network(size)` gives the network of one size.

    Args:
      model: functional, one picture [B, H, W, C] with H = W as its input, without nested models; it learns. Its outputs
        do not hang on the size, as classes; or they are maps [B, h, w, K] of a part of the picture's side, such as heat
        maps. Then the loss must have a method ``labels_at(labels, ratio, stride)`` that gives the labels of resized
        pictures, as `tta_lite.tasks.heatmaps.JointsMSE` has.
      sizes: heights and widths in pixels, smaller than the model's own.
      own_factors: each size has batch norms of its own (Wang et al.); else they share their factors, and their
        statistics alone are of the size, best of all after `recalibrate`.
      distil: smaller sizes learn the answers to the largest pictures instead of the labels; maps are resized for it.
      sampled: how many of the sizes between the largest and the smallest are trained in a step; None: all.
      seed: of those.

    Raises:
      InputError: a size out of range, or outputs that hang on the size in another way.

    Example:
      >>> image = keras.Input((16, 16, 1))
      >>> x = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(image)))
      >>> net = keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))
      >>> both = MultiResolution(net, (8,))
      >>> both.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
      >>> sorted(both.fit(np.ones([4, 16, 16, 1]), np.zeros(4), verbose=0).history)
      ['loss', 'loss_8']
      >>> both.network(8).input_shape
      (None, 8, 8, 1)
    """

    def __init__(
        self,
        model: keras.Model,
        sizes: Sequence[int],
        *,
        own_factors: bool = True,
        distil: bool = False,
        sampled: int | None = None,
        seed: int = 0,
        name: str = "multi_resolution",
    ) -> None:
        shape = model.input_shape
        if not isinstance(shape, tuple) or len(shape) != 4 or shape[1] != shape[2] or shape[1] is None:
            raise InputError(f"The network must take one square picture [B, H, H, C]. Received: {shape}")
        sizes = tuple(sorted(sizes, reverse=True))
        whole = all(isinstance(size, int) and not isinstance(size, bool) for size in sizes)
        if not sizes or not whole or len(set(sizes)) < len(sizes) or not 0 < sizes[-1] <= sizes[0] < shape[1]:
            raise InputError(f"Argument `sizes` must be different whole numbers below {shape[1]}. Received: {sizes}")
        super().__init__(
            model,
            [_of_size(model, size, own_factors) for size in sizes],
            key=shape[1],
            distil=distil,
            sampled=sampled,
            seed=seed,
            name=name,
        )
        maps = any(one.model.output_shape != model.output_shape for one in self.parts)
        # Pixels of the picture a pixel of the map; None: no maps.
        self.stride: float | None = model.input_shape[1] / model.output_shape[1] if maps else None

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, metrics: Any = None, **options: Any) -> None:
        """As `ManyInOne.compile`.

        Raises:
          InputError: outputs are maps, and the loss does not say what its labels are at another size.
        """
        if self.stride is not None and not callable(getattr(loss, "labels_at", None)):
            raise InputError(
                "Maps of several sizes are learnt by a loss with a method `labels_at`, as JointsMSE has. "
                f"Received: {loss!r}"
            )
        super().compile(optimizer, loss, metrics, **options)

    def labels_of(self, one: Part, labels: Any) -> Any:
        """-> the labels of pictures of the part's size."""
        return labels if self.stride is None else self.loss.labels_at(labels, one.key / self.keys[0], self.stride)

    def answers_for(self, one: Part, answers: tf.Tensor) -> tf.Tensor:
        """-> the main network's answers, maps in the part's size."""
        if self.stride is None:
            return answers
        return resized_maps(answers, one.model.output_shape[1:3], one.key / self.keys[0], self.stride)


def resized_maps(maps: tf.Tensor, size: tuple[int, int], ratio: float, stride: float) -> tf.Tensor:
    """[B, H, W, K] -> [B, h, w, K]: a large picture's maps as those of the smaller picture.

    What lay at pixel p of the picture lies at (p + 0.5) ratio - 0.5 of the smaller one. That is no plain resize of the
    map: its pixels are every `stride`-th one of the picture, from pixel 0 on, so that its edges are not the picture's.

    Args:
      maps: of the large picture.
      size: h and w.
      ratio: the smaller picture's side over the larger one's.
      stride: pixels of a picture a pixel of its map.
    """
    moved = 0.5 * (1 - ratio) * (1 - 1 / stride)
    return tf.raw_ops.ScaleAndTranslate(
        images=tf.cast(maps, tf.float32), size=list(size), scale=[ratio, ratio], translation=[moved, moved],
        kernel_type="triangle", antialias=True,
    )  # fmt: skip


def resized(images: tf.Tensor, size: int) -> tf.Tensor:
    """[B, H, W, C] -> [B, size, size, C]: bilinear, with the triangle widened where pictures become smaller."""
    return tf.image.resize(images, [size, size], antialias=True)


def _shrunk(shape: tuple, ratio: float) -> tuple | None:
    return (shape[0], shape[1] * ratio, shape[2] * ratio, shape[3]) if len(shape) == 4 else None


def _of_size(model: keras.Model, size: int, own_factors: bool) -> Part:
    small = scale(model, resolution=size)
    if small.output_shape not in (model.output_shape, _shrunk(model.output_shape, size / model.input_shape[1])):
        raise InputError(
            "Outputs must be the same for all sizes, or maps that shrink as the pictures do: of "
            f"{model.output_shape} for {model.input_shape[1]}. Received: {small.output_shape} for {size}"
        )
    slices = []
    for mine, main in zip(small.weights, model.weights, strict=True):
        if mine.shape != main.shape:
            raise InputError(f"Weights must not hang on the size of pictures. Received: {main.name}, {main.shape}")
        slices.append(Slice(tuple(np.arange(length) for length in main.shape), tuple(main.shape)))
    prepare = functools.partial(resized, size=size)
    return part(size, small, model, slices, own_factors=own_factors, prepare=prepare)
