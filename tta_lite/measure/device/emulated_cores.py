"""The processors that can be emulated, and what Linux says of them on a board. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from tta_lite.types import InputError

_ARMV8_0 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_ARMV8_2 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
KIB = 1024


@dataclasses.dataclass(frozen=True)
class Caches:
    """A core's own data cache and the cache behind it, as the model of `native/cache_model.h` has them.

    Attributes:
      l1_bytes: of the first.
      l1_ways: places a line can have in it.
      l2_bytes: of the second.
      l2_ways: places a line can have in it.
      line_bytes: of both.

    Raises:
      InputError: not a whole number of sets.
    """

    l1_bytes: int
    l1_ways: int
    l2_bytes: int
    l2_ways: int
    line_bytes: int = 64

    def __post_init__(self) -> None:
        figures = dataclasses.astuple(self)
        whole = all(isinstance(figure, int) and figure > 0 for figure in figures)
        if (
            not whole
            or self.l1_bytes % (self.l1_ways * self.line_bytes)
            or self.l2_bytes % (self.l2_ways * self.line_bytes)
        ):
            raise InputError(
                "A cache must have a whole number of sets: bytes / (ways * bytes of a line), all above 0. "
                f"Received: {self}"
            )


@dataclasses.dataclass(frozen=True)
class EmulatedCore:
    """A core that QEMU knows.

    Attributes:
      title: as Arm writes it.
      part: of the main ID register (MIDR), which LiteRT chooses kernels by.
      variant: the major revision, of the same register.
      revision: the minor one.
      features: the line of ``/proc/cpuinfo``.
      max_khz: the highest clock that Linux names; kernels do not hang on it, and nothing here is timed.
      caches: of the chip that is named beside it, unless others are given.
    """

    title: str
    part: int
    variant: int
    revision: int
    features: str
    max_khz: int
    caches: Caches


# Parts, and sizes and ways of caches: Arm's technical reference manuals of each core (sections "Main ID Register", "L1
# memory system", "L2 memory system"). What a chip may choose is that of the chip named.
CORES: Mapping[str, EmulatedCore] = MappingProxyType(
    {
        # RK3399.
        "cortex-a53": EmulatedCore("Cortex-A53", 0xD03, 0, 4, _ARMV8_0, 1_416_000, Caches(32 * KIB, 4, 512 * KIB, 16)),
        # RK3399.
        "cortex-a72": EmulatedCore("Cortex-A72", 0xD08, 0, 2, _ARMV8_0, 1_800_000, Caches(32 * KIB, 2, 1024 * KIB, 16)),
        # RK3588.
        "cortex-a76": EmulatedCore("Cortex-A76", 0xD0B, 4, 0, _ARMV8_2, 2_400_000, Caches(64 * KIB, 4, 512 * KIB, 8)),
        # Graviton2.
        "neoverse-n1": EmulatedCore(
            "Neoverse-N1", 0xD0C, 3, 1, f"{_ARMV8_2} ssbs", 2_500_000, Caches(64 * KIB, 4, 1024 * KIB, 8)
        ),
    }
)


def emulated_core(name: str) -> EmulatedCore:
    """-> the core of that name, as QEMU writes it or as Arm does.

    >>> hex(emulated_core("Cortex-A72").part)
    '0xd08'

    Raises:
      InputError: not one that gives right answers here.
    """
    if core := CORES.get(name.lower()):
        return core
    why = ": QEMU 7.2 computes wrong int8 convolutions on `max`" if name == "max" else ""
    raise InputError(f"An emulated processor must be one of {', '.join(CORES)}{why}. Received: {name!r}")
