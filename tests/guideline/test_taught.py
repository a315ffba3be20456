"""A setting with a teacher on the real bench: what is kept is the better training, and the difference is told."""

from __future__ import annotations

import dataclasses

import pytest

from tests.guideline.test_workshop import workshop
from tests.training.conftest import same_weights, tiny_net, tiny_task
from tta_lite.guideline import workshop as workshops
from tta_lite.guideline.bench import START, Teaching, Trial
from tta_lite.guideline.progress import Trained
from tta_lite.guideline.reasons import spoken
from tta_lite.guideline.taught import Taught
from tta_lite.types import Accuracy, Candidate

PUPIL = Candidate(tiny_net(norm=False))


def finished(folder, teaching, tell=lambda event: None, task=None):
    """-> the entry of a setting that was trained for an epoch, and its network."""
    bench = workshop(folder, tell)
    if task is not None:
        bench.task = task
    bench.start()
    assert not bench.sketch("G1", Trial("a", "a pupil", lambda: PUPIL, epochs=1, teaching=teaching)).fault
    entry = bench.finish("G1", "a")
    bench.keep("G1", "a")
    return entry, bench.load("G1").model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """-> way of training -> its entry and network."""
    folder = tmp_path_factory.mktemp("taught")
    told: list[object] = []
    ways = {"both": Teaching(START, control=True), "taught": Teaching(START), "alone": None}
    found = {name: finished(folder / name, teaching, told.append) for name, teaching in ways.items()}
    return {**found, "told": told}


def test_the_better_of_two_trainings_is_kept_and_the_difference_told(trained):
    entry, model = trained["both"]
    record = entry.details["distillation"]
    taught, alone = (trained[name][0].report.keras_accuracy for name in ("taught", "alone"))
    assert (record["taught"], record["alone"]) == (taught, alone)
    assert record["gain"] == pytest.approx(taught - alone) and record["row"] == START
    assert record["kept"] == ("taught" if taught >= alone else "alone")
    assert same_weights(model, trained[record["kept"]][1])
    assert not same_weights(trained["taught"][1], trained["alone"][1])
    assert f"{taught - alone:+.1f} (" in entry.details["note"] and "by the same training" in entry.details["note"]


def test_without_a_control_the_teacher_is_named_alone(trained):
    entry, _ = trained["taught"]
    assert entry.details["note"].startswith("Trained with none as its teacher (distillation, weight 0.5).")
    assert "distillation" not in entry.details and "teacher" not in trained["alone"][0].details["note"]


def test_two_trainings_are_told_as_one_of_twice_the_epochs(trained):
    # Two steps an epoch; the first setting has both trainings.
    of_both = [event for event in trained["told"] if isinstance(event, Trained)][:6]
    assert [(event.done, event.count) for event in of_both] == [
        (0, 2), (0.5, 2), (1, 2), (1, 2), (1.5, 2), (2, 2)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("taught", "words"),
    [
        (60.0, "Trained with none as its teacher ({}), which brought +10.0 points: 60.0 with it, 50.0 without"),
        (40.0, "Trained without a teacher: with none as its teacher ({}) it gained -10.0 points, 40.0 instead of 50.0"),
    ],
    ids=["gain", "loss"],
)  # fmt: skip
def test_a_gain_and_a_loss_in_words(taught, words):
    found = Taught(Accuracy(taught, "own", (0, 100)), Accuracy(50.0, "own", (0, 100)))
    assert spoken(found.note(dataclasses.asdict(Teaching(START)))).startswith(words.format("distillation, weight 0.5"))
    assert found.record()["kept"] == ("taught" if taught > 50 else "alone")


def test_a_killed_setting_goes_on_to_the_same_words(tmp_path, trained, monkeypatch):
    """Killed when both trainings are done and nothing is scored yet."""
    bench = workshop(tmp_path)
    bench.start()
    bench.sketch("G1", Trial("a", "a pupil", lambda: PUPIL, epochs=1, teaching=Teaching(START, control=True)))
    with monkeypatch.context() as patch:
        patch.setattr(workshops.Workshop, "_scored", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bench.finish("G1", "a")
    entry = workshop(tmp_path).finish("G1", "a")
    assert entry.details["note"] == trained["both"][0].details["note"]
    assert entry.details["distillation"] == trained["both"][0].details["distillation"]


def test_a_loss_that_says_nothing_of_answers_is_trained_without_a_teacher(tmp_path):
    """A task of one's own may have a plain function as its loss."""

    class Own:
        def __init__(self, task):
            self._task = task

        def __getattr__(self, name):
            return getattr(self._task, name)

        def loss(self):
            return lambda y, found: self._task.loss()(y, found)

    entry, _ = finished(tmp_path, Teaching(START, control=True), task=Own(tiny_task()))
    assert entry.details["note"].startswith("Trained without a teacher: Distillation must know the task's loss")
    assert "distillation" not in entry.details


@pytest.mark.slow
def test_a_file_teaches_instead_of_the_row(tmp_path, trained):
    """The same network read from a file: the same lessons, bit by bit, under another name."""
    bench = workshop(tmp_path / "source")
    bench.start()
    teacher = tmp_path / "heavy.keras"
    teacher.write_bytes((bench.file(START).parent / "model.keras").read_bytes())
    entry, model = finished(tmp_path, Teaching(START, file=str(teacher)))
    assert entry.details["note"].startswith("Trained with heavy.keras as its teacher")
    assert same_weights(model, trained["taught"][1])


def test_fitnets_first_stage_takes_its_epochs_from_the_training(tmp_path):
    """One epoch of hints and one of the rest, then two without a teacher."""
    told: list[object] = []
    bench = workshop(tmp_path, told.append)
    bench.start()
    teaching = Teaching(
        START, control=True, terms=(("hint", 1.0),), pairs=(("narrow_relu", "narrow_relu"),), hint_epochs=1
    )
    assert not bench.sketch("G1", Trial("a", "a pupil", lambda: PUPIL, epochs=2, teaching=teaching)).fault
    entry = bench.finish("G1", "a")
    of_training = [event for event in told if isinstance(event, Trained)]
    assert {event.count for event in of_training} == {4}
    assert [event.done for event in of_training] == [0, 0.5, 1, 1, 1.5, 2, 2, 2.5, 3, 3, 3.5, 4]
    # The first stage knows nothing of labels, the second nothing of the hint.
    logged = [{name for name in event.figures if name != "loss"} for event in of_training]
    assert logged[1:3] == [{"hint"}] * 2 and logged[4:6] == [{"distillation"}] * 2 and not any(logged[7:9])
    assert entry.details["distillation"]["hint_epochs"] == 1
