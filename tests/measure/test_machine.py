from __future__ import annotations

import getpass
import json
import os
import platform
from pathlib import Path

import pytest

from tta_lite.measure import machine

# A Firefly RK3399: four Cortex-A53 (part 0xd03) and two Cortex-A72 (0xd08), as its kernel prints them.
RK3399 = "\n".join(
    f"processor\t: {core}\nBogoMIPS\t: 48.00\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid\n"
    f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 4\n"
    for core, part in enumerate(["0xd03"] * 4 + ["0xd08"] * 2)
)
X86 = (
    "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t\t: 106\nmodel name\t: Intel(R) Xeon(R)  CPU @ 2.60GHz\n"
    "flags\t\t: fpu sse2 avx2 avx512f avx512_vnni\n\nprocessor\t: 1\nmodel name\t: Intel(R) Xeon(R)  CPU @ 2.60GHz\n"
    "flags\t\t: fpu sse2 avx2 avx512f avx512_vnni\n"
)


def test_rk3399_is_two_kinds_of_core():
    name, flags = machine.parse_cpuinfo(RK3399)
    assert name == "4 x Cortex-A53 + 2 x Cortex-A72"
    features = machine.isa_features(flags, "aarch64")
    assert features["neon"] is True
    assert features["dotprod"] is False and features["avx2"] is False


def test_dot_product_and_half_precision_of_a_newer_arm_core():
    text = "Features : fp asimd fphp asimdhp asimddp i8mm\nCPU implementer : 0x41\nCPU part : 0xd0b\n"
    name, flags = machine.parse_cpuinfo(text)
    assert name == "Cortex-A76"
    features = machine.isa_features(flags, "aarch64")
    assert features["dotprod"] and features["fp16"] and features["i8mm"]


def test_unknown_maker_is_given_by_its_numbers():
    name, _ = machine.parse_cpuinfo("Features : asimd\nCPU implementer : 0x61\nCPU part : 0x022\n")
    assert name == "ARM implementer 0x61 part 0x022"


def test_x86_names_and_features():
    name, flags = machine.parse_cpuinfo(X86)
    assert name == "Intel(R) Xeon(R) CPU @ 2.60GHz"
    features = machine.isa_features(flags, "x86_64")
    assert features["avx2"] and features["avx512"] and features["vnni"]
    assert features["neon"] is False


def test_a_feature_must_be_in_every_core():
    _, flags = machine.parse_cpuinfo("processor : 0\nFeatures : asimd asimddp\n\nprocessor : 1\nFeatures : asimd\n")
    assert flags == {"asimd"}


def test_nothing_known_is_said_so():
    name, flags = machine.parse_cpuinfo("")
    assert (name, flags) == ("", frozenset())
    assert machine.isa_features(flags, "riscv64")["avx2"] is None
    assert machine.isa_features(flags, "arm64")["neon"] is True


def test_this_machine_is_plain_json_with_plausible_values():
    record = machine.describe_machine()
    assert json.loads(json.dumps(record)) == record
    assert record["cpu"] and record["cores"] >= 1
    assert record["ram_bytes"] is None or record["ram_bytes"] > 2**28
    assert record["python"].endswith(platform.python_version())
    assert record["packages"]["numpy"] == __import__("numpy").__version__


@pytest.mark.skipif(platform.system() != "Linux", reason="the kernel's list is read")
def test_features_agree_with_the_kernels_list():
    text = Path("/proc/cpuinfo").read_text()
    assert machine.describe_machine()["isa"]["avx2"] == (" avx2 " in text.replace("\n", " "))


def test_nothing_names_the_owner():
    told = json.dumps(machine.describe_machine()) + machine.summary()
    # Short names ("root", "a") can be part of any word.
    secrets = [platform.node(), str(Path.home()), os.getcwd()]
    if len(getpass.getuser()) > 4:
        secrets.append(getpass.getuser())
    for secret in secrets:
        assert len(secret) < 4 or secret not in told
    assert "/" not in told.replace("GNU/Linux", "")
