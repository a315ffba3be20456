"""What can be searched, by its name: the right space, and networks that fit the task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tta_lite.models.backbones import get_backbone
from tta_lite.search.mnasnet import mnasnet_space
from tta_lite.search.pose_space import CASE_STUDY, pose_space
from tta_lite.search.space import Choice, Space
from tta_lite.search.subjects import find_subject, first_points, narrowed, only_of
from tta_lite.tasks.classification import PIXELS
from tta_lite.types import InputError

MPII = f"pose:mpii:{Path(__file__).resolve().parents[2] / 'data/samples/mpii'}"
SMALLEST = [
    "resolution=96", "family=shufflenet_v2", "shufflenet_v2.width=0.5", "shufflenet_v2.depth=0.5",
    "head.bottleneck=32", "head.filters=64", "head.taper=0.5",
]  # fmt: skip


def test_pose_nets_have_the_joints_of_the_data_and_are_deployed_as_the_point_says():
    subject = find_subject("pose", MPII)
    assert subject.space == pose_space()
    small = narrowed(subject, only_of([*SMALLEST[:2], *SMALLEST[4:]], subject.space))
    points = [{"shufflenet_v2.width": 0.5, "shufflenet_v2.depth": 0.5, "head.subpixel": one} for one in (False, True)]
    full = small.space.full(points[0])
    model = small.build(full)
    assert model.input_shape == (None, 96, 96, 3) and model.output_shape == (None, 24, 24, 16)
    assert PIXELS[small.pixels(full)] == get_backbone("shufflenet_v2_0.5").normalisation
    assert small.deploy(model, full) is model
    kinds = {type(layer).__name__ for layer in small.deploy(model, small.space.full(points[1])).layers}
    assert "Conv2DTranspose" in {type(layer).__name__ for layer in model.layers}
    assert "Conv2DTranspose" not in kinds


def test_classifiers_for_small_pictures_have_fewer_blocks_and_no_choices_for_the_rest(tmp_path):
    subject = find_subject("mnasnet", "digits")
    assert {choice.name.partition(".")[0] for choice in subject.space.choices} == {f"block{n}" for n in range(1, 6)}
    file = tmp_path / "space.json"
    file.write_text(json.dumps(mnasnet_space(filters=(0.25, 0.5)).to_json()))
    light = find_subject(str(file), "digits", input_size=32)
    point = {choice.name: choice.values[0] for choice in light.space.choices}
    assert light.build(light.space.full(point)).output_shape == (None, 10)


def test_what_is_typed_narrows_a_space():
    space = Space("nets", (Choice("width", (0.5, 1.0)), Choice("family", ("a", "b")), Choice("last", (False, True))))
    assert only_of(["width=0.50", "last=True", "family=b|a"], space) == {
        "width": (0.5,), "last": (True,), "family": ("b", "a"),
    }  # fmt: skip
    for text in ("depth=1", "width", "width=2", "last=1", "family=a|c"):
        with pytest.raises(InputError):
            only_of([text], space)


def test_first_points_are_the_case_study_or_a_file(tmp_path):
    space = pose_space()
    (point,) = first_points("case_study", space)
    assert all(point[name] == CASE_STUDY[name] for name in point)
    file = tmp_path / "points.json"
    file.write_text(json.dumps([dict(point)]))
    assert first_points(str(file), space) == (point,)
    file.write_text("{}")
    with pytest.raises(InputError, match="a list of points"):
        first_points(str(file), space)


@pytest.mark.parametrize(
    ("name", "task", "more", "said"),
    [
        ("pose", "digits", {}, "Pose nets need the task pose:"),
        ("pose", MPII, {"input_size": 96}, "The resolution is a choice"),
        ("mnasnet", MPII, {}, "Classifiers need the task"),
        ("mnasnet", "digits", {"weights": "imagenet"}, "a trained .keras network"),
        ("nowhere.json", "digits", {}, "must be readable"),
        ("tests.search.digits_nets:SPACE", "digits", {}, "must be a function"),
        ("no_such_module:make", "digits", {}, "ModuleNotFoundError"),
        ("builtins:dict", "digits", {}, "must be a function"),
        ("platform:libc_ver", "digits", {}, r"must give \(Space, function\). Received: str"),
    ],
)
def test_what_cannot_be_searched_is_refused(name, task, more, said):
    with pytest.raises(InputError, match=said):
        find_subject(name, task, **more)
