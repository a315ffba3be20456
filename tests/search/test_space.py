from __future__ import annotations

import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from tta_lite.search.space import Choice, Space
from tta_lite.types import InputError

NETS = Space(
    "nets",
    (
        Choice("family", ("a", "b", "c")),
        Choice("width", (0.5, 1.0)),
        Choice("excite", (False, True), (("family", ("b", "c")),)),
        Choice("kernel", (3, 5, 7), (("family", ("b",)), ("excite", (True,)))),
    ),
)
# By hand: a has 2 widths; b has 2 x (1 without + 3 kernels with); c has 2 x 2.
SIZE = 2 + 2 * (1 + 3) + 2 * 2


@st.composite
def spaces(draw) -> Space:
    choices: list[Choice] = []
    for place in range(draw(st.integers(1, 5))):
        values = draw(st.sampled_from([(1, 2), (1, 2.5, 4), ("x", "y"), (False, True)]))
        when = []
        for other in draw(st.lists(st.sampled_from(choices), max_size=2)) if choices else []:
            when.append((other.name, tuple(draw(st.lists(st.sampled_from(other.values), min_size=1, unique=True)))))
        choices.append(Choice(f"c{place}", values, tuple(when)))
    return Space("drawn", tuple(choices))


def all_points(space: Space) -> list[dict]:
    """By recursion over what is active so far, without the code under test."""
    found: list[dict] = [{}]
    for choice in space.choices:
        grown = []
        for point in found:
            if all(name in point and point[name] in values for name, values in choice.when):
                grown += [{**point, choice.name: value} for value in choice.values]
            else:
                grown.append(point)
        found = grown
    return found


def test_the_size_is_exact():
    assert NETS.size() == len(all_points(NETS)) == SIZE


@settings(max_examples=30)
@given(spaces())
def test_the_size_is_that_of_the_list_of_all_points(space):
    points = all_points(space)
    assert space.size() == len(points) == len({json.dumps(point) for point in points})


@settings(max_examples=30)
@given(spaces(), st.integers(0, 5))
def test_samples_are_points_and_pass_the_check(space, seed):
    point = space.sample(np.random.default_rng(seed))
    assert point in all_points(space)
    assert space.check(point) == point
    assert [choice.name for choice in space.active(point)] == list(point)


@settings(max_examples=30)
@given(spaces())
def test_json_gives_the_same_space(space):
    assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space


@settings(max_examples=30)
@given(spaces(), st.data())
def test_a_narrowed_space_has_the_points_within_the_limits(space, data):
    limits = {
        choice.name: data.draw(st.lists(st.sampled_from(choice.values), min_size=1, unique=True))
        for choice in data.draw(st.lists(st.sampled_from(space.choices), unique_by=lambda choice: choice.name))
    }
    narrow = space.narrowed(limits)
    wanted = [
        point for point in all_points(space) if all(point[name] in limits.get(name, [point[name]]) for name in point)
    ]
    # What is fixed means nothing where it was not active: the first space's check leaves it out.
    found = [space.check(narrow.full(point)) for point in all_points(narrow)]
    assert sorted(map(json.dumps, found)) == sorted(map(json.dumps, wanted))
    assert narrow.size() == len(wanted)


def test_a_sample_draws_each_active_choice_evenly():
    rng = np.random.default_rng(0)
    points = [NETS.sample(rng) for _ in range(3000)]
    counts = [sum(point["family"] == family for point in points) for family in "abc"]
    # Binomial: 1000 +- 26; five deviations.
    assert all(abs(count - 1000) < 130 for count in counts)
    assert {point.get("kernel") for point in points} == {None, 3, 5, 7}


def test_check_takes_the_spaces_own_values_and_leaves_out_what_is_not_active():
    found = NETS.check({"kernel": 3, "family": "a", "width": 1})
    assert found == {"family": "a", "width": 1.0}
    assert list(found) == ["family", "width"]
    assert type(found["width"]) is float


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"family": "a"}, "needs 'width', one of 0.5, 1.0"),
        ({"family": "d", "width": 1.0}, "'family' must be one of 'a', 'b', 'c'. Received: 'd'"),
        ({"family": "a", "width": True}, "Received: True"),
        ({"family": "a", "width": 1.0, "depth": 1}, "holds family, width, excite, kernel. Received: 'depth'"),
        ({"family": "b", "width": 1.0, "excite": 1}, "must be one of False, True. Received: 1"),
    ],
)
def test_a_wrong_point_is_refused(point, said):
    with pytest.raises(InputError, match=said):
        NETS.check(point)


@pytest.mark.parametrize(
    ("name", "values", "when", "said"),
    [
        ("", (1, 2), (), "needs a name"),
        ("a", (1,), (), "two or more"),
        ("a", (1, 1.0), (), "two or more"),
        ("a", (1, "x"), (), "two or more"),
        ("a", (1, True), (), "two or more"),
        ("a", (None, "x"), (), "two or more"),
        ("a", (2, 1), (), "must rise"),
    ],
)
def test_a_wrong_choice_is_refused(name, values, when, said):
    with pytest.raises(InputError, match=said):
        Choice(name, values, when)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ((Choice("a", (1, 2)), Choice("a", (1, 2))), "'a' twice"),
        ((Choice("a", (1, 2), (("b", (1,)),)), Choice("b", (1, 2))), "earlier choices. Received: 'b'"),
        ((Choice("a", (1, 2)), Choice("b", (1, 2), (("a", (3,)),))), "'a' must be one of 1, 2. Received: 3"),
        ((Choice("a", (1, 2)), Choice("b", (1, 2), (("a", ()),))), "earlier choices"),
    ],
)
def test_a_wrong_space_is_refused(choices, said):
    with pytest.raises(InputError, match=said):
        Space("wrong", choices)


@pytest.mark.parametrize("record", [{}, {"name": "x", "choices": [{"name": "a"}]}, {"name": "x", "choices": 3}])
def test_what_is_no_space_is_refused(record):
    with pytest.raises(InputError, match="A space is an object"):
        Space.from_json(record)


def test_limits_must_be_of_the_space():
    with pytest.raises(InputError, match="Limits are of family"):
        NETS.narrowed({"depth": [1]})
    with pytest.raises(InputError, match="must keep one value"):
        NETS.narrowed({"width": []})
    with pytest.raises(InputError, match="Received: 2"):
        NETS.narrowed({"width": [2]})
