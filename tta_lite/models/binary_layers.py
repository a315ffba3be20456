"""Convolutions and dense layers with weights, and inputs if wanted, of one bit.

A layer holds its latent weights, float numbers in -1..1 that gradients move; what it computes with is made of their
signs. Stock TFLite has no kernels for bits: an exported layer is a float layer whose weights are -alpha and alpha.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.models import binary_quantizers as quantizers
from tta_lite.types import InputError


@keras.utils.register_keras_serializable(package="tta_lite")
class ClipLatent(keras.constraints.Constraint):
    """Keeps latent weights in -1..1, where their gradients pass (BinaryConnect, section 2.4)."""

    def __call__(self, weights: Any) -> Any:
        """-> the weights, those outside on the border."""
        return tf.clip_by_value(weights, -1, 1)


class _Binary:
    """What the layers have in common. It comes before a Keras layer in the list of base classes."""

    # What the Keras layer behind it has.
    name: str
    kernel: tf.Variable
    # How Keras calls the settings of its kernel, as in `kernel_constraint`.
    _prefix = "kernel"

    def __init__(
        self, *args: Any, kernel_quantizer: str = "scaled_sign", input_quantizer: str | None = None, **options: Any
    ):
        _check("kernel_quantizer", kernel_quantizer, quantizers.KERNELS)
        if input_quantizer is not None:
            _check("input_quantizer", input_quantizer, quantizers.INPUTS)
        options.setdefault(f"{self._prefix}_constraint", ClipLatent())
        super().__init__(*args, **options)
        self.kernel_quantizer, self.input_quantizer = kernel_quantizer, input_quantizer

    @property
    def latent(self) -> tf.Variable:
        """The latent weights."""
        return self.kernel

    def binary_kernel(self, *, training: Any = False) -> Any:
        """-> the kernel that is computed with; ``stochastic_sign`` draws in training alone (section 2.6, method 1)."""
        name = self.kernel_quantizer
        kernel = tf.convert_to_tensor(self.latent)
        if name == "stochastic_sign":
            drawn = lambda: quantizers.stochastic_sign(kernel)  # noqa: E731
            fixed = lambda: quantizers.kernel_sign(kernel)  # noqa: E731
            if isinstance(training, (bool, int, type(None))):
                return drawn() if training else fixed()
            return tf.cond(tf.cast(training, tf.bool), drawn, fixed)
        return self._quantize(name, kernel)

    def _quantize(self, name: str, kernel: Any) -> Any:
        return quantizers.KERNELS[name](kernel)

    def binary_input(self, x: Any) -> Any:
        """-> what stands for the input: its signs, or itself."""
        return x if self.input_quantizer is None else quantizers.INPUTS[self.input_quantizer](x)

    def get_config(self) -> dict[str, Any]:
        """-> what __init__ takes."""
        config: dict[str, Any] = super().get_config()  # type: ignore[misc]
        return {**config, "kernel_quantizer": self.kernel_quantizer, "input_quantizer": self.input_quantizer}


class _BinaryWindow(_Binary):
    """What has a window: where it stands over the border it meets ones, because one bit has no 0."""

    kernel_size: tuple[int, int]
    strides: tuple[int, int]
    dilation_rate: tuple[int, int]
    padding: str
    data_format: str

    def _bordered(self, x: Any) -> tuple[Any, str]:
        """-> the binary input, and the padding that is left to do."""
        x = self.binary_input(x)
        if self.input_quantizer is None or self.padding != "same" or self.kernel_size == (1, 1):
            return x, self.padding
        border = [(0, 0), *(self._border(x.shape[axis], axis) for axis in (1, 2)), (0, 0)]
        return tf.pad(x, border, constant_values=1), "valid"

    def _border(self, size: int, axis: int) -> tuple[int, int]:
        stride = self.strides[axis - 1]
        kernel = (self.kernel_size[axis - 1] - 1) * self.dilation_rate[axis - 1] + 1
        total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
        return total // 2, total - total // 2

    def build(self, shape: Any) -> None:
        """Makes the latent kernel."""
        if self.data_format != "channels_last":
            raise InputError(f"Layer {self.name!r} must have channels last. Received: {self.data_format!r}")
        if self.input_quantizer is not None and self.padding == "same" and None in tuple(shape)[1:3]:
            raise InputError(
                f"Layer {self.name!r} must know the size of its input to put ones around it. Received: {list(shape)}"
            )
        super().build(shape)  # type: ignore[misc]


@keras.utils.register_keras_serializable(package="tta_lite")
class BinaryConv2D(_BinaryWindow, keras.layers.Conv2D):
    """[B, H, W, C] -> [B, OH, OW, filters], with a kernel of one bit a weight.

    With ``kernel_quantizer="sign"`` or ``"stochastic_sign"`` it is BinaryConnect's layer, with ``"scaled_sign"`` that
    of XNOR-Net's Binary-Weight-Networks; an ``input_quantizer`` beside it makes the layer of an XNOR-Net.

    Args:
      kernel_quantizer: ``sign``, ``stochastic_sign`` or ``scaled_sign``.
      input_quantizer: ``sign`` or ``approx_sign``; None: the input stays as it is.
      input_scaling: XNOR-Net's K (equation 11): outputs are multiplied with the mean of ``|x|`` over their window. It
        needs an `input_quantizer`; later work leaves it out, because batch norm does nearly the same.
      options: of ``keras.layers.Conv2D``.

    Raises:
      InputError: an unknown quantiser, or scaling of an input that is not binary.

    Example:
      >>> layer = BinaryConv2D(1, 1, kernel_initializer="ones", input_quantizer="sign")
      >>> layer(tf.constant([[[[0.3, -0.2, 5.0]]]])).numpy().item()
      1.0
    """

    def __init__(self, filters: int, kernel_size: Any, *, input_scaling: bool = False, **options: Any):
        super().__init__(filters, kernel_size, **options)
        if input_scaling and self.input_quantizer is None:
            raise InputError("Argument `input_scaling` is for binary inputs. Received: no `input_quantizer`")
        self.input_scaling = input_scaling

    def call(self, x: Any, training: Any = None) -> Any:
        """See the class."""
        inputs, padding = self._bordered(x)
        kernel = tf.cast(self.binary_kernel(training=training), inputs.dtype)
        y = tf.nn.conv2d(inputs, kernel, self.strides, padding.upper(), dilations=self.dilation_rate)
        if self.input_scaling:
            y *= self._input_scale(x)
        if self.use_bias:
            y = tf.nn.bias_add(y, self.bias)
        return y if self.activation is None else self.activation(y)

    def _input_scale(self, x: Any) -> Any:
        """[B, H, W, C] -> K, [B, OH, OW, 1]."""
        height, width = self.kernel_size
        box = tf.fill((height, width, 1, 1), tf.constant(1 / (height * width), x.dtype))
        mean = tf.reduce_mean(tf.abs(x), axis=-1, keepdims=True)
        return tf.nn.conv2d(mean, box, self.strides, self.padding.upper(), dilations=self.dilation_rate)

    def get_config(self) -> dict[str, Any]:
        """-> what __init__ takes."""
        return {**super().get_config(), "input_scaling": self.input_scaling}


@keras.utils.register_keras_serializable(package="tta_lite")
class BinaryDepthwiseConv2D(_BinaryWindow, keras.layers.DepthwiseConv2D):
    """[B, H, W, C] -> [B, OH, OW, C x M], with a kernel of one bit a weight; alpha is one an output channel.

    Nine weights of one bit are few: networks with such layers lose much (Phan et al., *MoBiNet*, WACV 2020,
    https://arxiv.org/abs/1907.12629, section 3).

    Args:
      kernel_quantizer, input_quantizer: as in `BinaryConv2D`.
      options: of ``keras.layers.DepthwiseConv2D``.
    """

    _prefix = "depthwise"

    @property
    def latent(self) -> tf.Variable:
        """The latent weights."""
        return self.depthwise_kernel

    def _quantize(self, name: str, kernel: Any) -> Any:
        if name == "scaled_sign":
            return quantizers.scaled_sign_depthwise(kernel)
        return super()._quantize(name, kernel)

    def call(self, x: Any, training: Any = None) -> Any:
        """See the class."""
        inputs, padding = self._bordered(x)
        kernel = tf.cast(self.binary_kernel(training=training), inputs.dtype)
        strides = (1, *self.strides, 1)
        y = tf.nn.depthwise_conv2d(inputs, kernel, strides, padding.upper(), dilations=self.dilation_rate)
        if self.use_bias:
            y = tf.nn.bias_add(y, self.bias)
        return y if self.activation is None else self.activation(y)


@keras.utils.register_keras_serializable(package="tta_lite")
class BinaryDense(_Binary, keras.layers.Dense):
    """[..., C] -> [..., units], with a kernel of one bit a weight.

    Args:
      kernel_quantizer, input_quantizer: as in `BinaryConv2D`.
      options: of ``keras.layers.Dense``.
    """

    def call(self, x: Any, training: Any = None) -> Any:
        """See the class."""
        inputs = self.binary_input(x)
        y = tf.matmul(inputs, tf.cast(self.binary_kernel(training=training), inputs.dtype))
        if self.use_bias:
            y = tf.nn.bias_add(y, self.bias)
        return y if self.activation is None else self.activation(y)


BINARY = (BinaryConv2D, BinaryDepthwiseConv2D, BinaryDense)


def _check(argument: str, name: Any, known: dict[str, Any]) -> None:
    if name not in known:
        raise InputError(f"Argument `{argument}` must be one of {', '.join(known)}. Received: {name!r}")
