"""Linear mode connectivity: what the loss does on the straight line between two networks.

Frankle, Dziugaite, Roy and Carbin, Linear Mode Connectivity and the Lottery Ticket Hypothesis, ICML 2020,
https://arxiv.org/abs/1912.05671: two runs part at step k by the order of their examples. From some k on the
line between them has no barrier: the training is stable, and tickets can be rewound there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.types import InputError

Weights = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """The losses on a line.

    Attributes:
      shares: [P] rising, from 0, the first network, to 1, the second.
      losses: [P] the loss there, or the error: whatever should be low.
    """

    shares: np.ndarray
    losses: np.ndarray

    @property
    def barrier(self) -> float:
        """The error barrier: the highest loss on the line, the ends included, above the mean of both ends.

        Frankle et al., section 2. With ends that differ it is half their difference even where nothing lies between.

        >>> Line(np.array([0.0, 0.5, 1.0]), np.array([1.0, 4.0, 3.0])).barrier
        2.0
        """
        return float(self.losses.max() - (self.losses[0] + self.losses[-1]) / 2)

    @property
    def above(self) -> float:
        """The most by which the loss lies above the straight line between its two ends; 0 on every convex loss.

        Entezari et al., The Role of Permutation Invariance in Linear Mode Connectivity, ICLR 2022, definition 2.2.

        >>> Line(np.array([0.0, 0.5, 1.0]), np.array([1.0, 1.5, 3.0])).above
        0.0
        """
        ends = (1 - self.shares) * self.losses[0] + self.shares * self.losses[-1]
        return float(np.max(self.losses - ends))


def interpolate(first: Weights, second: Weights, share: float) -> list[np.ndarray]:
    """-> ``(1 - share) first + share second``, weight by weight; at 0 and 1 exactly those.

    Arrays of whole numbers are the first's.

    Raises:
      InputError: the two are not of one network.

    Example:
      >>> interpolate([np.array([0.0, 4.0])], [np.array([4.0, 4.0])], 0.25)[0].tolist()
      [1.0, 4.0]
    """
    shapes = [[np.shape(one) for one in weights] for weights in (first, second)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"Both ends must be weights of one network, {len(first)} arrays of equal shapes. Received: {len(second)}, "
            f"of which {sum(a != b for a, b in zip(*shapes, strict=False))} have other shapes"
        )
    if share in (0, 1):
        return [np.array(one) for one in (second if share else first)]
    return [
        ((1 - share) * a.astype(np.float64) + share * b).astype(a.dtype) if np.issubdtype(a.dtype, np.floating) else a
        for a, b in zip(first, second, strict=True)
    ]


def recompute_batch_norm(model: keras.Model, batches: Iterable[np.ndarray | tf.Tensor]) -> None:
    """Gives every batch norm the mean statistics of some batches, seen as in training; nothing else changes.

    Between two networks those that either has learnt belong to other activations (Izmailov et al., Averaging Weights
    Leads to Wider Optima, UAI 2018, section 3.2). Dropout acts as it does when the statistics are learnt.

    Args:
      model: its moving means and variances change; one without batch norms is left alone.
      batches: inputs [B, ...] of the training set; each has the same say.

    Raises:
      InputError: no batches.
    """
    norms = [layer for layer in model.submodules if isinstance(layer, keras.layers.BatchNormalization)]
    if not norms:
        return
    kept = [(norm.momentum, norm.trainable) for norm in norms]
    statistics = {one.ref() for norm in norms for one in (norm.moving_mean, norm.moving_variance)}
    state = [(one, one.numpy()) for one in model.non_trainable_variables if one.ref() not in statistics]
    for norm in norms:
        # Large ones would leave their rounding behind.
        norm.moving_mean.assign(tf.zeros_like(norm.moving_mean))
        norm.moving_variance.assign(tf.zeros_like(norm.moving_variance))
    count = 0
    try:
        for count, inputs in enumerate(batches, 1):
            for norm in norms:
                # A frozen one would compute with its moving statistics and not renew them.
                norm.trainable = True
                # The running mean of all batches so far: the first replaces what was there.
                norm.momentum = (count - 1) / count
            model(inputs, training=True)
    finally:
        for norm, (momentum, trainable) in zip(norms, kept, strict=True):
            norm.momentum, norm.trainable = momentum, trainable
        for variable, value in state:
            variable.assign(value)
    if not count:
        raise InputError("Batch norm needs one batch or more to learn its statistics from. Received: none")


def lines_between(
    model: keras.Model,
    first: Weights,
    second: Weights,
    measures: Mapping[str, Callable[[], float]],
    *,
    points: int = 11,
    batches: Callable[[], Iterable[np.ndarray | tf.Tensor]] | None = None,
) -> dict[str, Line]:
    """-> losses at equal distances on the line between two sets of weights; the model has its own back afterwards.

    Args:
      model: whose weights these are.
      first: of one end, as of `keras.Model.get_weights`.
      second: of the other.
      measures: name -> a loss, or an error, of the model as it is when called.
      points: how many, both ends included.
      batches: inputs for `recompute_batch_norm`, at every point, so that all are treated alike; None: the statistics
        are interpolated as the weights are.

    Raises:
      InputError: fewer than 3 points, or weights of different networks.

    Example: squared weights, between -1 and 1.

      >>> net = keras.Sequential([keras.layers.Dense(1, use_bias=False, input_shape=(1,))])
      >>> ends = [np.array([[-1.0]])], [np.array([[1.0]])]
      >>> lines_between(net, *ends, {"square": lambda: net.get_weights()[0].item() ** 2}, points=3)["square"].losses
      array([1., 0., 1.])
    """
    if points < 3:
        raise InputError(f"A line needs 3 points or more. Received: {points}")
    before = model.get_weights()
    shares = np.linspace(0.0, 1.0, points)
    losses: dict[str, list[float]] = {name: [] for name in measures}
    try:
        for share in shares:
            model.set_weights(interpolate(first, second, float(share)))
            if batches is not None:
                recompute_batch_norm(model, batches())
            for name, measure in measures.items():
                losses[name].append(float(measure()))
    finally:
        model.set_weights(before)
    return {name: Line(shares, np.asarray(values)) for name, values in losses.items()}
