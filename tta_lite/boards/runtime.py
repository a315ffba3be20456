"""A record of what runs a ``.tflite`` file on a board, and what it takes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping

from tta_lite.boards.features import DTYPES, FEATURES
from tta_lite.types import PRESETS, InputError


@dataclasses.dataclass(frozen=True)
class Runtime:
    """What runs a ``.tflite`` file on a board.

    Attributes:
      name: as ``armnn``.
      version: the one that the lists are of.
      presets: of the export that it runs.
      source: where that stands.
      ops: names of TFLite ops that it takes; empty if it is asked itself.
      max_inputs: of an op, where it takes fewer than TFLite allows.
      ask: ``litert``: the runtime is installed here and can be asked; else ``""``.
      dtypes: op -> types of tensors in which its fast kernels were seen to take it.
      slow_dtypes: op -> types in which slower kernels take it.
      refused_dtypes: op -> types in which it was refused. What is in none of the three was not asked.
      op_versions: op -> the highest version that it has; empty: it does not look at versions.
      asked: how the four tables above came about.
      computes: the types that it has arithmetic for.
      integer_features: those that its int8 kernels use, see `features.FEATURES`.
      half_precision: when it computes in FP16; empty: never.
      sparsity: when it skips zeros; empty: never.
      needs_glibc: the least version that its library loads with, as ``2.34``; empty: not known.
      arithmetic_source: where the last six stand.
    """

    name: str
    version: str
    presets: tuple[str, ...]
    source: str
    ops: frozenset[str] = frozenset()
    max_inputs: Mapping[str, int] = dataclasses.field(default_factory=dict)
    ask: str = ""
    dtypes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    slow_dtypes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    refused_dtypes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    op_versions: Mapping[str, int] = dataclasses.field(default_factory=dict)
    asked: str = ""
    computes: tuple[str, ...] = ()
    integer_features: tuple[str, ...] = ()
    half_precision: str = ""
    sparsity: str = ""
    needs_glibc: str = ""
    arithmetic_source: str = ""

    def __post_init__(self) -> None:
        if bool(self.ops) == bool(self.ask) or self.ask not in ("", "litert"):
            raise InputError(
                f'Runtime {self.name!r} must have either a list `ops` or ask = "litert". '
                f"Received: {len(self.ops)} ops and ask = {self.ask!r}"
            )
        self._some_of("presets", self.presets, PRESETS)
        if not self.presets:
            raise InputError(
                f"Runtime {self.name!r}: `presets` must be some of {', '.join(PRESETS)}. Received: {list(self.presets)}"
            )
        self._some_of("computes", self.computes, DTYPES)
        self._some_of("integer_features", self.integer_features, FEATURES)
        for key in ("dtypes", "slow_dtypes", "refused_dtypes"):
            for op, dtypes in getattr(self, key).items():
                self._some_of(f"{key}.{op}", dtypes, DTYPES)
        for key in ("max_inputs", "op_versions"):
            for op, count in getattr(self, key).items():
                if count < 1:
                    raise InputError(f"Runtime {self.name!r}: `{key}.{op}` must be 1 or more. Received: {count}")
        self._no_type_twice()
        if not re.fullmatch(r"(\d+\.\d+(\.\d+)?)?", self.needs_glibc):
            raise InputError(
                f'Runtime {self.name!r}: `needs_glibc` must be a version as "2.34". Received: {self.needs_glibc!r}'
            )
        self._needs_source("asked", "dtypes", "slow_dtypes", "refused_dtypes", "op_versions")
        self._needs_source(
            "arithmetic_source", "computes", "integer_features", "half_precision", "sparsity", "needs_glibc"
        )

    def _some_of(self, key: str, given: Iterable[str], known: Collection[str]) -> None:
        if unknown := sorted(set(given) - set(known)):
            raise InputError(f"Runtime {self.name!r}: `{key}` must be some of {', '.join(known)}. Received: {unknown}")

    def _no_type_twice(self) -> None:
        tables = ("dtypes", "slow_dtypes", "refused_dtypes")
        for op in {op for key in tables for op in getattr(self, key)}:
            listed = [dtype for key in tables for dtype in getattr(self, key).get(op, ())]
            if len(set(listed)) < len(listed):
                raise InputError(
                    f"Runtime {self.name!r}: of {op} each type must stand in one of {', '.join(tables)}. "
                    f"Received: {listed}"
                )

    def _needs_source(self, source: str, *keys: str) -> None:
        given = [key for key in keys if getattr(self, key)]
        if given and not getattr(self, source).strip():
            raise InputError(f"Runtime {self.name!r}: `{source}` must say where {given[0]!r} stands. Received: nothing")

    @property
    def title(self) -> str:
        """What reports call it."""
        return f"{self.name} {self.version}"

    def known_ops(self) -> frozenset[str]:
        """-> the ops that it has, in any type.

        >>> Runtime("small", "1", ("int8",), "a manual", ops=frozenset({"CONV_2D"})).known_ops()
        frozenset({'CONV_2D'})
        """
        return self.ops or frozenset(self.op_versions)

    def op_names(self) -> frozenset[str]:
        """-> every op that is named anywhere in the record."""
        tables = (self.max_inputs, self.dtypes, self.slow_dtypes, self.refused_dtypes, self.op_versions)
        return self.ops.union(*tables)
