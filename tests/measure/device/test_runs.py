"""What is read from the runner's records; each figure is worked out by hand."""

from __future__ import annotations

import json

import pytest

from tests.measure.device.made_up import RK3399, event, record, state
from tta_lite.boards.profile import get_board
from tta_lite.measure.device.benchmark import Conditions, check_board, pool
from tta_lite.measure.device.runner import Run, State, profiled_ops
from tta_lite.measure.device.transport import DeviceError


def run(**changed) -> Run:
    return Run.from_json(json.dumps(record(**changed)), "results.json")


def test_a_record_in_our_units():
    found = run()
    assert found.samples_ms == (2.0, 1.0, 3.0)
    assert (found.init_s, found.init["compile_s"]) == (0.875, 0.25)
    assert found.memory_bytes == 4_000_000
    assert found.processor == "4 x Cortex-A53 + 2 x Cortex-A72"
    assert found.before == State({}, {}, {"cpu": 45.0})
    assert found.machine["libc"] == "glibc 2.27"


def test_what_a_board_does_not_say_is_none():
    assert run(memory={"before_bytes": -1, "peak_bytes": -1}).memory_bytes is None
    # A process that shrank since then has not grown.
    assert run(memory={"before_bytes": 10, "peak_bytes": 5}).memory_bytes == 0
    quiet = {"unix_time": 1, "cpus": [], "temperatures": []}
    found = run(before=quiet, after=quiet, machine={**record()["machine"], "processors": []})
    assert found.processor == "" and found.before == State({}, {}, {})
    assert str(Conditions.of([found])) == "the board says nothing of clocks and temperatures"


def test_a_golden_output_that_is_no_number():
    golden = {"output": "a.bin", "elements": 4, "different": 2, "largest": -1.0, "scale": -1.0, "agrees": False}
    [found] = run(golden=[golden]).golden
    assert (found.largest, found.scale, found.agrees) == (None, None, False)
    [found] = run(golden=[{**golden, "largest": 0.0, "scale": 2.0, "agrees": True}]).golden
    assert (found.largest, found.scale) == (0.0, 2.0)


@pytest.mark.parametrize(
    "changed",
    [
        {"format": 2},
        {"samples_us": "fast"},
        {"samples_us": []},
        {"samples_us": [1000.0, float("nan")]},
        {"samples_us": [0.0]},
        {"samples_us": None},
        {"init_s": None},
        {"memory": None},
        {"memory": {}},
        {"before": {}},
        {"before": []},
        {"golden": [{"output": "a"}]},
        {"golden": [{"unknown": 1, "largest": 1, "scale": 1}]},
        {"profile": [[{"name": "CONV_2D"}]]},
        {"profile": 1},
        {"threads": "one"},
        {"cpus": ["big"]},
        {"cpus": 3},
        {"machine": {}},
        {"machine": None},
    ],
    ids=lambda changed: repr(changed)[:40],
)
def test_another_record_is_refused(changed):
    with pytest.raises(DeviceError, match=r"results\.json must hold what tta_runner wrote, format 1\. Received: "):
        run(**changed)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"format": 1}', '"text"'])
def test_another_file_is_refused(text):
    with pytest.raises(DeviceError, match=r"here must hold what tta_runner wrote, format 1\. Received: "):
        Run.from_json(text, "here")


def test_a_clock_that_moved_is_told():
    before = {4: 1_800_000, 5: 1_800_000}

    def moved(after, cpus=(4, 5)):
        return run(before=state(before), after=state(after), cpus=list(cpus)).clock_moved

    assert not moved(before)
    # 1 % is a counter's reading; 30 % is throttling, on one core too, and so is a governor that awoke.
    assert not moved({4: 1_782_000, 5: 1_818_000})
    assert moved({4: 1_800_000, 5: 1_260_000}) and moved({4: 2_340_000, 5: 1_800_000})
    # Cores that were not used do not count, nor those that say nothing.
    assert not moved({4: 1_800_000, 5: 1_260_000}, cpus=[4])
    assert not moved({4: 1_800_000, 5: 1_260_000}, cpus=[0])
    # A core that was switched off in between, as some kernels do against heat.
    assert moved({4: 1_800_000})


def test_conditions_of_several_rounds():
    cool = run(before=state({4: 1_800_000, 0: 408_000}), after=state({4: 1_800_000, 0: 1_416_000}), cpus=[4])
    hot = run(
        before=state({4: 1_800_000}, "performance", 60.0), after=state({4: 1_008_000}, "performance", 71.5), cpus=[4]
    )
    found = Conditions.of([cool, hot, cool])
    assert found == Conditions(("ondemand", "performance"), (1_008_000, 1_800_000), (45.0, 71.5), (2,))
    assert str(found) == (
        "governor ondemand, performance; 1008 to 1800 MHz; 45 to 72 °C; the clock moved while it was timed, round 2"
    )
    steady = run(before=state({4: 1_800_000}), after=state({4: 1_800_000}), cpus=[4])
    assert str(Conditions.of([steady])) == "governor ondemand; 1800 MHz; 45 to 45 °C"


def test_ops_of_all_profiled_runs():
    first = [event("Convolution (NHWC, F32) IGEMM", 10), event("CONV_2D", 5, 3, 2)]
    second = [event("Convolution (NHWC, F32) IGEMM", 12), event("CONV_2D", 7, 3, 2)]
    assert profiled_ops([run(profile=[first]), run(profile=[second])]) == [
        {"name": "Convolution (NHWC, F32) IGEMM", "kind": "xnnpack", "place": 0, "samples_us": [10, 12]},
        {"name": "CONV_2D", "kind": "builtin", "place": 3, "samples_us": [5, 7]},
    ]
    assert profiled_ops([run()]) == profiled_ops([]) == []
    with pytest.raises(DeviceError, match=r"must run the same ops\. Received: 2 different"):
        profiled_ops([run(profile=[first]), run(profile=[second[::-1]])])


def test_rounds_are_pooled():
    slow = run(samples_us=[9000.0, 7000.0], init_s=2.0, memory={"before_bytes": 0, "peak_bytes": 9_000_000})
    found = pool([run(), slow, run()], "RK3399", False, "all")
    # 1, 1, 2, 2, 3, 3, 7, 9 ms.
    assert (found.latency.p50, found.latency.min, found.latency.max, found.latency.runs) == (2.5, 1.0, 9.0, 8)
    assert found.latency.mean == 3.5
    assert (found.init_s, found.peak_memory_bytes) == (0.875, 9_000_000)
    assert found.round_p50 == (2.0, 8.0, 2.0)
    place = found.measured_on
    assert (place.board, place.delegate, place.threads, place.emulated) == ("RK3399", "XNNPACK", 1, False)
    assert place.cpu == "4 x Cortex-A53 + 2 x Cortex-A72"
    assert place.runtime.startswith("LiteRT ") and place.runtime.endswith("(C runner)")


def test_what_ran_it_is_named():
    profile = get_board("rk3399")
    big = run(cpus=[4, 5], pinned=True, fully_delegated=False)
    place = pool([big], "RK3399", True, "big", profile).measured_on
    assert place.cpu == "4 x Cortex-A53 + 2 x Cortex-A72, big cores 4, 5"
    assert place.delegate == "XNNPACK, for some ops"
    assert place.runtime.endswith("(C runner, with a glibc of its own)")
    silent = run(machine={**record()["machine"], "processors": []}, kernels="builtin", fully_delegated=False)
    place = pool([silent], "RK3399", False, "all", profile).measured_on
    assert place.cpu == "2 x Cortex-A72 + 4 x Cortex-A53"
    assert place.delegate == "none (builtin kernels)"
    assert pool([silent], "RK3399", False, "all").measured_on.cpu == "cores not known"
    # Cores that were chosen by their numbers.
    assert pool([run(cpus=[0, 2], pinned=True)], "", False, "all").measured_on.cpu.endswith("Cortex-A72, cores 0, 2")


def test_another_boards_cores_are_refused():
    profile = get_board("rk3399")
    check_board(run(), profile, "ssh://board")
    check_board(run(machine={**record()["machine"], "processors": []}), profile, "ssh://board")
    for processors, said in (
        (RK3399[:4], "Received: Cortex-A53"),
        (RK3399[4:] * 2, "Received: Cortex-A72"),
        ([*RK3399, {"CPU implementer": "0x41", "CPU part": "0xd0b"}], r"\+ 1 x Cortex-A76"),
        ([{"model name": "Some CPU @ 2.00GHz"}], "Received: Some CPU @ 2.00GHz"),
    ):
        other = run(machine={**record()["machine"], "processors": processors})
        with pytest.raises(DeviceError, match=rf"ssh://board must be the board that was named: .*Cortex-A53.*{said}"):
            check_board(other, profile, "ssh://board")
