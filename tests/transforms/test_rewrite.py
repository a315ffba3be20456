from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.networks import randomised
from tta_lite.compat import keras
from tta_lite.transforms.rewrite import copy_layer, rewrite
from tta_lite.types import InputError

L = keras.layers
A = keras.applications


def images(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_equal(old: keras.Model, new: keras.Model, x: object) -> None:
    """Bit for bit."""
    for one, other in zip(tf.nest.flatten(old(x)), tf.nest.flatten(new(x)), strict=True):
        np.testing.assert_array_equal(one, other)


def small_net() -> keras.Model:
    """Two branches that are added, one concatenation, batch norm."""
    image = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(4, 3, padding="same", name="stem")(image)
    y = L.ReLU(name="act")(L.BatchNormalization(name="bn")(L.Conv2D(4, 3, padding="same", name="conv")(x)))
    y = L.Concatenate(name="cat")([L.Add(name="add")([x, y]), x])
    return randomised(keras.Model(image, L.Conv2D(2, 1, name="head")(y), name="small"))


# Networks whose graphs are made in different ways; `slow` has them all.
FAMILIES = (
    "ConvNeXtTiny",
    "EfficientNetB0",
    "InceptionV3",
    "MobileNetV2",
    "MobileNetV3Small",
    "RegNetX002",
    "ResNet50",
    "VGG16",
    "Xception",
)
ALL = tuple(sorted(name for name, value in vars(A).items() if name[0].isupper() and callable(value)))
# What a network needs at least; 32 pixels do for the others.
LEAST = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}


def application(name: str) -> keras.Model:
    size = LEAST.get(name, 32)
    return getattr(A, name)(weights=None, include_top=False, input_shape=(size, size, 3), pooling="avg")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAMILIES else pytest.mark.slow) for name in ALL]
)
def test_an_unchanged_application_gives_the_same_bits(name):
    old = randomised(application(name))
    before = [layer.name for layer in old.layers]
    new = rewrite(old, {})
    assert [layer.name for layer in new.layers] == before == [layer.name for layer in old.layers]
    assert not {id(layer) for layer in new.layers} & {id(layer) for layer in old.layers}
    assert_equal(old, new, images(2, *old.input_shape[1:]))


def test_all_applications_are_in_the_table():
    assert set(FAMILIES) <= set(ALL)
    assert len(ALL) > 70


def test_a_layer_is_replaced_by_two_and_the_rest_keeps_its_weights():
    old = small_net()

    def pair(x, keep):
        x = L.Conv2D(4, (1, 3), padding="same", name="conv_row")(x)
        return L.Conv2D(4, (3, 1), padding="same", name="conv_column")(x)

    new = rewrite(old, {"conv": pair})
    assert [layer.name for layer in new.layers] == [
        "image", "stem", "conv_row", "conv_column", "bn", "act", "add", "cat", "head",
    ]  # fmt: skip
    for layer in new.layers:
        if not layer.name.startswith("conv_"):
            for one, other in zip(old.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
                np.testing.assert_array_equal(one, other)
    # Hand arithmetic: 8 x 8 values, 4 x 4 channels, three taps each, and the biases.
    assert new.get_layer("conv_row").count_params() == 3 * 16 + 4


def test_a_layer_is_removed_and_one_is_put_before_and_behind_another():
    old = small_net()
    edits = {
        "act": lambda x, keep: x,
        "conv": lambda x, keep: L.Activation("tanh", name="after")(keep(L.Rescaling(2.0, name="before")(x))),
    }
    new = rewrite(old, edits)
    x = images(2, 8, 8, 3)
    inner = old.get_layer("stem")(x)
    y = old.get_layer("bn")(tf.tanh(old.get_layer("conv")(2 * inner)))
    np.testing.assert_allclose(new(x), old.get_layer("head")(tf.concat([inner + y, inner], -1)), rtol=1e-5, atol=1e-6)
    assert "act" not in [layer.name for layer in new.layers]


def test_the_old_model_is_not_changed():
    old = small_net()
    config, weights, calls = old.get_config(), old.get_weights(), [len(layer._inbound_nodes) for layer in old.layers]
    new = rewrite(old, {"act": lambda x, keep: L.ELU(name="act")(x)})
    new.set_weights([weight + 1 for weight in new.get_weights()])
    assert old.get_config() == config
    assert [len(layer._inbound_nodes) for layer in old.layers] == calls
    for one, other in zip(weights, old.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_shared_layer_stays_shared_and_its_replacement_is_shared():
    a, b = keras.Input((6, 6, 2), name="a"), keras.Input((6, 6, 2), name="b")
    shared = L.Conv2D(3, 3, name="shared")
    old = randomised(keras.Model([a, b], L.Subtract(name="minus")([shared(a), shared(b)])))
    x, y = images(2, 6, 6, 2), images(2, 6, 6, 2, seed=2)
    assert_equal(old, rewrite(old, {}), [x, y])
    assert rewrite(old, {}).count_params() == old.count_params() == 3 * 3 * 2 * 3 + 3

    def two(x, keep):
        x = L.Conv2D(5, 1, name="first")(x)
        return L.Conv2D(3, 3, name="second")(L.Add(name="twice")([x, x]))

    new = randomised(rewrite(old, {"shared": two}))
    assert new.count_params() == (2 * 5 + 5) + (3 * 3 * 5 * 3 + 3)
    assert [layer.name for layer in new.layers].count("second") == 1
    # Both sides go through the same layers: equal inputs cancel, others do not.
    np.testing.assert_allclose(new([x, x]), np.zeros((2, 4, 4, 3)), atol=1e-6)
    assert np.abs(new([x, y])).max() > 0.01


def twin_net() -> keras.Model:
    """A nested model that is called twice, and a layer outside with a name that is also inside."""
    inside = keras.Input((8, 8, 3), name="inside")
    y = L.BatchNormalization(name="bn")(L.Conv2D(4, 3, name="conv")(inside))
    body = keras.Model(inside, L.GlobalAveragePooling2D(name="pool")(y), name="body")
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    small = L.Conv2D(3, 1, name="conv")(right)
    out = {"sum": L.Add(name="add")([body(left), body(small, training=False)]), "left": body.get_layer("pool")(left)}
    return randomised(keras.Model({"left": left, "right": right}, out, name="twins"))


@pytest.mark.parametrize("flatten", [False, True])
def test_nested_models_are_kept_or_flattened(flatten):
    old = twin_net()
    new = rewrite(old, {}, flatten=flatten)
    x = {"left": images(2, 8, 8, 3), "right": images(2, 8, 8, 3, seed=2)}
    assert_equal(old, new, x)
    assert set(new(x)) == {"sum", "left"}
    assert new.count_params() == old.count_params()
    names = [layer.name for layer in new.layers]
    if flatten:
        # One of the two that are called conv has to give way.
        assert sorted(names) == ["add", "bn", "body_conv", "conv", "left", "pool", "right"]
        assert not any(isinstance(layer, keras.Model) for layer in new.layers)
    else:
        assert [layer.name for layer in new.get_layer("body").layers] == ["inside", "conv", "bn", "pool"]


def test_flattening_leaves_names_with_slashes_alone():
    # keras.applications calls layers so, and two of them end alike.
    image = keras.Input((4, 4, 2), name="image")
    x = L.Conv2D(2, 1, name="block/conv")(image)
    x = L.Conv2D(2, 1, name="conv")(x)
    inner = keras.Sequential([keras.Input((4, 4, 2)), L.Conv2D(2, 1, name="conv")], name="body")
    old = keras.Model(image, L.Conv2D(2, 1, name="body_conv")(inner(x)))
    names = [layer.name for layer in rewrite(old, {}, flatten=True).layers]
    assert names == ["image", "block/conv", "conv", "body_conv", "body_conv_2"]


def test_training_false_reaches_the_layers_of_a_flattened_model():
    image = keras.Input((4, 4, 2), name="image")
    body = keras.Sequential([keras.Input((4, 4, 2)), L.BatchNormalization(name="bn")], name="body")
    old = randomised(keras.Model(image, body(image, training=False)))
    new = rewrite(old, {}, flatten=True)
    x = images(8, 4, 4, 2)
    np.testing.assert_array_equal(new(x, training=True), old(x, training=True))
    np.testing.assert_array_equal(new(x, training=True), old(x, training=False))


def test_a_layer_in_a_nested_model_is_changed_by_its_path_and_a_nested_model_as_a_whole():
    old = twin_net()
    x = {"left": images(2, 8, 8, 3), "right": images(2, 8, 8, 3, seed=2)}
    new = rewrite(old, {"body/bn": lambda x, keep: x})
    assert [layer.name for layer in new.get_layer("body").layers] == ["inside", "conv", "pool"]
    assert np.abs(new(x)["sum"] - old(x)["sum"]).max() > 1e-3

    def other(x, keep):
        return L.GlobalMaxPooling2D(name="top")(L.Conv2D(4, 1, name="thin")(x))

    new = rewrite(old, {"body": other})
    assert "body" not in [layer.name for layer in new.layers]
    # One thin convolution for both calls.
    assert new.get_layer("thin").count_params() == 3 * 4 + 4
    assert new(x)["sum"].shape == (2, 4)


@pytest.mark.parametrize("flatten", [False, True])
def test_trainable_flags_are_kept(flatten):
    old = twin_net()
    old.get_layer("body").trainable = False
    new = rewrite(old, {}, flatten=flatten)
    assert [weight.shape for weight in new.trainable_weights] == [weight.shape for weight in old.trainable_weights]
    assert len(new.trainable_weights) == 2
    thawed = twin_net()
    thawed.get_layer("body").get_layer("bn").trainable = False
    new = rewrite(thawed, {}, flatten=flatten)
    assert len(new.trainable_weights) == len(thawed.trainable_weights) == 4


def test_tensorflow_functions_on_tensors_are_kept():
    image, scale = keras.Input((4, 4, 2), name="image"), keras.Input((2,), name="scale")
    x = tf.nn.relu(image[:, 1:, ::2] * 2.0 + tf.constant([1.0, -1.0])) * scale[:, tf.newaxis, tf.newaxis]
    old = keras.Model([image, scale], tf.concat([x, tf.abs(x)], axis=-1))
    assert_equal(old, rewrite(old, {}), [images(2, 4, 4, 2), images(2, 2)])


def test_a_layer_with_several_inputs_and_outputs_by_position_and_name():
    query, value = keras.Input((5, 8), name="query"), keras.Input((7, 8), name="value")
    attended, scores = L.MultiHeadAttention(2, 4, name="attention")(
        query=query, value=value, return_attention_scores=True
    )
    old = randomised(keras.Model([query, value], [L.LayerNormalization(name="norm")(attended), scores]))
    assert_equal(old, rewrite(old, {}), [images(2, 5, 8), images(2, 7, 8)])


def test_a_sequential_model_and_wrapped_layers():
    layers = [L.TimeDistributed(L.Conv2D(3, 3)), L.Reshape((3, -1)), L.Bidirectional(L.GRU(4)), L.Dense(2)]
    old = randomised(keras.Sequential([keras.Input((3, 8, 8, 2)), *layers]))
    assert_equal(old, rewrite(old, {}), images(2, 3, 8, 8, 2))


def test_the_input_may_become_larger():
    old = small_net()
    new = rewrite(old, {}, input_shapes={"image": (12, 16, 3)})
    assert new.output_shape == (None, 12, 16, 2)
    for one, other in zip(old.get_weights(), new.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    image = keras.Input((8, 8, 3), name="image")
    nested = keras.Model(image, small_net()(image))
    assert rewrite(nested, {}, input_shapes={"image": (16, 16, 3)}).output_shape == (None, 16, 16, 2)


def test_a_rule_is_asked_once_for_every_layer():
    asked = []

    def rule(layer, path):
        asked.append(path)
        if isinstance(layer, L.ReLU):
            return lambda x, keep: L.ReLU(6, name=layer.name)(x)
        return None

    new = rewrite(small_net(), rule)
    assert asked == ["stem", "conv", "bn", "act", "add", "cat", "head"]
    assert new.get_layer("act").max_value == 6


def test_the_new_model_can_be_saved_trained_and_read(tmp_path):
    new = rewrite(small_net(), {"act": lambda x, keep: L.ReLU(6, name="act")(x)}, name="newer")
    new.compile("sgd", "mse")
    new.fit(images(4, 8, 8, 3), images(4, 8, 8, 2), verbose=0)
    new.save(tmp_path / "new.keras")
    assert_equal(new, keras.models.load_model(tmp_path / "new.keras"), images(2, 8, 8, 3))
    assert new.name == "newer"


class Own(keras.Model):
    """A model whose graph is code."""

    def __init__(self):
        super().__init__()
        self.conv = L.Conv2D(2, 1)

    def call(self, x):
        return self.conv(x)


class Bare(L.Layer):
    """A layer that does not say how it was made."""

    def __init__(self, factor):
        super().__init__(name="bare")
        self.factor = factor

    def call(self, x):
        return self.factor * x


def net_of(*layers: L.Layer) -> keras.Model:
    image = x = keras.Input((8, 8, 3), name="image")
    for layer in layers:
        x = layer(x)
    return keras.Model(image, x, name="net")


def with_a_loss() -> keras.Model:
    model = small_net()
    model.add_loss(tf.reduce_mean(model.output))
    return model


@pytest.mark.parametrize(
    ("model", "edits", "options", "said"),
    [
        (Own, {}, {}, "The model must be a graph of layers.*call.*Received: Own"),
        (lambda: keras.Sequential([L.Dense(2)]), {}, {}, "call its build.*Received: Sequential"),
        (lambda: net_of(Own()), {}, {}, "nested model 'own.*' must be a graph"),
        (lambda: net_of(L.Lambda(abs, name="size")), {}, {}, "Lambda.*Received: layer 'size'"),
        (lambda: net_of(Bare(tf.Variable(2.0))), {}, {}, "'bare' of class Bare.*get_config"),
        (with_a_loss, {}, {}, "given to compile.*Received: .* in 'small'"),
        (small_net, {"cnov": lambda x, keep: x}, {}, "layers of 'small' .is 'conv' meant.*Received: 'cnov'"),
        (small_net, {}, {"input_shapes": {"photo": (8, 8, 3)}}, "inputs of 'small': image. Received: 'photo'"),
        (small_net, {}, {"input_shapes": {"image": (8, 8)}}, "3 sizes, without the batch.*Received: .8, 8."),
        (small_net, {}, {"input_shapes": {"image": (8, 8, 4)}}, "weights of layer 'stem'.*3, 3, 3, 4.*3, 3, 4, 4"),
        (small_net, {"conv": lambda x, keep: L.Conv2D(5, 1)(x)}, {}, "weights of layer 'bn' do not fit"),
        (small_net, {"bn": lambda x, keep: L.MaxPooling2D()(x)}, {}, "Layer 'add' cannot be called.*4, 4, 4"),
        (small_net, {"conv": lambda x, keep: [keep(), x]}, {}, "place of layer 'conv' must give 1.*Received: 2"),
        (small_net, {"conv": lambda x, keep: L.Conv2D(4, 1, name="stem")(x)}, {}, "no model.*\"stem\" is used 2"),
        (small_net, {"conv": lambda x, keep: L.Conv2D(4, 9)(x)}, {}, "Layer 'conv' cannot.*of shape .None, 8, 8, 4"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(model, edits, options, said):
    with pytest.raises(InputError, match=said):
        rewrite(model(), edits, **options)


def test_a_layer_that_cannot_be_copied_may_still_be_replaced():
    new = rewrite(net_of(L.Lambda(abs, name="size")), {"size": lambda x, keep: tf.abs(x)})
    np.testing.assert_array_equal(new(-np.ones((1, 8, 8, 3))), np.ones((1, 8, 8, 3)))


def test_copy_layer_keeps_what_is_not_changed():
    old = L.Conv2D(8, 3, strides=2, activation="relu", kernel_regularizer="l2", name="conv")
    new = copy_layer(old, filters=4)
    assert {**old.get_config(), "filters": 4} == new.get_config()


@st.composite
def random_nets(draw) -> keras.Model:
    """Chains, branches, joins, shared layers and nested models: each layer takes any of the tensors made so far."""
    tensors = [keras.Input((6, 6, 2), name="image")]
    shared = [L.Conv2D(2, 3, padding="same", name="shared"), L.BatchNormalization(name="shared_bn")]
    inside = keras.Input((6, 6, 2))
    inner = L.DepthwiseConv2D(3, padding="same", name="shared")(inside)
    shared.append(keras.Model(inside, L.Add()([inner, inside]), name="nested"))
    for place in range(draw(st.integers(1, 7))):
        one, other = (tensors[draw(st.integers(0, len(tensors) - 1))] for _ in range(2))
        kind = draw(st.sampled_from(("conv", "add", "cat", "shared", "function")))
        if kind == "conv":
            y = L.Conv2D(2, 3, padding="same", activation="relu", name=f"conv{place}")(one)
        elif kind == "add":
            y = L.Add(name=f"add{place}")([one, other])
        elif kind == "cat":
            y = L.Conv2D(2, 1, name=f"mix{place}")(L.Concatenate(name=f"cat{place}")([one, other]))
        elif kind == "shared":
            y = draw(st.sampled_from(shared))(one)
        else:
            y = tf.maximum(one, 0.5 * other)
        tensors.append(y)
    outputs = draw(st.lists(st.sampled_from(range(len(tensors))), min_size=1, max_size=3, unique=True))
    return randomised(keras.Model(tensors[0], [tensors[place] for place in {*outputs, len(tensors) - 1}]))


@settings(max_examples=25, deadline=None)
@given(random_nets(), st.booleans())
def test_any_net_is_rewritten_to_the_same_bits(net, flatten):
    new = rewrite(net, {}, flatten=flatten)
    assert_equal(net, new, images(2, 6, 6, 2))
    assert new.count_params() == net.count_params()
