from __future__ import annotations

import math
import re

import pytest
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.measure.counting import DEFINITION, count
from tta_lite.measure.counts import NotCountedWarning
from tta_lite.models.pose import pose_resnet
from tta_lite.models.resnet import resnet
from tta_lite.types import InputError

L = keras.layers


def _one(layer, shape):
    """One layer on an input of `shape` (without the batch) -> its count."""
    image = keras.Input(shape)
    counts = count(keras.Model(image, layer(image)))
    assert counts.macs == sum(one.macs for one in counts.layers)
    return counts.layers[-1]


# Hand arithmetic: what comes out, how many taps each value of it has, and the weights.
@pytest.mark.parametrize(
    ("layer", "shape", "output", "macs", "params"),
    [
        # 8 x 8 x 4 -> 4 x 4 x 6, each value of 3 x 3 x 4 taps; 3 x 3 x 4 x 6 weights and 6 biases.
        (L.Conv2D(6, 3, strides=2, padding="same"), (8, 8, 4), (1, 4, 4, 6), 96 * 36, 216 + 6),
        # 'valid': 8 - 3 + 1 = 6 a side.
        (L.Conv2D(6, 3), (8, 8, 4), (1, 6, 6, 6), 216 * 36, 222),
        # Dilation moves the taps and does not add any: 8 - 5 + 1 = 4 a side.
        (L.Conv2D(6, 3, dilation_rate=2, use_bias=False), (8, 8, 4), (1, 4, 4, 6), 96 * 36, 216),
        # 1 x 3: three taps of four channels.
        (L.Conv2D(6, (1, 3), padding="same", use_bias=False), (8, 8, 4), (1, 8, 8, 6), 384 * 12, 72),
        # Two groups: each of the 6 outputs sees 2 of the 4 channels.
        (L.Conv2D(6, 3, padding="same", groups=2, use_bias=False), (8, 8, 4), (1, 8, 8, 6), 384 * 18, 3 * 3 * 2 * 6),
        # As many groups as channels: one channel each.
        (L.Conv2D(4, 3, padding="same", groups=4, use_bias=False), (8, 8, 4), (1, 8, 8, 4), 256 * 9, 36),
        (L.Conv1D(6, 3, padding="same"), (10, 4), (1, 10, 6), 60 * 12, 78),
        (L.Conv3D(2, 3, padding="same", use_bias=False), (4, 4, 4, 3), (1, 4, 4, 4, 2), 128 * 81, 162),
        # Depthwise 5 x 5, multiplier 2, 'valid': 4 x 4 x 8 values of 25 taps.
        (L.DepthwiseConv2D(5, depth_multiplier=2), (8, 8, 4), (1, 4, 4, 8), 128 * 25, 25 * 8 + 8),
        # Separable: 8 x 8 x 4 x 2 values of 9 taps, then 8 x 8 x 5 values of 8.
        (
            L.SeparableConv2D(5, 3, padding="same", depth_multiplier=2, use_bias=False),
            (8, 8, 4),
            (1, 8, 8, 5),
            512 * 9 + 320 * 8,
            9 * 8 + 8 * 5,
        ),
        # Stride 2: the depthwise part strides, so both parts are at 4 x 4.
        (L.SeparableConv2D(5, 3, strides=2, padding="same"), (8, 8, 4), (1, 4, 4, 5), 64 * 9 + 80 * 4, 36 + 20 + 5),
        # Deconv: 8 x 8 x 4 inputs, each into 4 x 4 places of 3 channels, whether the border crops them or not.
        (
            L.Conv2DTranspose(3, 4, strides=2, padding="same", use_bias=False),
            (8, 8, 4),
            (1, 16, 16, 3),
            256 * 48,
            4 * 4 * 4 * 3,
        ),
        (L.Conv2DTranspose(3, 4, strides=2, padding="valid"), (8, 8, 4), (1, 18, 18, 3), 256 * 48, 195),
        (L.Dense(7), (10,), (1, 7), 70, 77),
        (L.Dense(7, use_bias=False), (5, 10), (1, 5, 7), 5 * 70, 70),
        (L.BatchNormalization(), (8, 8, 4), (1, 8, 8, 4), 0, 16),
        (L.PReLU(shared_axes=(1, 2)), (8, 8, 4), (1, 8, 8, 4), 0, 4),
        (L.MaxPooling2D(2), (8, 8, 4), (1, 4, 4, 4), 0, 0),
        (L.UpSampling2D(2), (8, 8, 4), (1, 16, 16, 4), 0, 0),
    ],
)
def test_one_layer_by_hand(layer, shape, output, macs, params):
    one = _one(layer, shape)
    assert (one.output_shape, one.macs, one.params) == (output, macs, params)
    values = 1
    for size in output:
        values *= size
    assert one.activation_bytes == 4 * values


def test_channels_first_counts_the_same():
    last = _one(L.Conv2D(6, 3, padding="same"), (8, 10, 4))
    first = _one(L.Conv2D(6, 3, padding="same", data_format="channels_first"), (4, 8, 10))
    assert first.output_shape == (1, 6, 8, 10)
    assert first.macs == last.macs == 8 * 10 * 6 * 36


def test_batch_norm_has_two_trainable_and_two_fixed_parameters_a_channel():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, L.BatchNormalization()(L.Conv2D(5, 1, use_bias=False)(image)))
    counts = count(model)
    assert counts.params == 15 + 20
    assert counts.trainable_params == 15 + 10
    assert counts.non_trainable_params == 10
    model.trainable = False
    assert count(model).trainable_params == 0


def test_shared_layer_computes_twice_and_is_stored_once():
    left, right = keras.Input((8, 8, 4), name="left"), keras.Input((8, 8, 4), name="right")
    shared = L.Conv2D(6, 1, use_bias=False)
    counts = count(keras.Model([left, right], L.Add()([shared(left), shared(right)])))
    assert counts.macs == 2 * 8 * 8 * 6 * 4
    assert counts.params == 24
    assert [one.params for one in counts.layers if one.op == "Conv2D"] == [24, 0]


def test_nested_and_sequential_models_are_opened():
    inner_image = keras.Input((8, 8, 3))
    inner = keras.Model(inner_image, L.Conv2D(4, 3, padding="same", name="c")(inner_image), name="inner")
    image = keras.Input((8, 8, 3))
    head = keras.Sequential([keras.Input((8, 8, 4)), L.Conv2D(2, 1, name="d")], name="head")
    counts = count(keras.Model(image, head(inner(image))))
    assert [one.name for one in counts.layers[1:]] == ["inner/c", "head/d"]
    assert counts.macs == 64 * 4 * 27 + 64 * 2 * 4
    # 192 in, 256 in the middle, 128 out: the first step holds the most.
    assert counts.activation_bytes == 4 * (192 + 256)
    assert count(head).macs == 64 * 2 * 4


def test_peak_of_a_residual_block_by_hand():
    image = keras.Input((8, 8, 4))  # 256 values
    x = L.Conv2D(8, 3, padding="same", name="first")(image)  # 512: with the input 768
    x = L.ReLU()(L.BatchNormalization()(x))  # in place: 512
    y = L.Conv2D(8, 3, padding="same", name="second")(x)  # the shortcut stays: 1024
    y = L.BatchNormalization()(y)  # in place
    z = L.Add()([x, y])  # both and their sum: 1536, the peak
    z = L.Conv2D(8, 1, name="third")(L.ReLU()(z))  # 1024
    counts = count(keras.Model(image, z))
    assert counts.activation_bytes == 4 * 1536
    assert counts.macs == 64 * 8 * 36 + 64 * 8 * 72 + 64 * 8 * 8


def test_activation_is_not_in_place_when_its_input_is_read_again():
    image = keras.Input((8, 8, 4))  # 256
    x = L.Conv2D(8, 3, padding="same")(image)  # 512
    # ReLU needs a tensor of its own, as the sum reads `x` too: x, ReLU and the sum, 1536; alone it would be 1024.
    counts = count(keras.Model(image, L.Add()([x, L.ReLU()(x)])))
    assert counts.activation_bytes == 4 * 1536


def test_outputs_and_unread_inputs_stay():
    image, other = keras.Input((8, 8, 4)), keras.Input((8, 8, 1))
    x = L.Conv2D(8, 1)(image)
    y = L.Conv2D(2, 1)(x)
    z = L.Conv2D(1, 1)(y)
    # x is an output, so that it is still there when the last layer runs: 512 + 128 + 64; `other` waits for the sum.
    counts = count(keras.Model([image, other], [x, L.Add()([z, other])]))
    # The first layer: 256 + 64 in, 512 out. Later ones: 512 + 64 + 128 + 64 at most.
    assert counts.activation_bytes == 4 * (256 + 64 + 512)


def test_concatenation_of_a_skip_by_hand():
    image = keras.Input((8, 8, 4))  # 256
    down = L.MaxPooling2D(2)(image)  # 64
    up = L.UpSampling2D(2)(L.Conv2D(4, 1)(down))  # image waits: 256 + 64 + 64, then 256 + 64 + 256
    counts = count(keras.Model(image, L.Concatenate()([image, up])))  # 256 + 256 + 512
    assert counts.activation_bytes == 4 * 1024


class Odd(L.Layer):
    """A layer that no table can know."""

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1],))

    def call(self, x):
        return x * self.kernel


@pytest.mark.parametrize(
    ("layer", "shape", "said"),
    [
        (Odd(name="strange"), (8, 8, 4), "strange (Odd)"),
        (L.LSTM(4, name="rnn"), (8, 4), "rnn (LSTM)"),
        (L.Lambda(abs, name="size"), (8, 8, 4), "size (Lambda)"),
    ],
)
def test_a_layer_that_the_table_does_not_know_is_no_silent_zero(layer, shape, said):
    image = keras.Input(shape)
    known = L.Conv1D if len(shape) == 2 else L.Conv2D
    with pytest.warns(NotCountedWarning, match=re.escape(said)):
        counts = count(keras.Model(image, layer(known(shape[-1], 1, name="conv")(image))))
    assert counts.uncounted == (said,)
    assert counts.layers[-1].macs is None
    assert counts.macs == math.prod(shape) * shape[-1]
    assert f"MACs not counted, and missing in the sum: {said}." in counts.table()
    rows = [line.split() for line in counts.table().splitlines()]
    assert any(row[:1] == [layer.name] and row[3:5] == ["not", "counted"] for row in rows)
    assert counts.layers[-1].params == layer.count_params()


def test_products_without_weights_are_no_silent_zero():
    left, right = keras.Input((8, 4)), keras.Input((6, 4))
    with pytest.warns(NotCountedWarning, match="Dot"):
        count(keras.Model([left, right], L.Dot(axes=2)([left, right])))
    # 8 x 6 values of 4 products each.
    assert count(keras.Model([left, right], tf.matmul(left, right, transpose_b=True))).macs == 8 * 6 * 4
    wide = keras.Input((8, 5))
    # [4, 8] by [8, 5].
    assert count(keras.Model([left, wide], tf.matmul(left, wide, transpose_a=True))).macs == 4 * 5 * 8


def test_functions_that_only_move_or_add_are_free():
    image = keras.Input((8, 8, 4))
    counts = count(keras.Model(image, tf.nn.depth_to_space(tf.nn.relu(image[:, ::2] * 2.0 + 1.0), 2)))
    assert (counts.macs, counts.uncounted) == (0, ())
    assert counts.layers[-1].op == "tf.nn.depth_to_space"


def test_arithmetic_intensity_by_hand():
    one = _one(L.Conv2D(6, 3, padding="same"), (8, 8, 4))
    # 8 x 8 x 4 values in, 8 x 8 x 6 out, 3 x 3 x 4 x 6 weights and 6 biases, four bytes each.
    assert one.traffic_bytes == 4 * (256 + 384 + 222)
    assert one.intensity == pytest.approx(384 * 36 / one.traffic_bytes)
    image = keras.Input((8, 8, 4))
    # A tensor that is read twice by one layer is read once from memory.
    assert count(keras.Model(image, L.Add()([image, image]))).traffic_bytes == 4 * (256 + 256)


def test_open_sizes_and_other_models_are_errors():
    image = keras.Input((None, None, 3), name="image")
    with pytest.raises(InputError, match="fixed size"):
        count(keras.Model(image, L.Conv2D(2, 3)(image)))
    with pytest.raises(InputError, match="functional"):
        count(keras.Sequential([L.Dense(2)]))


def test_weight_outside_the_graph_is_an_error():
    image = keras.Input((4,))
    model = keras.Model(image, L.Dense(2)(image))
    model.extra = tf.Variable([1.0], name="extra")
    with pytest.raises(InputError, match="extra"):
        count(model)


def test_table_has_the_definition_on_top_and_the_sums_below():
    image = keras.Input((8, 8, 4), name="image")
    text = count(keras.Model(image, L.Conv2D(6, 3, padding="same", name="first")(image))).table()
    assert text.startswith(DEFINITION)
    rows = [line.split() for line in text.splitlines()]
    assert ["first", "Conv2D", "8x8x6", "13,824", "222", "1,536", "4.0"] in rows
    assert ["total", "13,824", "222", "peak", "2,560", "4.0"] in rows


# PoseResNet-50 from the published tables alone. Stages: blocks, channels of the 3 x 3, channels out, size of the output
# as a part of the input (He et al., table 1); a stage's first block has a 1 x 1 shortcut and, from the second stage on,
# halves the size in its 3 x 3. Head: three 4 x 4 Deconvs of 256, then 1 x 1 (Xiao et al., section 2).
STAGES = ((3, 64, 256, 4), (4, 128, 512, 8), (6, 256, 1024, 16), (3, 512, 2048, 32))


def _resnet50_by_hand(height, width):
    macs = (height // 2) * (width // 2) * 64 * 7 * 7 * 3
    weights = 7 * 7 * 3 * 64
    normed = 64
    channels = 64
    for stage, (blocks, middle, out, part) in enumerate(STAGES):
        pixels = (height // part) * (width // part)
        for block in range(blocks):
            before = 4 * pixels if block == 0 and stage > 0 else pixels
            macs += before * channels * middle + pixels * 9 * middle * middle + pixels * middle * out
            weights += channels * middle + 9 * middle * middle + middle * out
            normed += middle + middle + out
            if block == 0:
                macs += pixels * channels * out
                weights += channels * out
                normed += out
            channels = out
    return macs, weights, normed


def _head_by_hand(height, width, joints):
    deconvs, weights, normed, channels = [], 0, 0, 2048
    for place in range(3):
        pixels = (height // 32) * 2**place * (width // 32) * 2**place
        deconvs.append(pixels * channels * 16 * 256)
        weights += 16 * channels * 256
        normed += 256
        channels = 256
    last = (height // 4) * (width // 4) * 256 * joints
    return deconvs, last, weights + 256 * joints + joints, normed


def test_hand_arithmetic_gives_the_published_figures():
    # torchvision: ResNet-50 has 25,557,032 parameters and 4.09 G MACs at 224 x 224, classifier included.
    macs, weights, normed = _resnet50_by_hand(224, 224)
    assert weights + 2 * normed + 2048 * 1000 + 1000 == 25_557_032
    assert (macs + 2048 * 1000) / 1e9 == pytest.approx(4.09, abs=0.005)
    # https://github.com/microsoft/human-pose-estimation.pytorch: pose_resnet_50 at 256 x 192, 17 joints: 34.0 M
    # parameters and 8.9(9) GFLOPs. They count a Deconv over its output, four times its taps, and in units of 2^30.
    macs, weights, normed = _resnet50_by_hand(256, 192)
    deconvs, last, head_weights, head_normed = _head_by_hand(256, 192, 17)
    assert (weights + head_weights + 2 * (normed + head_normed)) / 1e6 == pytest.approx(34.0, abs=0.05)
    assert (macs + 4 * sum(deconvs) + last) / 2**30 == pytest.approx(8.99, abs=0.005)


@pytest.fixture(scope="module")
def pose_resnet_50():
    return pose_resnet("resnet50", joints=16, input_size=256)


def test_pose_resnet_50_at_256_by_hand(pose_resnet_50):
    macs, weights, normed = _resnet50_by_hand(256, 256)
    deconvs, last, head_weights, head_normed = _head_by_hand(256, 256, 16)
    assert deconvs == [536_870_912, 268_435_456, 1_073_741_824]
    assert last == 16_777_216
    counts = count(pose_resnet_50)
    assert counts.macs == macs + sum(deconvs) + last
    assert counts.non_trainable_params == 2 * (normed + head_normed)
    assert counts.trainable_params == weights + head_weights + 2 * (normed + head_normed)
    layers = {one.name: one for one in counts.layers}
    assert [layers[f"deconv{place}"].macs for place in (1, 2, 3)] == deconvs
    assert layers["heatmaps"].macs == last
    # The sum at the end of a block of the first stage: three tensors of 64 x 64 x 256.
    assert counts.activation_bytes == 4 * 3 * 64 * 64 * 256


def test_pose_resnet_50_stage_by_stage(pose_resnet_50):
    counts = count(pose_resnet_50)
    sums = {stage: 0 for stage in ("stem", "stage1", "stage2", "stage3", "stage4")}
    for one in counts.layers:
        if one.name.split("_")[0] in sums:
            sums[one.name.split("_")[0]] += one.macs
    # In units of 2^20. A 3 x 3 convolution of a stage has 64 x 64 pixels x 9 x 64 x 64 = 144, in every stage.
    # Stem: 128 x 128 x 64 x 147 / 2^20 = 147.
    # Stage 1: reduce 16 (first block), 64 (others); 3 x 3 144; expand 64; shortcut 64:
    #   16 + 144 + 64 + 64, 2 x (64 + 144 + 64) = 288 + 544 = 832.
    # Stages 2 to 4: the first block reduces at the old size, 128 (4 x 32), shortcut 128; others 64 + 144 + 64 = 272:
    #   128 + 144 + 64 + 128 = 464, and 3, 5, 2 x 272.
    expected = {"stem": 147, "stage1": 832, "stage2": 464 + 816, "stage3": 464 + 1360, "stage4": 464 + 544}
    assert sums == {stage: value * 2**20 for stage, value in expected.items()}


def test_bottleneck_head_by_hand():
    counts = count(pose_resnet("mobilenet_v2", joints=16, input_size=256, bottleneck=64))
    layers = {one.name: one for one in counts.layers}
    # MobileNetV2 ends with 8 x 8 x 1280. PConv: pixels x IC x 64; Deconv: pixels x 64 x 16 taps x 256.
    assert [layers[f"pconv{place}"].macs for place in (1, 2, 3)] == [64 * 1280 * 64, 256 * 256 * 64, 1024 * 256 * 64]
    assert [layers[f"deconv{place}"].macs for place in (1, 2, 3)] == [
        64 * 64 * 16 * 256,
        256 * 64 * 16 * 256,
        1024 * 64 * 16 * 256,
    ]


def test_resnet_50_as_published():
    image = keras.Input((224, 224, 3))
    model = keras.Model(image, L.Dense(1000)(L.GlobalAveragePooling2D()(resnet(image, 50))))
    counts = count(model)
    assert counts.macs / 1e9 == pytest.approx(4.09, abs=0.005)
    assert counts.trainable_params == 25_557_032


@pytest.mark.parametrize(
    ("build", "macs_m", "params_m"),
    [
        # Howard et al. 2017, table 4: 569 M, 4.2 M. Sandler et al. 2018, table 4: 300 M, 3.4 M.
        (keras.applications.MobileNet, 569, 4.2),
        (keras.applications.MobileNetV2, 300, 3.4),
    ],
)
def test_mobilenets_as_published(build, macs_m, params_m):
    counts = count(build(input_shape=(224, 224, 3), weights=None))
    assert counts.macs / 1e6 == pytest.approx(macs_m, abs=1)
    assert counts.trainable_params / 1e6 == pytest.approx(params_m, abs=0.11)


def _profiled_macs(model):
    """TensorFlow's own count: two operations a MAC, of the operations that multiply and accumulate."""
    shape = (1, *model.inputs[0].shape[1:])
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(tf.TensorSpec(shape))
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = (
        builder(builder.float_operation())
        .with_accounted_types(["Conv2D", "Conv2DBackpropInput", "DepthwiseConv2dNative", "MatMul"])
        .with_empty_output()
        .build()
    )
    # Grouped convolutions are functions of their own, which the profiler does not look into.
    calls = [op for op in function.graph.get_operations() if op.type == "PartitionedCall"]
    graphs = [function.graph, *(_body(function.graph, op) for op in calls)]
    return sum(tf.compat.v1.profiler.profile(graph, options=options).total_float_ops for graph in graphs) / 2


def _body(graph, call):
    """What a function computes where it is called: with the shapes of its arguments there."""
    inner = graph._get_function(call.get_attr("f").name).graph
    body = tf.Graph()
    with body.as_default():
        arguments = {
            argument.name: tf.compat.v1.placeholder(given.dtype, given.shape)
            for argument, given in zip(inner.inputs, call.inputs, strict=True)
        }
        tf.import_graph_def(inner.as_graph_def(), input_map=arguments)
    return body


@pytest.mark.parametrize(("backbone", "bottleneck"), [("resnet18", None), ("mobilenet_v2", 64)])
def test_tensorflows_profiler_agrees(backbone, bottleneck):
    model = pose_resnet(backbone, input_size=64, bottleneck=bottleneck)
    counts = count(model)
    assert counts.macs == _profiled_macs(model)
    assert counts.params == model.count_params()


APPLICATIONS = tuple(
    sorted(name for name, value in vars(keras.applications).items() if name[0].isupper() and callable(value))
)
LEAST_SIZE = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}
# One of each way to convolve: depthwise and with squeeze-and-excite, grouped, grouped by channel and dense, plain.
IN_EVERY_RUN = ("MobileNetV3Small", "RegNetX002", "ConvNeXtTiny", "VGG16")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in IN_EVERY_RUN else pytest.mark.slow) for name in APPLICATIONS]
)
def test_tensorflows_profiler_agrees_on_every_application(name):
    size = LEAST_SIZE.get(name, 32)
    model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(size, size, 3))
    counts = count(model)
    assert counts.uncounted == ()
    assert counts.macs == _profiled_macs(model)
    assert counts.params == model.count_params()
