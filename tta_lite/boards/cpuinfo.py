"""What the Linux kernel says of its processors: names and features, from the text of ``/proc/cpuinfo``."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping

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
# The other features that a profile can name, see `features.FEATURES`.
OTHER_FEATURES: Mapping[str, tuple[str, ...]] = {
    "fma": ("fma",),
    "f16c": ("f16c",),
    "avx512_fp16": ("avx512_fp16",),
    "bf16": ("bf16",),
    "sve": ("sve",),
    "sve2": ("sve2",),
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


@dataclasses.dataclass(frozen=True)
class Processor:
    """One processor of ``/proc/cpuinfo``.

    Attributes:
      number: Linux's; -1: the text has none.
      name: the model; empty: not known.
      flags: what the kernel calls its features.
      part: the part number of an ARM core; 0: another core.
    """

    number: int
    name: str
    flags: frozenset[str]
    part: int = 0


def processors(text: str) -> list[Processor]:
    """``/proc/cpuinfo`` of x86 or ARM -> its processors, without blocks that describe none.

    >>> [(one.number, one.name) for one in processors("processor : 3\\nmodel name : Some CPU\\nflags : fpu\\n")]
    [(3, 'Some CPU')]
    """
    found = []
    for block in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = dict(re.findall(r"^([^:\n]+?)[ \t]*:[ \t]*(.*)$", block, re.MULTILINE))
        flags = frozenset(fields.get("flags", fields.get("Features", "")).split())
        name, part = "", 0
        if "CPU part" in fields:
            part, maker = int(fields["CPU part"], 16), int(fields.get("CPU implementer", "0"), 16)
            arm = ARM_PARTS.get(part) if maker == ARM_IMPLEMENTER else None
            name = arm or f"ARM implementer {maker:#04x} part {part:#05x}"
        elif "model name" in fields:
            name = " ".join(fields["model name"].split())
        number = fields.get("processor", "")
        if name or flags or number.isdigit():
            found.append(Processor(int(number) if number.isdigit() else -1, name, flags, part))
    return found


def parse_cpuinfo(text: str) -> tuple[str, frozenset[str]]:
    """``/proc/cpuinfo`` of x86 or ARM -> (model name, feature flags that every core has).

    >>> parse_cpuinfo("model name : Some CPU @ 2.00GHz\\nflags : fpu avx2\\n")[0]
    'Some CPU @ 2.00GHz'
    """
    found = processors(text)
    flags = [one.flags for one in found if one.flags]
    counts = Counter(one.name for one in found if one.name)
    # A board with big and little cores is two models; which of them ran is then not known.
    name = next(iter(counts), "") if len(counts) < 2 else " + ".join(f"{n} x {name}" for name, n in counts.items())
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


def profile_features(flags: frozenset[str], architecture: str) -> list[str]:
    """Kernel flags -> the features that a profile names.

    >>> profile_features(frozenset({"asimd", "asimddp", "bf16"}), "aarch64")
    ['neon', 'dotprod', 'bf16']
    """
    found = [feature for feature, present in isa_features(flags, architecture).items() if present]
    return found + [feature for feature, names in OTHER_FEATURES.items() if any(name in flags for name in names)]
