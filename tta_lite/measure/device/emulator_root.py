"""The folder that an emulated program sees before this machine's own: an ARM machine's libraries and descriptions.

LiteRT asks ``/proc/cpuinfo`` and ``/sys/devices/system/cpu`` which core it runs on, and chooses its kernels by that;
this machine's own answers would end it or mislead it. Imports no TensorFlow.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tta_lite.measure.device.cache import cache_folder, kept
from tta_lite.measure.device.emulated_cores import emulated_core

CPU_FOLDER = "sys/devices/system/cpu"


def emulator_root(cores: Sequence[str], libraries: Path) -> Path:
    """-> the folder for a chip of those cores, made the first time.

    Args:
      cores: names of `emulated_cores.CORES`, one a core, in the order of their numbers.
      libraries: of arm64; the folder holds a link to it.

    Raises:
      InputError: a core that is not known, or the cache cannot be written.
    """
    files = machine_files(cores)
    digest = hashlib.sha256(repr([sorted(files.items()), str(libraries)]).encode()).hexdigest()[:16]
    return kept(cache_folder("emulator", digest), lambda folder: _make(folder, files, libraries))


def machine_files(cores: Sequence[str]) -> dict[str, str]:
    """-> what Linux says of a chip: {path below the root: text}.

    Cores of one kind are one cluster.

    >>> files = machine_files(["cortex-a53", "cortex-a53", "cortex-a72"])
    >>> files["sys/devices/system/cpu/cpu1/topology/core_siblings_list"]
    '0-1\\n'
    """
    last = len(cores) - 1
    lines = {"kernel_max": "255", "possible": f"0-{last}", "present": f"0-{last}"}
    kinds = list(dict.fromkeys(cores))
    blocks = []
    for number, name in enumerate(cores):
        core = emulated_core(name)
        siblings = [place for place, other in enumerate(cores) if other == name]
        lines |= {
            f"cpu{number}/cpufreq/cpuinfo_max_freq": str(core.max_khz),
            f"cpu{number}/cpufreq/cpuinfo_min_freq": "408000",
            f"cpu{number}/topology/physical_package_id": str(kinds.index(name)),
            f"cpu{number}/topology/core_siblings_list": _as_list(siblings),
        }
        blocks.append(
            f"processor\t: {number}\nBogoMIPS\t: 48.00\nFeatures\t: {core.features}\nCPU implementer\t: 0x41\n"
            f"CPU architecture: 8\nCPU variant\t: {core.variant:#x}\nCPU part\t: {core.part:#x}\n"
            f"CPU revision\t: {core.revision}\n\n"
        )
    files = {f"{CPU_FOLDER}/{path}": f"{text}\n" for path, text in lines.items()}
    return {"proc/cpuinfo": "".join(blocks), **files}


def _as_list(numbers: Sequence[int]) -> str:
    """Numbers as the kernel writes them: ``0-3,6``.

    >>> _as_list([0, 1, 2, 3, 6])
    '0-3,6'
    """
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def _make(folder: Path, files: Mapping[str, str], libraries: Path) -> None:
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="ascii")
    os.symlink(libraries, folder / "lib")
