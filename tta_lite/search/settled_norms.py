"""Batch norms of a network that has hardly been trained: their moving averages still hold what they began with.

Networks rank by chance then; with the statistics of the training pictures they rank as their full trainings do:
docs/search.md has the figures.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.training.connectivity import recompute_batch_norm

# The largest share of what they began with that moving averages may still hold. Of 0.9^48 or more the ranks suffered,
# of 0.9^120 they did not.
MOST = 1e-5
# Training pictures that new statistics are taken from, and how many at once.
PICTURES, AT_ONCE = 128, 32


@contextlib.contextmanager
def settled_norms(model: keras.Model, steps: int, pictures: Callable[[int], Sequence[np.ndarray]]) -> Iterator[bool]:
    """Within it the batch norms have the statistics of training pictures, if their moving averages are too young.

    Args:
      model: its moving averages are afterwards what they were.
      steps: that it was trained.
      pictures: how many -> so many training pictures or fewer, each [1, H, W, C]; asked only if they are needed.

    Yields:
      whether they have.

    Example: with Keras's momentum of 0.99 a tenth is left after 230 steps, and next to nothing after 1,146.

      >>> image = keras.Input((1,))
      >>> net = keras.Model(image, keras.layers.BatchNormalization(name="norm")(image))
      >>> with settled_norms(net, 230, lambda count: [np.array([[3.0]]), np.array([[5.0]])]) as done:
      ...     print(done, net.get_layer("norm").moving_mean.numpy())
      True [4.]
      >>> net.get_layer("norm").moving_mean.numpy()
      array([0.], dtype=float32)
    """
    norms = [layer for layer in model.submodules if isinstance(layer, keras.layers.BatchNormalization)]
    young = [norm for norm in norms if norm.trainable and norm.momentum**steps > MOST]
    found = list(pictures(PICTURES)) if young else []
    if len(found) < 2:
        # Of one picture there is no variance.
        yield False
        return
    averages = [(one, one.numpy()) for norm in norms for one in (norm.moving_mean, norm.moving_variance)]
    batches = np.array_split(np.concatenate(found), max(1, len(found) // AT_ONCE))
    try:
        recompute_batch_norm(model, batches)
        yield True
    finally:
        for variable, value in averages:
            variable.assign(value)
