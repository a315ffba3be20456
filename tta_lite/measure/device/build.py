"""Compiles the runner, ``native/runner.c``, for this machine or for a board. Imports no TensorFlow.

For a board the compiler is Zig's ``zig cc`` from the package ``ziglang`` (extra ``board``): it brings the headers and
symbol versions of every glibc, so that one program runs wherever glibc is 2.17 or newer. Without it Debian's
``aarch64-linux-gnu-gcc`` serves too, but what it makes needs a glibc as new as its own.
"""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from tta_lite.measure.device.cache import cache_folder, kept
from tta_lite.measure.device.transport import DeviceError

NATIVE = Path(__file__).parent / "native"
SOURCES = ("runner.c", "runtime.c", "board.c")
HEADERS = ("runtime.h", "board.h", "json.h")
OPTIONS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")
LIBRARIES = ("-ldl", "-lm")
# The oldest glibc that has this architecture at all.
ZIG_TARGETS = {"aarch64": "aarch64-linux-gnu.2.17", "x86_64": "x86_64-linux-gnu.2.17"}
CROSS_COMPILERS = {"aarch64": "aarch64-linux-gnu-gcc"}
TIMEOUT_S = 300


def build_runner(architecture: str) -> Path:
    """-> the program, built the first time.

    Args:
      architecture: ``aarch64`` or ``x86_64``, as `platform.machine` says it.

    Raises:
      DeviceError: there is no compiler for it, or it failed.
    """
    command = compiler(architecture)
    digest = hashlib.sha256(" ".join(command).encode())
    for name in sorted((*SOURCES, *HEADERS)):
        digest.update((NATIVE / name).read_bytes())
    program = cache_folder("runner", digest.hexdigest()[:16], f"tta_runner-{architecture}")
    return kept(program, lambda path: _compile(command, path))


def compiler(architecture: str) -> list[str]:
    """-> the words that begin a command of a C compiler for it.

    Raises:
      DeviceError: there is none.
    """
    own = architecture == platform.machine()
    if own and (native := shutil.which("cc") or shutil.which("gcc")):
        return [native]
    if architecture in ZIG_TARGETS and importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc", "-target", ZIG_TARGETS[architecture], "-s"]
    cross = CROSS_COMPILERS.get(architecture)
    if cross and (found := shutil.which(cross)):
        return [found]
    ways = ["pip install ziglang"] if architecture in ZIG_TARGETS else []
    ways += ["a C compiler as `cc`"] if own else []
    ways += [f"Debian's and Ubuntu's package gcc-{architecture}-linux-gnu"] if cross else []
    raise DeviceError(
        f"The runner must be compiled for {architecture}, and no compiler for it is here. Expected: "
        f"{', or '.join(ways) or 'aarch64 or x86_64'}. Received: none"
    )


def _compile(command: list[str], path: Path) -> None:
    sources = (str(NATIVE / name) for name in SOURCES)
    run_compiler(command, [*OPTIONS, "-o", str(path), *sources, *LIBRARIES], "runner")


def run_compiler(command: list[str], words: list[str], what: str) -> None:
    """Runs a compiler.

    Args:
      command: that begins it, see `compiler`.
      words: what follows.
      what: it compiles, for the message.

    Raises:
      DeviceError: it failed or took too long.
    """
    try:
        done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"The compiler must be done within {TIMEOUT_S} s. Received: {' '.join(command)}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise DeviceError(f"The {what} cannot be compiled with {' '.join(command)}. Received: {lines[0]}")
