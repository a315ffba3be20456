"""What every way to a board can do. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Protocol

from tta_lite.types import InputError

# The folder within the work folder where a transport keeps what it needs itself.
OWN = ".tta"


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
        """Runs a program within the work folder, without a shell's reading of its words, its standard input empty.

        What it started in the background is ended with it. One that cannot be started ends with code 127 (there is
        none) or 126 (not for this machine, or not executable), as in a shell.

        Raises:
          DeviceError: the connection was lost, or the command ran longer than that; it is ended there too.
        """
        ...

    def put(self, source: Path, name: str) -> str:
        """Copies a file into the work folder, whole or not at all -> its path there. It stays executable if it was.

        Args:
          source: the file here.
          name: its name there, or a path within the work folder, as ``inputs/0.bin``; folders are made.

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


def inner_name(name: str) -> str:
    """-> `name` as a path that stays within the work folder.

    Raises:
      InputError: it does not.

    >>> inner_name("dump//0.bin")
    'dump/0.bin'
    """
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or path.parts[0] == OWN or "\0" in name:
        raise InputError(f"A file on a board needs a name, or a path within the work folder. Received: {name!r}")
    return str(path)


def checked_words(argv: Sequence[str]) -> list[str]:
    """-> the words of a command, each of which a program can be given.

    Raises:
      InputError: there is none, or a word holds a NUL, which no program can receive, or no text that has bytes.

    >>> checked_words(("echo", "it's"))
    ['echo', "it's"]
    """
    words = list(argv)
    try:
        encoded = [os.fsencode(word) for word in words]
    except UnicodeEncodeError:
        encoded = [b"\0"]
    if not words or not words[0] or any(b"\0" in word for word in encoded):
        raise InputError(f"A command needs a program and words without NUL. Received: {words!r}")
    return words
