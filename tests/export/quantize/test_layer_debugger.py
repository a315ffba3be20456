"""The layer debugger against hand arithmetic, and against layers that were damaged on purpose."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from tests import networks
from tta_lite.compat import keras
from tta_lite.export.quantize.debug import Debug, debug, debug_export, to_keep, worst_ops
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.post_training import REPAIRS, PostTraining
from tta_lite.export.runner import TFLitePredictor
from tta_lite.files import to_json_text
from tta_lite.types import ExportSpec, InputError

L = keras.layers
BACKENDS = ["converter", "litert_quantizer"]
INT8 = ExportSpec("int8", 6)


def pictures(count: int, *shape: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).uniform(-1, 1, (count, 1, *shape)).astype(np.float32))


def decibels(true: np.ndarray, other: np.ndarray) -> float:
    true, other = np.asarray(true, np.float64), np.asarray(other, np.float64)
    return 10 * math.log10((true**2).sum() / ((other - true) ** 2).sum())


class ByHand:
    """One convolution of 1 x 1, quantised in float64 by the rules of Jacob et al. 2018."""

    weights = np.array([[0.5, -1.27], [0.333, 0.07], [-0.2, 0.9]])
    bias = np.array([0.1, -0.3])

    def __init__(self, images: list[np.ndarray]) -> None:
        self.images = np.stack(images).astype(np.float64)
        self.true = self.images @ self.weights + self.bias
        self.step = np.abs(self.weights).max(axis=0) / 127
        self.rounded = np.rint(self.weights / self.step) * self.step
        self.grid = self.grid_of(self.true)

    @staticmethod
    def grid_of(values: np.ndarray) -> tuple[float, int]:
        low, high = min(0.0, values.min()), max(0.0, values.max())
        scale = (high - low) / 255
        return scale, int(np.rint(-128 - low / scale))

    @staticmethod
    def on(grid: tuple[float, int], values: np.ndarray) -> np.ndarray:
        scale, zero = grid
        return (np.clip(np.rint(values / scale) + zero, -128, 127) - zero) * scale


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_convolution_by_hand(backend):
    images = pictures(6, 8, 8, 3)
    hand = ByHand(images)
    net = networks.net(L.Conv2D(2, 1, name="only"), shape=(8, 8, 3))
    net.set_weights([hand.weights[None, None], hand.bias])
    post = PostTraining(FloatFile.of_model(net), images)
    found = debug_export(post, dataclasses.replace(INT8, backend=backend), images)
    (one,) = found.ops
    assert (one.layer, one.op, one.readers) == ("only", "CONV_2D", ())
    assert one.scale == pytest.approx(hand.grid[0], rel=1e-5) and one.zero_point == hand.grid[1]
    assert (one.low, one.high) == pytest.approx((hand.true.min(), hand.true.max()), rel=1e-5)
    by_weights = hand.images @ hand.rounded + hand.bias
    run = hand.on(hand.grid, hand.on(hand.grid_of(hand.images), hand.images) @ hand.rounded + hand.bias)
    assert one.weights_db == pytest.approx(decibels(hand.true, by_weights), abs=0.02)
    assert one.output_db == pytest.approx(decibels(hand.true, hand.on(hand.grid, hand.true)), abs=0.02)
    assert one.local_sqnr_db == pytest.approx(decibels(hand.true, hand.on(hand.grid, by_weights)), abs=0.02)
    # A value that lies between two codes may fall to either side in integer arithmetic.
    assert one.sqnr_db == pytest.approx(decibels(hand.true, run), abs=0.1)
    assert one.sqnr_db == found.output_sqnr_db == found.score
    assert one.mean_error == pytest.approx((run - hand.true).mean(), abs=2e-4)
    assert one.cosine == pytest.approx(
        (run * hand.true).sum() / np.linalg.norm(run) / np.linalg.norm(hand.true), abs=1e-6
    )
    noise = 10 ** (-one.weights_db / 10) + 10 ** (-one.output_db / 10)
    assert one.alone_db == pytest.approx(-10 * math.log10(noise))
    codes = np.rint(hand.weights / hand.step)
    assert one.codes_reached == pytest.approx(np.mean((codes.max(axis=0) - codes.min(axis=0) + 1) / 255))


def test_what_a_range_leaves_out_is_counted():
    images = pictures(6, 8, 8, 3)
    net = networks.net(L.Conv2D(2, 1, name="first"), L.Conv2D(2, 1, name="only"), shape=(8, 8, 3))
    post = PostTraining(FloatFile.of_model(net), images)
    wide = debug_export(post, INT8, images)
    assert [one.clipped for one in wide.ops] == [0.0, 0.0]
    # Other images than those that fixed the ranges, three times as bright.
    bright = [3 * image for image in images]
    first = debug_export(post, INT8, bright).ops[0]
    kernel, bias = net.get_layer("first").get_weights()
    true = np.stack(bright) @ kernel[0, 0] + bias
    outside = (true < first.held_low - first.scale / 2) | (true > first.held_high + first.scale / 2)
    assert first.clipped == pytest.approx(outside.mean(), abs=1e-3) and first.clipped > 0.1


def chain(*, damage: str = "") -> keras.Model:
    """Four convolutions; one channel of the second a thousand times as large, mended by the third or not."""
    net = networks.net(
        L.Conv2D(8, 3, padding="same", activation="relu", name="one"),
        L.Conv2D(8, 3, padding="same", activation="relu", name="two"),
        L.Conv2D(8, 1, activation="relu", name="three"),
        L.Conv2D(4, 1, name="four"),
        shape=(8, 8, 3),
    )  # fmt: skip
    if damage:
        kernel, bias = net.get_layer(damage).get_weights()
        kernel[..., 3], bias[3] = 1000 * kernel[..., 3], 1000 * bias[3]
        net.get_layer(damage).set_weights([kernel, bias])
        after = net.layers[[layer.name for layer in net.layers].index(damage) + 1]
        kernel, bias = after.get_weights()
        kernel[:, :, 3] /= 1000
        after.set_weights([kernel, bias])
    return net


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return pictures(6, 8, 8, 3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("damage", ["one", "two", "three"])
def test_a_damaged_layer_comes_out_worst_by_its_keras_name(images, damage, backend):
    post = PostTraining(FloatFile.of_model(chain(damage=damage)), images)
    spec = dataclasses.replace(INT8, backend=backend)
    found = debug_export(post, spec, images)
    names = [layer.name for layer in chain().layers[1:]]
    after = names[names.index(damage) + 1]
    worst, second, third = found.worst(3)
    assert worst.layer == damage and worst.alone_db < third.alone_db - 10
    # The thousandth that the next layer makes of the channel rounds to nothing.
    assert second.layer == after and second.by_weights
    # Each channel has a scale of its own: not the weights are hurt, but what is written.
    assert not worst.by_weights and worst.output_db < 20
    # Its own values do not show it, for the large channel is all their power.
    assert worst.local_sqnr_db > 30
    assert [one.layer for one in found.ops] == names
    # In float32 alone it would still be read as int8.
    tensors = {one.layer: one.tensor for one in found.ops}
    assert to_keep(worst) == worst_ops(found, 1) == (tensors[damage], tensors[after])
    mended = post.quantize(dataclasses.replace(spec, keep_float=worst_ops(found, 1)))
    assert debug(post.source.tflite, mended, images).output_sqnr_db > found.output_sqnr_db + 10


def test_of_one_scale_for_all_channels_the_weights_are_hurt(images):
    post = PostTraining(FloatFile.of_model(chain(damage="two")), images)
    found = debug_export(post, dataclasses.replace(INT8, per_tensor=True), images)
    by_layer = {one.layer: one for one in found.ops}
    assert by_layer["two"].weights_db < 20 < by_layer["one"].weights_db
    # Seven channels of eight are left with a code or two.
    assert by_layer["two"].codes_reached < 0.2 < by_layer["one"].codes_reached


def test_leaving_one_out_gains_what_such_a_file_scores(images):
    post = PostTraining(FloatFile.of_model(chain(damage="two")), images)
    spec = dataclasses.replace(INT8, per_tensor=True, backend="litert_quantizer")
    found = debug_export(post, spec, images, leave_one_out=True)
    true = np.stack([TFLitePredictor(post.source.tflite)(image) for image in images])

    def score(tflite: bytes) -> float:
        predict = TFLitePredictor(tflite)
        return decibels(true, np.stack([predict(image) for image in images]))

    base = score(post.quantize(spec))
    for one in found.ops:
        alone = score(post.quantize(dataclasses.replace(spec, keep_float=(one.tensor,))))
        assert one.gain == pytest.approx(alone - base, abs=0.01)

    # Whatever scores: here the share of outputs within a tenth.
    def near(predict) -> float:
        values = np.stack([predict(image) for image in images])
        return float(np.mean(np.abs(values - true) < 0.1))

    scored = debug_export(post, spec, images, leave_one_out=True, metric=near, metric_name="near")
    assert scored.score == near(TFLitePredictor(post.quantize(spec))) and scored.metric == "near"
    assert all(-1 <= one.gain <= 1 for one in scored.ops)


@pytest.mark.parametrize(
    "spec", [INT8, ExportSpec("int16x8", 6), dataclasses.replace(INT8, backend="converter")], ids=str
)
def test_the_noises_of_all_layers_add_up_to_that_of_the_file(images, spec):
    # Independent of one another, they add; a file of the back end is the judge.
    post = PostTraining(FloatFile.of_model(chain()), images)
    found = debug_export(post, spec, images)
    noise = sum(10 ** (-one.alone_db / 10) for one in found.ops) + 10 ** (-found.input_db / 10)
    assert -10 * math.log10(noise) == pytest.approx(found.output_sqnr_db, abs=1.5)


def test_ops_that_are_kept_are_compared_too(images):
    post = PostTraining(FloatFile.of_model(chain()), images)
    plain = debug_export(post, INT8, images)
    tensors = {one.layer: one.tensor for one in plain.ops}
    kept = debug_export(post, dataclasses.replace(INT8, keep_float=(tensors["two"],)), images)
    two = {one.layer: one for one in kept.ops}["two"]
    assert (
        two.scale is None and math.isinf(two.alone_db) and two.sqnr_db > {o.layer: o for o in plain.ops}["two"].sqnr_db
    )
    wide = debug_export(post, dataclasses.replace(INT8, keep_16x8=(tensors["two"],)), images)
    assert {one.layer: one for one in wide.ops}["two"].scale < {o.layer: o for o in plain.ops}["two"].scale / 100
    assert len(kept.ops) == len(wide.ops) == 4


def test_a_bias_that_has_no_room_in_32_bits_is_blamed():
    # The scale of a bias is that of the weights times the input's: nearly dead weights leave it no reach.
    images = pictures(6, 8, 8, 3)
    net = networks.net(L.Conv2D(4, 1, name="dead"), L.Conv2D(2, 1, name="last"), shape=(8, 8, 3))
    kernel, bias = net.get_layer("dead").get_weights()
    kernel[..., 1], bias[1] = 1e-9, 5.0
    net.get_layer("dead").set_weights([kernel, bias])
    post = PostTraining(FloatFile.of_model(net), images)
    found = debug_export(post, dataclasses.replace(INT8, backend="litert_quantizer"), images)
    dead = found.ops[0]
    # By itself and as run agree: the difference is the rounded image.
    assert dead.local_sqnr_db == pytest.approx(dead.sqnr_db, abs=3)


def test_equalised_files_are_compared_with_the_equalised_network(images, monkeypatch):
    def halve(tflite, images, quantise):
        # As equalisation does: the same outputs, other scales within.
        return FloatFile.of_model(halved).tflite

    halved = chain()
    for name, factor in (("one", 0.5), ("two", 2.0)):
        kernel, bias = halved.get_layer(name).get_weights()
        halved.get_layer(name).set_weights([kernel * factor, bias * (0.5 if name == "one" else 1.0)])
    monkeypatch.setitem(REPAIRS, "equalize", halve)
    post = PostTraining(FloatFile.of_model(chain()), images)
    plain, repaired = (debug_export(post, dataclasses.replace(INT8, repairs=repairs), images)
                       for repairs in ((), ("equalize",)))  # fmt: skip
    # A factor of two moves no code.
    for one, other in zip(plain.ops, repaired.ops, strict=True):
        assert other.sqnr_db == pytest.approx(one.sqnr_db, abs=0.3)
        assert other.alone_db == pytest.approx(one.alone_db, abs=0.3)
    assert repaired.ops[0].high == pytest.approx(plain.ops[0].high / 2)


def test_the_record_is_json_and_comes_back(images):
    found = debug_export(PostTraining(FloatFile.of_model(chain()), images), INT8, images)
    record = json.loads(to_json_text(found.to_json()))
    assert "tflite" not in record and len(record["ops"]) == 4
    again = Debug.from_json(record)
    assert [dataclasses.astuple(one) for one in again.ops] == [dataclasses.astuple(one) for one in found.ops]


def test_mistakes_are_told(images):
    post = PostTraining(FloatFile.of_model(chain()), images)
    tflite = post.quantize(INT8)
    other = PostTraining(FloatFile.of_model(networks.net(L.Conv2D(2, 1), shape=(8, 8, 3), name="other")), images)
    with pytest.raises(InputError, match=r"must be made of the float file.*Received: \d common names of 2"):
        debug(other.source.tflite, tflite, images)
    with pytest.raises(InputError, match="Received: no image"):
        debug(post.source.tflite, tflite, [])
    with pytest.raises(InputError, match=r"\[1, 4, 4, 3\]"):
        debug(post.source.tflite, tflite, pictures(1, 4, 4, 3))
    with pytest.raises(InputError, match="Received: preset dynamic"):
        debug_export(post, ExportSpec("dynamic"), images, leave_one_out=True)
