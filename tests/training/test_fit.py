from __future__ import annotations

import csv
import dataclasses
import math
import signal

import numpy as np
import pytest
import tensorflow as tf

from tests import own_process
from tta_lite.compat import keras
from tta_lite.tasks.crop import Augmentation
from tta_lite.training.callbacks import TimeLimit
from tta_lite.training.fit import FitSettings, fit, learning_rate_schedule, training_seconds
from tta_lite.types import INT8, Candidate, InputError

THREE = FitSettings(epochs=3)


def silent(line):
    pass


def rows(folder):
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def losses(folder):
    """The history without its times."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows(folder)]


@pytest.fixture(scope="module")
def run(make_net, make_task, tmp_path_factory):
    """A whole training of three epochs. -> folder, network before, its weights then, candidate after, progress."""
    folder, net, lines = tmp_path_factory.mktemp("run"), make_net(), []
    before = net.get_weights()
    candidate = Candidate(net, export=INT8, trail=("G1",))
    return folder, net, before, fit(candidate, make_task(), THREE, folder, label="tiny", write=lines.append), lines


def test_the_input_is_not_changed(run):
    _, net, before, after, _ = run
    assert after.model is not net
    for now, then in zip(net.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert not any(np.array_equal(a, b) for a, b in zip(after.model.get_weights(), before, strict=True) if a.ndim == 4)
    assert after.export == INT8 and after.trail == ("G1",)
    assert [layer.name for layer in after.model.layers] == [layer.name for layer in net.layers]


def test_what_a_training_leaves_behind(run):
    folder, _, _, _, lines = run
    history = rows(folder)
    assert [row["epoch"] for row in history] == ["0", "1", "2"]
    assert all(float(row["loss"]) > 0 and float(row["val_loss"]) > 0 for row in history)
    assert list((folder / "logs" / "train").glob("events.out.tfevents.*"))
    assert list((folder / "logs" / "validation").glob("events.out.tfevents.*"))
    assert (folder / "checkpoints" / "checkpoint").is_file()
    ends = [line for line in lines if " done, " in line]
    assert [line.split(",")[0] for line in ends] == [f"tiny: epoch {k}/3 done" for k in (1, 2, 3)]
    assert ends[-1].endswith(" 0 s left")


def test_an_epoch_that_a_time_limit_cuts_is_not_done(make_net, make_task, tmp_path):
    now = [0.0]
    # 100 s in all: a step of the first epoch takes 1 s, one of the second 60 s.
    look = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: now.append(60.0 if epoch else 1.0),
        on_train_batch_end=lambda batch, logs: now.__setitem__(0, now[0] + now[-1]),
    )
    limit = TimeLimit(100, reserve_s=0, write=silent, clock=lambda: now[0])
    fit(
        Candidate(make_net()),
        make_task(),
        FitSettings(epochs=3, tensorboard=False),
        tmp_path,
        callbacks=[look, limit],
        write=silent,
    )
    assert limit.stopped and limit.epochs_done == 1
    assert int(tf.train.load_variable(str(tmp_path / "checkpoints"), "epoch/.ATTRIBUTES/VARIABLE_VALUE")) == 1


def test_a_saved_network_holds_its_weights_and_no_optimizer(run, tmp_path):
    _, net, _, after, _ = run
    after.model.save(tmp_path / "after.keras")
    net.save(tmp_path / "net.keras")
    assert (tmp_path / "after.keras").stat().st_size == pytest.approx((tmp_path / "net.keras").stat().st_size, rel=0.02)


def test_the_logged_losses_are_those_of_the_history(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run[0]
    events = EventAccumulator(str(folder / "logs" / "train"), size_guidance={"tensors": 0})
    events.Reload()
    logged = [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in events.Tensors("epoch_loss")]
    assert logged == [(k, pytest.approx(float(row["loss"]), rel=1e-5)) for k, row in enumerate(rows(folder))]


def test_the_validation_loss_is_the_trained_networks(run, make_task):
    folder, _, _, after, _ = run
    task = make_task()
    ((images, labels),) = task.validation_data().as_numpy_iterator()
    expected = float(task.loss()(labels, after.model(images, training=False)))
    assert float(rows(folder)[-1]["val_loss"]) == pytest.approx(expected, rel=1e-5)


def test_the_same_seed_gives_the_same_weights(run, make_net, make_task, same, tmp_path):
    again = fit(
        Candidate(make_net()), make_task(), dataclasses.replace(THREE, tensorboard=False), tmp_path, write=silent
    )
    assert same(run[3].model, again.model)
    assert losses(tmp_path) == losses(run[0])
    assert not (tmp_path / "logs").exists()


def test_another_seed_gives_other_weights(run, make_net, make_task, same, tmp_path):
    settings = dataclasses.replace(THREE, seed=1, tensorboard=False)
    assert not same(run[3].model, fit(Candidate(make_net()), make_task(), settings, tmp_path, write=silent).model)


def test_a_killed_training_goes_on_to_the_same_weights(run, make_net, make_task, same, tmp_path):
    done = own_process.run("tests.training.worker", "killed", tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [row["epoch"] for row in rows(tmp_path)] == ["0"]
    lines = []
    resumed = fit(Candidate(make_net()), make_task(), THREE, tmp_path, write=lines.append)
    assert same(run[3].model, resumed.model)
    assert losses(tmp_path) == losses(run[0])
    assert "epoch 2/3" in lines[0]
    # All epochs count, each once.
    seconds = [float(row["seconds"]) for row in rows(tmp_path)]
    assert min(seconds) > 0 and training_seconds(tmp_path) == pytest.approx(sum(seconds))
    # And a finished one is not trained again.
    finished = fit(Candidate(make_net()), make_task(), THREE, tmp_path, write=lambda line: pytest.fail(line))
    assert same(run[3].model, finished.model)
    assert len(rows(tmp_path)) == 3


def test_an_epoch_that_was_logged_and_not_kept_is_logged_once(run, make_net, make_task, tmp_path):
    settings = dataclasses.replace(THREE, epochs=2, drops=(), tensorboard=False)
    fit(Candidate(make_net()), make_task(), settings, tmp_path, write=silent)
    # As a kill between the two writes would leave it.
    (tmp_path / "history.csv").write_text("epoch,seconds,loss,val_loss\n0,1.5,3,4\n1,2.5,3,4\n2,9.5,3,4\n")
    settings = dataclasses.replace(settings, epochs=3)
    fit(Candidate(make_net()), make_task(), settings, tmp_path, write=silent)
    history = rows(tmp_path)
    assert [row["epoch"] for row in history] == ["0", "1", "2"]
    assert history[:2] == [
        dict(zip(history[0], row, strict=True)) for row in (("0", "1.5", "3", "4"), ("1", "2.5", "3", "4"))
    ]
    assert float(history[2]["loss"]) != 3
    assert training_seconds(tmp_path) == pytest.approx(4 + float(history[2]["seconds"]))


def test_no_training_has_taken_no_time(tmp_path):
    assert training_seconds(tmp_path) == 0


@pytest.mark.parametrize("change", ["network", "precision", "damaged"])
def test_the_checkpoint_of_another_training(make_net, make_task, tmp_path, change):
    settings = FitSettings(epochs=1, tensorboard=False)
    fit(Candidate(make_net()), make_task(), settings, tmp_path, write=silent)
    net = make_net(norm=change != "network")
    if change == "precision":
        settings = dataclasses.replace(settings, precision="mixed_float16")
    if change == "damaged":
        (data,) = (tmp_path / "checkpoints").glob("*.data-*")
        data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(InputError, match=r"checkpoints.ckpt-1 is no checkpoint of this training.* Received: \w+: \S"):
        fit(Candidate(net), make_task(), settings, tmp_path, write=silent)


def test_a_small_network_learns_eight_people_by_heart(make_net, make_task, tmp_path):
    plain = Augmentation(scale=0, rotation=0, rotation_probability=0, flip_probability=0)
    task, rates, kinds = make_task(batch_size=2, augmentation=plain), [], set()

    def look(batch, logs):
        optimizer = watcher.model.optimizer
        kinds.add(type(optimizer).__name__)
        rates.append(float(optimizer.learning_rate))

    watcher = keras.callbacks.LambdaCallback(on_batch_end=look)
    settings = FitSettings(epochs=10, learning_rate=0.01, drops=(0.7, 0.9), tensorboard=False)
    fit(Candidate(make_net()), task, settings, tmp_path, callbacks=[watcher], write=silent)
    loss = [float(row["loss"]) for row in rows(tmp_path)]
    assert loss[-1] < 0.4 * loss[0]
    assert kinds == {"Adam"} and len(rates) == 10 * 4
    assert rates == pytest.approx([0.01] * 28 + [1e-3] * 8 + [1e-4] * 4)


def test_learning_rate_falls_at_the_drops():
    schedule = learning_rate_schedule(FitSettings(epochs=140), total_steps=1400)
    for step, rate in ((0, 1e-3), (899, 1e-3), (900, 1e-4), (1199, 1e-4), (1200, 1e-5), (1399, 1e-5)):
        assert float(schedule(step)) == pytest.approx(rate)


def test_learning_rate_without_drops():
    schedule = learning_rate_schedule(FitSettings(learning_rate=0.02, drops=()), total_steps=10)
    assert [float(schedule(step)) for step in (0, 5, 9, 11)] == pytest.approx([0.02] * 4)


@pytest.mark.parametrize(("batch_size", "where"), [(4, "epoch 1, step 2"), (8, "epoch 1, step 1")])
def test_a_loss_or_weights_that_are_no_numbers(make_net, make_task, tmp_path, batch_size, where):
    settings = FitSettings(epochs=1, learning_rate=math.inf, tensorboard=False)
    with pytest.raises(InputError, match=rf"^tiny: .* must stay numbers. Received: .* in {where}; a smaller learning"):
        fit(Candidate(make_net()), make_task(batch_size=batch_size), settings, tmp_path, label="tiny", write=silent)
    # What is spoilt is not kept, or the same command would go on with it and call it trained.
    assert not list((tmp_path / "checkpoints").glob("*.index"))


def test_a_bad_picture_is_named(make_net, make_task, tmp_path):
    poses = make_task().train

    def load(index):
        if index == 2:
            raise InputError("joints.mat item 3 (im3.jpg): the picture must be whole. Received: 12 bytes")
        return poses.load(index)

    task = make_task(train=dataclasses.replace(poses, load=load))
    with pytest.raises(InputError) as error:
        fit(Candidate(make_net()), task, FitSettings(epochs=1, tensorboard=False), tmp_path, write=silent)
    assert str(error.value) == "joints.mat item 3 (im3.jpg): the picture must be whole. Received: 12 bytes"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("epochs", 0), ("learning_rate", 0.0), ("learning_rate", -1.0), ("learning_rate", math.nan),
        ("drops", (0.9, 0.5)), ("drops", (0.0, 0.5)), ("drops", (1.0,)), ("precision", "float16"),
    ],
)  # fmt: skip
def test_bad_settings(argument, value):
    with pytest.raises(InputError, match=rf"Argument `{argument}` must be .* Received: "):
        FitSettings(**{argument: value})


def test_the_defaults_are_the_references():
    settings = FitSettings()
    assert settings.learning_rate == 1e-3 and settings.epochs == 140
    assert [round(140 * drop) for drop in settings.drops] == [90, 120]
