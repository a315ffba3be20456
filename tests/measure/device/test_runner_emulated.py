"""The runner for boards under an emulator: what it reads of a chip, and how it starts beside an old C library."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.measure.device.conftest import IMAGES, QUICK, Program
from tta_lite.boards.profile import get_board
from tta_lite.export.bundle import write_bundle
from tta_lite.export.runner import TFLitePredictor
from tta_lite.measure.device.build import build_runner
from tta_lite.measure.device.emulator_root import CPU_FOLDER, machine_files
from tta_lite.measure.device.kit import write_kit
from tta_lite.measure.device.library import litert_library
from tta_lite.measure.device.own_libc import LOADERS, libc_files
from tta_lite.measure.device.results import read_results
from tta_lite.measure.device.transport import DeviceError
from tta_lite.models.backbones import Normalisation
from tta_lite.report import boards

QEMU = shutil.which("qemu-aarch64")
pytestmark = pytest.mark.skipif(QEMU is None, reason="needs qemu-aarch64 (Debian's package qemu-user)")
CPUS = sorted(os.sched_getaffinity(0))
two_cores = pytest.mark.skipif(len(CPUS) < 2, reason="needs a machine with two cores")
# Enough to compute, and no more: what an emulator takes says nothing.
ONCE = (*QUICK, "--runs=1")


@pytest.fixture(scope="module")
def parts() -> tuple[Path, Path, list[Path]]:
    """-> the runner, LiteRT's library and a C library, all for arm64."""
    try:
        return build_runner("aarch64"), litert_library("aarch64"), libc_files("aarch64")
    except DeviceError as error:
        pytest.skip(str(error))


def chip(folder: Path, libraries: Sequence[Path] = (), **files: str) -> Path:
    """A root as an RK3399 shows itself, with these files as well; its C library is `libraries`, or it has none."""
    last = max(CPUS)
    # The core with the highest number is a fast one.
    texts = machine_files([*["cortex-a53"] * last, "cortex-a72"])
    # What a root lacks would be read from this machine. 1024 for all is what a chip without capacities says.
    texts |= {f"{CPU_FOLDER}/cpu{cpu}/cpu_capacity": "1024\n" for cpu in range(last + 1)}
    for name, text in (texts | files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "lib").mkdir()
    for library in libraries:
        (folder / "lib" / library.name).symlink_to(library)
    return folder


def runner_on(root: Path, parts) -> Program:
    return Program([str(QEMU), "-cpu", "cortex-a72", "-L", str(root), str(parts[0])], parts[1])


@two_cores
def test_cores_are_told_apart_by_their_clocks(parts, files, tmp_path):
    run = runner_on(chip(tmp_path / "root", parts[2]), parts)
    big, little = ([max(CPUS)], [cpu for cpu in CPUS if cpu != max(CPUS)])
    for name, cpus in (("big", big), ("little", little)):
        record = run.record(files["int8"], tmp_path / "out.json", *ONCE, f"--cores={name}")
        assert (record["cpus"], record["pinned"]) == (cpus, True)
    assert record["machine"]["architecture"] == "aarch64"
    parts_told = [one["CPU part"] for one in record["machine"]["processors"]]
    assert parts_told == ["0xd03"] * max(CPUS) + ["0xd08"]


@two_cores
def test_capacities_come_before_clocks(parts, files, tmp_path):
    # Slow cores with the higher clock: the kernel knows which are faster.
    told = {f"{CPU_FOLDER}/cpu{cpu}/cpu_capacity": "485\n" for cpu in range(max(CPUS))}
    told[f"{CPU_FOLDER}/cpu{max(CPUS)}/cpufreq/cpuinfo_max_freq"] = "600000\n"
    run = runner_on(chip(tmp_path / "root", parts[2], **told), parts)
    record = run.record(files["int8"], tmp_path / "out.json", *ONCE, "--cores=big")
    assert record["cpus"] == [max(CPUS)]


@two_cores
def test_the_boards_state_is_read(parts, files, tmp_path):
    state = {}
    for cpu in range(max(CPUS) + 1):
        state[f"{CPU_FOLDER}/cpu{cpu}/cpufreq/scaling_cur_freq"] = f"{1_000_000 + cpu}\n"
        state[f"{CPU_FOLDER}/cpu{cpu}/cpufreq/scaling_governor"] = 'on"demand\n'
    record = runner_on(chip(tmp_path / "root", parts[2], **state), parts).record(
        files["int8"], tmp_path / "out.json", *ONCE
    )
    assert record["before"]["cpus"] == record["after"]["cpus"] == [
        {"cpu": cpu, "khz": 1_000_000 + cpu, "governor": 'on"demand'} for cpu in range(max(CPUS) + 1)
    ]  # fmt: skip


def test_cores_that_are_alike_or_unknown_are_refused(parts, tmp_path):
    alike = {f"{CPU_FOLDER}/cpu{cpu}/cpufreq/cpuinfo_max_freq": "1800000\n" for cpu in range(max(CPUS) + 1)}
    done = runner_on(chip(tmp_path / "alike", parts[2], **alike), parts)(
        "--model=none", f"--out={tmp_path / 'o'}", "--cores=little"
    )
    assert "error: --cores=little: all cores here are alike. Expected: --cores=all" in done.stderr
    silent = {name: "" for name in alike}
    silent |= {f"{CPU_FOLDER}/cpu{cpu}/cpu_capacity": "" for cpu in range(max(CPUS) + 1)}
    done = runner_on(chip(tmp_path / "silent", parts[2], **silent), parts)(
        "--model=none", f"--out={tmp_path / 'o'}", "--cores=big"
    )
    assert done.returncode == 1
    assert "this kernel does not say how fast its cores are. Name them: --cpus=4,5" in done.stderr


@pytest.mark.parametrize("preset", ["int8", "fp32"])
def test_outputs_are_those_of_this_machine(parts, files, tmp_path, preset):
    interpreter = TFLitePredictor(files[preset].read_bytes())
    stored = interpreter.input.quantise(IMAGES[:1])
    (tmp_path / "input.bin").write_bytes(stored.tobytes())
    run = runner_on(chip(tmp_path / "root", parts[2]), parts)
    flags = f"--input={tmp_path / 'input.bin'}", f"--dump={tmp_path}"
    run.record(files[preset], tmp_path / "out.json", *ONCE, *flags)
    wanted = interpreter.run(stored)
    found = np.frombuffer((tmp_path / "output0.bin").read_bytes(), wanted.dtype).reshape(wanted.shape)
    if preset == "int8":
        assert found.tobytes() == wanted.tobytes()
    else:
        assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.fixture(scope="module")
def kit(parts, files, tmp_path_factory) -> Path:
    """A kit for an RK3399 with Ubuntu 18.04, whose C library is too old."""
    folder = tmp_path_factory.mktemp("run")
    artifact = write_bundle(
        folder / "artifact",
        files["int8"].read_bytes(),
        name="tiny",
        normalisation=Normalisation((127.5,) * 3, (127.5,) * 3),
        golden_inputs=IMAGES[:2],
    )
    board = get_board("rk3399")
    assert board.systems[0].libc_version == "2.27"
    assert write_kit(artifact, board, folder / "kit").own_libc
    assert not write_kit(artifact, board, folder / "kit that uses the board's", own_libc=False).own_libc
    return folder / "kit"


def test_a_board_without_a_fitting_c_library_needs_the_kits_own(parts, kit, tmp_path):
    root = chip(tmp_path / "root")
    start = [str(QEMU), "-cpu", "cortex-a72", "-L", str(root)]
    probe = ["./tta_runner", "--probe", "--library=./lib/libLiteRt.so"]
    plain = subprocess.run([*start, *probe], cwd=kit, capture_output=True, text=True, timeout=600)
    assert plain.returncode != 0 and LOADERS["aarch64"] in plain.stderr
    own = [*start, f"./lib/{LOADERS['aarch64']}", "--library-path", "./lib", *probe]
    brought = subprocess.run(own, cwd=kit, capture_output=True, text=True, timeout=600)
    assert brought.returncode == 0, brought.stderr
    assert json.loads(brought.stdout)["architecture"] == "aarch64"


@pytest.mark.parametrize("own", [True, False], ids=["own libc", "the board's"])
def test_the_kit_runs_from_its_own_folder(parts, kit, tmp_path, own):
    # The board has no C library at all, or a new one.
    root = chip(tmp_path / "root", () if own else parts[2])
    folder = kit if own else kit.with_name("kit that uses the board's")
    assert (folder / "lib" / "libc.so.6").exists() is own
    settings = {"EMULATOR": f"{QEMU} -cpu cortex-a72 -L {root}", "CORES": "all", "ROUNDS": "1", "COOL_DOWN": "0"}
    bare = {"PATH": "/usr/bin:/bin", "PROFILE_RUNS": "1", **settings}
    done = subprocess.run([folder / "run.sh", *ONCE], cwd="/", env=bare, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "the outputs are those that were expected" in done.stdout
    results = read_results(folder / "results.json")
    [group] = results.groups
    # Bit by bit what this machine's kernels gave.
    assert results.emulated and [(one.agrees, one.different) for one in group.golden] == [(True, 0)] * 2
    assert "Cortex-A72" in group.figures.measured_on.cpu
    assert group.figures.measured_on.runtime.endswith("with a glibc of its own)") is own
    assert any("Deconvolution" in one["name"] for one in group.ops)
    # What the report keeps of it holds no time.
    assert [one["latency_ms"] for one in boards.record_of(results, None)["groups"]] == [None]
