"""What machine is this? Enough to judge a figure that was measured on it, and nothing that names its owner.

No host name, no user name, no paths. Imports no TensorFlow.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What decides which kernels XNNPACK picks: a name -> the kernel's names for it, any of which will do.
ISA_FEATURES: Mapping[str, tuple[str, ...]] = {
    "avx2": ("avx2",),
    "avx512": ("avx512f",),
    "vnni": ("avx512_vnni", "avx_vnni"),
    "neon": ("asimd", "neon"),
    "dotprod": ("asimddp",),
    "fp16": ("asimdhp",),
    "i8mm": ("i8mm",),
}
# ARM kernels give numbers, not names. https://github.com/util-linux/util-linux/blob/master/sys-utils/lscpu-arm.c
ARM_PARTS: Mapping[int, str] = {
    0xC07: "Cortex-A7",
    0xC09: "Cortex-A9",
    0xC0F: "Cortex-A15",
    0xD03: "Cortex-A53",
    0xD04: "Cortex-A35",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1",
    0xD40: "Neoverse-V1",
    0xD41: "Cortex-A78",
    0xD44: "Cortex-X1",
    0xD46: "Cortex-A510",
    0xD47: "Cortex-A710",
    0xD49: "Neoverse-N2",
    0xD4F: "Neoverse-V2",
}
ARM_IMPLEMENTER = 0x41
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


def parse_cpuinfo(text: str) -> tuple[str, frozenset[str]]:
    """``/proc/cpuinfo`` of x86 or ARM -> (model name, feature flags that every core has).

    >>> parse_cpuinfo("model name : Some CPU @ 2.00GHz\\nflags : fpu avx2\\n")[0]
    'Some CPU @ 2.00GHz'
    """
    names: list[str] = []
    flags: list[frozenset[str]] = []
    for core in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([^:\n]+?)[ \t]*:[ \t]*(.*)$", core, re.MULTILINE))
        features = fields.get("flags", fields.get("Features"))
        if features is not None:
            flags.append(frozenset(features.split()))
        if "model name" in fields and "CPU part" not in fields:
            names.append(" ".join(fields["model name"].split()))
        elif "CPU part" in fields:
            part, maker = int(fields["CPU part"], 16), int(fields.get("CPU implementer", "0"), 16)
            arm = ARM_PARTS.get(part) if maker == ARM_IMPLEMENTER else None
            names.append(arm or f"ARM implementer {maker:#04x} part {part:#05x}")
    counts = Counter(names)
    # A board with big and little cores is two models; which of them ran is then not known.
    name = names[0] if len(counts) == 1 else " + ".join(f"{count} x {name}" for name, count in counts.items())
    return name, frozenset.intersection(*flags) if flags else frozenset()


def isa_features(flags: frozenset[str], architecture: str) -> dict[str, bool | None]:
    """Kernel flags -> {feature: present}. None: not known, as the system lists no flags.

    >>> isa_features(frozenset({"asimd", "fp"}), "aarch64")["dotprod"]
    False
    """
    if flags:
        return {feature: any(name in flags for name in names) for feature, names in ISA_FEATURES.items()}
    known: dict[str, bool | None] = dict.fromkeys(ISA_FEATURES)
    # The 64 bit ARM architecture has no core without it.
    if architecture in ("arm64", "aarch64"):
        known["neon"] = True
    return known


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
