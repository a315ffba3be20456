"""Board profiles: what comes with the package, and what is said of a file that is wrong."""

from __future__ import annotations

import pytest

from tta_lite.boards.profile import boards, get_board
from tta_lite.types import InputError

GOOD = """
title = "Mine"
memory_mib = 512
memory_source = "its manual"
[[cores]]
name = "Cortex-A7"
count = 1
max_mhz = 900
features = ["neon"]
source = "its manual"
[[runtimes]]
name = "small"
version = "1"
presets = ["int8"]
source = "its manual"
ops = ["CONV_2D"]
"""


@pytest.mark.parametrize("name", boards())
def test_what_comes_with_the_package_is_whole(name):
    board = get_board(name)
    assert board.name == name
    assert board.memory_mib > 0
    assert all(cores.source and cores.max_mhz > 0 for cores in board.cores)
    assert all(runtime.source for runtime in board.runtimes)
    assert board.runtime() is board.runtimes[0]


def test_rk3399_has_what_its_datasheet_says():
    board = get_board("rk3399")
    assert [(cores.name, cores.count) for cores in board.cores] == [("Cortex-A72", 2), ("Cortex-A53", 4)]
    assert not any({"fp16", "dotprod"} & set(cores.features) for cores in board.cores)
    assert "DEPTH_TO_SPACE" not in board.runtime("armnn").ops


def test_a_profile_of_ones_own(tmp_path):
    (tmp_path / "mine.toml").write_text(GOOD)
    board = get_board(tmp_path / "mine.toml")
    assert (board.name, board.title) == ("mine", "Mine")
    assert board.runtime("small").ops == {"CONV_2D"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("memory_mib = 512", "", "mine.toml: expected .*Received: 'memory_mib' is missing"),
        ("memory_mib = 512", 'memory_mib = "much"', "'memory_mib' must be a int and is 'much'"),
        ("memory_mib = 512", "memory_mib = ", "must be a board profile in TOML"),
        ("count = 1", "count = 1\nspeed = 2", r"\[\[cores\]\] 1: .*'speed' is unknown"),
        ("[[cores]]", "[[kernels]]", r"one or more tables \[\[cores\]\]. Received: None"),
        ('presets = ["int8"]', 'presets = ["int4"]', r"some of fp32.*Received: \['int4'\]"),
        ('ops = ["CONV_2D"]', "", "either a list `ops` or ask"),
        ('ops = ["CONV_2D"]', 'ask = "oracle"', "Received: 0 ops and ask = 'oracle'"),
    ],
)
def test_a_wrong_profile_is_said(tmp_path, old, new, said):
    (tmp_path / "mine.toml").write_text(GOOD.replace(old, new))
    with pytest.raises(InputError, match=said):
        get_board(tmp_path / "mine.toml")


def test_unknown_names_are_said():
    with pytest.raises(InputError, match=r"A board is one of rk3399.*Received: 'rk9999'"):
        get_board("rk9999")
    with pytest.raises(InputError, match=r"litert-xnnpack, armnn\. Received: 'tensorrt'"):
        get_board("rk3399").runtime("tensorrt")
