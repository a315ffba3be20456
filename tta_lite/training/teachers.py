"""Who teaches: a Keras model or anything else that is callable on a batch, behind one signature.

Files (``.tflite``, ``.onnx``, SavedModel, ``.keras``) are read by `tta_lite.export.teachers.load_teacher`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.models.outputs import ends_in_softmax
from tta_lite.training import precision as precisions
from tta_lite.training.distillation_features import feature_shapes, with_features
from tta_lite.training.quantization_aware import is_quantization_aware
from tta_lite.transforms.graph import check_graph, is_graph
from tta_lite.types import InputError

Shape = tuple[int | None, ...]
EXAMPLES = 2
# By how much the sum of what is a probability may miss 1: 256 steps of an int8 file, and then some.
NEAR_ONE = 0.05


class Answer(NamedTuple):
    """What a network says of a batch.

    Attributes:
      outputs: [B, ...] float32.
      features: layer -> what it gave, [B, ...] float32.
    """

    outputs: Any
    features: dict[str, Any]


class Teacher:
    """What `Distiller`, `Distillation` and `cache_teacher` ask; made by `as_teacher` and `load_teacher`.

    Attributes:
      name: for messages.
      output_shape: (None, ...), of its one output.
      probabilities: whether its outputs are those of a softmax, and not logits.
      layers: layer -> shape of what it gives, of those that can be asked for; empty: it has no features.
      ends: the layers that give its output.
    """

    name: str
    output_shape: Shape
    probabilities: bool
    layers: Mapping[str, Shape]
    ends: tuple[str, ...] = ()

    def ask(self, images: tf.Tensor, layers: Sequence[str] = ()) -> Answer:
        """-> what it says of a batch [B, ...], as it infers; may be called within a `tf.function`."""
        raise NotImplementedError

    def digest(self) -> str:
        """-> what tells it from every other teacher, for a cache."""
        raise NotImplementedError

    def placed(self) -> Teacher:
        """-> the same on the devices of the strategy whose scope this is called in."""
        return self


class KerasTeacher(Teacher):
    """A graph of Keras layers: it computes in float32 and as it infers, and is not changed.

    Raises:
      InputError: a quantisation-aware network, or one with several inputs or outputs.
    """

    def __init__(self, model: keras.Model, *, probabilities: bool | None = None) -> None:
        check_graph(model)
        if is_quantization_aware(model):
            raise InputError(f"Argument `teacher` must be a float network. Received: {model.name!r}, quantised")
        self.model, self.name, self.input_shape = model, model.name, model.input_shape
        self.output_shape = model.output_shape
        if not isinstance(self.output_shape, tuple) or not isinstance(self.input_shape, tuple):
            raise InputError(
                f"A teacher must have one input and one output. Received: {self.name!r} with {self.input_shape} -> "
                f"{self.output_shape}"
            )
        self.ends = tuple(model.output_names)
        self.probabilities = ends_in_softmax(model) if probabilities is None else probabilities
        self._with_features: dict[tuple[str, ...], keras.Model] = {}

    @functools.cached_property
    def layers(self) -> Mapping[str, Shape]:  # type: ignore[override]
        """Of the graph; not looked at by who wants its outputs alone."""
        return feature_shapes(self.model)

    def ask(self, images: tf.Tensor, layers: Sequence[str] = ()) -> Answer:
        """-> its outputs, and those of `layers`."""
        if not layers:
            return Answer(tf.cast(self.model(images, training=False), tf.float32), {})
        key = tuple(layers)
        if key not in self._with_features:
            self._with_features[key] = with_features(self.model, key)
        outputs, *features = (tf.cast(one, tf.float32) for one in self._with_features[key](images, training=False))
        return Answer(outputs, dict(zip(key, features, strict=True)))

    def digest(self) -> str:
        """-> SHA-256 of its config and its weights."""
        found = hashlib.sha256(json.dumps(self.model.get_config(), sort_keys=True, default=str).encode())
        for weight in self.model.get_weights():
            found.update(f"{weight.dtype}{weight.shape}".encode())
            found.update(np.ascontiguousarray(weight).tobytes())
        return found.hexdigest()

    def placed(self) -> Teacher:
        """-> a copy: of this strategy's devices, and exact whatever precision is trained in."""
        copy = precisions.with_policy(as_functional(self.model), "float32")
        copy.trainable = False
        return KerasTeacher(copy, probabilities=self.probabilities)


class CallableTeacher(Teacher):
    """A function of a batch that is no Keras model: it is called as it is, outside of the graph unless it is a graph.

    Args:
      function: [B, ...] -> [B, ...]; of NumPy arrays, one call at a time, or a `tf.function` of tensors.
      name: for messages.
      key: what tells it from other teachers; empty: it cannot be cached.
      example: [B, ...] float32, a batch that it understands.
      probabilities: whether its outputs are those of a softmax; None: seen from its answers to `example`.

    Raises:
      InputError: it gives anything else than one float tensor with an answer for each example.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        name: str,
        key: str = "",
        example: np.ndarray,
        probabilities: bool | None = None,
    ) -> None:
        self.name, self.layers, self._key, self._function = name, {}, key, function
        self._in_graph = isinstance(function, tf.types.experimental.PolymorphicFunction)
        # Interpreters are not for several threads at once, and replicas are threads.
        self._lock = threading.Lock()
        self._example = np.asarray(example, np.float32)
        try:
            found = self._function(tf.constant(self._example) if self._in_graph else self._example)
        except Exception as error:  # It is somebody's code: anything may come.
            raise InputError(
                f"The teacher {name!r} must answer a batch {list(self._example.shape)} of float32. "
                f"Received: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            ) from error
        answer = self._checked(found)
        self.output_shape = (None, *answer.shape[1:])
        self.probabilities = _look_like_probabilities(answer) if probabilities is None else probabilities

    def ask(self, images: tf.Tensor, layers: Sequence[str] = ()) -> Answer:
        """-> its outputs."""
        if layers:
            raise InputError(f"The teacher {self.name!r} has no features. Received: {', '.join(layers)}")
        images = tf.cast(images, tf.float32)
        if self._in_graph:
            found = tf.cast(self._function(images), tf.float32)
        else:
            found = tf.numpy_function(self._answer, [images], tf.float32)
        found = tf.ensure_shape(found, self.output_shape)
        return Answer(tf.ensure_shape(found, (images.shape[0], *self.output_shape[1:])), {})

    def digest(self) -> str:
        """-> its key."""
        if not self._key:
            raise InputError(
                f"What a plain function answers can be cached if it is told apart from others: give as_teacher(..., "
                f"key='...') with a new text for every new version. Received: {self.name!r} without a key"
            )
        return self._key

    def _answer(self, images: np.ndarray) -> np.ndarray:
        with self._lock:
            found = np.asarray(self._function(images))
        if found.shape != (len(images), *self.output_shape[1:]):
            raise InputError(
                f"The teacher {self.name!r} must answer {[len(images), *self.output_shape[1:]]} to so many examples. "
                f"Received: {list(found.shape)}"
            )
        return found.astype(np.float32, copy=False)

    def _checked(self, found: Any) -> np.ndarray:
        what = f"{type(found).__name__}"
        if not isinstance(found, (list, tuple, dict)):
            found = np.asarray(found)
            what = f"{found.dtype} {list(found.shape)}"
            # NumPy does not know bfloat16 as a kind of float.
            is_float = np.issubdtype(found.dtype, np.floating) or found.dtype.name == "bfloat16"
            if is_float and found.ndim >= 2 and len(found) == len(self._example):
                if not np.isfinite(found.astype(np.float32)).all():
                    what = "NaN or infinity"
                else:
                    return found.astype(np.float32)
        raise InputError(
            f"The teacher {self.name!r} must answer a batch of {len(self._example)} with one float tensor "
            f"[{len(self._example)}, ...] of numbers. Received: {what}"
        )


def as_teacher(
    source: Any,
    example: np.ndarray | None = None,
    *,
    name: str = "",
    key: str = "",
    probabilities: bool | None = None,
) -> Teacher:
    """-> a teacher; one that is one already stays as it is.

    Args:
      source: a model of `tf_keras`; a `tf.function`; or any other callable [B, ...] -> [B, ...], which is given NumPy
        arrays.
      example: a batch [B, ...] that it understands, two examples or more to be sure; a Keras model needs none.
      name: for messages.
      key: of a callable: what tells it from others when its answers are cached.
      probabilities: whether it ends in a softmax; None: seen from its last layer, or from its answers to `example`.

    Raises:
      InputError: it is not callable, or answers `example` with anything else than one float tensor.

    Example:
      >>> teacher = as_teacher(lambda images: images.mean(axis=(1, 2)), np.ones([2, 8, 8, 3], np.float32))
      >>> teacher.output_shape, teacher.probabilities
      ((None, 3), False)
    """
    if isinstance(source, Teacher):
        return source
    if isinstance(source, keras.Model) and is_graph(source):
        return KerasTeacher(source, probabilities=probabilities)
    if isinstance(source, str) or not callable(source):
        raise InputError(
            "Argument `teacher` must be a float network of tf_keras or a function of a batch; files are read by "
            f"tta_lite.export.teachers.load_teacher. Received: {source!r}"
        )
    if example is None:
        raise InputError(
            f"A teacher that is no graph of Keras layers is tried out on a batch: give as_teacher an `example`. "
            f"Received: {source!r} and none"
        )
    if isinstance(source, keras.Model):
        model = source
        source = tf.function(lambda images: model(images, training=False), autograph=False)
    name = name or getattr(source, "__name__", type(source).__name__)
    return CallableTeacher(source, name=name, key=key, example=example, probabilities=probabilities)


def as_functional(model: keras.Model) -> keras.Model:
    """-> a functional model of the same layers, if it is a built `keras.Sequential`; any other one as it is."""
    return keras.Model(model.inputs, model.outputs, name=model.name) if type(model) is keras.Sequential else model


def example_batch(shape: Any) -> np.ndarray | None:
    """-> two examples of normal noise for an input [None, ...]; None if a size is open."""
    if not isinstance(shape, tuple) or None in shape[1:]:
        return None
    return np.random.default_rng(0).normal(size=(EXAMPLES, *shape[1:])).astype(np.float32)


def _look_like_probabilities(answers: np.ndarray) -> bool:
    return bool((answers >= 0).all() and (np.abs(answers.sum(axis=-1) - 1) < NEAR_ONE).all())
