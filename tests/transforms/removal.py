"""What tests of channel removal check with; written without the tables of the code under test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.export.convert import CONVERSIONS, convert_function
from tta_lite.export.runner import edges, load
from tta_lite.models.files import load_network
from tta_lite.transforms.channels.groups import ChannelGroup, channel_groups
from tta_lite.transforms.remove_channels import remove_channels

L = keras.layers
TRANSPOSED = (L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose)


def layer_at(model: keras.Model, path: str) -> keras.layers.Layer:
    """-> a layer by its path, ``outer/inner`` inside a nested model; layers' own names may hold a slash too."""
    for layer in model.layers:
        if layer.name == path:
            return layer
        if isinstance(layer, keras.Model) and path.startswith(f"{layer.name}/"):
            return layer_at(layer, path[len(layer.name) + 1 :])
    raise KeyError(path)


def zero_readers(model: keras.Model, groups: Sequence[ChannelGroup], remove: Mapping[str, Sequence[int]]) -> None:
    """Sets to 0 every weight that reads a channel that will leave: the outputs cannot depend on what it holds."""
    for group in groups:
        gone = list(remove.get(group.name, ()))
        for part in group.parts:
            if part.side != "in":
                continue
            layer, channels = layer_at(model, part.layer), np.isin(part.units, gone)
            name = "depthwise_kernel" if hasattr(layer, "depthwise_kernel") else "kernel"
            kernel = getattr(layer, name)
            value = np.moveaxis(kernel.numpy(), -1 if isinstance(layer, TRANSPOSED) else -2, 0).copy()
            value[channels] = 0
            kernel.assign(np.moveaxis(value, 0, -1 if isinstance(layer, TRANSPOSED) else -2))


def some_units(groups: Sequence[ChannelGroup], seed: int = 0, share: float = 0.4) -> dict[str, list[int]]:
    """-> of every group that may shrink some units from chance, one or more, but never all."""
    rng = np.random.default_rng(seed)
    return {
        group.name: rng.choice(group.size, max(1, int(share * group.size)), replace=False).tolist()
        for group in groups
        if not group.why_fixed and group.size > 1
    }


def inputs_of(model: keras.Model, batch: int = 2, seed: int = 1) -> list[np.ndarray]:
    """-> values from chance for each input."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(batch, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]


def outputs_of(model: keras.Model, x: Sequence[np.ndarray]) -> list[np.ndarray]:
    """-> all outputs, flat."""
    given = x[0] if len(model.inputs) == 1 else list(x)
    return [np.asarray(y) for y in tf.nest.flatten(model(given, training=False))]


def largest_difference(wanted: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> float:
    """-> of all outputs, the largest difference as a share of the largest value of that output."""
    shares = []
    for one, other in zip(wanted, got, strict=True):
        assert one.shape == other.shape
        scale = float(np.abs(one).max())
        # An output that says nothing could not show that something went wrong.
        assert scale > 0 and np.isfinite(scale) and np.isfinite(other).all()
        shares.append(float(np.abs(one - other).max()) / scale)
    return max(shares)


def assert_close(wanted: Sequence[np.ndarray], got: Sequence[np.ndarray], tolerance: float = 1e-5) -> None:
    """The largest difference of each output, as a share of its largest value."""
    assert largest_difference(wanted, got) <= tolerance


@dataclasses.dataclass(frozen=True, eq=False)
class Removal:
    """What `check_outputs` found.

    Attributes:
      smaller: the model without some units.
      remove: group -> what left.
      groups: of the model before.
      difference: of the outputs from those of the model in which nothing reads what left; a share of the largest value.
      control: the same from those of the model as it was.
    """

    smaller: keras.Model
    remove: dict[str, list[int]]
    groups: tuple[ChannelGroup, ...]
    difference: float
    control: float


def check_outputs(
    model: keras.Model,
    protected: Sequence[str] = (),
    seed: int = 0,
    share: float = 0.4,
    x: Sequence[np.ndarray] | None = None,
) -> Removal:
    """Removes units of every group: the outputs stay if nobody reads what they hold, and only then.

    The old model's weights that read these units are set to 0, and the outputs stay when the units leave. What stays
    has the same weights before; so the same smaller model, held against the old one as it was, is the control.
    """
    groups = channel_groups(model, protected=protected)
    remove = some_units(groups, seed, share)
    assert remove
    x = inputs_of(model) if x is None else x
    as_it_was = outputs_of(model, x)
    zero_readers(model, groups, remove)
    wanted = outputs_of(model, x)
    smaller = remove_channels(model, remove, protected=protected)
    got = outputs_of(smaller, x)
    found = Removal(smaller, remove, groups, largest_difference(wanted, got), largest_difference(as_it_was, got))
    assert found.difference <= 1e-5
    assert found.control > 1e-3
    assert smaller.count_params() < model.count_params()
    return found


def check_removal(model: keras.Model, protected: Sequence[str] = ()) -> keras.Model:
    """The same; the old model is as it was, and the smaller one has the groups that it should -> the smaller one."""
    config, groups = model.get_config(), channel_groups(model, protected=protected)
    found = check_outputs(model, protected)
    assert model.get_config() == config
    left = {group.name: group.size for group in channel_groups(found.smaller, protected=protected)}
    assert left == {group.name: group.size - len(found.remove.get(group.name, ())) for group in groups}
    return found.smaller


def check_useful(model: keras.Model, folder: Path, x: Sequence[np.ndarray] | None = None) -> None:
    """It trains a step, is saved and read, and converts, each with the same outputs as before."""
    x = inputs_of(model) if x is None else x
    before = [weight.numpy() for weight in model.trainable_weights]
    with tf.GradientTape() as tape:
        y = tf.nest.flatten(model(x[0] if len(x) == 1 else x, training=True))
        loss = sum(tf.reduce_mean(one**2) for one in y)
    gradients = tape.gradient(loss, model.trainable_weights)
    assert all(one is not None for one in gradients)
    keras.optimizers.SGD(1e-3).apply_gradients(zip(gradients, model.trainable_weights, strict=True))
    assert any((one != weight.numpy()).any() for one, weight in zip(before, model.trainable_weights, strict=True))

    wanted = outputs_of(model, x)
    model.save(folder / "smaller.keras")
    assert_close(wanted, outputs_of(load_network(folder / "smaller.keras"), x), 1e-6)
    assert_close([y[:1] for y in wanted], converted_outputs(model, [one[:1] for one in x]), 1e-4)


def converted_outputs(model: keras.Model, x: Sequence[np.ndarray]) -> list[np.ndarray]:
    """-> what the TFLite file of a model gives; in the order of the model's outputs, whose shapes must differ."""
    serve = tf.function(
        lambda *given: model(given[0] if len(given) == 1 else list(given), training=False), autograph=False
    )
    function = serve.get_concrete_function(
        *(tf.TensorSpec(one.shape, one.dtype, name=f"in{i}") for i, one in enumerate(x))
    )
    interpreter = load(convert_function(function, CONVERSIONS["fp32"]))
    given, gives = edges(interpreter)
    for edge in given:
        interpreter.set_tensor(edge.index, next(one for i, one in enumerate(x) if f"in{i}" in edge.name))
    interpreter.invoke()
    found = {edge.shape: interpreter.get_tensor(edge.index) for edge in gives}
    assert len(found) == len(gives)
    return [found[(1, *tensor.shape[1:])] for tensor in model.outputs]
