"""An emulated processor as a board: programs for arm64 run here under ``qemu-aarch64``. Imports no TensorFlow.

It gives outputs, and with plugins exact counts (`counters.py`). It never gives a time: how long QEMU takes says
nothing about a board.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tta_lite.measure.device.emulated_cores import Caches, emulated_core
from tta_lite.measure.device.emulator_root import emulator_root
from tta_lite.measure.device.local import Local
from tta_lite.measure.device.transport import DeviceError, Finished

PROGRAM = "qemu-aarch64"
# Where Debian's and Ubuntu's cross packages put the libraries of arm64.
LIBRARIES = Path("/usr/aarch64-linux-gnu/lib")
NEEDED_LIBRARIES = {
    "ld-linux-aarch64.so.1": "libc6-arm64-cross",
    "libc.so.6": "libc6-arm64-cross",
    "libstdc++.so.6": "libstdc++6-arm64-cross",
}
SETUP = "`tta-lite setup-emulator` says what to install"
# 9.0 changed the interface for plugins; before 6.0 it had not come to rest.
PLUGIN_VERSIONS = ((6, 0), (9, 0))
# The addresses that a program gets then do not hang on where this machine's kernel puts QEMU: misses repeat exactly.
RESERVED_ADDRESSES = "0x1000000000"
# LiteRT keeps a list of the cores: on all machines with no more than these, misses are alike too.
FIRST_CORES = 16
ASK_TIMEOUT_S = 30
# The number of the architecture in an ELF header.
EM_AARCH64 = 183


@dataclasses.dataclass(frozen=True)
class Qemu:
    """QEMU's emulator of arm64 programs, as it is installed here.

    Attributes:
      path: the program.
      version: as ``(7, 2, 22)``.
      processors: that it knows.
      takes_plugins: whether it can count: static builds cannot.
    """

    path: Path
    version: tuple[int, ...]
    processors: frozenset[str]
    takes_plugins: bool

    @property
    def title(self) -> str:
        """What reports call it.

        >>> Qemu(Path("/usr/bin/qemu-aarch64"), (7, 2, 22), frozenset(), True).title
        'QEMU 7.2.22'
        """
        return f"QEMU {'.'.join(map(str, self.version))}"

    def why_no_counts(self) -> str | None:
        """-> why it cannot count, None if it can."""
        if not self.takes_plugins:
            return f"{self.title} at {self.path} takes no plugins (a static build)"
        low, high = PLUGIN_VERSIONS
        if not low <= self.version < high:
            return f"{self.title} at {self.path} has another interface for plugins than versions 6.0 to 8.2"
        return None


def find_qemu() -> Qemu:
    """-> the emulator on the path.

    Raises:
      DeviceError: there is none, or it does not answer.
    """
    found = shutil.which(PROGRAM)
    if not found:
        raise DeviceError(
            f"The emulated board needs {PROGRAM}, of the package qemu-user; {SETUP}. Received: none on the path"
        )
    said = _ask(found, "--version")
    version = re.search(r"version (\d+(?:\.\d+)+)", said)
    if not version:
        raise DeviceError(f"{found} must tell its version. Received: {said.strip()[:200]!r}")
    return Qemu(
        Path(found),
        tuple(int(part) for part in version[1].split(".")),
        # Names stand below a heading, indented.
        frozenset(line.strip() for line in _ask(found, "-cpu", "help").splitlines() if line.startswith(" ")),
        "-plugin" in _ask(found, "-help"),
    )


def missing_libraries() -> dict[str, str]:
    """-> {library of arm64 that is not here: its package}."""
    return {name: package for name, package in NEEDED_LIBRARIES.items() if not (LIBRARIES / name).exists()}


class Emulated(Local):
    """A processor under emulation; a `Transport`.

    Programs for arm64 run on it; every other command, as ``rm`` or a script, is this machine's.

    Attributes:
      architecture: of its programs.

    Args:
      cpu: one of `emulated_cores.CORES`.
      others: cores of other kinds on the same chip, a name each: LiteRT then prepares kernels for both. Programs always
        run on a core of the kind `cpu`, which has the first numbers; on the chip it may have others.
      caches: for the model of misses; those of `emulated_cores.CORES` if None.
      parent: the folder in which the work folder is made; None is the system's for temporary files.

    Raises:
      DeviceError: QEMU or the libraries of arm64 are not here, or it does not know that processor.
      InputError: a processor that is not known to be right.
    """

    architecture = "aarch64"

    def __init__(
        self,
        cpu: str = "cortex-a72",
        *,
        others: Sequence[str] = (),
        caches: Caches | None = None,
        parent: str | os.PathLike[str] | None = None,
    ) -> None:
        core = emulated_core(cpu)
        self.cpu = cpu.lower()
        self.caches = caches or core.caches
        self.qemu = find_qemu()
        if self.cpu not in self.qemu.processors:
            raise DeviceError(
                f"{self.qemu.title} at {self.qemu.path} must know the processor {self.cpu}; 7.2 and newer do. "
                f"Received: {', '.join(sorted(self.qemu.processors & {'cortex-a53', 'cortex-a72'})) or 'neither'}"
            )
        if absent := missing_libraries():
            raise DeviceError(
                f"The emulated board needs the libraries of arm64 in {LIBRARIES}; {SETUP}. "
                f"Missing: {', '.join(absent)} (packages {', '.join(dict.fromkeys(absent.values()))})"
            )
        # A program asks on which core it runs, and hears this machine's number: all of them must be of that kind.
        first = [self.cpu] * max(FIRST_CORES, max(os.sched_getaffinity(0)) + 1)
        root = emulator_root([*first, *(name.lower() for name in others)], LIBRARIES)
        super().__init__((), f"{core.title}, emulated by {self.qemu.title}", emulated=True, parent=parent)
        # A bare environment: its length moves the stack, and with it the misses.
        self.emulator = ("env", "-i", str(self.qemu.path), "-R", RESERVED_ADDRESSES, "-cpu", self.cpu, "-L", str(root))

    def __enter__(self) -> Emulated:
        super().__enter__()
        return self

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Finished:
        """Runs a program within the work folder; see `Transport.run`."""
        if argv and is_for_arm64(Path(self.folder, argv[0])):
            return super().run([*self.emulator, *argv], timeout_s=timeout_s)
        return super().run(argv, timeout_s=timeout_s)

    def run_with_plugins(self, argv: Sequence[str], plugins: Sequence[str], *, timeout_s: float) -> Finished:
        """Runs a program for arm64 with plugins of QEMU, each as ``file=PATH,name=value``.

        Raises:
          DeviceError: this QEMU takes none; and as `run`.
        """
        if why := self.qemu.why_no_counts():
            raise DeviceError(f"Counting needs a QEMU that takes plugins; {SETUP}. Received: {why}")
        words = [word for plugin in plugins for word in ("-plugin", plugin)]
        return super().run([*self.emulator, *words, *argv], timeout_s=timeout_s)


def is_for_arm64(path: Path) -> bool:
    """Whether a file is a program of that architecture, by its ELF header."""
    try:
        with path.open("rb") as file:
            header = file.read(20)
    except (OSError, ValueError):
        return False
    # A 64-bit file with the low byte first, and its machine.
    return header[:6] == b"\x7fELF\x02\x01" and int.from_bytes(header[18:20], "little") == EM_AARCH64


def _ask(program: str, *words: str) -> str:
    try:
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceError(f"{program} {' '.join(words)} must give an answer. Received: {error}") from error
    return done.stdout + done.stderr
