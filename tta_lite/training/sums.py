"""Layers that multiply 16-bit numbers and add up in float32, as the hardware does for which one trains in 16 bits.

Tensor cores round the operands and keep the sum wide (Micikevicius et al., Mixed Precision Training, ICLR 2018,
section 3.3). TensorFlow's own 16-bit kernels for a CPU may also round the sum after each addition, and without
AVX-512 they are many times slower than float32: there the gradient of a bfloat16 bias at which 16384 ones arrive is
512, that of a depthwise kernel 4096.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_model_optimization as tfmot

from tta_lite.compat import keras

# The layers that sum products: the kernel that pruning may touch, if any, and the other weights that take part.
_WEIGHTS: dict[type[keras.layers.Layer], tuple[str | None, tuple[str, ...]]] = {
    keras.layers.Conv1D: ("kernel", ("bias",)),
    keras.layers.Conv2D: ("kernel", ("bias",)),
    keras.layers.Conv2DTranspose: ("kernel", ("bias",)),
    keras.layers.Dense: ("kernel", ("bias",)),
    keras.layers.DepthwiseConv2D: (None, ("depthwise_kernel", "bias")),
    keras.layers.SeparableConv2D: ("pointwise_kernel", ("depthwise_kernel", "bias")),
}
_PACKAGE = "tta_lite.training"


def _wide(base: type[keras.layers.Layer], prunable: str | None, others: tuple[str, ...]) -> type[keras.layers.Layer]:
    """-> the layer with float32 sums. Its compute dtype, its weights and its config are those of `base`."""

    # Dense casts its input back to its compute dtype.
    of_float32 = _dense if base is keras.layers.Dense else base.call

    def call(self: Any, inputs: tf.Tensor) -> tf.Tensor:
        # The input is in 16 bits by now, and so are the weights below: the cast is exact.
        return tf.cast(of_float32(self, tf.cast(inputs, tf.float32)), self.compute_dtype)

    def get_prunable_weights(self: Any) -> list[tf.Variable]:
        return [getattr(self, _variable(prunable))] if prunable else []

    members: dict[str, Any] = {name: _widened(name) for name in (prunable, *others) if name}
    members |= {"call": call, "get_prunable_weights": get_prunable_weights, "__doc__": f"{base.__name__}, summed wide."}
    layer = type(base.__name__, (base, tfmot.sparsity.keras.PrunableLayer), members)
    return keras.utils.register_keras_serializable(_PACKAGE)(layer)


def _dense(layer: keras.layers.Dense, inputs: tf.Tensor) -> tf.Tensor:
    outputs = tf.tensordot(inputs, layer.kernel, 1)
    if layer.use_bias:
        outputs += layer.bias
    return layer.activation(outputs)


def _variable(weight: str) -> str:
    return f"_float32_{weight}"


def _widened(weight: str) -> property:
    """The attribute that `base.call` reads: the float32 variable, rounded to 16 bits, as float32."""
    variable = _variable(weight)

    def read(self: Any) -> tf.Tensor | None:
        value = getattr(self, variable)
        # Within `call`, Keras hands a variable out in the layer's compute dtype.
        return None if value is None else tf.cast(tf.cast(value, self.compute_dtype), tf.float32)

    def write(self: Any, value: tf.Variable | None) -> None:
        setattr(self, variable, value)

    return property(read, write)


_LAYERS = {base.__name__: _wide(base, *weights) for base, weights in _WEIGHTS.items()}


def set_sums(layer: dict[str, Any], *, wide: bool) -> None:
    """Makes the config of a layer that sums products one with float32 sums, or Keras's own; leaves others alone."""
    name = layer["class_name"]
    own = f"{_PACKAGE}>{name}"
    # Built from this record, a registered layer's variables would lose the layer's name.
    layer.pop("build_config", None)
    if name in _LAYERS and layer["registered_name"] in (None, own):
        layer.update(
            {"module": _LAYERS[name].__module__, "registered_name": own}
            if wide
            else {"module": "keras.layers", "registered_name": None}
        )
