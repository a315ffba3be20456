"""Networks alone beside the modes of an artifact: scored by the same rule, timed in turn, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.adaptive.quick import quicken
from tests.networks import randomised
from tta_lite.adaptive.beside import alone_policy, check_pictures, timed_in_turn
from tta_lite.adaptive.folder import verify_adaptive
from tta_lite.adaptive.many_in_one import write_many_in_one
from tta_lite.adaptive.pictures import resize
from tta_lite.adaptive.policy import read_policy
from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.tasks.find import find_task
from tta_lite.types import FP32, InputError

L = keras.layers


def net(size: int, channels: int = 1) -> keras.Model:
    image = keras.Input((size, size, channels), name="image")
    x = L.Conv2D(4, 3, 2, activation="relu", name="conv")(image)
    scores = L.Dense(10, name="scores")(L.GlobalAveragePooling2D(name="pool")(x))
    return randomised(keras.Model(image, scores, name="net"), std=1.0)


class Two:
    """A network and its like for smaller pictures."""

    def __init__(self) -> None:
        self.keys, self._nets = (8, 6), {8: net(8), 6: net(6)}

    def network(self, key: int) -> keras.Model:
        return self._nets[key]


@pytest.fixture(scope="module")
def task():
    return find_task("digits:1697", net(8), pixels="-1..1", batch_size=100)


def test_scores_are_those_of_keras_and_latencies_of_one_measurement(task, tmp_path, monkeypatch):
    quicken(monkeypatch)
    others = {"small": net(5), "same": net(8)}
    files = {name: export_tflite(model, FP32) for name, model in others.items()}
    alone = alone_policy(files, task)
    pictures, labels = (np.concatenate(parts) for parts in zip(*task.validation_data(), strict=True))
    for mode, model in zip(alone.modes, others.values(), strict=True):
        scores = model(resize(pictures, model.input_shape[1:3]), training=False)
        assert mode.accuracy == pytest.approx(100 * float((np.argmax(scores, axis=-1) == labels).mean()))
        assert mode.examples == 100
    write_many_in_one(tmp_path / "artifact", Two(), task, kind="resolution")
    before = read_policy(tmp_path / "artifact")
    policy, timed = timed_in_turn(tmp_path / "artifact", alone, files, runs=1)
    assert policy.latency_source == timed.latency_source == "this process"
    assert [stage.name for stage in timed.stages] == ["alone small", "alone same"]
    assert all(stage.latency_ms for stage in (*policy.stages, *timed.stages))
    # The folder says the same, holds no network more, and is whole.
    assert read_policy(tmp_path / "artifact") == policy and policy.modes == before.modes
    assert all(check.passed for check in verify_adaptive(tmp_path / "artifact"))


def test_what_is_no_network_to_compare_with(task):
    with pytest.raises(InputError, match="must hold networks"):
        alone_policy({}, task)
    with pytest.raises(InputError, match=r"alone 'torn': .*bytes"):
        alone_policy({"torn": b"no file"}, task)
    with pytest.raises(InputError, match=r"alone 'coloured': .*\[B, 8, 8, 3\]"):
        alone_policy({"coloured": export_tflite(net(8, 3), FP32)}, task)
    alone = alone_policy({"same": export_tflite(net(8), FP32)}, task)
    check_pictures(alone, (8, 8, 1))
    for shape in ((6, 8, 1), (8, 6, 1), (8, 8, 3)):
        with pytest.raises(InputError, match="at most"):
            check_pictures(alone, shape)
    stage = dataclasses.replace(alone.stages[0], image_shape=(4, 4, 1))
    check_pictures(dataclasses.replace(alone, stages=(stage,)), (8, 8, 1))
