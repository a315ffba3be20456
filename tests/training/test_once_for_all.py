"""A once-for-all network against small networks by hand: answers, steps, kernels, costs, and what is drawn when."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_lite.compat import keras
from tta_lite.measure.counting import count
from tta_lite.models.mnasnet import mnasnet, squeeze_excite
from tta_lite.models.mobilenet import mobilenet
from tta_lite.training.once_for_all import OnceForAll
from tta_lite.training.progressive_shrinking import Phase, ProgressiveShrinking, phases
from tta_lite.transforms.elastic.find import elastic_space
from tta_lite.transforms.elastic.space import ElasticKernel, ElasticSpace, ElasticStage, ElasticWidth, Setting
from tta_lite.types import InputError

L = keras.layers
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(8, 6, 6, 2)).astype("float32"), RNG.integers(0, 3, 8)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
BLOCKS = ("a", "b", "c")


def net():
    """[B, 6, 6, 2] -> [B, 3]: a stage of three blocks with 5 x 5 kernels; the first halves the size, the others add."""
    keras.utils.set_random_seed(3)
    image = keras.Input((6, 6, 2), name="image")
    x = L.ReLU()(L.BatchNormalization(name="stem_bn")(L.Conv2D(4, 3, padding="same", name="stem")(image)))
    for name in BLOCKS:
        y = L.Conv2D(8, 1, use_bias=False, name=f"{name}_expand")(x)
        y = L.ReLU(6.0)(L.BatchNormalization(name=f"{name}_expand_bn")(y))
        y = y if name != "a" else L.ZeroPadding2D(((1, 2), (1, 2)), name="a_pad")(y)
        strides, padding = (2, "valid") if name == "a" else (1, "same")
        y = L.DepthwiseConv2D(5, strides, padding, use_bias=name == "b", name=f"{name}_dw")(y)
        y = L.ReLU(6.0)(L.BatchNormalization(name=f"{name}_dw_bn")(y))
        y = y if name != "c" else squeeze_excite(y, 2, name="c_se")
        y = L.BatchNormalization(name=f"{name}_bn")(L.Conv2D(4, 1, use_bias=False, name=f"{name}_project")(y))
        x = y if name == "a" else L.Add(name=f"{name}_add")([x, y])
    model = keras.Model(image, L.Dense(3, name="scores")(L.GlobalAveragePooling2D()(x)), name="net")
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(scale=0.5, size=weight.shape) + ("gamma" in weight.name))
    return model


def once(**options):
    """-> one that is compiled, whose matrices are no longer the identity."""
    model = net()
    space = elastic_space(model, shares=(1.0, 0.5), round_to=2, floor=2)
    found = OnceForAll(model, space, **options)
    rng = np.random.default_rng(2)
    for weight in found.masked.trainable_variables:
        if "transform" in weight.name:
            weight.assign_add(rng.normal(scale=0.1, size=weight.shape))
    # Step by step: one test is of the graph.
    found.compile(keras.optimizers.SGD(0.1), LOSS, run_eagerly=True)
    return found


def by_hand(many, x, setting):
    """-> what the small network answers in training: slices of the weights, and nothing that is left out."""
    weight = {one.name.partition(":")[0]: one for one in many.masked.trainable_variables}

    def norm(y, name):
        mean, variance = tf.nn.moments(y, [0, 1, 2])
        size = y.shape[-1]
        factors = weight[f"{name}/gamma"][:size] * tf.math.rsqrt(variance + 1e-3)
        return (y - mean) * factors + weight[f"{name}/beta"][:size]

    x = tf.nn.conv2d(x, weight["stem/kernel"], 1, "SAME") + weight["stem/bias"]
    x = tf.nn.relu(norm(x, "stem_bn"))
    for number, name in enumerate(BLOCKS):
        if number > setting.depths[0]:
            continue
        size, kept = setting.kernels[number], int(8 * setting.widths[number])
        y = tf.nn.conv2d(x, weight[f"{name}_expand/kernel"][..., :kept], 1, "SAME")
        y = tf.nn.relu6(norm(y, f"{name}_expand_bn"))
        kernel = weight[f"{name}_dw/depthwise_kernel"][:, :, :kept]
        if size == 3:
            middle = tf.reshape(kernel[1:4, 1:4], [9, kept, 1])
            kernel = tf.reshape(tf.einsum("pq,qcm->pcm", weight[f"{name}_dw/transform_3"], middle), [3, 3, kept, 1])
        # "SAME" of TensorFlow is, on six pixels at stride 2, one row less in front than behind: as the layer pads.
        y = tf.nn.depthwise_conv2d(y, kernel, [1, 2, 2, 1] if name == "a" else [1] * 4, "SAME")
        y = y if name != "b" else y + weight["b_dw/bias"][:kept]
        y = tf.nn.relu6(norm(y, f"{name}_dw_bn"))
        if name == "c":
            means = tf.reduce_mean(y, [1, 2])
            squeezed = tf.nn.relu(means @ weight["c_se_reduce/kernel"][0, 0, :kept] + weight["c_se_reduce/bias"])
            opened = squeezed @ weight["c_se_expand/kernel"][0, 0, :, :kept] + weight["c_se_expand/bias"][:kept]
            y *= tf.sigmoid(opened)[:, None, None]
        y = norm(tf.nn.conv2d(y, weight[f"{name}_project/kernel"][:, :, :kept], 1, "SAME"), f"{name}_bn")
        x = y if name == "a" else x + y
    return tf.reduce_mean(x, [1, 2]) @ weight["scores/kernel"] + weight["scores/bias"]


@pytest.fixture(scope="module")
def many():
    return once()


def test_the_space_is_what_the_graph_has(many):
    space = many.space
    assert [(one.layer, one.sizes, one.pad, one.block) for one in space.kernels] == [
        ("a_dw", (5, 3), "a_pad", ""),
        ("b_dw", (5, 3), "", "b_add"),
        ("c_dw", (5, 3), "", "c_add"),
    ]
    assert [one.blocks for one in space.stages] == [("b_add", "c_add")]
    assert [(one.group, one.sizes, one.block) for one in space.widths] == [
        ("a_expand", (8, 4), ""),
        ("b_expand", (8, 4), "b_add"),
        ("c_expand", (8, 4), "c_add"),
    ]
    # 4 of the first block, and of the others 1 + 4 + 4 x 4.
    assert space.size() == 4 * 21
    assert [str(key) for key in many.keys] == ["k5-d2-w100", "k5-d1-w100", "k3-d0-w50"]
    # What is not there does not matter.
    equal = [Setting((5, 3, size), (1,), (1.0, 0.5, share)) for size, share in ((5, 1.0), (3, 0.5))]
    assert len({space.check(one) for one in equal}) == 1


def macs_by_hand(setting):
    """-> of the stem, the classes, and each block: expansion, depthwise kernel, projection, squeeze-and-excite."""
    total = 36 * 9 * 2 * 4 + 4 * 3
    for number, (size, share) in enumerate(zip(setting.kernels, setting.widths, strict=True)):
        if number <= setting.depths[0]:
            kept = int(8 * share)
            total += (36 if number == 0 else 9) * 4 * kept + 9 * size**2 * kept + 9 * kept * 4
            total += 2 * kept * 2 if number == 2 else 0
    return total


@given(levels=st.tuples(*[st.integers(0, 1)] * 3, st.integers(0, 2), *[st.integers(0, 1)] * 3))
@settings(max_examples=4, deadline=None)
def test_masks_are_the_small_network(many, levels):
    """In training by hand, and as a network of its own; in inference as a network of its own, whose MACs are its."""
    setting = many.space.setting(levels)
    small = many.network(setting)
    assert count(small).macs == macs_by_hand(setting)
    with many.at(setting):
        answers, learning = many(X, training=False), many.masked(X, training=True)
    np.testing.assert_allclose(learning, by_hand(many, X, setting), atol=2e-5)
    # Training has moved the statistics: the network of its own was taken before, and has those of the inference.
    np.testing.assert_allclose(small(X, training=False), answers, atol=2e-5)
    np.testing.assert_allclose(small(X, training=True), learning, atol=2e-5)
    assert many.space.setting(many.space.levels(setting)) == setting


def test_a_kernel_is_the_centre_times_its_matrix():
    image = keras.Input((9, 9, 1))
    found = OnceForAll(keras.Model(image, L.DepthwiseConv2D(7, padding="same", use_bias=False, name="dw")(image)))
    layer = found.masked.get_layer("dw")
    layer.depthwise_kernel.assign(np.arange(49.0).reshape(7, 7, 1, 1))
    five, three = (np.eye(size * size, dtype="float32") for size in (5, 3))
    five[12, 0], three[4, 4] = 0.5, 2.0
    layer.matrices[0].assign(five)
    layer.matrices[1].assign(three)
    # The centre of 0 .. 48 in rows of 7 is 24; half of the 5 x 5's first number, 8, is added; then it is doubled.
    kernels = {setting: found.network(Setting((setting,))).get_weights()[0][..., 0, 0] for setting in (7, 5, 3)}
    rows = np.arange(49.0).reshape(7, 7)
    wanted = rows[1:6, 1:6].copy()
    wanted[2, 2] = 24 + 4
    assert np.array_equal(kernels[5], wanted) and np.array_equal(kernels[7], rows)
    assert kernels[3].tolist() == [[16, 17, 18], [23, 56, 25], [30, 31, 32]]


@pytest.mark.parametrize("distil", [False, True], ids=["labels", "in_place"])
def test_a_step_is_the_mean_of_the_networks_gradients(distil):
    """One time with two drawn networks, one time with one and the smallest."""
    many = once(distil=distil, sandwich=distil, sampled=1 if distil else 2)
    drawn = [many.space.setting(many._draw(tf.constant(turn)).numpy()) for turn in range(2)]
    assert many.space.largest not in drawn and (drawn[0] == many.space.smallest) == distil and drawn[0] != drawn[1]
    variables = many.masked.trainable_variables
    before = [variable.numpy() for variable in variables]
    with tf.GradientTape() as tape:
        full = by_hand(many, X, many.space.largest)
        losses = []
        for setting in drawn:
            small = by_hand(many, X, setting)
            taught = tf.nn.softmax(tf.stop_gradient(full))
            gap = tf.reduce_sum(taught * (tf.math.log(taught) - tf.nn.log_softmax(small)), axis=-1)
            losses.append(tf.reduce_mean(gap) if distil else LOSS(Y, small))
        loss = (LOSS(Y, full) + tf.add_n(losses)) / 3
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    logs = many.train_on_batch(X, Y, return_dict=True)
    for variable, old, gradient in zip(variables, before, gradients, strict=True):
        np.testing.assert_allclose(variable.numpy(), old - 0.1 * gradient.numpy(), atol=2e-5, err_msg=variable.name)
    assert logs["loss_sampled"] == pytest.approx(float(tf.add_n(losses)) / 2, abs=1e-5)
    # Statistics have moved by the largest network alone: once, by a hundredth of the way from 0.
    stem = tf.nn.conv2d(X, before[0], 1, "SAME") + before[1]
    moved = many.masked.get_layer("stem_bn").moving_mean
    np.testing.assert_allclose(moved, 0.01 * tf.reduce_mean(stem, [0, 1, 2]), atol=1e-6)
    assert not many._levels.numpy().any()


def one_block(**options):
    keras.utils.set_random_seed(3)
    image = keras.Input((6, 6, 2))
    x = L.DepthwiseConv2D(5, padding="same", use_bias=False)(L.Conv2D(6, 1, name="expand")(image))
    x = L.Add()([image, L.BatchNormalization()(L.Conv2D(2, 1)(x))])
    model = keras.Model(image, L.Dense(3)(L.GlobalAveragePooling2D()(x)))
    many = OnceForAll(model, elastic_space(model, round_to=2, floor=2, shares=(0.67, 0.34)), **options)
    many.compile(keras.optimizers.Adam(0.01), LOSS, run_eagerly=options.get("sampled") == 0)
    return many


def test_sorted_channels_change_nothing_that_is_learnt():
    """The largest network and its next step by Adam are the same; the first channels are those of most weight."""
    found = []
    for sort in (False, True):
        many = one_block(sampled=0)
        kernel = many.masked.get_layer("expand").kernel
        many.train_on_batch(X, Y)
        if sort:
            before = kernel.numpy()
            many.sort_channels()
            sums = np.abs(kernel.numpy()).sum((0, 1, 2))
            assert np.array_equal(sums, np.sort(sums)[::-1]) and not np.array_equal(before, kernel)
        many.train_on_batch(X, Y)
        found.append((many(X).numpy(), np.sort(kernel.numpy().ravel())))
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-4)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-5)


def test_recalibrated_statistics_are_of_the_network_and_last_until_the_next_step():
    many = once(sampled=1)
    smallest = many.keys[-1]
    many.recalibrate([X[:4], X[4:]], [smallest])
    one = many.network(smallest)
    before = keras.Model(one.input, one.get_layer("a_dw").output)
    parts = [before(part, training=True).numpy().astype(np.float64).mean((0, 1, 2)) for part in (X[:4], X[4:])]
    kept = one.get_layer("a_dw_bn").moving_mean.numpy()
    np.testing.assert_allclose(kept, np.mean(parts, axis=0), atol=1e-5)
    many.train_on_batch(X, Y)
    norm = many.masked.get_layer("a_dw_bn").moving_mean.numpy()
    assert np.array_equal(many.network(smallest).get_layer("a_dw_bn").moving_mean, norm[:4])


def test_phases_open_one_after_the_other():
    many = one_block()
    shrinking = ProgressiveShrinking((*phases(1, 1, 0, 1), Phase("rest", 1, 2, 2, 2)))
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((many._open.numpy().tolist(), int(many._sampled)))
    )
    history = many.fit(X, Y, epochs=shrinking.epochs, callbacks=[shrinking, look], verbose=0)
    assert seen == [([1, 1, 1], 0), ([2, 1, 1], 1), ([2, 2, 3], 4), ([2, 2, 2], 1)]
    assert history.history["loss_sampled"][0] == 0 < history.history["loss_sampled"][1]
    # Draws stay within what is open, and reach all of it.
    drawn = set()
    for step in range(60):
        many._steps.assign(step)
        drawn.add(tuple(many._draw(tf.constant(1)).numpy().tolist()))
        assert many._draw(tf.constant(0)).numpy().tolist() == [1, 1, 1]
    assert {max(column) for column in zip(*drawn, strict=True)} == {1} and len(drawn) == 8
    with pytest.raises(InputError, match="ProgressiveShrinking is for an OnceForAll"):
        other = net()
        other.compile("sgd", LOSS)
        other.fit(X, Y, callbacks=[shrinking], verbose=0)


def test_what_cannot_be(many):
    model = many._hidden.elastic.plain
    with pytest.raises(InputError, match="nothing elastic"):
        elastic_space(model, kernels=(5,), shares=(1.0,), least_depth=2)
    for options in ({"kernels": (4,)}, {"shares": (0,)}, {"least_depth": -1}, {"protected": ("nobody",)}):
        with pytest.raises(InputError, match="Received"):
            elastic_space(model, **options)
    fixed = elastic_space(model, round_to=2, floor=2, protected=("b_*",))
    assert [one.layer for one in fixed.kernels] == ["a_dw", "c_dw"] and [one.blocks for one in fixed.stages] == [
        ("c_add",)
    ]
    space = ElasticSpace(
        (ElasticKernel("dw", (5, 3)),), (ElasticStage(("add",)),), (ElasticWidth("e", (1.0, 0.5), (8, 4)),)
    )
    for wrong in (
        lambda: Setting((4,)), lambda: Setting((), (-1,)), lambda: Setting((), (), (1.5,)),
        lambda: space.check(Setting((7,), (1,), (1.0,))), lambda: space.check(Setting((5,), (1,))),
        lambda: Phase("none", 0), lambda: Phase("none", 1, 0), lambda: Phase("none", 1, sampled=-1),
        lambda: ProgressiveShrinking(()), lambda: many.allow(sampled=-1),
        lambda: many.allow(kernels=0), lambda: many.choose([Setting((7,))]),
    ):  # fmt: skip
        with pytest.raises(InputError, match="Received"):
            wrong()
    with pytest.raises(InputError, match="Received: None"):
        many.compile("adam")


def test_the_code_of_the_docs(capsys):
    text = (Path(__file__).parents[2] / "docs" / "once_for_all.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    small = code.replace("range(3)", "range(1)").replace("least_depth=1", "least_depth=0")
    assert small.count("range(1)") == 2 and "least_depth=0" in small
    exec(compile(small, "once_for_all.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("k5-d1-w100 ") and len(lines) == 2


@pytest.mark.slow
@pytest.mark.parametrize("family", ["mobilenet_v2", "mobilenet_v3_small", "mnasnet_a1"])
def test_networks_of_inverted_residuals(family):
    """Networks of the house: masks are the extracted network, at settings that are drawn."""
    keras.utils.set_random_seed(0)
    image = keras.Input((64, 64, 3))
    if family == "mnasnet_a1":
        x = mnasnet(image, "a1", width=0.35)
    else:
        x = mobilenet(image, family, width=0.35 if family.endswith("v2") else 0.75)
    model = keras.Model(image, L.Dense(5)(L.GlobalAveragePooling2D()(x)))
    many = OnceForAll(model)
    # Of V3 small, table 2: 5 x 5 from the fourth block on. Of A1, figure 7: in its third and sixth row.
    assert len(many.space.kernels) == {"mobilenet_v2": 0, "mobilenet_v3_small": 8, "mnasnet_a1": 6}[family]
    # Table 2 of V2: 1, 2, 3, 2 and 2 blocks that add.
    depths = {"mobilenet_v2": [1, 2, 3, 2, 2], "mobilenet_v3_small": [1, 2, 1, 2], "mnasnet_a1": [1, 2, 3, 1, 2]}
    assert list(many.space.largest.depths) == depths[family]
    x = np.random.default_rng(0).normal(size=(4, 64, 64, 3)).astype("float32")
    for seed in range(3):
        setting = many.space.sample(np.random.default_rng(seed))
        small = many.network(setting)
        with many.at(setting):
            np.testing.assert_allclose(small(x), many(x), atol=1e-4)
        assert count(small).macs < count(model).macs
