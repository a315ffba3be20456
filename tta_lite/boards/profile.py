"""A board and what its runtimes can do: one TOML file a board. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tta_lite.types import PRESETS, InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Cores:
    """Cores of one kind.

    Attributes:
      name: as ``Cortex-A72``.
      count: how many.
      max_mhz: the highest clock.
      features: of the instruction set that matter to a network: ``neon``, ``fp16``, ``dotprod``, ``i8mm``.
      source: where the figures stand.
    """

    name: str
    count: int
    max_mhz: int
    features: tuple[str, ...]
    source: str


@dataclasses.dataclass(frozen=True)
class Runtime:
    """What runs a ``.tflite`` file on a board.

    Attributes:
      name: as ``armnn``.
      version: the one that `ops` is of.
      presets: of the export that it runs.
      source: where that stands.
      ops: names of TFLite ops that it takes; empty if it is asked itself.
      max_inputs: of an op, where it takes fewer than TFLite allows.
      ask: ``litert``: the runtime is installed here and can be asked; else ``""``.
    """

    name: str
    version: str
    presets: tuple[str, ...]
    source: str
    ops: frozenset[str] = frozenset()
    max_inputs: Mapping[str, int] = dataclasses.field(default_factory=dict)
    ask: str = ""

    def __post_init__(self) -> None:
        if bool(self.ops) == bool(self.ask) or self.ask not in ("", "litert"):
            raise InputError(
                f'Runtime {self.name!r} must have either a list `ops` or ask = "litert". '
                f"Received: {len(self.ops)} ops and ask = {self.ask!r}"
            )
        unknown = set(self.presets) - set(PRESETS)
        if unknown or not self.presets:
            raise InputError(
                f"Runtime {self.name!r}: `presets` must be some of {', '.join(PRESETS)}. Received: {list(self.presets)}"
            )

    @property
    def title(self) -> str:
        """What reports call it."""
        return f"{self.name} {self.version}"


@dataclasses.dataclass(frozen=True)
class BoardProfile:
    """The target.

    Attributes:
      name: what `get_board` calls it.
      title: what reports call it.
      memory_mib: main memory.
      memory_source: where that stands.
      cores: the fastest kind first.
      runtimes: the usual one first.
    """

    name: str
    title: str
    memory_mib: int
    memory_source: str
    cores: tuple[Cores, ...]
    runtimes: tuple[Runtime, ...]

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


def boards() -> tuple[str, ...]:
    """-> the names of the profiles that come with the package.

    >>> boards()
    ('rk3399',)
    """
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def get_board(name: str | Path) -> BoardProfile:
    """-> the profile of that name, or that a ``.toml`` file of one's own holds.

    >>> get_board("rk3399").runtime().name
    'litert-xnnpack'

    Raises:
      InputError: no such profile, or one that is not complete.
    """
    path = Path(name) if str(name).endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"A board is one of {', '.join(boards())}, or the path of a .toml file. Received: {str(name)!r}"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} must be a board profile in TOML. Received: {error}") from error
    cores = tuple(_record(Cores, one, f"{path}: [[cores]] {n}") for n, one in _tables(read, "cores", path))
    runtimes = tuple(_record(Runtime, one, f"{path}: [[runtimes]] {n}") for n, one in _tables(read, "runtimes", path))
    rest = {key: value for key, value in read.items() if key not in ("cores", "runtimes")}
    return _record(BoardProfile, {"name": path.stem, **rest, "cores": cores, "runtimes": runtimes}, str(path))


def _tables(read: Mapping[str, Any], key: str, path: Path) -> list[tuple[int, Mapping[str, Any]]]:
    tables = read.get(key)
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{path}: expected one or more tables [[{key}]]. Received: {tables!r}")
    return list(enumerate(tables, start=1))


# What stands in the annotations of the records -> what TOML gives for it, and what it becomes.
_KINDS: dict[str, tuple[type, type]] = {
    "str": (str, str),
    "int": (int, int),
    "tuple[str, ...]": (list, tuple),
    "frozenset[str]": (list, frozenset),
    "Mapping[str, int]": (dict, dict),
}


def _record(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    needed = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    wrong = [f"{name!r} is missing" for name in sorted(needed - set(values))]
    wrong += [f"{name!r} is unknown" for name in sorted(set(values) - set(fields))]
    ready = {}
    for name, value in values.items():
        given, wanted = _KINDS.get(str(fields[name].type), (object, None)) if name in fields else (object, None)
        if not isinstance(value, given) or isinstance(value, bool):
            wrong.append(f"{name!r} must be a {given.__name__} and is {value!r}")
            continue
        ready[name] = wanted(value) if wanted else value
    if wrong:
        raise InputError(f"{where}: expected {', '.join(fields)}. Received: {'; '.join(wrong)}")
    return kind(**ready)
