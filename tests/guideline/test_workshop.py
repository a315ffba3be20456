"""The bench of a run on a network of a few weights: what it tells, and what hangs on the seed alone."""

from __future__ import annotations

import dataclasses

import pytest

from tests.training.conftest import same_weights, tiny_net, tiny_task
from tta_lite.boards.profile import get_board
from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.tflite import export_tflite
from tta_lite.guideline.bench import START, Trial
from tta_lite.guideline.progress import Cost, Scoring, Timed, Trained
from tta_lite.guideline.rescues import quantization_aware_trial
from tta_lite.guideline.workshop import OUTLINE, Workshop
from tta_lite.models.files import load_network
from tta_lite.report.run_folder import RunFolder
from tta_lite.training.fit import FitSettings
from tta_lite.training.quantization_plan import QuantizationAware
from tta_lite.types import Candidate

RULES = {"num_threads": 1, "rounds": 2, "num_runs": 2, "min_secs": 0}


def workshop(folder, tell=lambda event: None) -> Workshop:
    runtime = get_board("rk3399").runtime(None)
    settings = FitSettings(2, tensorboard=False)
    return Workshop(
        tiny_net(), tiny_task(), runtime, ["G1"], RunFolder(folder), settings, RULES,
        write=lambda line: None, tell=tell,
    )  # fmt: skip


def test_random_weights_hang_on_the_seed_alone(tmp_path):
    """Whatever was drawn before: a run that goes on after a kill has drawn other things, or nothing."""
    source = tiny_net(norm=False)
    found = []
    for place in range(2):
        bench = workshop(tmp_path / str(place))
        keras.utils.set_random_seed(place)
        trial = Trial("a", "random weights", lambda: Candidate(keras.models.clone_model(source)), epochs=1)
        assert not bench.sketch("G1", trial).fault
        found.append(load_network(bench.file("G1", "a").parent / OUTLINE))
    assert same_weights(*found) and not same_weights(found[0], source)


def test_what_is_told_of_a_row_and_of_a_trial(tmp_path):
    events = []
    bench = workshop(tmp_path, events.append)
    bench.start()
    assert events == [Scoring()]
    source = bench.model
    bench.sketch("G1", Trial("a", "trained", lambda: Candidate(source), epochs=2))
    bench.sketch("G1", Trial("b", "as it is", lambda: Candidate(source)))
    events.clear()
    bench.finish("G1", "a")
    # Two steps an epoch.
    assert [event.done for event in events if isinstance(event, Trained)] == [0, 0.5, 1, 1, 1.5, 2]
    assert all(event.count == 2 for event in events if isinstance(event, Trained))
    assert events[-1] == Scoring() and events[-2].figures["loss"] > 0
    events.clear()
    bench.finish("G1", "b")
    assert events == [Scoring()]
    events.clear()
    bench.finish("G1", "a")
    assert events == [], "it was finished before"
    bench.compare({START: bench.file(START), "a": bench.file("G1", "a")})
    assert events == [Timed(done, 4) for done in range(5)]


def test_a_plan_s_seconds_are_those_of_its_parts():
    cost = Cost(trials=3, sketch_s=2, finishes=2, finish_s=5, train_s=100, first_s=7, last_s=9)
    assert cost.seconds == pytest.approx(6 + 10 + 200 + 7 + 9)
    assert dataclasses.replace(cost, trials=0).phases()["sketches"] == 0


def test_quantisation_aware_training_leaves_its_file_and_a_plain_network(tmp_path):
    bench = workshop(tmp_path)
    bench.start()
    trial = quantization_aware_trial(Candidate(bench.model), QuantizationAware(calibration_images=4), 1, 0.5)
    assert not bench.sketch("G1", trial).fault
    entry = bench.finish("G1", trial.name)
    assert not entry.details.get("fault")
    bench.keep("G1", trial.name)
    contents = read_contents(bench.file("G1").read_bytes())
    assert not contents.float_ops() and contents.tensors[contents.inputs[0]].dtype == "int8"
    # On disk it is an ordinary network with its ranges beside it; both make the same file again.
    folder = bench.file("G1").parent
    plain = load_network(folder / "model.keras")
    assert not any(type(layer).__name__.startswith("Quantize") for layer in plain.layers)
    candidate = bench.load("G1")
    assert candidate.trail == ("quantisation-aware training",)
    assert export_tflite(candidate.model, candidate.export) == bench.file("G1").read_bytes()


def test_a_network_that_cannot_learn_with_rounding_is_told_before_it_is_trained(tmp_path):
    bench = workshop(tmp_path)
    image = keras.Input((32, 32, 3))
    odd = keras.Model(image, keras.layers.Lambda(lambda x: x * 2, name="odd")(image))
    sketch = bench.sketch("G1", quantization_aware_trial(Candidate(odd), QuantizationAware(), 1, 1.0))
    assert "odd" in str(sketch.fault)
