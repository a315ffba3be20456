"""This machine as a profile: the files of an RK3399 and of a PC under a made-up root, and what is here."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

import pytest

from tta_lite.boards.cpuinfo import processors
from tta_lite.boards.host import this_machine
from tta_lite.boards.profile import get_board
from tta_lite.boards.records import Cores
from tta_lite.boards.toml_record import record

FLAGS = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"


def plant(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def cache(cpu: int, index: int, level: int, kind: str, size: str, shared: str) -> dict[str, str]:
    folder = f"sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
    return {
        f"{folder}/level": f"{level}\n", f"{folder}/type": f"{kind}\n", f"{folder}/size": f"{size}\n",
        f"{folder}/shared_cpu_list": f"{shared}\n",
    }  # fmt: skip


def rk3399(flags: str = FLAGS) -> dict[str, str]:
    """As the kernel of a Firefly RK3399 shows itself: CPUs 0 to 3 are Cortex-A53, 4 and 5 Cortex-A72."""
    cpuinfo = "\n".join(
        f"processor\t: {cpu}\nBogoMIPS\t: 48.00\nFeatures\t: {flags}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        f"CPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 4\n"
        for cpu, part in enumerate(["0xd03"] * 4 + ["0xd08"] * 2)
    )
    files = {
        "proc/cpuinfo": cpuinfo,
        "proc/meminfo": "MemTotal:        3947676 kB\nMemFree:  1 kB\n",
        "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 18.04.6 LTS"\n',
        "sys/devices/system/cpu/online": "0-5\n",
    }
    for cpu in range(6):
        big = cpu > 3
        shared = "4-5" if big else "0-3"
        files[f"sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq"] = "1800000\n" if big else "1416000\n"
        files[f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity"] = "1024\n" if big else "485\n"
        files |= cache(cpu, 0, 1, "Data", "32K", str(cpu))
        files |= cache(cpu, 1, 1, "Instruction", "48K" if big else "32K", str(cpu))
        files |= cache(cpu, 2, 2, "Unified", "1024K" if big else "512K", shared)
    return files


def cores_of(root: Path, architecture: str) -> list[Cores]:
    return [record(Cores, table, "here") for table in this_machine(root, architecture)["cores"]]


def test_an_rk3399_tells_what_its_profile_says(tmp_path):
    root = plant(tmp_path, rk3399())
    for found, known in zip(cores_of(root, "aarch64"), get_board("rk3399").cores, strict=True):
        for key in (
            "name",
            "count",
            "cluster",
            "cpus",
            "isa",
            "caches_kib",
            "shared_by",
            "qemu_cpu",
            "midr_part",
            "features",
        ):
            assert getattr(found, key) == getattr(known, key), key
        assert found.max_mhz == pytest.approx(known.max_mhz, rel=0.02)
    values = this_machine(root, "aarch64")
    assert values["memory_mib"] == 3947676 // 1024 and values["architecture"] == "aarch64"
    assert values["systems"][0]["name"] == "Ubuntu 18.04.6 LTS"


def test_a_newer_arm_core_has_half_precision_and_dot_product(tmp_path):
    text = "processor : 0\nFeatures : fp asimd fphp asimdhp asimddp\nCPU implementer : 0x41\nCPU part : 0xd0b\n"
    (cores,) = cores_of(plant(tmp_path, {"proc/cpuinfo": text, "proc/meminfo": "MemTotal: 8388608 kB\n"}), "aarch64")
    assert (cores.name, cores.isa, cores.cluster) == ("Cortex-A76", "armv8.2-a", "all")
    assert set(cores.features) == {"neon", "fp16", "dotprod"}
    # No cpufreq, no caches: said to be unknown, not made up.
    assert (cores.max_mhz, dict(cores.caches_kib)) == (0, {})


def test_a_64_bit_core_in_its_32_bit_state_has_neon_alone(tmp_path):
    flags = "half thumb fastmult vfp edsp neon vfpv3 asimdhp asimddp"
    text = f"processor : 0\nFeatures : {flags}\nCPU implementer : 0x41\nCPU part : 0xd0b\n\nHardware : BCM2835\n"
    (cores,) = cores_of(plant(tmp_path, {"proc/cpuinfo": text, "proc/meminfo": "MemTotal: 1048576 kB\n"}), "armv7l")
    assert (cores.name, cores.isa, cores.features, cores.count) == ("Cortex-A76", "armv7-a", ("neon",), 1)


def test_a_pc(tmp_path):
    flags = "fpu sse2 avx2 fma f16c avx512f avx512_vnni"
    blocks = [
        f"processor\t: {cpu}\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R)  CPU @ 2.60GHz\n"
        f"cpu MHz\t\t: 2593.9\nflags\t\t: {flags}\n"
        for cpu in range(4)
    ]
    files = {"proc/cpuinfo": "\n".join(blocks), "proc/meminfo": "MemTotal:       16384000 kB\n"}
    for cpu in range(4):
        files |= cache(cpu, 0, 1, "Data", "32K", str(cpu)) | cache(cpu, 3, 3, "Unified", "36608K", "0-3")
    (cores,) = cores_of(plant(tmp_path, files), "AMD64")
    assert (cores.name, cores.count, cores.cpus) == ("Intel(R) Xeon(R) CPU @ 2.60GHz", 4, (0, 1, 2, 3))
    assert set(cores.features) == {"avx2", "fma", "f16c", "avx512", "vnni"} and cores.isa == "x86-64"
    assert (dict(cores.caches_kib), dict(cores.shared_by)) == ({"l1d": 32, "l3": 36608}, {"l3": 4})
    # What it runs at now is not the highest clock.
    assert cores.max_mhz == 0


def test_a_machine_without_proc_tells_how_many_cores_it_has(tmp_path):
    (cores,) = cores_of(tmp_path, "arm64")
    assert cores.count == (os.cpu_count() or 1) and cores.features == ("neon",)
    assert this_machine(tmp_path, "sparc")["architecture"] == ""


def test_a_block_that_describes_no_processor_is_none():
    assert [one.number for one in processors("processor : 0\nFeatures : fp\n\nHardware : x\nRevision : 1\n")] == [0]


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")
def test_this_machine():
    board = get_board("host")
    text = Path("/proc/cpuinfo").read_text()
    assert sum(cores.count for cores in board.cores) == text.count("processor\t:")
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    assert board.memory_mib == pytest.approx(pages, abs=2)
    assert board.architecture == platform.machine()
    assert board.systems[0].libc_version in ("", platform.libc_ver()[1], os.confstr("CS_GNU_LIBC_VERSION").split()[-1])
