"""What machine is this? Enough to judge a figure that was measured on it, and nothing that names its owner.

No host name, no user name, no paths. Imports no TensorFlow.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from tta_lite.boards.cpuinfo import isa_features, parse_cpuinfo

PACKAGES = (
    "tta-lite",
    "tensorflow",
    "tf-keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "tf2onnx",
    "numpy",
    "scipy",
    "pillow",
)


def _sysctl(key: str) -> str:
    try:
        done = subprocess.run(["sysctl", "-n", key], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def cpu() -> tuple[str, frozenset[str]]:
    """-> (model name or ``unknown CPU``, feature flags)."""
    cpuinfo = _read("/proc/cpuinfo")
    if cpuinfo.strip():
        name, flags = parse_cpuinfo(cpuinfo)
        return name or "unknown CPU", flags
    return _sysctl("machdep.cpu.brand_string") or "unknown CPU", frozenset()


def cores() -> int:
    """-> the cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _ram_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _operating_system() -> str:
    # The number alone: what follows it in a release name is a builder's own.
    number = re.match(r"[\d.]*\d", platform.release())
    kernel = f"{platform.system()} {number.group() if number else ''}".strip()
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']} ({kernel})"
    except (OSError, KeyError, AttributeError):
        return kernel


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe_machine() -> dict[str, Any]:
    """-> a dictionary of plain JSON values: CPU, cores, ISA features, memory, system, Python and package versions.

    >>> sorted(describe_machine())[:4]
    ['architecture', 'board', 'cores', 'cpu']
    """
    name, flags = cpu()
    return {
        "cpu": name,
        "architecture": platform.machine(),
        # Boards with a device tree say what they are; a PC has none.
        "board": _read("/proc/device-tree/model").strip("\0\n ") or None,
        "cores": cores(),
        "isa": isa_features(flags, platform.machine()),
        "ram_bytes": _ram_bytes(),
        "os": _operating_system(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": _versions(),
    }


def summary() -> str:
    """-> one phrase, e.g. ``AMD EPYC, x86_64, 2 cores``."""
    count = cores()
    return f"{cpu()[0]}, {platform.machine()}, {count} core{'s' if count != 1 else ''}"
