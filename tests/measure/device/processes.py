"""What tests of boards look at on this machine: whether something that should be gone is gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def is_alive(pid: int) -> bool:
    try:
        return stat_of(pid)[0] != "Z"
    except OSError:
        return False


def stat_of(pid: int) -> list[str]:
    """-> what /proc says of a process after its name: state, parent, group, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")[0]


def descendants(pid: int) -> list[int]:
    """-> the processes that came from that one, without it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and is_alive(int(entry.name)):
            try:
                parents.setdefault(int(stat_of(int(entry.name))[1]), []).append(int(entry.name))
            except OSError:
                continue
    found, left = [], [pid]
    while left:
        children = parents.get(left.pop(), [])
        found += children
        left += children
    return found


def becomes_true(condition: Callable[[], bool], limit_s: float = 120) -> bool:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def ends(pid: int, limit_s: float = 120) -> bool:
    return becomes_true(lambda: not is_alive(pid), limit_s)


def number_in(path: Path, limit_s: float = 120) -> int:
    """-> the number that a program writes to a file, with a line's end after it."""
    assert becomes_true(lambda: path.exists() and path.read_text().endswith("\n"), limit_s)
    return int(path.read_text())
