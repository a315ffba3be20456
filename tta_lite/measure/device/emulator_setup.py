"""What the emulated board needs here, how it is installed, and whether it works. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tta_lite.measure.device.build import NATIVE, compiler
from tta_lite.measure.device.cache import cache_folder, kept
from tta_lite.measure.device.counters import count_program
from tta_lite.measure.device.emulated_cores import CORES
from tta_lite.measure.device.emulator import PROGRAM, Emulated, find_qemu, missing_libraries
from tta_lite.measure.device.transport import DeviceError

INSTALL_TIMEOUT_S = 1800
# Since QEMU 9.1 Debian has one static qemu-user.
NO_PLUGINS = (
    "Debian 12 has one that does; that of Debian 13 and newer is static and does not. There the emulated board runs "
    "and compares outputs, and counts only in a container of Debian 12"
)
CHECK = "emulator_check.c"


@dataclasses.dataclass(frozen=True)
class Need:
    """Something that is missing.

    Attributes:
      what: as ``qemu-aarch64``.
      why: what does not work without it.
      packages: of Debian and Ubuntu; empty: no package of this release helps.
    """

    what: str
    why: str
    packages: tuple[str, ...]


def needs() -> list[Need]:
    """-> what is missing here; empty if all is there."""
    found = []
    if not shutil.which(PROGRAM):
        found.append(Need(PROGRAM, "emulates arm64 programs", ("qemu-user",)))
    elif why := find_qemu().why_no_counts():
        found.append(Need("a qemu-user that takes plugins", f"counts instructions; {why}. {NO_PLUGINS}", ()))
    if absent := missing_libraries():
        found.append(Need(", ".join(absent), "the C and C++ libraries of arm64", tuple(dict.fromkeys(absent.values()))))
    for architecture, why, package in (
        (platform.machine(), "compiles the plugins that count", ("gcc", "libc6-dev")),
        ("aarch64", "compiles programs for arm64", ("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross")),
    ):
        try:
            compiler(architecture)
        except DeviceError:
            found.append(Need(f"a C compiler for {architecture}", f"{why}; `pip install ziglang` is another", package))
    return found


def install_command(missing: Sequence[Need]) -> list[str]:
    """-> the words that install them, for root; empty if there is nothing that a package brings.

    >>> " ".join(install_command([Need("qemu-aarch64", "", ("qemu-user",))]))
    'apt-get install --yes --no-install-recommends qemu-user'
    """
    packages = list(dict.fromkeys(package for need in missing for package in need.packages))
    return ["apt-get", "install", "--yes", "--no-install-recommends", *packages] if packages else []


def install(command: Sequence[str]) -> None:
    """Runs it as root: as this user if it is root, else through sudo if that asks no password.

    Raises:
      DeviceError: this system has no apt-get, this user may not install, or it failed.
    """
    said = f"Run it yourself: sudo {' '.join(command)}"
    if not shutil.which(command[0]):
        raise DeviceError(
            f"Packages are installed with {command[0]}, of Debian and Ubuntu. {said}. Received: none here"
        )
    before: list[str] = []
    if os.geteuid() != 0:
        before = ["sudo", "-n"]
        if not shutil.which("sudo") or subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
            raise DeviceError(f"Installing needs root, or a sudo that asks no password. {said}. Received: neither")
    for words in (["apt-get", "update", "--quiet"], [*command]):
        try:
            done = subprocess.run(
                [*before, *words], capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceError(f"{' '.join(words)} must end within {INSTALL_TIMEOUT_S} s. {said}") from error
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise DeviceError(f"{' '.join(words)} failed. {said}. Received: {lines[-1]}")


def check_cores() -> Iterator[str]:
    """Runs a small program under each core, counted where this QEMU can -> a line a core that works.

    Raises:
      DeviceError: one does not.
    """
    program = _check_program()
    for name, core in CORES.items():
        with Emulated(name) as board:
            path = board.put(program, "check")
            finished = board.run([path], timeout_s=60)
            newer = int("asimddp" in core.features)
            expected = f"{core.part:#x} {newer} {newer} 1"
            if finished.code or finished.stdout.strip() != expected:
                complaint = finished.stderr.strip().splitlines()[-1:] or [f"exit code {finished.code}"]
                raise DeviceError(
                    f"{board.title}: a small program must see the core, FP16 arithmetic, the dot product and the C++ "
                    f"library as {expected!r}. Received: {finished.stdout.strip() or complaint[0]!r}"
                )
            if board.qemu.why_no_counts():
                yield f"{board.title}: runs; does not count"
                continue
            [rows] = count_program(board, ["./check"], timeout_s=60).inferences
            if not 1000 <= rows[0]["branch"] < 5000:
                raise DeviceError(f"{board.title}: a loop must count as 1,000 branches. Received: {rows[0]['branch']}")
            yield f"{board.title}: runs and counts"


def _check_program() -> Path:
    command = compiler("aarch64")
    digest = hashlib.sha256(" ".join(command).encode() + (NATIVE / CHECK).read_bytes()).hexdigest()[:16]

    def make(target: Path) -> None:
        words = [*command, "-O1", "-o", str(target), str(NATIVE / CHECK), "-ldl"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise DeviceError(f"{CHECK} cannot be compiled with {' '.join(command)}. Received: {lines[0]}")

    return kept(cache_folder("emulator", digest, "check"), make)


def emulator_words(cpu: str = "cortex-a72") -> str:
    """-> what stands before a program for arm64 to run it here, as a kit's ``run.sh`` takes it in ``EMULATOR``."""
    return " ".join(Emulated(cpu).emulator)
