"""A board and what its runtimes can do: one TOML file a board. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tta_lite.boards.host import this_machine
from tta_lite.boards.ops import op_codes
from tta_lite.boards.records import BoardProfile, Cores, Gpu, System
from tta_lite.boards.runtime import Runtime
from tta_lite.boards.toml_record import record
from tta_lite.types import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent
RUNTIMES = FOLDER / "runtimes"
THIS_MACHINE = "this machine"
KEYS = {field.name for field in dataclasses.fields(BoardProfile)} | {"fill_from"}


def boards() -> tuple[str, ...]:
    """-> the names of the profiles that come with the package.

    >>> "rk3399" in boards()
    True
    """
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def runtimes() -> tuple[str, ...]:
    """-> the names of the runtimes that a profile can refer to.

    >>> "armnn-20.08" in runtimes()
    True
    """
    return tuple(sorted(path.stem for path in RUNTIMES.glob("*.toml")))


def get_board(name: str | Path) -> BoardProfile:
    """-> the profile of that name, or that a ``.toml`` file of one's own holds.

    >>> get_board("rk3399").runtime().name
    'litert-xnnpack'

    Raises:
      InputError: no such profile, or one that is not complete or cannot be true.
    """
    path = Path(name) if str(name).endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        read = _read(path)
    except FileNotFoundError as error:
        raise InputError(
            f"A board is one of {', '.join(boards())}, or the path of a .toml file. Received: {str(name)!r}"
        ) from error
    if (filled := read.pop("fill_from", None)) is not None:
        if filled != THIS_MACHINE:
            raise InputError(f'{path}: `fill_from` must be "{THIS_MACHINE}". Received: {filled!r}')
        read = {**this_machine(), **read}
    values = {"name": path.stem, **read}
    values["cores"] = _records(Cores, read, "cores", path)
    values["runtimes"] = _runtimes(read, path)
    if "systems" in read:
        values["systems"] = _records(System, read, "systems", path)
    if "gpu" in read:
        if not isinstance(read["gpu"], dict):
            raise InputError(f"{path}: expected one table [gpu]. Received: {read['gpu']!r}")
        values["gpu"] = record(Gpu, read["gpu"], f"{path}: [gpu]", KEYS)
    return record(BoardProfile, values, str(path))


def get_runtime(name: str) -> Runtime:
    """-> a runtime that several boards share, by the name of its file.

    >>> get_runtime("armnn-20.08").title
    'armnn 20.08'

    Raises:
      InputError: there is none.
    """
    path = RUNTIMES / f"{name}.toml"
    if name not in runtimes():
        raise InputError(f"A runtime is a table, or one of {', '.join(runtimes())}. Received: {name!r}")
    return _runtime(_read(path), str(path))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} must be a board profile in TOML. Received: {error}") from error


def _runtimes(read: Mapping[str, Any], path: Path) -> tuple[Runtime, ...]:
    given = read.get("runtimes")
    if not isinstance(given, list) or not given or not all(isinstance(one, (dict, str)) for one in given):
        raise InputError(f"{path}: expected one or more tables [[runtimes]], or a list of names. Received: {given!r}")
    found = []
    for place, one in enumerate(given, start=1):
        if isinstance(one, dict):
            found.append(_runtime(one, f"{path}: [[runtimes]] {place}"))
            continue
        try:
            found.append(get_runtime(one))
        except InputError as error:
            raise InputError(f"{path}: runtimes: {error}") from error
    return tuple(found)


def _runtime(values: Mapping[str, Any], where: str) -> Runtime:
    found = record(Runtime, values, where, KEYS)
    named = found.op_names()
    unknown = sorted(named - set(op_codes())) if named else []
    if unknown:
        raise InputError(
            f"{where}: ops must be named as in TFLite's schema, as CONV_2D. Received: {', '.join(unknown)}"
        )
    # What it takes in some type, it has.
    taken = {op for table in (found.max_inputs, found.dtypes, found.slow_dtypes) for op in table}
    if lacking := sorted(taken - found.known_ops()):
        raise InputError(f"{where}: the ops of its tables must stand in `ops`, too. Received: {', '.join(lacking)}")
    return found


def _records(kind: Any, read: Mapping[str, Any], key: str, path: Path) -> tuple[Any, ...]:
    tables = read.get(key)
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{path}: expected one or more tables [[{key}]]. Received: {tables!r}")
    return tuple(record(kind, one, f"{path}: [[{key}]] {place}", KEYS) for place, one in enumerate(tables, start=1))
