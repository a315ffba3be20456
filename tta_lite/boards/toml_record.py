"""A table of a TOML file -> a record, with a message that names file, table and key for what does not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from tta_lite.types import InputError

Record = TypeVar("Record")


def _is_int(value: object) -> bool:
    # TOML's true and false are numbers to Python.
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _all(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _values(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def _tuples(table: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(value) for key, value in table.items()}


# What stands in the annotations of the records -> what TOML gives for it, in words and as a check, and what it becomes.
_KINDS: Mapping[str, tuple[str, Callable[[object], bool], Callable[[Any], Any]]] = {
    "str": ("a text", _is_text, str),
    "int": ("a whole number", _is_int, int),
    "bool": ("true or false", lambda value: isinstance(value, bool), bool),
    "tuple[str, ...]": ("a list of texts", _all(_is_text), tuple),
    "tuple[int, ...]": ("a list of whole numbers", _all(_is_int), tuple),
    "frozenset[str]": ("a list of texts", _all(_is_text), frozenset),
    "Mapping[str, int]": ("a table of whole numbers", _values(_is_int), dict),
    "Mapping[str, tuple[str, ...]]": ("a table of lists of texts", _values(_all(_is_text)), _tuples),
}


def record(kind: Callable[..., Record], values: Mapping[str, Any], where: str, above: Collection[str] = ()) -> Record:
    """-> the record that a table describes. Values of other types than in `_KINDS` are handed on.

    Args:
      kind: a dataclass.
      values: the table.
      where: file and table, for messages.
      above: keys of the file itself, which TOML wants above the first table.

    Raises:
      InputError: a key is missing or unknown, a value has another type, or the record refuses it.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    needed = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    wrong = [f"{name!r} is missing" for name in sorted(needed - set(values))]
    for name in sorted(set(values) - set(fields)):
        hint = " here: it must stand above the first table of the file" if name in above else ""
        wrong.append(f"{name!r} is unknown{hint}")
    ready = {}
    for name, value in values.items():
        if name not in fields:
            continue
        kind_of_value = str(fields[name].type)
        words, fits, become = _KINDS.get(kind_of_value, ("", lambda value: True, lambda value: value))
        if not fits(value):
            wrong.append(f"{name!r} must be {words} and is {value!r}")
        elif kind_of_value == "frozenset[str]" and len(set(value)) < len(value):
            twice = sorted({one for one in value if value.count(one) > 1})
            wrong.append(f"{name!r} names {', '.join(twice)} twice")
        else:
            ready[name] = become(value)
    if wrong:
        raise InputError(f"{where}: expected {', '.join(fields)}. Received: {'; '.join(wrong)}")
    try:
        return kind(**ready)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
