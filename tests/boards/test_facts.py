"""The profiles against facts that stand elsewhere, each with its place."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tta_lite.boards.cpuinfo import ARM_PARTS
from tta_lite.boards.host import ARM_CORES
from tta_lite.boards.profile import boards, get_board, get_runtime
from tta_lite.export.op_resolver import resolver_method

# Board -> (kind, cores, first CPU, MHz, L1I, L1D, L2, L2 shared by) of each cluster, as the device trees of Linux 6.12
# have them (package linux-image-6.12-arm64 of Debian 13, decompiled with dtc); clocks of the Raspberry Pis by their
# documentation ("Processors"), of the Jetson Nano with its caches by NVIDIA's data sheet.
DEVICE_TREES = {
    "rk3399": [("Cortex-A72", 2, 4, 1800, 48, 32, 1024, 2), ("Cortex-A53", 4, 0, 1400, 32, 32, 512, 4)],
    "rk3588": [("Cortex-A76", 4, 4, 2400, 64, 64, 512, 1), ("Cortex-A55", 4, 0, 1800, 32, 32, 128, 1)],
    "raspberry_pi_3": [("Cortex-A53", 4, 0, 1200, 32, 32, 512, 4)],
    "raspberry_pi_4": [("Cortex-A72", 4, 0, 1500, 48, 32, 1024, 4)],
    "raspberry_pi_5": [("Cortex-A76", 4, 0, 2400, 64, 64, 512, 1)],
    "jetson_nano": [("Cortex-A57", 4, 0, 1430, 48, 32, 2048, 4)],
    "i_mx8m_plus": [("Cortex-A53", 4, 0, 1800, 32, 32, 512, 4)],
}
# The first core of Arm with half precision and dot product in the Armv8.2-A line is the Cortex-A55 / A75 generation.
ARMV8_0 = ("Cortex-A53", "Cortex-A57", "Cortex-A72")
# https://packages.ubuntu.com/bionic/libc6, https://packages.debian.org/bookworm/libc6
GLIBC = {"Ubuntu 18.04": "2.27", "Debian 12": "2.36"}


@pytest.mark.parametrize("name", DEVICE_TREES)
def test_cores_and_caches_are_those_of_the_device_tree(name):
    found = [
        (
            cores.name, cores.count, min(cores.cpus), cores.max_mhz, cores.caches_kib["l1i"], cores.caches_kib["l1d"],
            cores.caches_kib["l2"], cores.shared_by.get("l2", 1),
        )
        for cores in get_board(name).cores
    ]  # fmt: skip
    assert found == DEVICE_TREES[name]


def test_every_board_of_the_package_is_here():
    assert set(boards()) == {*DEVICE_TREES, "cortex_m7", "cortex_m55", "host"}


@pytest.mark.parametrize("name", DEVICE_TREES)
def test_armv8_0_has_neither_half_precision_nor_a_dot_product(name):
    for cores in get_board(name).cores:
        assert ({"fp16", "dotprod"} <= set(cores.features)) == (cores.name not in ARMV8_0)
        assert not {"fp16", "dotprod"} & set(cores.features) or cores.isa == "armv8.2-a"
        # Arm's part numbers, as util-linux lists them.
        assert ARM_PARTS[cores.midr_part] == cores.name
        assert ARM_CORES[cores.name] == (cores.isa, cores.qemu_cpu)


def test_the_rk3399_of_the_report():
    board = get_board("rk3399")
    assert set(board.memory_offered_mib) == {2048, 4096}
    assert (board.systems[0].name, board.systems[0].libc_version) == ("Ubuntu 18.04", "2.27")
    # The OpenCL driver of the board lists cl_khr_fp16: https://github.com/plaidml/plaidml/issues/182
    assert board.gpu is not None and board.gpu.fp16 and "T860" in board.gpu.name
    assert "DEPTH_TO_SPACE" not in board.runtime("armnn").ops


@pytest.mark.parametrize("name", DEVICE_TREES)
def test_systems_have_the_c_library_of_their_release(name):
    for system in get_board(name).systems:
        for release, version in GLIBC.items():
            assert release not in system.name or system.libc_version == version


def test_microcontrollers():
    m7, m55 = get_board("cortex_m7").cores[0], get_board("cortex_m55").cores[0]
    # Part numbers: Arm Cortex-M7 TRM, CPUID 0x411FC27x; Cortex-M55 TRM, CPUID 0x411FD22x.
    assert (m7.midr_part, m55.midr_part) == (0xC27, 0xD22)
    assert "mve" in m55.features and "mve" not in m7.features


def test_the_ops_of_tensorflow_lite_micro_are_those_that_its_resolver_adds():
    runtime = get_runtime("tflite-micro")
    assert {resolver_method(op) for op in runtime.ops} == {f"Add{method}" for method in methods()}
    # It refuses files with weights of 16 bits by this op.
    assert runtime.refused_dtypes["DEQUANTIZE"] == ("float16",)


def methods() -> tuple[str, ...]:
    from tta_lite.export.op_resolver import METHODS

    return METHODS


@pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="qemu-aarch64 is not installed (Debian: qemu-user)")
def test_qemu_knows_the_cores_that_it_is_said_to_emulate():
    # Its exit code is 1, for there was no program to run.
    done = subprocess.run(["qemu-aarch64", "-cpu", "help"], capture_output=True, text=True, timeout=600, check=False)
    known = done.stdout.split()
    assert "cortex-a72" in known
    for name in DEVICE_TREES:
        assert all(cores.qemu_cpu in known for cores in get_board(name).cores if cores.qemu_cpu)
