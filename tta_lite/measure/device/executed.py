"""What one inference executed on an emulated processor: counts, and never a time. Imports no TensorFlow.

A count is no latency: a core issues several instructions a clock or waits hundreds of clocks for one. Counts tell
which of two networks gives a core less to do, of what kind, and how much memory it touches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tta_lite.measure.device.emulated_cores import Caches
from tta_lite.measure.device.runner import Golden
from tta_lite.types import InputError

# What the columns of the two plugins are; every other column is a kind of instruction.
BYTE_COLUMNS = ("bytes_loaded", "bytes_stored")
MISS_COLUMNS = ("l1_misses", "l2_misses")
FORMAT = 1
# What a table has room for; the rest is branches, general arithmetic, prefetches and the system's.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "multiply": ("simd_widening_multiply", "dot_product", "simd_multiply", "float_multiply_add", "half"),
    "simd": ("simd_integer", "float", "convert", "simd_move"),
    "load": ("load", "load_simd"),
    "store": ("store", "store_simd"),
}


@dataclasses.dataclass(frozen=True)
class Tally:
    """What was executed.

    Attributes:
      instructions: {kind: how many}; the kinds are those of ``native/a64_classes.h``, those with 0 are left out.
      bytes_loaded: that instructions read.
      bytes_stored: that they wrote.
      l1_misses: lines that were not in the model's first cache.
      l2_misses: nor in the second: lines that came from memory.
    """

    instructions: Mapping[str, int]
    bytes_loaded: int
    bytes_stored: int
    l1_misses: int
    l2_misses: int

    @property
    def total(self) -> int:
        """All instructions.

        >>> Tally({"load": 2, "branch": 1}, 8, 0, 1, 1).total
        3
        """
        return sum(self.instructions.values())

    def grouped(self) -> dict[str, int]:
        """-> instructions in few groups: those of `GROUPS`, then the rest.

        >>> Tally({"load": 2, "load_simd": 1, "branch": 1}, 8, 0, 1, 1).grouped()
        {'multiply': 0, 'simd': 0, 'load': 3, 'store': 0, 'rest': 1}
        """
        found = {name: sum(self.instructions.get(kind, 0) for kind in kinds) for name, kinds in GROUPS.items()}
        return {**found, "rest": self.total - sum(found.values())}

    def __add__(self, other: Tally) -> Tally:
        kinds = dict.fromkeys((*self.instructions, *other.instructions))
        return Tally(
            {kind: self.instructions.get(kind, 0) + other.instructions.get(kind, 0) for kind in kinds},
            *(getattr(self, name) + getattr(other, name) for name in (*BYTE_COLUMNS, *MISS_COLUMNS)),
        )

    @classmethod
    def from_columns(cls, values: Mapping[str, int]) -> Tally:
        """Columns of both plugins -> a tally."""
        named = {name: values[name] for name in (*BYTE_COLUMNS, *MISS_COLUMNS)}
        return cls({name: count for name, count in values.items() if name not in named and count}, **named)


@dataclasses.dataclass(frozen=True)
class OpTally:
    """An op of the network, as the runtime ran it.

    Attributes:
      place: in the order of running, from 0.
      name: as the runtime calls it, as ``Convolution (NHWC, F32) IGEMM``.
      kind: ``xnnpack`` or ``builtin``.
      tally: what it executed.
    """

    place: int
    name: str
    kind: str
    tally: Tally


@dataclasses.dataclass(frozen=True)
class Counts:
    """One inference of a file, after a first one that is not counted.

    Attributes:
      cpu: the processor, as ``cortex-a72``.
      emulator: as ``QEMU 7.2.22``.
      runtime: as ``LiteRT 2.3.0``.
      kernels: ``xnnpack`` or ``builtin``.
      fully_delegated: whether XNNPACK ran all ops.
      caches: that the misses are of.
      inference: the whole.
      ops: each op, of another inference under LiteRT's profiler; what it adds lies between them, in none.
      outputs: how each output compares with what the same library and kernels compute on this machine.
    """

    cpu: str
    emulator: str
    runtime: str
    kernels: str
    fully_delegated: bool
    caches: Caches
    inference: Tally
    ops: tuple[OpTally, ...]
    outputs: tuple[Golden, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values."""
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Counts:
        """The inverse of `to_json`.

        Raises:
          InputError: not such a record.
        """
        if record.get("format") != FORMAT:
            raise InputError(f"Counts must be of format {FORMAT}. Received: {record.get('format')!r}")
        try:
            values = {key: value for key, value in record.items() if key != "format"}
            values["caches"] = Caches(**values["caches"])
            values["inference"] = Tally(**values["inference"])
            values["ops"] = tuple(OpTally(**{**op, "tally": Tally(**op["tally"])}) for op in values["ops"])
            values["outputs"] = tuple(Golden(**output) for output in values.get("outputs", ()))
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise InputError(f"Counts must have the fields that `Counts.to_json` writes. Received: {error}") from error
