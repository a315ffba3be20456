"""This machine as a profile: its cores, caches, memory and system, as Linux shows them under /proc and /sys.

Elsewhere than on Linux less is known: the number of cores and the memory.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tta_lite.boards.cpuinfo import Processor, processors, profile_features
from tta_lite.types import InputError

SOURCE = "/proc/cpuinfo and /sys/devices/system/cpu of this machine"
# Core -> its instruction set and, where qemu 7.2 emulates it, the name there (`qemu-aarch64 -cpu help`). Arm's
# Technical Reference Manual of each core, section "Compliance" or "Supported standards".
ARM_CORES: Mapping[str, tuple[str, str]] = {
    "Cortex-A35": ("armv8.0-a", "cortex-a35"),
    "Cortex-A53": ("armv8.0-a", "cortex-a53"),
    "Cortex-A57": ("armv8.0-a", "cortex-a57"),
    "Cortex-A72": ("armv8.0-a", "cortex-a72"),
    "Cortex-A73": ("armv8.0-a", ""),
    "Cortex-A55": ("armv8.2-a", ""),
    "Cortex-A75": ("armv8.2-a", ""),
    "Cortex-A76": ("armv8.2-a", "cortex-a76"),
    "Cortex-A78": ("armv8.2-a", ""),
    "Cortex-X1": ("armv8.2-a", ""),
    "Neoverse-N1": ("armv8.2-a", "neoverse-n1"),
}
ARCHITECTURE_OF = {"arm64": "aarch64", "AMD64": "x86_64"}
CACHE_OF = {("1", "Data"): "l1d", ("1", "Instruction"): "l1i", ("2", "Unified"): "l2", ("3", "Unified"): "l3"}
UNITS = {"": 1 / 1024, "K": 1, "M": 1024, "G": 1024 * 1024}


def this_machine(root: Path = Path("/"), architecture: str | None = None) -> dict[str, Any]:
    """-> the keys of a profile that a machine can tell of itself, as a TOML file would hold them.

    Args:
      root: where ``proc``, ``sys`` and ``etc`` are.
      architecture: as ``uname -m`` says it; None: this machine's.

    Raises:
      InputError: the memory cannot be told.
    """
    machine = architecture or platform.machine()
    machine = ARCHITECTURE_OF.get(machine, machine)
    cores = _cores(root, machine)
    known = ("aarch64", "armv7l", "riscv64", "x86_64")
    values: dict[str, Any] = {
        "title": f"this machine ({', '.join(dict.fromkeys(one['name'] for one in cores))})",
        "memory_mib": _memory_mib(root),
        "memory_source": "MemTotal of /proc/meminfo",
        "architecture": machine if machine in known else "",
        "cores": cores,
    }
    if system := _system(root):
        values["systems"] = [system]
    return values


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _number(path: Path) -> int:
    text = _read(path)
    return int(text) if text.isdigit() else 0


def _cores(root: Path, machine: str) -> list[dict[str, Any]]:
    found = [one for one in processors(_read(root / "proc/cpuinfo")) if one.number >= 0]
    if not found:
        count = len(_online(root)) or os.cpu_count() or 1
        found = [Processor(number, "", frozenset()) for number in range(count)]
    kinds: dict[tuple[str, frozenset[str]], list[Processor]] = {}
    for one in found:
        kinds.setdefault((one.name, one.flags), []).append(one)
    tables = [_kind(root, machine, members) for members in kinds.values()]
    tables.sort(key=lambda table: (_capacity(root, table), table["max_mhz"]), reverse=True)
    if len(tables) > 1:
        for table in tables:
            table["cluster"] = "big"
        tables[-1]["cluster"] = "little"
    return tables


def _capacity(root: Path, table: Mapping[str, Any]) -> int:
    return max(_number(root / f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity") for cpu in table["cpus"])


def _kind(root: Path, machine: str, members: list[Processor]) -> dict[str, Any]:
    first = members[0]
    cpus = sorted(one.number for one in members)
    khz = max(_number(root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq") for cpu in cpus)
    isa, qemu_cpu = ARM_CORES.get(first.name, ("x86-64" if machine == "x86_64" else "", ""))
    if machine == "armv7l":
        # A 64-bit core in its 32-bit state: what it has beyond that is out of reach.
        isa, qemu_cpu = "armv7-a", ""
    caches, shared = _caches(root / f"sys/devices/system/cpu/cpu{cpus[0]}/cache")
    features = profile_features(first.flags, machine)
    return {
        "name": first.name or f"{machine or 'unknown'} core",
        "count": len(members),
        "max_mhz": round(khz / 1000),
        "features": [one for one in features if machine != "armv7l" or one == "neon"],
        "source": SOURCE,
        "cpus": cpus,
        "isa": isa,
        "caches_kib": caches,
        "shared_by": shared,
        "qemu_cpu": qemu_cpu,
        "midr_part": first.part,
    }


def _caches(folder: Path) -> tuple[dict[str, int], dict[str, int]]:
    sizes, shared = {}, {}
    for index in sorted(folder.glob("index[0-9]*")):
        level = CACHE_OF.get((_read(index / "level"), _read(index / "type")))
        size = re.fullmatch(r"(\d+)([KMG]?)", _read(index / "size"))
        if not level or not size or not (kib := int(int(size[1]) * UNITS[size[2]])):
            continue
        sizes[level] = kib
        if (cores := len(_listed(_read(index / "shared_cpu_list")))) > 1:
            shared[level] = cores
    return sizes, shared


def _listed(text: str) -> list[int]:
    """-> the numbers of a list as the kernel writes it.

    >>> _listed("0-2,5")
    [0, 1, 2, 5]
    """
    numbers: list[int] = []
    for part in text.split(","):
        if match := re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip()):
            numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
    return numbers


def _online(root: Path) -> list[int]:
    return _listed(_read(root / "sys/devices/system/cpu/online"))


def _memory_mib(root: Path) -> int:
    if match := re.search(r"^MemTotal:\s*(\d+) kB", _read(root / "proc/meminfo"), re.MULTILINE):
        return int(match[1]) // 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    except (AttributeError, ValueError, OSError) as error:
        raise InputError(
            "This machine must tell its memory (/proc/meminfo), or a profile of one's own must (`memory_mib`). "
            "Received: nothing"
        ) from error


def _system(root: Path) -> dict[str, Any] | None:
    name = re.search(r'^PRETTY_NAME="?([^"\n]+)', _read(root / "etc/os-release"), re.MULTILINE)
    try:
        libc, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):
        libc, version = "", ""
    if not name and not libc:
        return None
    return {
        "name": name[1] if name else platform.system(),
        "libc": "glibc" if libc == "glibc" else "other",
        "libc_version": version if libc == "glibc" else "",
        "source": "/etc/os-release and the C library of this machine",
    }
