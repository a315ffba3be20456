"""Channels that nobody reads leave without a trace in the outputs, whatever the graph is made of."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.networks import randomised
from tests.transforms.removal import assert_close, check_outputs, check_removal, check_useful, inputs_of, outputs_of
from tta_lite.compat import keras
from tta_lite.models.layers import ChannelShuffle, ChannelSplit, DepthToSpace, HardSwish
from tta_lite.models.pose import pose_resnet
from tta_lite.transforms.channels.groups import channel_groups
from tta_lite.transforms.remove_channels import remove_channels
from tta_lite.types import InputError

L = keras.layers


def conv(x, filters, kernel=3, name=None, **options):
    """Convolution, batch norm, ReLU."""
    x = L.Conv2D(filters, kernel, padding="same", use_bias=False, name=name, **options)(x)
    return L.ReLU()(L.BatchNormalization()(x))


def image(size=8, channels=3, name="image"):
    return keras.Input((size, size, channels), name=name)


def residual():
    x = i = image()
    x = conv(x, 8)
    for _ in range(2):
        x = L.ReLU()(L.Add()([x, L.BatchNormalization()(L.Conv2D(8, 3, padding="same")(conv(x, 6)))]))
    x = L.Add()([conv(x, 10, strides=2), L.Conv2D(10, 1, strides=2)(x)])
    return keras.Model(i, L.Dense(4)(L.GlobalAveragePooling2D()(x)))


def dense_net():
    x = i = image()
    x = conv(x, 6)
    for _ in range(3):
        x = L.Concatenate()([x, conv(conv(x, 8, 1), 4)])
    x = L.AveragePooling2D()(conv(x, 7, 1))
    return keras.Model(i, L.Conv2D(3, 1)(x))


def depthwise():
    x = i = image()
    x = L.LeakyReLU()(L.DepthwiseConv2D(3, depth_multiplier=3, name="first_depthwise")(conv(x, 6)))
    x = L.PReLU(shared_axes=(1, 2))(L.SeparableConv2D(8, 3, depth_multiplier=2)(x))
    # A grouped convolution with one channel a group, and two outputs for each.
    x = L.Conv2D(16, 3, groups=8, padding="same", name="by_groups")(x)
    return keras.Model(i, L.Conv2D(3, 1)(L.PReLU()(x)))


def grouped():
    x = i = image()
    x = conv(x, 12)
    x = conv(x, 18, groups=3)
    x = conv(x, 8, groups=2)
    return keras.Model(i, L.Conv2D(3, 1)(x))


def squeeze_and_excite():
    x = i = image()
    x = conv(x, 8)
    gate = L.Reshape((1, 1, 8))(L.GlobalAveragePooling2D()(x))
    gate = L.Conv2D(8, 1, activation="sigmoid")(L.Conv2D(4, 1, activation="relu")(gate))
    x = L.Multiply()([x, gate])
    # One gate for each place, spread over the channels.
    x = L.Multiply()([x, L.Conv2D(1, 1, activation="sigmoid")(x)])
    return keras.Model(i, L.Conv2D(3, 1)(x))


def flattened():
    x = i = image()
    x = L.MaxPooling2D()(conv(x, 6))
    x = L.Dropout(0.1)(L.Dense(9, activation="relu")(L.Flatten()(x)))
    x = L.Dense(15)(x)
    # 15 features become 5 rows of 3, and those a line again: they leave by columns.
    x = L.Flatten()(L.Permute((2, 1))(L.Reshape((5, 3))(x)))
    return keras.Model(i, L.Dense(4, activation="softmax")(x))


def several():
    """Two inputs, a shared convolution, three outputs of different shapes."""
    a, b = image(name="a"), image(name="b")
    shared = L.Conv2D(6, 3, padding="same", activation="relu", name="shared")
    x, y = shared(a), shared(b)
    z = conv(L.Concatenate()([L.Subtract()([x, y]), x]), 8)
    outputs = {"map": L.Conv2D(2, 1)(z), "scores": L.Dense(5)(L.GlobalMaxPooling2D()(z)), "raw": L.Conv2D(4, 1)(y)}
    return keras.Model([a, b], list(outputs.values()))


def nested():
    inner_input = image(channels=3, name="crop")
    encoder = keras.Model(inner_input, conv(conv(inner_input, 8, name="conv_a"), 6, name="conv_b"), name="encoder")
    tail = keras.Sequential([L.Conv2D(5, 1, name="conv_c"), L.ReLU()], name="tail")
    i = image()
    x = tail(encoder(i))
    return keras.Model(i, L.Conv2D(3, 1)(L.UpSampling2D()(x)))


def shuffle_net():
    """A block of ShuffleNet V2, one of V1, and a subpixel layer."""
    x = i = image()
    x = conv(x, 12)
    left, right = ChannelSplit(2)(x)
    right = conv(L.DepthwiseConv2D(3, padding="same")(conv(right, 6, 1)), 6, 1)
    x = ChannelShuffle(2)(L.Concatenate()([left, right]))
    y = ChannelShuffle(3)(conv(x, 12, 1, groups=3))
    x = L.Add()([x, L.BatchNormalization()(L.Conv2D(12, 1, groups=3)(L.DepthwiseConv2D(3, padding="same")(y)))])
    x = HardSwish()(DepthToSpace(2)(L.Conv2D(16, 1)(x)))
    return keras.Model(i, L.Conv2D(3, 1)(x))


def functions():
    """TensorFlow functions on tensors, as users and keras.applications call them."""
    x = i = image()
    x = conv(x / 2.0 + 1.0, 8)
    x = x * tf.nn.relu6(x + 3.0) * (1 / 6)
    a, b = tf.split(x, [3, 5], axis=-1)
    x = tf.concat([tf.nn.silu(b), a, x[..., 2:6], x[:, :, :, -3:]], -1)
    x = L.Conv2D(8, 1)(tf.pad(x, [[0, 0], [1, 1], [0, 0], [0, 0]]))
    gate = tf.reduce_mean(x, [1, 2], keepdims=True)
    gate = tf.sigmoid(L.Conv2D(8, 1)(gate))
    x = tf.math.multiply(x, gate)[:, 1:, ::2]
    # Two halves that are summed: the same place in each leaves together.
    x = tf.nn.depth_to_space(L.Conv2D(16, 1)(x[..., :4] + x[..., 4:]), 2)
    y = tf.reshape(tf.reduce_max(x, [1, 2]), [-1, 1, 1, 4])
    x = tf.stack([x - y, x], axis=1)
    return keras.Model(i, L.Dense(3)(tf.squeeze(x[:, :1], 1)))


NETS = {
    net.__name__: net
    for net in (
        residual, dense_net, depthwise, grouped, squeeze_and_excite, flattened, several, nested, shuffle_net, functions,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_channels_that_nobody_reads_leave_without_a_trace(name, tmp_path):
    smaller = check_removal(randomised(NETS[name]()))
    check_useful(smaller, tmp_path)


def test_the_pose_network_of_the_guideline():
    net = randomised(pose_resnet("mobilenet_v2", joints=5, input_size=32, deconv_filters=(16, 16, 8)), std=0.3)
    smaller = check_removal(net)
    assert smaller.output_shape == net.output_shape
    # Only what makes the heat maps must stay.
    assert [group.name for group in channel_groups(smaller) if group.why_fixed] == ["heatmaps"]
    assert smaller.count_params() < 0.6 * net.count_params()


def test_the_kept_weights_are_those_that_were_there():
    net = randomised(keras.Sequential([image(), L.Conv2D(4, 3, name="a"), L.ReLU(), L.Conv2D(2, 1, name="b")]))
    smaller = remove_channels(net, {"a": [2, 0]})
    for name, wanted in {
        "a": (net.get_layer("a").kernel[..., 1::2], net.get_layer("a").bias[1::2]),
        "b": (net.get_layer("b").kernel[:, :, 1::2], net.get_layer("b").bias),
    }.items():
        for one, other in zip(wanted, smaller.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(one, other)


def test_channels_that_nobody_makes_leave_without_a_trace():
    """The other way to be 0: kernel, bias and batch norm's shift are 0, and ReLU keeps it so."""
    i = image()
    x = y = L.Conv2D(6, 3, name="stem", padding="same")(i)
    y = L.ReLU()(L.BatchNormalization(name="norm")(y))
    x = L.Add()([L.Conv2D(6, 3, padding="same", name="body")(y), x])
    net = randomised(keras.Model(i, L.Conv2DTranspose(3, 2, 2)(L.ReLU()(x))))
    gone = [1, 4, 5]
    for name in ("stem", "norm", "body"):
        layer = net.get_layer(name)
        for weight in layer.weights:
            if "variance" not in weight.name:
                value = weight.numpy()
                value[..., gone] = 0
                weight.assign(value)
    x = inputs_of(net)
    assert_close(outputs_of(net, x), outputs_of(remove_channels(net, {"stem": gone}), x))


def test_frozen_layers_and_names_stay():
    net = randomised(residual())
    for layer in net.layers[::2]:
        layer.trainable = False
    groups = [group for group in channel_groups(net) if not group.why_fixed]
    smaller = remove_channels(net, {group.name: [0] for group in groups})
    # Keras makes inputs trainable, which means nothing.
    assert [(layer.name, layer.trainable) for layer in smaller.layers[1:]] == [
        (layer.name, layer.trainable) for layer in net.layers[1:]
    ]


def flags_of(model: keras.Model, prefix: str = "") -> dict[str, bool]:
    """-> which layers are trainable, by path; Keras makes inputs so, which means nothing."""
    flags = {}
    for layer in model.layers:
        if not isinstance(layer, L.InputLayer):
            flags[prefix + layer.name] = layer.trainable
        if isinstance(layer, keras.Model):
            flags |= flags_of(layer, f"{prefix}{layer.name}/")
    return flags


def test_frozen_layers_within_nested_models_stay_frozen():
    def body(name):
        i = image(channels=4)
        x = L.BatchNormalization(name=f"{name}_norm")(L.Conv2D(6, 3, padding="same", name=f"{name}_conv")(i))
        return keras.Model(i, L.Conv2D(4, 1, name=f"{name}_last")(x), name=name)

    i = image()
    x = L.Conv2D(4, 1, name="stem")(i)
    for name in ("parts", "whole", "inside"):
        x = body(name)(x)
    net = randomised(keras.Model(i, L.Conv2D(2, 1, name="head")(x)))
    net.get_layer("parts").get_layer("parts_conv").trainable = False
    net.get_layer("whole").trainable = False
    # Keras trains nothing within a frozen model, whatever its layers say; what they say is kept too.
    net.get_layer("inside").trainable = False
    net.get_layer("inside").get_layer("inside_conv").trainable = True
    before = flags_of(net)
    assert before["parts"] and not before["parts/parts_conv"] and not before["whole/whole_norm"]
    assert not before["inside"] and before["inside/inside_conv"]
    smaller = check_removal(net)
    assert flags_of(smaller) == before
    assert [weight.name for weight in smaller.trainable_weights] == [weight.name for weight in net.trainable_weights]


def test_a_shared_batch_norm_runs_each_time_as_it_did():
    """Once by its own statistics and once by those of the batch, in whichever order, and by keyword or place."""
    on, off = {"training": True}, {"training": False}
    for modes in ((off, on), (on, off), ({}, [True]), (on, {})):
        i = image()
        # With a momentum of 1 no call moves the statistics, and two runs give the same.
        norm = L.BatchNormalization(momentum=1.0, name="norm")
        x = L.Conv2D(8, 3, padding="same", name="body")(i)
        calls = []
        for mode, source in zip(modes, (x, L.ReLU()(x)), strict=True):
            calls.append(norm(source, **mode) if isinstance(mode, dict) else norm(source, *mode))
        net = randomised(keras.Model(i, L.Conv2D(3, 1, name="head")(L.Concatenate()(calls))))
        check_removal(net)


def test_what_is_protected_keeps_its_outputs_and_loses_inputs():
    net = randomised(nested())
    smaller = check_removal(net, protected=["encoder/conv_b", "tail*"])
    kernels = {name: smaller.get_layer("encoder").get_layer(name).kernel.shape for name in ("conv_a", "conv_b")}
    # 40 % of 8 channels are 3.
    assert kernels == {"conv_a": (3, 3, 3, 5), "conv_b": (3, 3, 5, 6)}
    assert smaller.get_layer("tail").get_layer("conv_c").kernel.shape == (1, 1, 6, 5)


@keras.utils.register_keras_serializable(package="tests")
class Unknown(L.Layer):
    def call(self, x):
        return tf.reverse(x, [-1])


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (L.LayerNormalization(name="it"), "LAYERNORMALIZATION 'it' needs all its channels"),
        (Unknown(name="it"), "UNKNOWN 'it' needs all its channels"),
        (L.Lambda(lambda x: 2 * x, name="it"), "LAMBDA 'it' needs all its channels"),
        (L.Softmax(name="it"), "SOFTMAX 'it' needs all its channels"),
        (L.Activation("softmax", name="it"), "ACTIVATION 'it' needs all its channels"),
        (L.BatchNormalization(axis=1, name="it"), "'it' normalises another axis than the last"),
        (L.Rescaling([1.0, 2.0, 3.0, 4.0], name="it"), "RESCALING 'it' needs all its channels"),
    ],
)
def test_what_needs_all_its_channels_keeps_them_and_says_so(layer, why):
    i = image()
    x = layer(L.Conv2D(4, 1, name="before")(L.Conv2D(6, 1, name="first")(i)))
    net = keras.Model(i, L.Conv2D(2, 1, name="head")(x))
    fixed = {group.name: group.why_fixed for group in channel_groups(net)}
    assert fixed["first"] == ""
    assert fixed["before"].lower() == why.lower()
    with pytest.raises(InputError, match="must stay"):
        remove_channels(net, {"before": [0]})


def test_functions_that_pick_or_weight_channels_keep_them():
    i = image()
    one, two, three = (L.Conv2D(4, 1, name=name)(i) for name in ("one", "two", "three"))
    outputs = [
        L.Conv2D(2, 1)(one * tf.constant([1.0, 2.0, 3.0, 4.0])),
        L.Conv2D(2, 1)(two[..., ::2]),
        L.Conv2D(2, 1)(tf.reverse(three, [-1])),
    ]
    fixed = {group.name: group.why_fixed for group in channel_groups(keras.Model(i, outputs))}
    assert "has a constant for each channel" in fixed["one"]
    assert "picks channels by their place" in fixed["two"]
    assert "needs all its channels" in fixed["three"]


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ({"bdy": [0]}, "must name groups of channels: stem, head. Received: 'bdy'"),
        ({"stem": [6]}, "has units 0 to 5. Received: 6"),
        ({"stem": [-1]}, "has units 0 to 5. Received: -1"),
        ({"stem": range(6)}, "or more must stay. Received: all 6"),
        ({"head": [0]}, "must stay: an output of the model. Received: 1 to leave"),
    ],
)
def test_what_cannot_leave_is_said(remove, message):
    net = keras.Sequential([image(), L.Conv2D(6, 3, name="stem"), L.Conv2D(2, 1, name="head")])
    with pytest.raises(InputError, match="Received") as error:
        remove_channels(net, remove)
    assert message in str(error.value)


def test_a_pattern_that_names_nothing_and_a_model_without_a_graph_are_refused():
    net = keras.Sequential([image(), L.Conv2D(6, 3, name="stem"), L.Conv2D(2, 1, name="head")])
    with pytest.raises(InputError, match=r"is 'stem' meant.*Received: 'stme'"):
        channel_groups(net, protected=["stme"])
    with pytest.raises(InputError, match="build"):
        channel_groups(keras.Sequential([L.Conv2D(6, 3)]))


def graph(draw):
    """-> a network of 4 to 9 layers from chance; each takes tensors that are there already."""
    i = image(4)
    there = [L.Conv2D(4, 1)(i), L.Conv2D(6, 3, padding="same")(i)]
    for _ in range(draw(st.integers(4, 9))):
        x = draw(st.sampled_from(there))
        channels = x.shape[-1]
        alike = [one for one in there if one.shape[-1] == channels]
        kinds = ["conv", "norm", "depthwise", "add", "concat", "gate", "slice", "spread"]
        if channels % 2 == 0:
            kinds += ["grouped", "split", "shuffle"]
        kind = draw(st.sampled_from(kinds))
        if kind == "conv":
            new = [L.Conv2D(draw(st.integers(1, 6)), 3, padding="same")(x)]
        elif kind == "norm":
            new = [L.ReLU()(L.BatchNormalization()(x))]
        elif kind == "depthwise":
            new = [L.DepthwiseConv2D(2, padding="same", depth_multiplier=draw(st.integers(1, 2)))(x)]
        elif kind == "add":
            new = [L.Add()([x, draw(st.sampled_from(alike))])]
        elif kind == "concat":
            new = [tf.concat([x, draw(st.sampled_from(there))], -1)]
        elif kind == "gate":
            new = [x * tf.sigmoid(tf.reduce_mean(draw(st.sampled_from(alike)), [1, 2], keepdims=True))]
        elif kind == "slice":
            start = draw(st.integers(0, channels - 1))
            new = [x[..., start : draw(st.integers(start + 1, channels))]]
        elif kind == "spread":
            new = [x + L.Conv2D(1, 1)(x)]
        elif kind == "grouped":
            new = [L.Conv2D(2 * draw(st.integers(1, 3)), 1, groups=2)(x)]
        elif kind == "split":
            new = ChannelSplit(2)(x)
        else:
            new = [ChannelShuffle(2)(x)]
        there += new
    heads = [L.Conv2D(2, 1)(x) for x in there[-3:]]
    return randomised(keras.Model(i, heads), seed=draw(st.integers(0, 99)))


@settings(max_examples=12)
@given(st.data(), st.integers(0, 99), st.sampled_from((0.3, 0.6)))
def test_any_graph_of_known_layers(data, seed, share):
    net = graph(data.draw)
    groups = channel_groups(net)
    if any(not group.why_fixed and group.size > 1 for group in groups):
        try:
            check_outputs(net, seed=seed, share=share)
        except InputError as error:
            # A slice may hold nothing but channels that leave.
            assert "Every layer must keep a channel" in str(error)
