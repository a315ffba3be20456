"""Small programs for arm64 that tests run under emulation, and what they need; skips where it is missing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tta_lite.measure.device.build import compiler
from tta_lite.measure.device.emulator import find_qemu, missing_libraries
from tta_lite.measure.device.transport import DeviceError


def need_emulator(*, plugins: bool = False) -> None:
    """Skips the test where programs for arm64 do not run, or cannot be counted."""
    try:
        qemu = find_qemu()
    except DeviceError as error:
        pytest.skip(f"Debian: apt-get install qemu-user; {error}")
    if absent := missing_libraries():
        pytest.skip(f"Debian: apt-get install {' '.join(dict.fromkeys(absent.values()))}")
    if plugins and (why := qemu.why_no_counts()):
        pytest.skip(why)


def need_compiler() -> list[str]:
    """-> the words that begin a command of a compiler for arm64; skips the test where there is none."""
    try:
        return compiler("aarch64")
    except DeviceError as error:
        pytest.skip(f"pip install ziglang, or Debian: apt-get install gcc-aarch64-linux-gnu; {error}")


def build(source: str, target: Path, *options: str) -> Path:
    """C or assembler (with a ``_start``) -> a program for arm64 at `target`."""
    file = target.with_suffix(".S" if "_start" in source else ".c")
    file.write_text(source)
    subprocess.run([*need_compiler(), *options, "-o", str(target), str(file)], check=True)
    return target
