"""Who works on a trial, and whether it still does."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """-> what tells this process from others: a name, and where it can be looked for."""
    pid = os.getpid()
    return {
        "name": f"{socket.gethostname()}-{pid}-{uuid.uuid4().hex[:6]}",
        "place": _place(),
        "pid": pid,
        "started": _started(pid),
    }


def is_alive(owner: Mapping[str, Any]) -> bool | None:
    """-> whether a process of this machine is there; None: it is on another one, of which nothing is known."""
    place, pid, started = owner.get("place"), owner.get("pid"), owner.get("started")
    if not place or place != _place() or not isinstance(pid, int):
        return None
    # A number may be another's by now.
    return _started(pid) == started


def _place() -> str:
    """-> one text for all processes that see each other's numbers, until the machine starts anew; empty: not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """-> when a process started, in ticks; empty: there is none, or it ended and nobody has asked how."""
    try:
        # Behind the name, which may hold anything; man 5 proc: state is field 3, starttime 22.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


@contextlib.contextmanager
def beating(beat: Callable[[int], None], every_s: float) -> Iterator[None]:
    """Within it a thread calls ``beat(1)``, ``beat(2)`` ... every so many seconds.

    A beat that fails is left out: a storage that does not answer for a while must not end a training.
    """
    ended = threading.Event()

    def go_on() -> None:
        count = 0
        while not ended.wait(every_s):
            count += 1
            with contextlib.suppress(Exception):
                beat(count)

    thread = threading.Thread(target=go_on, name="search-beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
