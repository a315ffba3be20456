"""The graph rewriter: a model is built anew, layer by layer, with some of its layers replaced, added or left out.

Every change of structure in this house is a handful of `Builder`s that are given to `rewrite`.
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.transforms.graph import check_graph, is_graph, nodes_of
from tta_lite.transforms.replay import Placed, arguments_with, is_symbolic, replay, training_of
from tta_lite.types import InputError

Keep = Callable[..., Any]
"""``keep()`` calls a copy of the old layer, with its weights, as the old one was called; ``keep(x)`` calls it on x."""

Builder = Callable[[Any, Keep], Any]
"""``(x, keep) -> y``: what stands in a layer's place. x is what the layer would be called with, y its new output."""

Rule = Callable[[keras.layers.Layer, str], "Builder | None"]
"""``(layer, name) -> `` its builder, or None to keep it. The name is ``outer/inner`` inside a nested model."""

InputShapes = Mapping[str, Sequence["int | None"]]


def rewrite(
    model: keras.Model,
    edits: Mapping[str, Builder] | Rule,
    *,
    flatten: bool = False,
    input_shapes: InputShapes | None = None,
    name: str | None = None,
) -> keras.Model:
    """Builds a model anew with some of its layers changed. The old model stays as it is and shares nothing with it.

    Kept are names, weights, shared layers, nested models, the structure of inputs and outputs, and which layers are
    trainable. Not kept is what `compile` has set. A builder makes its layers once: where the layer that it replaces
    is called twice, the new ones are called twice.

    Args:
      model: functional, or sequential and built. A subclass of ``keras.Model`` comes back as a plain one.
      edits: layer name -> builder; or a rule that is asked once for every layer. A builder for the name of a nested
        model replaces that model as a whole.
      flatten: put the layers of nested models in the place of their call. Their names stay where they are free,
        and become ``outer_inner`` where they are not. `edits` still name them ``outer/inner``.
      input_shapes: input name -> its new shape without the batch, e.g. ``{"image": (160, 160, 3)}``.
      name: of the new model; the old one's by default.

    Returns:
      the new model.

    Raises:
      InputError: the model is no graph of layers; `edits` or `input_shapes` name something that is not there; a layer
        cannot be copied (``Lambda``, no ``get_config``), does not accept its new input, or its weights do not fit it.

    Example: a ReLU instead of a swish, and a 1 x 1 convolution before a Deconv.

      >>> image = keras.Input((8, 8, 32))
      >>> x = keras.layers.Conv2DTranspose(16, 4, strides=2, padding="same", name="deconv")(image)
      >>> net = keras.Model(image, keras.layers.Activation("swish", name="act")(x))
      >>> def narrow(x, keep):
      ...     x = keras.layers.Conv2D(4, 1, name="narrow")(x)
      ...     return keras.layers.Conv2DTranspose(16, 4, strides=2, padding="same", name="deconv")(x)
      >>> relu = lambda x, keep: keras.layers.ReLU(name="act")(x)
      >>> [layer.name for layer in rewrite(net, {"deconv": narrow, "act": relu}).layers[1:]]
      ['narrow', 'deconv', 'act']
    """
    check_graph(model)
    if callable(edits):
        return _Rewriter(edits, flatten).model(model, "", input_shapes or {}, name)
    # Found before the work: a mistyped name should not cost a minute.
    known = list(dict.fromkeys(_names(model)))
    for wanted in edits:
        if wanted not in known:
            near = difflib.get_close_matches(wanted, known, 1)
            raise InputError(
                f"Argument `edits` must name layers of {model.name!r}"
                f"{f' (is {near[0]!r} meant?)' if near else ''}. Received: {wanted!r}"
            )
    return _Rewriter(lambda _, path: edits.get(path), flatten).model(model, "", input_shapes or {}, name)


def graft(
    model: keras.Model, inputs: Sequence[Any], tensors: Sequence[tuple[Any, Any]], *, name: str | None = None
) -> keras.Model:
    """-> what a model does from some of its inner tensors on, with other tensors in their place.

    Args:
      model: functional, without nested models (see ``flatten``). It is not changed.
      inputs: the new model's inputs, ``keras.Input``s.
      tensors: pairs of an inner tensor of `model` and the one that takes its place; together they must cut every way
        from the old inputs to the outputs. What lies behind them is copied with its weights.
      name: of the new model; the old one's by default.

    Raises:
      InputError: a shape or a number of channels does not fit what lies behind, or there is a way past the cut.

    Example: the last layer of a network, on an input of its own.

      >>> image = keras.Input((8, 8, 3))
      >>> x = keras.layers.Conv2D(4, 3, name="body")(image)
      >>> net = keras.Model(image, keras.layers.Dense(2, name="head")(x))
      >>> features = keras.Input((6, 6, 4))
      >>> [layer.name for layer in graft(net, [features], [(x, features)]).layers[1:]]
      ['head']
    """
    check_graph(model)
    rewriter = _Rewriter(lambda layer, path: None, flatten=False)
    known = {id(old): new for old, new in tensors}
    outputs = rewriter.run(model, [None] * len(model.inputs), "", known=known)
    # One input comes as itself and not as a list of one, as in most models.
    new = keras.Model(
        inputs[0] if len(inputs) == 1 else list(inputs),
        tf.nest.pack_sequence_as(model._nested_outputs, outputs),
        name=name or model.name,
    )
    rewriter.set_flags()
    return new


def copy_layer(layer: keras.layers.Layer, **changes: Any) -> keras.layers.Layer:
    """-> a new layer of the same class and settings, without weights; `changes` replaces settings.

    Example:
      >>> copy_layer(keras.layers.Conv2D(8, 3, name="conv"), filters=4).filters
      4

    Raises:
      InputError: the layer is a ``Lambda``, or does not say how it was made.
    """
    if isinstance(layer, keras.layers.Lambda):
        raise InputError(
            "A Lambda layer hides what it does and cannot be copied. Expected: a layer class with get_config(), or "
            f"TensorFlow functions called on the tensors themselves. Received: layer {layer.name!r}"
        )
    try:
        return type(layer).from_config({**layer.get_config(), **changes})
    except (NotImplementedError, TypeError, ValueError, KeyError) as error:
        raise InputError(
            f"Layer {layer.name!r} of class {type(layer).__name__} cannot be copied. Expected: a get_config() that "
            f"holds every argument of __init__. Received: {_first_line(error)}"
        ) from error


class _Rewriter:
    """Lives for one call of `rewrite`. Copies are found by the id of the old layer, which outlives it."""

    def __init__(self, rule: Rule, flatten: bool):
        self.rule, self.flatten = rule, flatten
        self.copies: dict[int, keras.layers.Layer] = {}
        self.placed: dict[int, Placed] = {}
        self.names: set[str] = set()
        self.flags: list[tuple[keras.layers.Layer, bool]] = []

    def model(self, old: keras.Model, prefix: str, shapes: InputShapes, name: str | None = None) -> keras.Model:
        """-> the new model of `old`, whose layers' names begin with `prefix`."""
        unknown = sorted(set(shapes) - set(old.input_names))
        if unknown:
            raise InputError(
                f"Argument `input_shapes` must name inputs of {old.name!r}: {', '.join(old.input_names)}. "
                f"Received: {unknown[0]!r}"
            )
        inputs = [_new_input(tensor, own, shapes) for tensor, own in zip(old.inputs, old.input_names, strict=True)]
        self.names.update(old.input_names)
        place = len(self.flags)
        outputs = self.run(old, inputs, prefix)
        try:
            new = keras.Model(
                tf.nest.pack_sequence_as(old._nested_inputs, inputs),
                tf.nest.pack_sequence_as(old._nested_outputs, outputs),
                name=name or old.name,
            )
        except ValueError as error:
            raise InputError(f"The rewritten {old.name!r} is no model. Received: {_first_line(error)}") from error
        # A model hands its flag down to its layers, so that it must come before them.
        self.flags.insert(place, (new, old.trainable))
        if not prefix:
            self.set_flags()
        return new

    def set_flags(self) -> None:
        """Makes trainable what was trainable, when all is built."""
        for layer, flag in self.flags:
            layer.trainable = flag

    def run(
        self,
        old: keras.Model,
        inputs: Sequence[Any],
        prefix: str,
        context: Mapping[str, Any] | None = None,
        trainable: bool = True,
        known: Mapping[int, Any] | None = None,
    ) -> list[Any]:
        """Calls the layers of `old`, changed or kept, on new tensors -> its outputs.

        `known` holds, by the id of the old one, tensors that are there already; what only leads to them is left out.
        """
        known = {**{id(tensor): new for tensor, new in zip(old.inputs, inputs, strict=True)}, **(known or {})}
        for node in _needed(old, known):
            layer, path = node.layer, prefix + node.layer.name
            args, kwargs = arguments_with(node, known)
            if context and layer._expects_training_arg:
                kwargs = {**context, **kwargs}
            first, rest, kwargs = layer._call_spec.split_out_first_arg(args, kwargs)
            new = self.call(layer, path, first, rest, kwargs, trainable)
            before, after = tf.nest.flatten(node.outputs), tf.nest.flatten(new)
            if len(before) != len(after):
                raise InputError(
                    f"What stands in the place of layer {path!r} must give {len(before)} tensor(s), as it did. "
                    f"Received: {len(after)}"
                )
            known.update((id(tensor), other) for tensor, other in zip(before, after, strict=True))
        return [known[id(tensor)] for tensor in old.outputs]

    def call(
        self,
        layer: keras.layers.Layer,
        path: str,
        first: Any,
        rest: Sequence[Any],
        kwargs: dict[str, Any],
        trainable: bool,
    ) -> Any:
        """-> what the new model has for one call of a layer."""
        given = [tensor for tensor in tf.nest.flatten((first, rest, kwargs)) if is_symbolic(tensor)]
        if id(layer) in self.placed:
            placed = self.placed[id(layer)]
            known = dict(zip(map(id, placed.inputs), given, strict=True))
            return replay(placed.outputs, known, (placed.training, training_of(layer, (first, *rest), kwargs)))

        def keep(x: Any = first) -> Any:
            with _blame(path, x):
                return self.keep(layer, path, x, rest, kwargs, trainable)

        builder = None if id(layer) in self.copies else self.rule(layer, path)
        if builder is None:
            return keep()
        with _blame(path, first):
            outputs = builder(first, keep)
        self.placed[id(layer)] = Placed(given, outputs, training_of(layer, (first, *rest), kwargs))
        return outputs

    def keep(
        self,
        layer: keras.layers.Layer,
        path: str,
        x: Any,
        rest: Sequence[Any],
        kwargs: dict[str, Any],
        trainable: bool,
    ) -> Any:
        """Calls the copy of a layer, or of a nested model; all calls of the layer share it."""
        if isinstance(layer, keras.Model):
            check_graph(layer, path)
            tensors = layer._flatten_to_reference_inputs(x)
            if self.flatten:
                context = {key: value for key, value in kwargs.items() if key == "training"}
                outputs = self.run(layer, tensors, f"{path}/", context, trainable and layer.trainable)
                return tf.nest.pack_sequence_as(layer._nested_outputs, outputs)
            if id(layer) not in self.copies:
                shapes = {
                    name: tuple(tensor.shape[1:])
                    for name, old, tensor in zip(layer.input_names, layer.inputs, tensors, strict=True)
                    if not old.shape.is_compatible_with(tensor.shape)
                }
                self.copies[id(layer)] = self.model(layer, f"{path}/", shapes)
            return self.copies[id(layer)](x, *rest, **kwargs)
        copy = self.copies.get(id(layer))
        if copy is not None:
            return copy(x, *rest, **kwargs)
        copy = copy_layer(layer, **({"name": self.free_name(layer.name, path)} if self.flatten else {}))
        outputs = copy(x, *rest, **kwargs)
        _copy_weights(layer, copy, path)
        self.copies[id(layer)] = copy
        self.flags.append((copy, trainable and layer.trainable))
        return outputs

    def free_name(self, own: str, path: str) -> str:
        """-> the layer's own name; ``outer_inner`` where another layer has that, with a number if that is gone too."""
        candidates = itertools.chain((own, path.replace("/", "_")), (f"{own}_{n}" for n in itertools.count(2)))
        name = next(name for name in candidates if name not in self.names)
        self.names.add(name)
        return name


def _needed(model: keras.Model, known: Mapping[int, Any]) -> list[Any]:
    """-> the layer calls that lead from the known tensors to the outputs, in order."""
    wanted = {id(tensor) for tensor in model.outputs} - set(known)
    needed = []
    for node in reversed(list(nodes_of(model))):
        if wanted.intersection(id(tensor) for tensor in tf.nest.flatten(node.outputs)):
            needed.append(node)
            wanted.update(id(tensor) for tensor in node.keras_inputs if id(tensor) not in known)
    past = [tensor for tensor in model.inputs if known.get(id(tensor), tensor) is None]
    for tensor in past:
        for node in needed:
            if any(read is tensor for read in node.keras_inputs):
                raise InputError(
                    f"The cut must lie on every way from the inputs of {model.name!r} to its outputs. "
                    f"Received: a cut that the way through {node.layer.name!r} goes past"
                )
    return needed[::-1]


def _names(model: keras.Model, prefix: str = "") -> Iterator[str]:
    for node in nodes_of(model):
        yield prefix + node.layer.name
        if is_graph(node.layer):
            yield from _names(node.layer, f"{prefix}{node.layer.name}/")


def _new_input(old: Any, name: str, shapes: InputShapes) -> Any:
    shape = shapes.get(name)
    if shape is None:
        shape = tuple(old.shape[1:])
    elif len(shape) != len(old.shape) - 1:
        raise InputError(
            f"Argument `input_shapes` must give {name!r} {len(old.shape) - 1} sizes, without the batch, as in "
            f"{tuple(old.shape[1:])}. Received: {tuple(shape)}"
        )
    return keras.Input(shape, batch_size=old.shape[0], dtype=old.dtype, name=name)


def _copy_weights(old: keras.layers.Layer, new: keras.layers.Layer, path: str) -> None:
    expected, received = [[tuple(weight.shape) for weight in layer.weights] for layer in (old, new)]
    if expected != received:
        raise InputError(
            f"The weights of layer {path!r} do not fit what comes before it now. Expected: shapes {expected}. "
            f"Received: {received}"
        )
    if expected:
        new.set_weights(old.get_weights())


@contextlib.contextmanager
def _blame(path: str, x: Any) -> Iterator[None]:
    """Names the layer in an error of Keras's."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, TypeError, tf.errors.OpError) as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tf.nest.flatten(x) if tf.is_tensor(tensor))
        raise InputError(
            f"Layer {path!r} cannot be called on what comes before it now, of shape {shapes}. "
            f"Received: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
