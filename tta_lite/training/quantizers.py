"""The grids of int8 as TensorFlow Model Optimization wants them: quantizers, the config of a layer, a fixed range.

Jacob et al., *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference*, CVPR
2018, section 3, https://arxiv.org/abs/1712.05877. Weights: one scale an output channel, symmetric, -127..127.
Activations: one range a tensor, 256 codes, zero among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.quantization.keras.quantizers import Quantizer

from tta_lite.compat import keras

L = keras.layers
PACKAGE = "tta_lite.quantize"

LEVELS = 127
# Narrower ranges than this are one code; a scale of 0 has no meaning in a file.
LEAST_WIDTH = 1e-5
# How far a range moves to that of the newest batch: a mean over about the last hundred batches. TFMOT's own 0.001 is
# made for trainings of many epochs that begin without calibration.
RATE = 0.01

# Layer that sums products -> its kernel, and the axes of the kernel that belong to one output channel.
KERNELS: dict[type[keras.layers.Layer], tuple[str, tuple[int, ...]]] = {
    L.Conv2D: ("kernel", (0, 1, 2)),
    L.DepthwiseConv2D: ("depthwise_kernel", (0, 1)),
    L.Conv2DTranspose: ("kernel", (0, 1, 3)),
    L.Dense: ("kernel", (0,)),
}


def on_grid(kernel: Any, axes: Sequence[int]) -> Any:
    """-> the kernel rounded to its int8 grid: multiples of the largest magnitude of each channel over 127.

    The largest weight of a channel stays where it is, so that a converter that measures the rounded kernel finds the
    same grid.

    Args:
      kernel: float32.
      axes: those that belong to one channel.

    >>> on_grid(tf.constant([[1.0], [0.3], [0.0]]), (0,)).numpy().ravel() * 127
    array([127.,  38.,   0.], dtype=float32)
    """
    largest = tf.reduce_max(tf.abs(kernel), axis=tuple(axes), keepdims=True)
    step = tf.where(largest > 0, largest, tf.ones_like(largest)) / LEVELS
    return tf.round(kernel / step) * step


class KernelQuantizer(Quantizer):
    """A kernel on its grid, with the gradient of the kernel itself (straight-through estimator).

    Bengio, Léonard and Courville, 2013, https://arxiv.org/abs/1308.3432. The grid follows from the weights and has no
    state: inference, training and the exported file see the same one.

    Args:
      axes: of the kernel, those that belong to one output channel.
    """

    def __init__(self, axes: Sequence[int]):
        self.axes = tuple(axes)

    def build(self, tensor_shape: Any, name: str, layer: keras.layers.Layer) -> dict[str, tf.Variable]:
        """No state."""
        return {}

    def __call__(self, inputs: Any, training: Any, weights: dict[str, tf.Variable], **kwargs: Any) -> Any:
        """-> the rounded kernel."""
        return inputs + tf.stop_gradient(on_grid(inputs, self.axes) - inputs)

    def get_config(self) -> dict[str, Any]:
        """-> what __init__ takes."""
        return {"axes": list(self.axes)}


class RangeQuantizer(Quantizer):
    """An activation in 256 codes; in training its range is a moving average of the batches' least and largest values.

    Its variables: ``min_var``, ``max_var``, and ``rate_var``, which says how fast the range moves; at 0 it is frozen.

    Args:
      low, high: where the range begins.
      rate: where ``rate_var`` begins; 0: the range never moves.
    """

    def __init__(self, low: float = -6.0, high: float = 6.0, rate: float = RATE):
        self.low, self.high, self.rate = float(low), float(high), float(rate)

    def build(self, tensor_shape: Any, name: str, layer: keras.layers.Layer) -> dict[str, tf.Variable]:
        """Adds the variables to the layer."""

        def add(ending: str, value: float) -> tf.Variable:
            return layer.add_weight(
                name=f"{name}_{ending}", shape=(), initializer=keras.initializers.Constant(value), trainable=False
            )

        return {
            "min_var": add("min", self.low), "max_var": add("max", self.high), "rate_var": add("rate", self.rate)
        }  # fmt: skip

    def __call__(self, inputs: Any, training: Any, weights: dict[str, tf.Variable], **kwargs: Any) -> Any:
        """-> the codes' values."""
        low, high = weights["min_var"], weights["max_var"]
        if not training or not self.rate:
            return tf.quantization.fake_quant_with_min_max_vars(inputs, low, high)
        rate = weights["rate_var"]
        # Zero must have a code: padding and ReLU are made of it.
        newest_low = tf.minimum(tf.reduce_min(inputs), 0.0)
        newest_high = tf.maximum(tf.reduce_max(inputs), newest_low + LEAST_WIDTH)
        low.assign_add(rate * (newest_low - low))
        high.assign_add(rate * (tf.maximum(newest_high, 0.0) - high))
        return tf.quantization.fake_quant_with_min_max_vars(inputs, low, high)

    def get_config(self) -> dict[str, Any]:
        """-> what __init__ takes."""
        return {"low": self.low, "high": self.high, "rate": self.rate}


class LayerConfig(tfmot.quantization.keras.QuantizeConfig):
    """What is quantised of a layer: its kernel, its output, or both.

    Args:
      kernel: name of the layer's kernel; None: it has none, or none that is quantised.
      axes: of the kernel, those of one output channel.
      low, high: None, or the range in which the output begins.
      rate: of the output's `RangeQuantizer`.
    """

    def __init__(
        self,
        kernel: str | None = None,
        axes: Sequence[int] = (),
        low: float | None = None,
        high: float | None = None,
        rate: float = RATE,
    ):
        self.kernel, self.axes, self.low, self.high, self.rate = kernel, tuple(axes), low, high, rate

    def get_weights_and_quantizers(self, layer: keras.layers.Layer) -> list[tuple[Any, Quantizer]]:
        """-> the kernel."""
        return [(getattr(layer, self.kernel), KernelQuantizer(self.axes))] if self.kernel else []

    def set_quantize_weights(self, layer: keras.layers.Layer, quantize_weights: Sequence[Any]) -> None:
        """Lets the layer compute with the rounded kernel."""
        if self.kernel:
            setattr(layer, self.kernel, quantize_weights[0])

    def get_activations_and_quantizers(self, layer: keras.layers.Layer) -> list[tuple[Any, Quantizer]]:
        """Nothing: activations are layers of their own here."""
        return []

    def set_quantize_activations(self, layer: keras.layers.Layer, quantize_activations: Sequence[Any]) -> None:
        """Nothing."""
        return

    def get_output_quantizers(self, layer: keras.layers.Layer) -> list[Quantizer]:
        """-> the output's range."""
        if self.low is None or self.high is None:
            return []
        return [RangeQuantizer(self.low, self.high, self.rate)]

    def get_config(self) -> dict[str, Any]:
        """-> what __init__ takes."""
        return {
            "kernel": self.kernel, "axes": list(self.axes), "low": self.low, "high": self.high, "rate": self.rate
        }  # fmt: skip


@keras.utils.register_keras_serializable(package=PACKAGE)
class BatchNorm(keras.layers.BatchNormalization):
    """Batch norm whose statistics can be frozen while its scale and shift still learn.

    Krishnamoorthi, *Quantizing deep convolutional networks for efficient inference*, 2018, section 3.2.2,
    https://arxiv.org/abs/1806.08342: towards the end, training computes as inference will.

    Attributes:
      frozen: whether training takes the moving mean and variance and leaves them alone. A compiled function must be
        made anew to see a change.
    """

    frozen = False

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """See the class."""
        return super().call(inputs, training=False if self.frozen else training, mask=mask)


@keras.utils.register_keras_serializable(package=PACKAGE)
class FixedRange(keras.layers.Layer):
    """Rounds to the 256 codes of one range: what a trained `RangeQuantizer` does, without variables.

    Args:
      low, high: the range.

    Example:
      >>> FixedRange(0.0, 2.55)(tf.constant([0.5049, 3.0])).numpy().round(4)
      array([0.5 , 2.55], dtype=float32)
    """

    def __init__(self, low: float, high: float, **options: Any):
        super().__init__(**options)
        self.low, self.high = float(low), float(high)

    def call(self, x: Any) -> Any:
        """See the class."""
        return tf.quantization.fake_quant_with_min_max_vars(x, self.low, self.high)

    def get_config(self) -> dict[str, Any]:
        """-> what __init__ takes."""
        return {**super().get_config(), "low": self.low, "high": self.high}


def quantize_scope() -> Any:
    """-> within it Keras knows the classes of this file and of TFMOT by name."""
    return tfmot.quantization.keras.quantize_scope(
        {one.__name__: one for one in (KernelQuantizer, RangeQuantizer, LayerConfig)}
    )
