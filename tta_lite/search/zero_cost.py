"""What will a network be worth, before a single step of training? Scores of untrained networks.

They rank networks; their values mean nothing else. Whether one ranks better than chance is a question to the task and
the space at hand: `tta_lite.search.rank` answers it.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.measure.counting import count
from tta_lite.models.layers import HardSwish
from tta_lite.transforms.graph import Call, Graph, trace
from tta_lite.transforms.rewrite import Builder, Keep, rewrite
from tta_lite.types import InputError

L = keras.layers
WITH_KERNELS = (L.Conv2D, L.DepthwiseConv2D, L.Conv2DTranspose, L.SeparableConv2D, L.Dense)
# What shifts or scales by constants: a ReLU6 behind it is the gate of a hard sigmoid.
BY_CONSTANTS = ("TFOpLambda", "Rescaling")

# Outputs of a network -> losses, of the images that it got.
Loss = Callable[[tf.Tensor], tf.Tensor]


def synflow(model: keras.Model, images: np.ndarray | None = None) -> float:
    """-> the logarithm of the sum, over all kernels, of |weight x gradient|, on absolute weights and a picture of ones.

    Tanaka et al., *Pruning neural networks without any data by iteratively conserving synaptic flow*, NeurIPS 2020,
    equation 2, https://arxiv.org/abs/2006.05467. As a score: Abdelfattah et al., *Zero-Cost Proxies for Lightweight
    NAS*, ICLR 2021, section 3.2, https://arxiv.org/abs/2101.08134; as there, batch norm is taken out, and float64 is
    used. Here ReLUs have no upper end: with absolute weights all would lie beyond it, where gradients are 0.

    Args:
      model: functional, with a fixed input size; it is not changed.
      images: not looked at.

    Raises:
      InputError: the network has no kernels, or the sum is no number.

    Example:
      >>> image = keras.Input((2,))
      >>> net = keras.Model(image, L.Dense(1, kernel_initializer="ones")(image))
      >>> round(math.exp(synflow(net)), 6)
      2.0
    """
    positive = _in_float64(rewrite(model, _linear(trace(model)), flatten=True))
    positive.set_weights([np.abs(array) for array in positive.get_weights()])
    kernels = _kernels(positive)
    ones = [tf.ones((1, *tensor.shape[1:]), tf.float64) for tensor in positive.inputs]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(kernels)
        outputs = positive(ones if len(ones) > 1 else ones[0], training=False)
        total = tf.add_n([tf.reduce_sum(output) for output in tf.nest.flatten(outputs)])
    gradients = tape.gradient(total, kernels, unconnected_gradients="zero")
    score = float(sum(tf.reduce_sum(tf.abs(w * g)) for w, g in zip(kernels, gradients, strict=True)))
    if not math.isfinite(score):
        raise InputError(f"The synaptic flow must be a number. Received: {score} of {model.name!r}")
    return math.log(score) if score > 0 else -math.inf


def _kernels(model: keras.Model) -> list[tf.Variable]:
    kernels = [
        weight for layer in model.layers if isinstance(layer, WITH_KERNELS) for weight in layer.trainable_weights
        if len(weight.shape) > 1
    ]  # fmt: skip
    if not kernels:
        raise InputError(f"The score is of the kernels of a network. Received: none in {model.name!r}")
    return kernels


def _linear(graph: Graph) -> dict[str, Builder]:
    """-> edits without batch norm, and without ReLUs: on positive numbers one without an upper end does nothing."""
    edits: dict[str, Builder] = {}
    for call in graph.calls:
        gate = isinstance(call.layer, L.ReLU) and _is_gate(call, graph)
        if isinstance(call.layer, L.BatchNormalization) or (isinstance(call.layer, L.ReLU) and not gate):
            edits[call.name] = _pass_on
    return edits


def _is_gate(call: Call, graph: Graph) -> bool:
    before = graph.producers.get(call.reads[0])
    return before is not None and type(before.layer).__name__ in BY_CONSTANTS


def _pass_on(x: tf.Tensor, keep: Keep) -> tf.Tensor:
    return x


def _in_float64(model: keras.Model) -> keras.Model:
    config = copy.deepcopy(model.get_config())
    for layer in config["layers"]:
        if "dtype" in layer["config"]:
            layer["config"]["dtype"] = "float64"
    wide = keras.Model.from_config(config)
    wide.set_weights(model.get_weights())
    return wide


def naswot(model: keras.Model, images: np.ndarray | None) -> float:
    """-> the logarithm of the determinant of `hamming_kernel` of the images' ReLU codes.

    Mellor et al., *Neural Architecture Search without Training*, ICML 2021, section 3, https://arxiv.org/abs/2006.04647.
    As there, batch norm takes the statistics of these images. Two images that the network cannot tell apart give -inf.

    Args:
      model: functional, not changed.
      images: [N, H, W, C], two or more, as the network expects its pixels.

    Raises:
      InputError: fewer images, or a network without ReLUs.
    """
    if images is None or len(images) < 2:
        raise InputError(f"NASWOT needs two images or more. Received: {0 if images is None else len(images)}")
    # A copy: batch norm moves its averages.
    net = rewrite(model, {}, flatten=True)
    outputs = [
        layer.get_output_at(node) for layer in net.layers if _is_relu(layer) for node in range(len(layer.inbound_nodes))
    ]
    if not outputs:
        raise InputError(f"NASWOT looks at the signs behind ReLUs. Received: {model.name!r}, which has none")
    values = keras.Model(net.inputs, outputs)(tf.constant(images, tf.float32), training=True)
    kernel = hamming_kernel([np.asarray(one).reshape(len(images), -1) > 0 for one in tf.nest.flatten(values)])
    return float(np.linalg.slogdet(kernel)[1])


def _is_relu(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, (L.ReLU, HardSwish)) or getattr(layer, "activation", None) is keras.activations.relu


def hamming_kernel(codes: Sequence[np.ndarray]) -> np.ndarray:
    """-> [N, N] float64: in how many units two images have the same code.

    Args:
      codes: of each layer, [N, units] bool.

    Example:
      >>> hamming_kernel([np.array([[True, False, True], [True, True, True]])])
      array([[3., 2.],
             [2., 3.]])
    """
    kernel = np.zeros((len(codes[0]),) * 2)
    for code in codes:
        on = code.astype(np.float32)
        off = 1 - on
        kernel += on @ on.T + off @ off.T
    return kernel


def grad_norm(model: keras.Model, images: np.ndarray | None, loss: Loss | None) -> float:
    """-> the sum, over all kernels, of the Euclidean norm of the loss's gradient.

    Abdelfattah et al., section 3.2, see `synflow`; batch norm takes the statistics of these images.

    Args:
      model: functional, not changed.
      images: [N, H, W, C], as the network expects its pixels.
      loss: outputs for these images -> their losses.

    Raises:
      InputError: no images, no loss, or no kernels.
    """
    return float(sum(tf.norm(gradient) for _, gradient in _gradients(model, images, loss)))


def snip(model: keras.Model, images: np.ndarray | None, loss: Loss | None) -> float:
    """-> the sum, over all kernels, of |weight x gradient of the loss|; arguments as of `grad_norm`.

    Lee et al., *SNIP: Single-shot network pruning based on connection sensitivity*, ICLR 2019, section 4.1,
    https://arxiv.org/abs/1810.02340; as a score Abdelfattah et al., section 3.2.
    """
    found = _gradients(model, images, loss)
    return float(sum(tf.reduce_sum(tf.abs(weight * gradient)) for weight, gradient in found))


def _gradients(model: keras.Model, images: np.ndarray | None, loss: Loss | None) -> list[tuple[tf.Variable, tf.Tensor]]:
    if images is None or loss is None:
        raise InputError("A gradient of a loss needs images and a loss. Received: none")
    # A copy: batch norm moves its averages.
    net = rewrite(model, {}, flatten=True)
    kernels = _kernels(net)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(kernels)
        value = tf.reduce_mean(loss(net(tf.constant(images, tf.float32), training=True)))
    return list(zip(kernels, tape.gradient(value, kernels, unconnected_gradients="zero"), strict=True))


def jacob_cov(model: keras.Model, images: np.ndarray | None) -> float:
    """-> how little the images' Jacobians correlate, see `of_correlations`.

    A Jacobian is the gradient of the sum of all outputs by one image's pixels. Mellor et al., first version
    of their paper, section 3, https://arxiv.org/abs/2006.04647v1; Abdelfattah et al., section 3.2.

    Args:
      model: functional, not changed.
      images: [N, H, W, C], two or more, as the network expects its pixels.

    Raises:
      InputError: fewer images.
    """
    if images is None or len(images) < 2:
        raise InputError(f"jacob_cov needs two images or more. Received: {0 if images is None else len(images)}")
    net = rewrite(model, {}, flatten=True)
    pixels = tf.constant(images, tf.float32)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(pixels)
        total = tf.add_n([tf.reduce_sum(one) for one in tf.nest.flatten(net(pixels, training=True))])
    return of_correlations(np.asarray(tape.gradient(total, pixels)).reshape(len(images), -1))


def of_correlations(rows: np.ndarray, k: float = 1e-5) -> float:
    """[N, D] -> minus the sum of log(v + k) + 1 / (v + k) of the eigenvalues v of the rows' correlations.

    Rows that do not correlate have N eigenvalues of 1: the most there can be.

      >>> round(of_correlations(np.array([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]])), 3)
      -2.0
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.corrcoef(rows.astype(np.float64))
    # A picture that moves nothing correlates with nothing, itself neither.
    values = np.maximum(np.linalg.eigvalsh(np.nan_to_num(correlations)), 0) + k
    return -float(np.sum(np.log(values) + 1 / values))


def parameters(model: keras.Model, images: np.ndarray | None = None) -> float:
    """-> how many it has: the baseline that a score must beat."""
    return float(model.count_params())


def macs(model: keras.Model, images: np.ndarray | None = None) -> float:
    """-> multiply-accumulates of one inference, see `tta_lite.measure.counting`: another baseline."""
    return float(count(model).macs)


@dataclasses.dataclass(frozen=True)
class Score:
    """A way to score a network: a number, larger for better.

    Attributes:
      function: of a network, and of images and a loss if it
      needs_images: looks at them,
      needs_loss: asks for it.
    """

    function: Callable[..., float]
    needs_images: bool = False
    needs_loss: bool = False

    def of(self, model: keras.Model, images: np.ndarray | None = None, loss: Loss | None = None) -> float:
        """-> the score of a network; raises as the function."""
        return self.function(model, images, *([loss] if self.needs_loss else []))


SCORES = {
    "synflow": Score(synflow), "naswot": Score(naswot, True), "jacob_cov": Score(jacob_cov, True),
    "grad_norm": Score(grad_norm, True, True), "snip": Score(snip, True, True),
    "parameters": Score(parameters), "macs": Score(macs),
}  # fmt: skip
