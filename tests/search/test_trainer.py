"""What a trial does: the latency before the training, scores after each epoch, and where a killed one goes on."""

from __future__ import annotations

import pytest

from tests.search.digits_nets import SPACE, net
from tta_lite.search.trainer import Subject, Trainer
from tta_lite.search.trial import Hopeless, Interrupted
from tta_lite.tasks.find import find_task
from tta_lite.training.fit import FitSettings

pytest.importorskip("sklearn")
POINT = {"filters": 2, "kernel": 3, "hidden": 0}


class Reports:
    """Notes what a trial says, and raises at one step."""

    def __init__(self, stop=None, error=None):
        self.said, self.stop, self.error = [], stop, error

    def __call__(self, step, accuracy):
        self.said.append((step, accuracy))
        if step == self.stop:
            raise self.error

    def latency(self, latency_ms, source):
        self.said.append((latency_ms, source))
        if self.stop == "latency":
            raise self.error


@pytest.fixture(scope="module")
def task():
    return find_task("digits:100", net(POINT), pixels="-1..1")


def trainer(folder, task, timed, **more):
    def latency_of(model):
        timed.append(model.count_params())
        return 4.0, "made up"

    settings = FitSettings(epochs=2, learning_rate=0.01)
    return Trainer(Subject(SPACE, net), lambda model, pixels: task, latency_of, settings, folder, write=str, **more)


def test_a_training_that_was_killed_goes_on_from_its_checkpoint(tmp_path, task):
    timed, whole = [], Reports()
    found = trainer(tmp_path / "whole", task, timed)(POINT, whole)
    assert [one[0] for one in whole.said] == [4.0, 1, 2] and found.accuracy == whole.said[-1][1]
    assert (found.latency_ms, found.source) == (4.0, "made up")
    # By hand: 3 x 3 places, 3 x 3 x 1 taps, 2 filters; 18 inputs, 10 outputs.
    assert (found.macs, found.params) == (9 * 9 * 2 + 180, 20 + 190)
    # Killed after the first epoch was kept.
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path / "killed", task, timed)(POINT, Reports(1, KeyboardInterrupt()))
    again = Reports()
    later = trainer(tmp_path / "killed", task, timed)(POINT, again)
    assert [one[0] for one in again.said] == [4.0, 2]
    assert later.accuracy == found.accuracy
    # Two networks were timed, not three; and nothing is left that only a training needs.
    assert len(timed) == 2 and not list(tmp_path.rglob("checkpoints"))


def test_what_is_given_up_leaves_no_checkpoint_and_what_is_slow_is_not_trained(tmp_path, task):
    with pytest.raises(Hopeless):
        trainer(tmp_path / "slow", task, [])(POINT, Reports("latency", Hopeless("slow")))
    assert not list(tmp_path.rglob("training"))
    with pytest.raises(Hopeless):
        trainer(tmp_path / "weak", task, [])(POINT, Reports(1, Hopeless("weak")))
    assert list(tmp_path.rglob("history.csv")) and not list(tmp_path.rglob("checkpoints"))


def test_a_training_does_not_begin_after_the_deadline(tmp_path, task):
    with pytest.raises(Interrupted, match="the time is up"):
        trainer(tmp_path, task, [], deadline=0.0)(POINT, Reports())
