"""A search space as data: named choices, of which earlier ones decide whether later ones are there at all.

Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tta_lite.types import InputError

Value = str | int | float | bool
"""What can be chosen."""

Point = Mapping[str, Value]
"""Choice name -> value, of those choices that are active."""

When = tuple[tuple[str, tuple[Value, ...]], ...]


@dataclasses.dataclass(frozen=True)
class Choice:
    """One decision.

    Attributes:
      name: such as ``stage3.kernel``.
      values: two or more different ones of one kind; numbers in rising order.
      when: (earlier choice, values) pairs; it is active only if each of these choices is active and has one of the
        values. Empty: always.

    Raises:
      InputError: no name, or values that are fewer, of several kinds, repeated or out of order.
    """

    name: str
    values: tuple[Value, ...]
    when: When = ()

    def __post_init__(self) -> None:
        # From JSON they come as lists.
        object.__setattr__(self, "values", tuple(self.values))
        object.__setattr__(self, "when", tuple((name, tuple(values)) for name, values in self.when))
        if not isinstance(self.name, str) or not self.name:
            raise InputError(f"A choice needs a name. Received: {self.name!r}")
        kinds = {_kind(value) for value in self.values}
        if len(kinds) != 1 or None in kinds or len(set(self.values)) < max(2, len(self.values)):
            raise InputError(
                f"The choice {self.name!r} needs two or more different values, all texts, all numbers, or False and "
                f"True. Received: {self.values!r}"
            )
        if kinds == {"number"} and list(self.values) != sorted(self.values):
            raise InputError(f"The numbers of {self.name!r} must rise. Received: {self.values!r}")

    def own(self, value: Any) -> Value:
        """-> the value of this choice that equals `value`: 1 for 1.0, but not for True.

        Raises:
          InputError: there is none.
        """
        for one in self.values:
            if _same(one, value):
                return one
        raise InputError(
            f"The choice {self.name!r} must be one of {', '.join(map(repr, self.values))}. Received: {value!r}"
        )


@dataclasses.dataclass(frozen=True)
class Space:
    """All points that a list of choices allows.

    Attributes:
      name: of the space.
      choices: in order; a choice depends on those before it only.
      fixed: what is decided for every point and no choice any more, see `narrowed` and `full`.

    Raises:
      InputError: two choices of one name, or a condition on something that is no value of an earlier choice.

    Example:
      >>> space = Space("nets", (
      ...     Choice("family", ("a", "b")), Choice("width", (0.5, 1.0)),
      ...     Choice("kernel", (3, 5), (("family", ("b",)),)),
      ... ))
      >>> space.size()
      6
      >>> space.check({"family": "b", "width": 1, "kernel": 5})
      {'family': 'b', 'width': 1.0, 'kernel': 5}
      >>> [choice.name for choice in space.active({"family": "a"})]
      ['family', 'width']
    """

    name: str
    choices: tuple[Choice, ...]
    fixed: tuple[tuple[str, Value], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices))
        object.__setattr__(self, "fixed", tuple((name, value) for name, value in self.fixed))
        names: dict[str, Choice | None] = {name: None for name, _ in self.fixed}
        for choice in self.choices:
            if choice.name in names:
                raise InputError(f"Each name may be there once in {self.name!r}. Received: {choice.name!r} twice")
            for other, values in choice.when:
                earlier = names.get(other)
                if earlier is None or not values:
                    raise InputError(
                        f"The choice {choice.name!r} may depend on values of earlier choices. Received: {other!r}, "
                        f"{values!r}"
                    )
                for value in values:
                    earlier.own(value)
            names[choice.name] = choice

    def active(self, point: Point) -> tuple[Choice, ...]:
        """-> the choices that a point's values make active, whether it has them or not; other names are ignored."""
        found: list[Choice] = []
        values: dict[str, Value] = {}
        for choice in self.choices:
            if _holds(choice.when, values):
                found.append(choice)
                if choice.name in point:
                    values[choice.name] = point[choice.name]
        return tuple(found)

    def check(self, point: Point) -> Point:
        """-> the point with its active choices only, in order, each with the space's own value.

        Raises:
          InputError: an active choice is missing or has another value, or a name is no choice of this space.
        """
        known = [choice.name for choice in self.choices]
        if unknown := [name for name in point if name not in known]:
            raise InputError(f"A point of {self.name!r} holds {', '.join(known)}. Received: {unknown[0]!r}")
        found: dict[str, Value] = {}
        for choice in self.active(point):
            if choice.name not in point:
                raise InputError(
                    f"A point of {self.name!r} with {_told(found)} needs {choice.name!r}, one of "
                    f"{', '.join(map(repr, choice.values))}. Received: none"
                )
            found[choice.name] = choice.own(point[choice.name])
        return found

    def full(self, point: Point) -> Point:
        """-> the checked point and what is `fixed`: what a builder needs.

        Raises:
          InputError: as `check`.
        """
        return {**dict(self.fixed), **self.check(point)}

    def sample(self, rng: np.random.Generator) -> Point:
        """-> a point: each active choice, in order, with equal chances for its values.

        So a branch with many points below it is as likely as one with few.
        """
        found: dict[str, Value] = {}
        for choice in self.choices:
            if _holds(choice.when, found):
                found[choice.name] = choice.values[int(rng.integers(len(choice.values)))]
        return found

    def size(self) -> int:
        """-> how many different points there are, exactly."""
        # Points that differ only in choices on which nothing later depends are counted together.
        last_use = {name: place for place, choice in enumerate(self.choices) for name, _ in choice.when}
        counts: dict[tuple[tuple[str, Value], ...], int] = {(): 1}
        for place, choice in enumerate(self.choices):
            later: dict[tuple[tuple[str, Value], ...], int] = {}
            for decided, count in counts.items():
                options: Sequence[tuple[tuple[str, Value], ...]] = [()]
                if _holds(choice.when, dict(decided)):
                    options = [((choice.name, value),) for value in choice.values]
                for option in options:
                    kept = tuple(pair for pair in decided + option if last_use.get(pair[0], -1) > place)
                    later[kept] = later.get(kept, 0) + count
            counts = later
        return sum(counts.values())

    def narrowed(self, limits: Mapping[str, Sequence[Value]]) -> Space:
        """-> the space of those points whose named choices, where they are active, have one of the values.

        A choice that is left with one value is `fixed`: where it was not always active, that value means nothing.

        Args:
          limits: choice name -> the values that are left.

        Raises:
          InputError: an unknown name or value, or no value.

        Example:
          >>> space = Space("nets", (Choice("size", (96, 128)), Choice("kernel", (3, 5), (("size", (96,)),))))
          >>> space.narrowed({"size": [128]})
          Space(name='nets', choices=(), fixed=(('size', 128),))
        """
        known = [choice.name for choice in self.choices]
        if unknown := [name for name in limits if name not in known]:
            raise InputError(f"Limits are of {', '.join(known)}. Received: {unknown[0]!r}")
        left: dict[str, Choice] = {}
        # Of the choices that are decided now: the value, and when they were active.
        decided: dict[str, tuple[Value, When]] = {}
        for choice in self.choices:
            wanted = [choice.own(value) for value in limits.get(choice.name, choice.values)]
            values = tuple(value for value in choice.values if value in wanted)
            if not values:
                raise InputError(f"The choice {choice.name!r} must keep one value or more. Received: none")
            when = _resolved(choice.when, left, decided)
            if when is None:
                continue
            if len(values) > 1:
                left[choice.name] = Choice(choice.name, values, when)
            else:
                decided[choice.name] = values[0], when
        fixed = (*self.fixed, *((name, value) for name, (value, _) in decided.items()))
        return Space(self.name, tuple(left.values()), fixed)

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values.

        >>> Space("nets", (Choice("kernel", (3, 5)),)).to_json()
        {'name': 'nets', 'choices': [{'name': 'kernel', 'values': [3, 5], 'when': []}], 'fixed': []}
        """
        return {
            "name": self.name,
            "choices": [
                {
                    "name": choice.name,
                    "values": list(choice.values),
                    "when": [[name, list(values)] for name, values in choice.when],
                }
                for choice in self.choices
            ],
            "fixed": [list(pair) for pair in self.fixed],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Space:
        """The inverse of `to_json`.

        Raises:
          InputError: it is no space.
        """
        try:
            return cls(
                record["name"],
                tuple(Choice(one["name"], one["values"], one["when"]) for one in record["choices"]),
                tuple((name, value) for name, value in record.get("fixed", ())),
            )
        except InputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "A space is an object with name and choices, each with name, values and when. Received: "
                f"{type(error).__name__}: {error}"
            ) from error


def _kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "text" if isinstance(value, str) else None


def _same(one: Any, other: Any) -> bool:
    # True is 1 to Python.
    return _kind(one) == _kind(other) and bool(one == other)


def _holds(when: When, values: Point) -> bool:
    return all(name in values and any(_same(values[name], value) for value in allowed) for name, allowed in when)


def _resolved(when: When, left: Mapping[str, Choice], decided: Mapping[str, tuple[Value, When]]) -> When | None:
    """-> what remains of a condition when some choices are decided or have fewer values; None: it never holds."""
    found: list[tuple[str, tuple[Value, ...]]] = []
    for name, values in when:
        if name in decided:
            value, also = decided[name]
            if not any(_same(value, one) for one in values):
                return None
            found += also
        elif name not in left:
            return None
        else:
            possible = tuple(value for value in values if value in left[name].values)
            if not possible:
                return None
            if left[name].when or len(possible) < len(left[name].values):
                # All values: it says only that the choice is active, and nothing if it always is.
                found.append((name, possible))
    return tuple(found)


def _told(point: Point) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in point.items()) or "nothing"
