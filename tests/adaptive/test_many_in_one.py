"""Networks in one set of weights as modes: files, sizes, scores, resized pictures and joints."""

from __future__ import annotations

import dataclasses
import functools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.networks import randomised
from tests.tasks.test_pose import task as pose_task
from tta_lite.adaptive import timing
from tta_lite.adaptive.folder import verify_adaptive, write_adaptive
from tta_lite.adaptive.many_in_one import SmallerPictures, many_in_one_modes, task_for, write_many_in_one
from tta_lite.adaptive.pictures import resize
from tta_lite.adaptive.policy import read_policy
from tta_lite.adaptive.rules import LatencyBudget
from tta_lite.adaptive.runner import AdaptiveRunner
from tta_lite.compat import keras
from tta_lite.datasets.digits import read_digits
from tta_lite.models.backbones import MINUS_ONE_TO_ONE
from tta_lite.tasks.arrays import ArrayTask
from tta_lite.training.fit import FitSettings, fit
from tta_lite.training.resolutions import MultiResolution, resized
from tta_lite.training.slimmable import Slimmable
from tta_lite.types import INT8, Candidate, InputError

L = keras.layers


def net(norm=True):
    """[B, 8, 8, 1] -> [B, 10]."""
    image = x = keras.Input((8, 8, 1), name="image")
    x = L.Conv2D(8, 3, padding="same", name="conv")(x)
    x = L.BatchNormalization(name="norm")(x) if norm else x
    x = L.Conv2D(16, 3, 2, padding="same", name="more")(L.ReLU(name="relu")(x))
    x = L.GlobalAveragePooling2D(name="pool")(L.ReLU(name="relu2")(x))
    return randomised(keras.Model(image, L.Dense(10, name="scores")(x), name="net"), std=0.5)


@pytest.fixture(scope="module")
def task():
    """-> 64 digits to learn from, 60 to score."""
    train, test = (
        dataclasses.replace(part, pictures=part.pictures[:n], labels=part.labels[:n])
        for part, n in zip(read_digits(), (64, 60), strict=True)
    )
    return ArrayTask(train, test, MINUS_ONE_TO_ONE, (8, 8), True, 16, channels=1)


@pytest.fixture(scope="module")
def slim():
    return Slimmable(net(), (0.5,), round_to=4, floor=4)


@pytest.fixture(scope="module")
def sized():
    many = MultiResolution(net(), (4,))
    many.recalibrate([np.random.default_rng(0).normal(size=(16, 8, 8, 1)).astype("float32")])
    return many


def untimed(folder, found):
    write_adaptive(folder, found.policy, found.files, list(np.random.default_rng(3).normal(size=(2, 8, 8, 1))))


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(1, 24), st.integers(1, 24), st.integers(1, 3))
def test_pictures_are_resized_as_in_training(height, width, rows, columns, channels):
    import tensorflow as tf

    image = np.random.default_rng(height).normal(size=(height, width, channels)).astype("float32")
    wanted = tf.image.resize(image, [rows, columns], antialias=True)
    np.testing.assert_allclose(resize(image, (rows, columns)), wanted, atol=1e-5)


def test_widths_become_files_that_share_no_bytes(slim, task, tmp_path, capsys):
    found = write_many_in_one(tmp_path / "artifact", slim, task, runs=2)
    policy = read_policy(tmp_path / "artifact")
    assert policy.kind == "slimmable" and [stage.file for stage in policy.stages] == [
        "mode-1.tflite",
        "mode-0.5.tflite",
    ]
    assert sorted(path.name for path in (tmp_path / "artifact").glob("*.tflite")) == sorted(found.files)
    # 8 x 8: Conv 3 x 3 x 1 x 8; 4 x 4: Conv 3 x 3 x 8 x 16; Dense 16 x 10. The half: 4 and 8 channels.
    assert [stage.macs for stage in policy.stages] == [
        64 * 9 * 8 + 16 * 9 * 8 * 16 + 160, 64 * 9 * 4 + 16 * 9 * 4 * 8 + 80,
    ]  # fmt: skip
    assert all(stage.latency_ms > 0 for stage in policy.stages)
    assert found.one_file_bytes > 0.9 * found.separate_bytes
    for key, mode in zip(slim.keys, policy.modes, strict=True):
        model = slim.network(key)
        wanted = task.score(lambda images, model=model: model(images, training=False).numpy())
        assert mode.accuracy == pytest.approx(wanted.value, abs=1e-6) and mode.examples == 60
        assert mode.interval[0] <= mode.accuracy <= mode.interval[1]
    checks = list(verify_adaptive(tmp_path / "artifact"))
    assert all(check.passed for check in checks) and sum(check.name == "golden" for check in checks) == 2
    timing.main([str(tmp_path / "artifact"), "--runs=1"])
    record = json.loads(capsys.readouterr().out)
    assert record["peak_memory_bytes"] >= 0 and list(record["samples_ms"]) == ["1", "0.5"]
    # A mode is changed by a budget: of half of what the slowest takes.
    ms = max(stage.latency_ms for stage in policy.stages)
    cheap = policy.front()[0]
    assert AdaptiveRunner(tmp_path / "artifact", [LatencyBudget(ms / 1e6)]).run(np.zeros((8, 8, 1))).mode == cheap.name


def test_sizes_take_the_largest_picture_or_their_own(sized, task, tmp_path):
    untimed(tmp_path / "artifact", many_in_one_modes(sized, task))
    image = np.random.default_rng(1).normal(size=(8, 8, 1)).astype("float32")
    for key in sized.keys:
        runner = AdaptiveRunner(tmp_path / "artifact", mode=str(key))
        small = resized(image[None], key).numpy()
        wanted = sized.network(key)(small)[0]
        np.testing.assert_allclose(runner.run(image).scores, wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(runner.run(small[0]).scores, wanted, rtol=1e-4, atol=1e-5)
        with pytest.raises(InputError, match="An image must be"):
            runner.run(np.zeros((7, 7, 1)))
    assert all(check.passed for check in verify_adaptive(tmp_path / "artifact"))


def test_one_file_where_bytes_are_shared_of_any_networks(task):
    class Others:
        keys = ("large", "small")

        def network(self, key):
            return many.network({"large": 8, "small": 4}[key])

    many = MultiResolution(net(norm=False), (4,))
    with pytest.raises(InputError, match="`kind` must be given"):
        many_in_one_modes(Others(), task)
    found = many_in_one_modes(Others(), task, kind="elastic", name="mine")
    # Both graphs read the same kernels; the rest of a file of this size is its graph.
    assert list(found.files) == ["model.tflite"] and len(found.files["model.tflite"]) == found.one_file_bytes
    assert found.one_file_bytes < 0.9 * found.separate_bytes
    assert (found.policy.kind, found.policy.name) == ("elastic", "mine")
    assert [stage.signature for stage in found.policy.stages] == ["large", "small"]


def test_int8_is_a_file_a_mode(sized, task, tmp_path):
    found = many_in_one_modes(sized, task, dataclasses.replace(INT8, calibration_images=8))
    untimed(tmp_path / "artifact", found)
    assert len(found.files) == 2 and found.one_file_bytes is None
    assert all(check.passed for check in verify_adaptive(tmp_path / "artifact"))
    # Ranges were fixed by pictures of each size.
    wanted = [resize(image, (4, 4)) for image in task.calibration(3)]
    np.testing.assert_array_equal(SmallerPictures(task, (4, 4)).calibration(3), wanted)
    with pytest.raises(InputError, match="files of their own"):
        many_in_one_modes(sized, task, INT8, join=True)


def test_what_does_not_go_with_learning_together():
    with pytest.raises(InputError, match="learn together in float32"):
        FitSettings(2, together=functools.partial(Slimmable, widths=(0.5,)), precision="mixed_bfloat16")


def test_joints_come_out_in_pixels_of_the_picture(tmp_path):
    """A network that marks bright pixels, at two sizes: a dot in the picture is found where it is."""
    image = x = keras.Input((64, 64, 3), name="image")
    x = L.AveragePooling2D(4)(x)
    pose = keras.Model(image, L.Conv2D(4, 1, use_bias=False, name="maps")(x), name="pose")
    pose.layers[-1].set_weights([np.ones((1, 1, 3, 4), np.float32)])
    many = MultiResolution(pose, (32,))
    task = pose_task(input_size=64, flip_test=True)
    small = task_for(task, many.network(32))
    assert (small.input_size, small.flip_test) == (32, False)
    found = many_in_one_modes(many, task)
    assert found.policy.answers == "heat_maps"
    own = many.network(32)
    wanted = small.score(lambda images: own(images).numpy())
    assert found.policy.mode("32").accuracy == wanted.value and found.policy.metric == wanted.metric
    write_adaptive(tmp_path / "artifact", found.policy, found.files, [np.zeros((64, 64, 3), np.float32)])
    picture = np.zeros((64, 64, 3), np.float32)
    # Nine pixels within one pixel of both maps: 8 of the picture are one of the small map.
    picture[41:44, 25:28] = 1
    for mode, place in (("64", (24.0, 40.0)), ("32", (4 * 3, 4 * 5))):
        answer = AdaptiveRunner(tmp_path / "artifact", mode=mode).run(picture)
        assert answer.scores.shape == ((16, 16, 4) if mode == "64" else (8, 8, 4)) and answer.joints.shape == (4, 3)
        # A quarter of a heat-map pixel towards the brighter neighbour, if there is one.
        if mode == "32":
            place = tuple(2 * one + 0.5 for one in place)
        assert np.abs(answer.joints[:, :2] - place).max() <= (1.0 if mode == "64" else 2.0)
        assert (answer.joints[:, 2] > 0).all()


@pytest.mark.slow
def test_fit_trains_them_together_and_goes_on(task, tmp_path):
    together = functools.partial(Slimmable, widths=(0.5,), how="universal", round_to=4, floor=4)
    # Stopped after one epoch of two: the learning rate's schedule is that of two.
    stop = functools.partial(FitSettings, drops=(0.5,), together=together, tensorboard=False)
    one = fit(Candidate(net()), task, stop(2), tmp_path / "parts", callbacks=[_Stop()]).model
    again = fit(Candidate(net()), task, stop(2), tmp_path / "parts").model
    straight = fit(Candidate(net()), task, stop(2), tmp_path / "straight").model
    assert isinstance(again, Slimmable) and again.keys == (1.0, 0.5)
    for key in (1.0, 0.5):
        a, b, c = (many.network(key).get_weights() for many in (again, straight, one))
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
        assert not all(np.array_equal(x, y) for x, y in zip(b, c, strict=True))


class _Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True
