"""What every way to a board can do. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from tta_lite.types import InputError


class DeviceError(InputError):
    """A board cannot be reached, refused, ran out of room, or took too long: the text says which, and what to do."""


@dataclasses.dataclass(frozen=True)
class Finished:
    """A command that ended by itself on a board.

    Attributes:
      code: its exit code; that of a killed one is 128 and the signal's number.
      stdout: what it wrote.
      stderr: what it complained of.
    """

    code: int
    stdout: str
    stderr: str


class Transport(Protocol):
    """A way to a board: a context, within which the board has a work folder of our own.

    Entering it connects and makes the folder; leaving it, in whatever way, ends what still runs there and removes the
    folder.

    Attributes:
      title: what reports call it, as ``ssh://user@host``; never a password or key.
      folder: the work folder on the board, an absolute path there.
      emulated: whether times on it say nothing.
    """

    title: str
    folder: str
    emulated: bool

    def __enter__(self) -> Transport: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Finished:
        """Runs a program within the work folder, without a shell's reading of its words.

        Raises:
          DeviceError: the connection was lost, or the command ran longer than that; it is ended there too.
        """
        ...

    def put(self, source: Path, name: str) -> str:
        """Copies a file into the work folder, whole or not at all -> its path there.

        Raises:
          DeviceError: as in `run`, or there is no room.
        """
        ...

    def get(self, name: str, target: Path) -> None:
        """Copies a file from the work folder, whole or not at all.

        Raises:
          DeviceError: as in `run`, or there is no such file.
        """
        ...
