"""Files in turn on a board that is none: what is put there, run there, and refused."""

from __future__ import annotations

import json
import os
import platform
import time

import pytest

from tests.measure.device.made_up import RK3399, Board, record, stands_in, state
from tta_lite.boards.profile import get_board
from tta_lite.measure import benchmark as bench
from tta_lite.measure.device import benchmark as board_benchmark
from tta_lite.measure.device import connect, runner
from tta_lite.measure.device.benchmark import run_in_turn, time_on_board
from tta_lite.measure.device.local import Local
from tta_lite.measure.device.runner import install, run_file
from tta_lite.measure.device.transport import DeviceError, Finished
from tta_lite.types import InputError

RULES = {
    "rounds": 2, "num_threads": 2, "warmup_runs": 3, "num_runs": 4, "min_secs": 0.5, "use_xnnpack": True,
    "timeout_s": 9.0,
}  # fmt: skip


@pytest.fixture
def paths(tmp_path, monkeypatch):
    stands_in(monkeypatch, tmp_path)
    found = {name: tmp_path / f"{name}.tflite" for name in "ABC"}
    for name, path in found.items():
        path.write_text(name)
    return found


def models(board: Board) -> list[str]:
    """-> which file each run was of, in order."""
    paths = [word.removeprefix("--model=") for words in board.runs for word in words if word.startswith("--model=")]
    return [board.files[path].decode() for path in paths]


def test_files_have_their_turns(paths, monkeypatch):
    events, seen = [], []
    board = Board([record(samples_us=[1000.0 * n]) for n in range(1, 7)])
    monkeypatch.setattr(time, "sleep", lambda seconds: events.append((seconds, len(board.runs))))
    found = time_on_board(
        board, "rk3399", paths, **RULES, cores="big", cool_down_secs=7.0, progress=lambda *words: seen.append(words)
    )
    assert models(board) == list("ABCABC")
    # A pause before each process, the first one too: what was done before warmed the board as well.
    assert events == [(7.0, n) for n in range(6)]
    assert seen == [(n + 1, 6, "ABC"[n % 3]) for n in range(6)]
    for words in board.runs:
        assert words[:2] == ["/there/tta_runner", "--library=/there/libLiteRt.so"]
        assert set(words[4:]) == {
            "--threads=2", "--warmup_runs=3", "--runs=4", "--min_secs=0.5", "--kernels=xnnpack", "--cores=big"
        }  # fmt: skip
    # Each file has its own two rounds.
    assert {name: one.round_p50 for name, one in found.items()} == {"A": (1.0, 4.0), "B": (2.0, 5.0), "C": (3.0, 6.0)}
    assert found["B"].latency.p50 == 3.5 and found["B"].measured_on.board == get_board("rk3399").title
    assert board.state == "left"


def test_all_cores_are_left_to_the_system(paths):
    board = Board([record()] * 2)
    time_on_board(board, "rk3399", {"A": paths["A"]}, **{**RULES, "use_xnnpack": False})
    assert not any("--cores" in word for words in board.runs for word in words)
    assert "--kernels=builtin" in board.runs[0]


def test_the_clock_that_moved_is_marked_with_its_round(paths):
    steady = record(before=state({0: 1_800_000}), after=state({0: 1_800_000}))
    throttled = record(before=state({0: 1_800_000}), after=state({0: 1_260_000}))
    board = Board([steady, throttled, steady, steady])
    found = time_on_board(board, "rk3399", {name: paths[name] for name in "AB"}, **RULES)
    assert found["A"].conditions.moved == () and found["B"].conditions.moved == (1,)


def test_another_board_is_refused_at_once(paths):
    board = Board([record(machine={**record()["machine"], "processors": RK3399[:4]}), record()])
    with pytest.raises(DeviceError, match=r"user@board must be the board that was named.*Received: Cortex-A53\."):
        time_on_board(board, "rk3399", paths, **RULES)
    assert len(board.runs) == 1 and board.state == "left"


def test_an_emulated_board_is_refused_before_anything_runs(paths):
    board = Board([record()], emulated=True, title="Cortex-A72, emulated by QEMU")
    with pytest.raises(InputError, match=r"Latencies need a real board\. Received: Cortex-A72, emulated by QEMU"):
        time_on_board(board, "rk3399", paths, **RULES)
    assert board.commands == [] and board.state == "left"


def test_cores_that_are_none_are_refused_before_the_connection(paths):
    board = Board()
    with pytest.raises(InputError, match=r"`cores` must be one of all, big, little\. Received: 'fast'"):
        time_on_board(board, "rk3399", paths, **RULES, cores="fast")
    assert board.state == "new"


def test_a_board_without_a_name_is_refused(paths):
    with pytest.raises(InputError, match=r"A board is one of .*rk3399.*Received: ''"):
        time_on_board(Board(), "", paths, **RULES)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            Finished(1, "", "INFO: x\nerror: --cores=big: all cores here are alike\n"),
            r"--cores=big: all cores here are",
        ),
        (Finished(1, "", "INFO: one\nterminate called\n\n"), r"terminate called$"),
        (Finished(137, "", ""), r"ended by signal 9; before: exit code 137 and no word$"),
        (Finished(134, "", "error: out of memory\n"), r"ended by signal 6; before: out of memory$"),
        (DeviceError("ssh://user@board: the connection was lost"), r"^ssh://user@board: the connection was lost$"),
        ("{}", r"results\.json of ssh://user@board must hold what tta_runner wrote"),
        ("", r"results\.json of ssh://user@board must hold what tta_runner wrote"),
    ],
    ids=["refused", "aborted", "killed", "crashed", "lost", "another", "empty"],
)
def test_a_run_that_fails_ends_all_with_one_error(paths, reply, said):
    board = Board([record(), reply, record()])
    with pytest.raises(DeviceError, match=said):
        time_on_board(board, "rk3399", paths, **RULES)
    assert len(board.runs) == 2 and board.state == "left"


def test_old_results_are_never_read_again(paths):
    class Silent(Board):
        def run(self, argv, *, timeout_s):
            done = super().run(argv, timeout_s=timeout_s)
            if len(self.runs) == 2:
                self.files.pop("/there/results.json", None)
            return done

    board = Silent([record()] * 6)
    with pytest.raises(DeviceError, match=r"there is no results\.json"):
        time_on_board(board, "rk3399", paths, **RULES)
    assert [words for words in board.commands if words[0] == "rm"] == [["rm", "-f", "/there/results.json"]] * 2


def test_a_golden_output_that_differs_is_a_result(paths):
    golden = {"output": "o", "elements": 4, "different": 1, "largest": 3, "scale": 9, "agrees": False}
    with Board([record(golden=[golden])]) as board:
        installed = install(board)
        run = run_file(board, installed, board.put(paths["A"], "a.tflite"))
    assert [one.agrees for one in run.golden] == [False]


def test_words_before_the_command(paths):
    with Board([record()]) as board:
        run_file(board, install(board), board.put(paths["A"], "a.tflite"), before=["nice", "-n", "5"])
    assert board.runs[0][:4] == ["nice", "-n", "5", "/there/tta_runner"]


def test_an_old_c_library_is_replaced_by_one_that_is_brought(paths):
    board = Board([record()] * 2, probes=[1, 0])
    found = time_on_board(board, "rk3399", {"A": paths["A"]}, **RULES)
    assert board.runs[0][:5] == [
        "/there/ld-linux-x86-64.so.2", "--library-path", "/there", "/there/tta_runner", "--library=/there/libLiteRt.so"
    ]  # fmt: skip
    assert ["chmod", "755", "/there/ld-linux-x86-64.so.2"] in board.commands and "/there/libc.so.6" in board.files
    assert found["A"].measured_on.runtime.endswith("with a glibc of its own)")


def test_a_board_that_runs_neither_is_told(paths):
    board = Board(probes=[1, 1])
    with pytest.raises(
        DeviceError, match=r"the runner does not work there, neither with .*GLIBC_2\.34 not found.* own\."
    ):
        time_on_board(board, "rk3399", paths, **RULES)
    assert board.runs == [] and board.state == "left"


def test_a_board_of_another_kind_is_told(monkeypatch):
    with (
        pytest.raises(DeviceError, match="must be compiled for armv7l, and no compiler for it is here"),
        Board(architecture="armv7l") as board,
    ):
        install(board)


def test_this_machine_by_way_of_the_runner(program, files):
    found = bench.benchmark_together(files, rounds=2, num_runs=6, min_secs=0, warmup_runs=0, connect="local")
    assert set(found) == {"fp32", "int8"}
    for name, one in found.items():
        # Six runs in all, three a round.
        assert one.latency.runs == 6 and one.latency.min > 0 and one.init_s > 0
        assert len(found.round_p50[name]) == 2
        assert one.measured_on.board.startswith("this machine: ") and "C runner" in one.measured_on.runtime
        kept = json.loads(json.dumps(one.to_json()))
        assert kept["conditions"]["moved"] == list(one.conditions.moved)
    assert found.speedups("fp32")["fp32"].median == 1


def test_the_runner_and_the_interpreter_agree_on_the_time(program, files):
    rules = {"rounds": 1, "num_runs": 300, "min_secs": 0.0, "warmup_runs": 50}
    by_program = bench.benchmark_together({"f": files["fp32"]}, connect="local", **rules)["f"]
    by_python = bench.benchmark_together({"f": files["fp32"]}, **rules)["f"]
    # The same library and kernels. A wrong unit is off by a thousand; how busy this machine is moves it less.
    assert 0.01 < by_program.latency.min / by_python.latency.min < 100
    assert by_python.conditions is None and "conditions" not in by_python.to_json()


def test_what_is_for_boards_needs_a_connection(files):
    for words in ({"board": "rk3399"}, {"cores": "big"}, {"cool_down_secs": 1.0}):
        with pytest.raises(InputError, match=r"are for a board\. Expected: `connect` with them"):
            bench.benchmark_together(files, **words)
    with pytest.raises(InputError, match="`cores` must be one of"):
        bench.benchmark_together(files, connect="local", cores="medium")
    with pytest.raises(InputError, match=r"--connect takes local, ssh.*Received: 'telnet:1'"):
        bench.benchmark_together(files, connect="telnet:1", board="rk3399")
    with pytest.raises(InputError, match=r"A board is one of .*Received: ''"):
        bench.benchmark_together(files, connect="ssh://user@board")


def test_a_broken_file_on_this_machine_is_one_error(program, tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_text("this is not a model")
    with pytest.raises(
        DeviceError, match=r"this machine: the network did not run there\. Received: LiteRT cannot read"
    ):
        bench.benchmark_together({"broken": broken}, connect="local", rounds=1)


def test_a_run_that_takes_too_long_is_ended(program, files):
    with pytest.raises(DeviceError, match=r"did not end within 0\.4 s"):
        bench.benchmark_together(
            {"f": files["fp32"]}, connect="local", rounds=1, min_secs=60, timeout_s=0.4
        )  # fmt: skip


def test_cores_alike_have_no_big_ones(program, files):
    with pytest.raises(DeviceError, match=r"--cores=big: (all cores here are alike|this kernel does not say)"):
        bench.benchmark_together(files, connect="local", cores="big", rounds=1)


def test_an_old_c_library_of_this_machine(program, files, tmp_path, monkeypatch):
    """The runner does not start by itself, and does with a loader and libraries beside it."""
    try:
        runner.libc_files(platform.machine())
    except DeviceError as error:
        pytest.skip(str(error))
    loaders = []

    class Old(Local):
        def run(self, argv, *, timeout_s):
            if argv[0].endswith("/tta_runner"):
                return Finished(1, "", "tta_runner: /lib/libc.so.6: version `GLIBC_2.34' not found\n")
            loaders.append(os.path.basename(argv[0]))
            return super().run(argv, timeout_s=timeout_s)

    runs, installed = run_in_turn(
        Old(), get_board("host"), {"f": files["int8"]}, ["--runs=1", "--min_secs=0", "--warmup_min_secs=0"], rounds=1
    )
    assert installed.own_libc and loaders.count(runner.LOADERS[platform.machine()]) == 2
    assert len(runs["f"]) == 1 and runs["f"][0].fully_delegated


def test_connect_local_opens_this_machine():
    assert connect.open_transport("local").title == board_benchmark.THIS_MACHINE
