"""The emulated board: small programs for arm64 under every processor, and what is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.measure.device import arm64
from tta_lite.measure.device import emulator
from tta_lite.measure.device.emulated_cores import CORES
from tta_lite.measure.device.emulator import Emulated, Qemu, find_qemu
from tta_lite.measure.device.emulator_root import emulator_root, machine_files
from tta_lite.measure.device.transport import DeviceError, Transport
from tta_lite.types import InputError

# What a program is told of its machine: by the kernel's files, and by the emulated processor itself.
LOOK = r"""
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>
int main(int count, char **words) {
  char line[512], part[64] = "", features[512] = "";
  FILE *file = fopen("/proc/cpuinfo", "r");
  while (file && fgets(line, sizeof line, file)) {
    sscanf(line, "CPU part : %63s", part);
    if (!strncmp(line, "Features", 8)) strcpy(features, line);
  }
  unsigned long has = getauxval(AT_HWCAP);
  printf("%s atomics=%d/%d", part, (int)(has >> 8 & 1), strstr(features, " atomics ") != 0);
  printf(" half=%d/%d", (int)(has >> 10 & 1), strstr(features, " asimdhp ") != 0);
  printf(" dot=%d/%d words=%d\n", (int)(has >> 20 & 1), strstr(features, " asimddp") != 0, count);
  return count > 1 ? 7 : 0;
}
"""


@pytest.fixture(scope="module")
def look(tmp_path_factory) -> Path:
    arm64.need_emulator()
    return arm64.build(LOOK, tmp_path_factory.mktemp("look") / "look", "-O1")


# Of Arm's manuals: the part numbers, and that dot products, atomics and half precision came with Armv8.2.
@pytest.mark.parametrize(
    ("cpu", "part", "newer"),
    [("cortex-a53", "0xd03", 0), ("cortex-a72", "0xd08", 0), ("cortex-a76", "0xd0b", 1), ("neoverse-n1", "0xd0c", 1)],
)
def test_the_files_and_the_processor_say_the_same(look: Path, cpu: str, part: str, newer: int) -> None:
    transport: Transport = Emulated(cpu)
    with transport as board:
        program = board.put(look, "look")
        said = f"{part} atomics={newer}/{newer} half={newer}/{newer} dot={newer}/{newer} words="
        assert board.run([program], timeout_s=60).stdout == f"{said}1\n"
        finished = board.run(["./look", "--a b=$HOME"], timeout_s=60)
        assert (finished.code, finished.stdout) == (7, f"{said}2\n")
        assert board.emulated and CORES[cpu].title in board.title and "QEMU" in board.title
    assert not os.path.exists(board.folder)


def test_commands_are_this_machine_s_and_a_missing_program_has_the_code_of_a_shell(look: Path) -> None:
    with Emulated() as board:
        board.put(look, "look")
        assert board.run(["rm", "look"], timeout_s=60).code == 0
        assert board.run(["./look"], timeout_s=60).code == 127
        assert board.run(["uname", "-m"], timeout_s=60).stdout.strip() == os.uname().machine


def test_two_clusters_are_told_apart() -> None:
    # As on an RK3399, where Linux counts the little cores first.
    files = machine_files(["cortex-a53"] * 4 + ["cortex-a72"] * 2)
    cpu = "sys/devices/system/cpu"
    assert files[f"{cpu}/possible"] == "0-5\n"
    assert [files[f"{cpu}/cpu{n}/topology/core_siblings_list"] for n in (0, 3, 4, 5)] == [
        "0-3\n",
        "0-3\n",
        "4-5\n",
        "4-5\n",
    ]
    assert files[f"{cpu}/cpu3/cpufreq/cpuinfo_max_freq"] < files[f"{cpu}/cpu4/cpufreq/cpuinfo_max_freq"]
    parts = [line.split()[-1] for line in files["proc/cpuinfo"].splitlines() if line.startswith("CPU part")]
    assert parts == ["0xd03"] * 4 + ["0xd08"] * 2


def test_the_root_is_made_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one = emulator_root(["cortex-a72"], tmp_path)
    assert (one / "lib").resolve() == tmp_path.resolve()
    made = (one / "proc/cpuinfo").stat().st_mtime_ns
    assert emulator_root(["cortex-a72"], tmp_path) == one
    assert (one / "proc/cpuinfo").stat().st_mtime_ns == made
    assert emulator_root(["cortex-a53"], tmp_path) != one
    assert sorted(path.name for path in one.parent.iterdir()) == sorted(
        {one.name, emulator_root(["cortex-a53"], tmp_path).name}
    )


@pytest.mark.parametrize(("cpu", "said"), [("max", "wrong int8"), ("a64fx", "must be one of"), ("", "must be one of")])
def test_a_processor_that_is_wrong_or_unknown_is_refused(cpu: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Emulated(cpu)


def stand_in(folder: Path, version: str, plugin: str, processors: str) -> None:
    program = folder / emulator.PROGRAM
    program.write_text(
        f"#!/bin/sh\ncase $1 in --version) echo 'qemu-aarch64 version {version} (Debian)';;\n"
        f"-cpu) printf 'Available CPUs:\\n  {processors}\\n';; -help) echo '-L path {plugin}';; esac\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_without_qemu_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"package qemu-user; `tta-lite setup-emulator`"):
        Emulated()


@pytest.mark.parametrize(
    ("version", "plugin", "why"),
    [
        ("10.0.8", "", "takes no plugins"),
        ("9.2.0", "-plugin", "another interface"),
        ("5.2.0", "-plugin", "another interface"),
        ("7.2.22", "-plugin", None),
        ("8.2.2", "-plugin", None),
    ],
)
def test_which_versions_can_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version, plugin, why) -> None:
    stand_in(tmp_path, version, plugin, "cortex-a72")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    qemu = find_qemu()
    assert qemu == Qemu(
        tmp_path / "qemu-aarch64", tuple(map(int, version.split("."))), frozenset({"cortex-a72"}), bool(plugin)
    )
    assert (why is None and qemu.why_no_counts() is None) or why in qemu.why_no_counts()


def test_an_old_qemu_without_that_processor_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "6.2.0", "-plugin", "cortex-a72")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(DeviceError, match=r"QEMU 6\.2\.0 .* must know the processor cortex-a76"):
        Emulated("cortex-a76")


def test_without_the_libraries_of_arm64_their_packages_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, "7.2.22", "-plugin", "cortex-a72")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(emulator, "LIBRARIES", tmp_path)
    with pytest.raises(DeviceError, match=r"packages libc6-arm64-cross, libstdc\+\+6-arm64-cross"):
        Emulated()


def test_a_qemu_without_plugins_runs_and_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arm64.need_emulator()
    stand_in(tmp_path, "10.0.8", "", "cortex-a72")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with Emulated() as board, pytest.raises(DeviceError, match="takes no plugins"):
        board.run_with_plugins(["./program"], [], timeout_s=1)
