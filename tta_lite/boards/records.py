"""What a board is made of: cores, systems, a GPU, and the runtimes on them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from tta_lite.boards.features import ARCHITECTURES, FEATURES, ISA_CAN_HAVE
from tta_lite.boards.runtime import Runtime
from tta_lite.types import InputError

CLUSTERS = ("big", "little", "all")
CACHES = ("l1i", "l1d", "l2", "l3")
LIBRARIES = ("glibc", "musl", "bionic", "newlib", "none", "other")
# No board of this kind has a faster clock or a larger cache; what is above them is a unit confused.
MOST_MHZ = 10_000
MOST_CACHE_KIB = 1 << 21


def need(ok: bool, where: str, what: str, received: object) -> None:
    """-> an `InputError` of the house form unless it is so."""
    if not ok:
        raise InputError(f"{where} must {what}. Received: {received}")


@dataclasses.dataclass(frozen=True)
class Cores:
    """Cores of one kind.

    Attributes:
      name: as ``Cortex-A72``.
      count: how many.
      max_mhz: the highest clock; 0: not known, as on a machine that does not say.
      features: of the instruction set that matter to a network, see `features.FEATURES`.
      source: where the figures stand.
      cluster: ``big``, ``little``, or ``all`` if the board has one kind.
      cpus: the numbers that Linux gives them; empty: not known.
      isa: as ``armv8.0-a``; empty: not known.
      caches_kib: level (``l1i``, ``l1d``, ``l2``, ``l3``) -> KiB of one; a missing one is not there or not known.
      shared_by: level -> how many cores use one of them; 1 where it is not named.
      qemu_cpu: what qemu 7.2 calls it, as ``cortex-a72``; empty: it has none.
      midr_part: the part number that the core tells the kernel, as 0xD08; 0: not known.
    """

    name: str
    count: int
    max_mhz: int
    features: tuple[str, ...]
    source: str
    cluster: str = "all"
    cpus: tuple[int, ...] = ()
    isa: str = ""
    caches_kib: Mapping[str, int] = dataclasses.field(default_factory=dict)
    shared_by: Mapping[str, int] = dataclasses.field(default_factory=dict)
    qemu_cpu: str = ""
    midr_part: int = 0

    def __post_init__(self) -> None:
        where = f"Cores {self.name!r}:"
        need(bool(self.name.strip()), where, "have a `name`", repr(self.name))
        need(bool(self.source.strip()), where, "say where its figures stand (`source`)", repr(self.source))
        need(1 <= self.count <= 1024, where, "have a `count` of 1 to 1024", self.count)
        need(0 <= self.max_mhz <= MOST_MHZ, where, f"have `max_mhz` of 1 to {MOST_MHZ}, or 0: not known", self.max_mhz)
        unknown = sorted(set(self.features) - set(FEATURES))
        need(not unknown, where, f"have `features` of {', '.join(FEATURES)}", unknown)
        need(self.cluster in CLUSTERS, where, f"have a `cluster` of {', '.join(CLUSTERS)}", repr(self.cluster))
        if self.isa:
            need(self.isa in ISA_CAN_HAVE, where, f"have an `isa` of {', '.join(ISA_CAN_HAVE)}", repr(self.isa))
            foreign = sorted(set(self.features) - ISA_CAN_HAVE[self.isa])
            need(not foreign, where, f"have `features` that {self.isa} can have", foreign)
        if self.cpus:
            fits = len(set(self.cpus)) == len(self.cpus) == self.count and min(self.cpus) >= 0
            need(fits, where, f"have `cpus` of {self.count} different numbers, one a core", list(self.cpus))
        for key, mapping in (("caches_kib", self.caches_kib), ("shared_by", self.shared_by)):
            levels = sorted(set(mapping) - set(CACHES))
            need(not levels, where, f"have `{key}` of {', '.join(CACHES)}", levels)
        for level, size in self.caches_kib.items():
            need(1 <= size <= MOST_CACHE_KIB, where, f"have `caches_kib.{level}` of 1 to {MOST_CACHE_KIB} KiB", size)
        for level, cores in self.shared_by.items():
            need(level in self.caches_kib, where, f"give `caches_kib.{level}`, which is shared", dict(self.caches_kib))
            need(1 <= cores <= 1024, where, f"have `shared_by.{level}` of 1 to 1024 cores", cores)
        need(0 <= self.midr_part <= 0xFFF, where, "have a `midr_part` of 12 bits", hex(self.midr_part))


@dataclasses.dataclass(frozen=True)
class System:
    """What runs on the board: the operating system, and the C library that programs of others are loaded with.

    Attributes:
      name: as ``Ubuntu 18.04``.
      libc: ``glibc``, ``musl``, ``bionic``, ``newlib``, ``none`` or ``other``.
      libc_version: as ``2.27``; empty: not known.
      source: where that stands.
    """

    name: str
    libc: str
    source: str
    libc_version: str = ""

    def __post_init__(self) -> None:
        where = f"System {self.name!r}:"
        need(bool(self.source.strip()), where, "say where that stands (`source`)", repr(self.source))
        need(self.libc in LIBRARIES, where, f"have a `libc` of {', '.join(LIBRARIES)}", repr(self.libc))
        is_version = re.fullmatch(r"(\d+(\.\d+)+)?", self.libc_version) is not None
        need(is_version, where, 'have a `libc_version` as "2.27"', repr(self.libc_version))

    @property
    def title(self) -> str:
        """As ``Ubuntu 18.04 (glibc 2.27)``."""
        return f"{self.name} ({self.libc}{' ' * bool(self.libc_version)}{self.libc_version})"


@dataclasses.dataclass(frozen=True)
class Gpu:
    """The graphics unit.

    Attributes:
      name: as ``Mali-T860 MP4``.
      fp16: whether it computes in half precision.
      source: where that stands.
    """

    name: str
    fp16: bool
    source: str

    def __post_init__(self) -> None:
        need(bool(self.source.strip()), f"GPU {self.name!r}:", "say where that stands (`source`)", repr(self.source))


@dataclasses.dataclass(frozen=True)
class BoardProfile:
    """The target.

    Attributes:
      name: what `get_board` calls it.
      title: what reports call it.
      memory_mib: main memory, the size that is assumed.
      memory_source: where that stands.
      cores: the fastest kind first.
      runtimes: the usual one first.
      memory_offered_mib: the sizes that are sold; empty: not known.
      architecture: as ``aarch64``; empty: not known.
      systems: what it runs, the assumed one first; empty: not known.
      gpu: None: it has none, or it is not known.
      note: what else a reader should know.
    """

    name: str
    title: str
    memory_mib: int
    memory_source: str
    cores: tuple[Cores, ...]
    runtimes: tuple[Runtime, ...]
    memory_offered_mib: tuple[int, ...] = ()
    architecture: str = ""
    systems: tuple[System, ...] = ()
    gpu: Gpu | None = None
    note: str = ""

    def __post_init__(self) -> None:
        where = f"Board {self.name!r}:"
        need(bool(self.title.strip()), where, "have a `title`", repr(self.title))
        need(1 <= self.memory_mib <= 1 << 30, where, "have a `memory_mib` of 1 or more", self.memory_mib)
        need(bool(self.memory_source.strip()), where, "have a `memory_source`", repr(self.memory_source))
        if self.memory_offered_mib:
            offered = self.memory_mib in self.memory_offered_mib and min(self.memory_offered_mib) >= 1
            need(offered, where, f"offer its {self.memory_mib} MiB", list(self.memory_offered_mib))
        known = self.architecture in ("", *ARCHITECTURES)
        need(known, where, f"have an `architecture` of {', '.join(ARCHITECTURES)}", repr(self.architecture))
        cpus = [cpu for cores in self.cores for cpu in cores.cpus]
        need(len(set(cpus)) == len(cpus), where, "have each of `cpus` in one kind of core", sorted(cpus))
        all_cores = sum(cores.count for cores in self.cores)
        for cores in self.cores:
            for level, count in cores.shared_by.items():
                fits = count <= all_cores
                need(fits, where, f"have `shared_by.{level}` of no more than its {all_cores} cores", count)
        names = [runtime.name for runtime in self.runtimes]
        need(len(set(names)) == len(names), where, "name each runtime once", names)

    def computes(self, feature: str) -> bool:
        """Whether a core has that feature, such as ``fp16`` or ``dotprod``."""
        return any(feature in cores.features for cores in self.cores)

    def runtime(self, name: str | None = None) -> Runtime:
        """-> the runtime of that name, the first one if None.

        Raises:
          InputError: there is none.
        """
        for runtime in self.runtimes:
            if name in (None, runtime.name):
                return runtime
        raise InputError(
            f"Board {self.name} has the runtimes {', '.join(runtime.name for runtime in self.runtimes)}. "
            f"Received: {name!r}"
        )

    def cluster(self, name: str) -> tuple[Cores, ...]:
        """-> the cores of a cluster, ``big`` or ``little``; all of them for ``all``.

        Raises:
          InputError: it has none of that name.
        """
        found = tuple(cores for cores in self.cores if name in ("all", cores.cluster))
        if not found:
            has = ", ".join(dict.fromkeys([*(cores.cluster for cores in self.cores), "all"]))
            raise InputError(f"Board {self.name} has the clusters {has}. Received: {name!r}")
        return found
