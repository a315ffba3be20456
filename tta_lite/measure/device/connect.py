"""Which way to a board ``--connect`` means."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tta_lite.boards.profile import get_board
from tta_lite.measure.device import adb, ssh_options
from tta_lite.measure.device.adb import Adb
from tta_lite.measure.device.emulated_cores import CORES
from tta_lite.measure.device.emulator import PROGRAM, Emulated
from tta_lite.measure.device.local import Local
from tta_lite.measure.device.ssh import Ssh
from tta_lite.measure.device.transport import Transport
from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a user asked for.

    Attributes:
      connect: the whole text of ``--connect``.
      remote_folder: where on the board the work folder is made; None is the way's own choice.
      board: what ``--board`` said; a real board is what it is, an emulated one must be told.
    """

    connect: str
    remote_folder: str | None = None
    board: str | None = None


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to a board.

    Attributes:
      form: how it is written, for help and errors. A part in capitals or brackets stands for something.
      opens: -> the transport, not yet entered; raises InputError for a text that only begins right.
    """

    form: str
    opens: Callable[[Wanted], Transport]


# By what the text begins with; a beginning without ":" at its end is the whole text.
WAYS: dict[str, Way] = {
    "local": Way("local", lambda wanted: Local(parent=wanted.remote_folder)),
    ssh_options.SCHEME: Way(
        "ssh://[user@]host[:port]", lambda wanted: Ssh(wanted.connect, remote_folder=wanted.remote_folder)
    ),
    "emulated": Way("emulated", lambda wanted: emulated_board(wanted.board, wanted.remote_folder)),
    adb.SCHEME: Way(
        "adb:SERIAL",
        lambda wanted: Adb(wanted.connect.removeprefix(adb.SCHEME), remote_folder=wanted.remote_folder),
    ),
}


def emulated_board(board: str | None, parent: str | None = None) -> Emulated:
    """-> the fastest cores of a board, emulated, with their work folder in `parent`.

    Raises:
      InputError: no board is named, or QEMU has none like its cores.
    """
    if not board:
        raise InputError("--connect=emulated needs --board, whose processor is emulated. Received: no board")
    profile = get_board(board)
    kinds = [cores.qemu_cpu for cores in profile.cores if cores.qemu_cpu in CORES]
    if not kinds or kinds[0] != profile.cores[0].qemu_cpu:
        raise InputError(
            f"{profile.title} cannot be emulated: {PROGRAM} must have its {profile.cores[0].name}; "
            f"{', '.join(CORES)} are known to compute right. Received: {profile.cores[0].qemu_cpu or 'none'}"
        )
    return Emulated(kinds[0], others=kinds[1:], parent=parent)


def open_transport(connect: str, *, remote_folder: str | None = None, board: str | None = None) -> Transport:
    """-> the way to a board, not yet entered.

    Args:
      connect: as ``--connect`` takes it: see `WAYS`.
      remote_folder: where on the board the work folder is made, a folder that is there; None is the way's own choice.
      board: what ``--board`` said.

    Raises:
      InputError: there is no such way.

    >>> open_transport("ssh://firefly@192.168.1.7").title
    'ssh://firefly@192.168.1.7'
    """
    wanted = Wanted(connect, remote_folder, board)
    for beginning, way in WAYS.items():
        if connect == beginning or (":" in beginning and connect.startswith(beginning)):
            return way.opens(wanted)
    forms = ", ".join(way.form for way in WAYS.values())
    raise InputError(f"--connect takes {forms}. Received: {connect!r}")
