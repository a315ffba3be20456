"""A training under masks, compiled as one loop over many steps: a small network learns in seconds.

One `MaskedTraining` serves any number of trainings of one architecture: weights, masks and the optimizer's state are
put in, and nothing is compiled anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.lottery_masks import Masks, full_masks, mask_kernels
from tta_lite.types import InputError, input_error_in

if TYPE_CHECKING:
    from tta_lite.types import Predictor

OPTIMIZERS: Mapping[str, Callable[[], keras.optimizers.Optimizer]] = {
    # The reference's epsilon, see `tta_lite.training.fit`.
    "adam": lambda: keras.optimizers.Adam(1.0, epsilon=1e-8),
    "sgd": lambda: keras.optimizers.SGD(1.0),
    "momentum": lambda: keras.optimizers.SGD(1.0, momentum=0.9),
}
# Of the examples that are handed to the compiled loop at once.
CHUNK_BYTES = 32 << 20
MOST_STEPS = 100


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long and how fast a network learns.

    Attributes:
      steps: of the whole training, the T of the papers.
      learning_rate: before the first drop.
      drops: shares of the training at which it falls to a tenth.
      warmup_steps: in which it rises to `learning_rate`, in equal steps.
      optimizer: one of `OPTIMIZERS`.
    """

    steps: int
    learning_rate: float = 1e-3
    drops: tuple[float, ...] = (9 / 14, 12 / 14)
    warmup_steps: int = 0
    optimizer: str = "adam"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"Argument `steps` must be 1 or more. Received: {self.steps}")
        if not self.learning_rate > 0:
            raise InputError(f"Argument `learning_rate` must be above 0. Received: {self.learning_rate}")
        if any(not 0 < drop < 1 for drop in self.drops) or list(self.drops) != sorted(self.drops):
            raise InputError(f"Argument `drops` must be rising shares between 0 and 1. Received: {self.drops}")
        if not 0 <= self.warmup_steps < self.steps:
            raise InputError(
                f"Argument `warmup_steps` must be 0 to {self.steps - 1}, below the steps. Received: {self.warmup_steps}"
            )
        if self.optimizer not in OPTIMIZERS:
            raise InputError(
                f"Argument `optimizer` must be one of {', '.join(OPTIMIZERS)}. Received: {self.optimizer!r}"
            )

    def rates(self) -> np.ndarray:
        """-> [steps] float32: the learning rate of every step.

        >>> Schedule(4, 1.0, drops=(0.5,), warmup_steps=2).rates().tolist()
        [0.5, 1.0, 0.10000000149011612, 0.10000000149011612]
        """
        steps = np.arange(self.steps)
        drops = sum(((steps >= round(drop * self.steps)).astype(int) for drop in self.drops), np.zeros(self.steps, int))
        warm = np.minimum((steps + 1) / max(self.warmup_steps, 1), 1.0)
        return (self.learning_rate * 0.1**drops * warm).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """A training between two steps.

    Attributes:
      weights: as of `keras.Model.get_weights`.
      moments: the optimizer's own variables; none: it begins anew.
    """

    weights: tuple[np.ndarray, ...]
    moments: tuple[np.ndarray, ...] = ()


class MaskedTraining:
    """Trains one network under masks; what is masked is 0 after every step, exactly.

    Args:
      model: its weights change.
      loss: of (labels, outputs).
      optimizer: one of `OPTIMIZERS`.
      layers: which have masks, see `mask_kernels`.
      jit: compile with XLA, which is several times faster for small networks; some layers cannot be.

    Raises:
      InputError: see `mask_kernels`.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        optimizer: str = "adam",
        *,
        layers: Sequence[str] | None = None,
        jit: bool = True,
    ) -> None:
        if optimizer not in OPTIMIZERS:
            raise InputError(f"Argument `optimizer` must be one of {', '.join(OPTIMIZERS)}. Received: {optimizer!r}")
        self.model, self.loss = model, loss
        self.kernels = mask_kernels(model, layers)
        self.optimizer = OPTIMIZERS[optimizer]()
        self.optimizer.build(model.trainable_variables)
        self.masks = {
            name: tf.Variable(tf.ones(kernel.shape, tf.bool), trainable=False) for name, kernel in self.kernels.items()
        }
        self._mask_of = {kernel.ref(): self.masks[name] for name, kernel in self.kernels.items()}
        # `learning_rate` is put in at every step.
        self._moments = [one for one in self.optimizer.variables if one is not self.optimizer.learning_rate]
        self._loop = tf.function(self._steps, jit_compile=jit, reduce_retracing=False)
        self._forward = tf.function(lambda inputs: model(inputs, training=False))

    def state(self) -> State:
        """-> where the training is."""
        return State(
            tuple(np.array(one) for one in self.model.get_weights()), tuple(one.numpy() for one in self._moments)
        )

    def set(self, state: State, masks: Masks | None = None) -> None:
        """Goes back to a state, bit by bit; what is masked becomes 0.

        Args:
          state: of this network.
          masks: of `lottery_masks`; None: every weight is left.
        """
        masks = full_masks(self.kernels) if masks is None else masks
        self.model.set_weights(list(state.weights))
        moments = state.moments or [np.zeros(one.shape, one.dtype.as_numpy_dtype) for one in self._moments]
        for variable, value in zip(self._moments, moments, strict=True):
            variable.assign(value)
        for name, kernel in self.kernels.items():
            self.masks[name].assign(masks[name])
            kernel.assign(np.where(masks[name], kernel.numpy(), 0))

    def kernel_values(self) -> dict[str, np.ndarray]:
        """-> the kernels as they are now."""
        return {name: kernel.numpy() for name, kernel in self.kernels.items()}

    def split(self, weights: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """-> of all weights of the network, those of its kernels by name."""
        places = {weight.ref(): place for place, weight in enumerate(self.model.weights)}
        return {name: weights[places[kernel.ref()]] for name, kernel in self.kernels.items()}

    def joined(self, weights: Sequence[np.ndarray], kernels: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """-> all weights of the network, with other kernels."""
        places = {weight.ref(): place for place, weight in enumerate(self.model.weights)}
        changed = list(weights)
        for name, kernel in kernels.items():
            changed[places[self.kernels[name].ref()]] = kernel
        return tuple(changed)

    def run(self, batches: tf.data.Dataset, rates: np.ndarray) -> float:
        """Takes as many steps as there are rates -> the mean loss of the last chunk of them.

        Args:
          batches: of (inputs, labels), the first step's first.
          rates: the learning rate of every step.

        Raises:
          InputError: the loss is no number any more, the batches end, or one cannot be read.
        """
        done, loss = 0, float("nan")
        for inputs, labels in chunks(batches, len(rates)):
            count = min(len(inputs), len(rates) - done)
            chunk = np.zeros(len(inputs), np.float32)
            chunk[:count] = rates[done : done + count]
            loss = float(self._loop(inputs, labels, tf.constant(chunk), tf.constant(count)))
            done += count
            if not np.isfinite(loss):
                raise InputError(
                    "The loss must stay a number; a smaller learning rate may help. Received: NaN or infinity within "
                    f"step {done} of {len(rates)}"
                )
            if done == len(rates):
                return loss
        raise InputError(f"The training needs {len(rates)} batches. Received: {done}")

    def predictor(self) -> Predictor:
        """-> inputs [B, ...] to outputs, of the weights that the network has when it is called."""
        return lambda inputs: self._forward(tf.convert_to_tensor(inputs)).numpy()

    def _steps(self, inputs: tf.Tensor, labels: tf.Tensor, rates: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        def step(index: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return index + 1, total + self._step(inputs[index], labels[index], rates[index])

        _, total = tf.while_loop(lambda index, _: index < count, step, (tf.constant(0), tf.constant(0.0)))
        return total / tf.cast(count, tf.float32)

    def _step(self, inputs: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = self.loss(labels, self.model(inputs, training=True))
            if self.model.losses:
                loss += tf.add_n(self.model.losses)
        gradients = [
            self._masked(variable, one) for variable, one in zip(variables, tape.gradient(loss, variables), strict=True)
        ]
        self.optimizer.learning_rate.assign(rate)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        for variable in variables:
            if variable.ref() in self._mask_of:
                variable.assign(self._masked(variable, variable))
        return loss

    def _masked(self, variable: tf.Variable, value: tf.Tensor) -> tf.Tensor:
        mask = self._mask_of.get(variable.ref())
        return value if mask is None or value is None else tf.where(mask, value, tf.zeros_like(value))


def chunks(batches: tf.data.Dataset, steps: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """Several batches as one array [steps, B, ...], always of one length so that one compiled loop takes all."""
    spec = batches.element_spec[0]
    size = max(1, int(np.prod([one or 1 for one in spec.shape])) * spec.dtype.size)
    length = max(1, min(MOST_STEPS, CHUNK_BYTES // size))
    try:
        yield from batches.take(-(-steps // length) * length).batch(length, drop_remainder=True)
    except tf.errors.OpError as error:
        mistake = input_error_in(error)
        if mistake is None:
            raise
        raise mistake from None
