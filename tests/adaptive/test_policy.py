"""`policy.json`: what it says is what its parts give, and a record that contradicts itself is refused."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.adaptive.made_up import STAGES, THREE, one_stage_policy, policy
from tta_lite.adaptive.policy import Policy, read_policy, write_policy
from tta_lite.types import InputError


def test_costs_are_those_of_the_stages_that_run():
    made = policy()
    mode = made.mode("half")
    # All images run the first stage, half of them the second, a tenth the third.
    assert made.macs(mode) == pytest.approx(100 + 0.5 * 300 + 0.1 * 600)
    assert made.latency_ms(mode) == pytest.approx(1 + 0.5 * 3 + 0.1 * 6)
    assert made.worst_ms(mode) == pytest.approx(10)
    assert made.macs(made.mode("first")) == 100


def test_the_front_leaves_out_what_costs_more_and_is_no_better():
    worse = dataclasses.replace(THREE[1], name="worse", accuracy=91.0, interval=(90.0, 92.0), answered=())
    made = dataclasses.replace(policy(), modes=(THREE[2], worse, THREE[0], THREE[1]))
    assert [mode.name for mode in made.front()] == ["first", "half", "all"]
    # Of two that cost the same only the better one is there.
    assert worse not in made.front()


def test_it_comes_back_from_json(tmp_path):
    for made in (policy(), one_stage_policy()):
        path = write_policy(tmp_path / "policy.json", made)
        assert read_policy(path) == read_policy(tmp_path) == made
        record = json.loads(path.read_text())
        # For a reader who does not compute.
        assert record["modes"][0]["macs"] == made.macs(made.modes[0])
    record["modes"][0]["macs"] = 1.0
    with pytest.raises(InputError, match="must be what its stages and shares give"):
        Policy.from_json(record)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "magic"}, "`kind` must be one of"),
        ({"kind": "slimmable"}, "several stages need one of the kinds"),
        ({"signal": None}, "several stages need"),
        ({"signal": "luck"}, "`signal` must be one of"),
        ({"latency_source": ""}, "Latencies must be there for all stages"),
        ({"modes": ()}, "`modes` must be one or more"),
        ({"modes": (THREE[0], THREE[0])}, "different names"),
        ({"stages": STAGES[:2]}, "stages must be of stage1, stage2"),
        ({"stages": (STAGES[0], dataclasses.replace(STAGES[1], latency_ms=None, spread_ms=()), STAGES[2])}, "2 of 3"),
        ({"answers": "boxes"}, "`answers` must be scores, or heat_maps"),
        ({"answers": "heat_maps"}, "`answers` must be scores, or heat_maps"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        dataclasses.replace(policy(), **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"stages": ("stage2", "stage1"), "thresholds": (0.5,), "shares": (0.5, 0.5), "answered": (), "cut": ()},
            "ran before it",
        ),
        ({"thresholds": (0.5,)}, "`thresholds` must be 2 numbers"),
        ({"shares": (0.5, 0.4, 0.2)}, "with the sum 1"),
        ({"accuracy": 101.0}, "0..100"),
        ({"interval": (97.0, 98.0)}, "must hold the accuracy"),
        ({"examples": 0}, "1 or more"),
        ({"answered": (99.0, 95.0)}, "`answered` must be 3 accuracies"),
        ({"answered": (99.0, 95.0, 101.0)}, "`answered` must be 3 accuracies"),
        ({"answered": (99.0, 95.0, 90.0)}, "must give the accuracy"),
        ({"cut": (60.0,)}, "`cut` must be 2 accuracies"),
        ({"stages": "stage1"}, "must be a list"),
    ],
)
def test_a_mode_that_contradicts_itself_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        dataclasses.replace(policy(), modes=(dataclasses.replace(THREE[1], **changes),))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"file": "../model.tflite"}, "a file beside"),
        ({"name": "a/b"}, "no '/'"),
        ({"image_shape": None}, "takes the image"),
        ({"image_shape": (8, 8, 0)}, "height, width and channels"),
        ({"macs": 1.5}, "whole number"),
        ({"latency_ms": 0.0}, "above 0"),
        ({"spread_ms": (2.0, 1.0)}, "must rise"),
        ({"inputs": {}}, "what each argument takes"),
    ],
)
def test_a_stage_that_contradicts_itself_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        dataclasses.replace(STAGES[0], **changes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda record: record.update(format=2), "format 1"),
        (lambda record: record.update(colour="red"), "does not know"),
        (lambda record: record.pop("kind"), "lacks kind"),
        (lambda record: record["stages"][0].pop("macs"), "lacks macs"),
        (lambda record: record["modes"].append(3), "must be a record"),
    ],
)
def test_another_record_is_refused(change, said):
    record = policy().to_json()
    change(record)
    with pytest.raises(InputError, match=said):
        Policy.from_json(record)


def test_no_policy_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be a folder with a policy"):
        read_policy(tmp_path)
    (tmp_path / "policy.json").write_text("{")
    with pytest.raises(InputError, match="must hold JSON"):
        read_policy(tmp_path)
