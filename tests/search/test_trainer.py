"""What a trial does: the latency before the training, scores after each epoch, and where a killed one goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import time

import pytest

from tests.search.digits_nets import SPACE, net
from tta_lite.search import trainer as trainers
from tta_lite.search.engine import Plan
from tta_lite.search.goal import Goal
from tta_lite.search.run import one_a_training, run_search
from tta_lite.search.space import Choice, Space
from tta_lite.search.trainer import Subject, Trainer
from tta_lite.search.trial import Hopeless, Interrupted, Measured, State, Trial
from tta_lite.tasks.find import find_task
from tta_lite.training.callbacks import TimeLimit
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


def test_a_trial_of_few_steps_is_scored_with_the_statistics_of_its_pictures(tmp_path, task, monkeypatch):
    seen = []

    @contextlib.contextmanager
    def settled(model, steps, pictures):
        seen.append((steps, len(pictures(16)), pictures(16)[0].shape))
        yield True

    monkeypatch.setattr(trainers, "settled_norms", settled)
    trainer(tmp_path, task, [])(POINT, Reports())
    per_epoch = task.steps_per_epoch
    assert seen == [(per_epoch, 16, (1, 8, 8, 1)), (2 * per_epoch, 16, (1, 8, 8, 1))]


# Two points that differ only in how they are deployed.
TWINS = Space("twins", (*SPACE.choices, Choice("form", ("a", "b"))))


def of_form(folder, task, trained, timed=None):
    """A trainer whose networks do not hang on ``form``; `trained` notes each training."""

    def task_for(model, pixels):
        trained.append(model.count_params())
        return task

    one = trainer(folder, task, [] if timed is None else timed)
    subject = Subject(TWINS, net, trained=lambda point: {name: point[name] for name in POINT})
    return dataclasses.replace(one, subject=subject, task_for=task_for)


def test_points_that_are_trained_alike_are_trained_once_and_score_the_same(tmp_path, task):
    trained, timed, first, again = [], [], Reports(), Reports()
    one = of_form(tmp_path / "one", task, trained, timed)
    found = one({**POINT, "form": "a"}, first)
    # Another process, the same folder.
    twin = of_form(tmp_path / "one", task, trained, timed)({**POINT, "form": "b"}, again)
    assert len(trained) == 1 and len(timed) == 2
    assert twin.accuracy == found.accuracy and again.said == first.said
    # What the twin's own latency makes hopeless stays so.
    with pytest.raises(Hopeless):
        of_form(tmp_path / "one", task, trained)({**POINT, "form": "b"}, Reports(2, Hopeless("weak")))
    # Another worker has another folder: it trains, and finds the same.
    elsewhere = of_form(tmp_path / "two", task, trained)({**POINT, "form": "b"}, Reports())
    assert len(trained) == 2 and elsewhere.accuracy == found.accuracy


def test_a_training_that_was_given_up_halfway_is_no_twins(tmp_path, task):
    trained, reports = [], Reports()
    with pytest.raises(Hopeless):
        of_form(tmp_path, task, trained)({**POINT, "form": "a"}, Reports(1, Hopeless("weak")))
    of_form(tmp_path, task, trained)({**POINT, "form": "b"}, reports)
    assert len(trained) == 2 and [step for step, _ in reports.said[1:]] == [1, 2]


def test_of_networks_that_are_trained_alike_the_fastest_is_a_finalist():
    times = [("a", 0, 3.0), ("b", 0, 2.0), ("a", 4, 2.5), ("b", 4, 2.5)]
    trials = [
        Trial(n, {"hidden": hidden, "form": form}, State.DONE, measured=Measured(50.0, ms, ""), latency=(ms, ""))
        for n, (form, hidden, ms) in enumerate(times)
    ]
    failed = Trial(4, {"hidden": 8, "form": "a"}, State.FAILED)
    kept = one_a_training([*trials, failed], lambda point: {"hidden": point["hidden"]})
    assert [trial.number for trial in kept] == [1, 2]


@dataclasses.dataclass
class Sudden:
    """A `TimeLimit` whose hours are over in the middle of an epoch; `when` counts epochs from 0, None: never."""

    when: int | None
    made: int = 0

    def __call__(self, seconds, **more):
        now, outer = [0.0], self
        self.made += 1

        class Limit(TimeLimit):
            def on_epoch_begin(self, epoch, logs=None):
                self.at = epoch
                super().on_epoch_begin(epoch, logs)

            def on_train_batch_end(self, batch, logs=None):
                if (self.at, batch) == (outer.when, 0):
                    now[0] = 2 * seconds
                super().on_train_batch_end(batch, logs)

        return Limit(seconds, clock=lambda: now[0], **more)


def test_a_search_whose_hours_end_within_an_epoch_goes_on_as_if_it_had_not(tmp_path, task, monkeypatch):
    pytest.importorskip("optuna")
    assert task.steps_per_epoch > 1

    def search(folder, when):
        """-> what the search found, and what its trials said."""
        limits, told = Sudden(when), []
        monkeypatch.setattr(trainers, "TimeLimit", limits)
        plan = Plan(SPACE, Goal("front"), 1, "random", first=(POINT,))
        worker = dataclasses.replace(trainer(folder, task, []), deadline=time.monotonic() + 3600)
        found = run_search(plan, worker, f"journal:{folder}.log", "s", None, tell=told.append)
        assert limits.made == 1
        return found, told

    whole, _ = search(tmp_path / "whole", None)
    assert whole.done and [trial.state for trial in whole.trials] == [State.DONE]
    # Cut in the first epoch, of which nothing stays; then in the second; then let go on.
    for when in (0, 1):
        cut, told = search(tmp_path / "cut", when)
        assert not cut.done and not cut.trials and any("can go on later: the time is up" in line for line in told)
    later, told = search(tmp_path / "cut", None)
    assert later.done and any("takes up trial" in line for line in told)
    (expected,), (trial,) = whole.trials, later.trials
    assert trial.point == expected.point
    assert trial.measured.accuracy == expected.measured.accuracy
    assert {**expected.steps, **trial.steps} == expected.steps
    # Of every epoch.
    (one,), (other,) = ((tmp_path / name / "trained").iterdir() for name in ("whole", "cut"))
    assert one.read_text() == other.read_text()
