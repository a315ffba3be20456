"""What the runner writes, made up; and a board that is none, in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tta_lite.measure.device.build import build_runner
from tta_lite.measure.device.library import litert_library
from tta_lite.measure.device.transport import DeviceError, Finished, inner_name

# Two kinds of core, as an RK3399 tells them.
RK3399 = [{"CPU implementer": "0x41", "CPU part": "0xd03"}] * 4 + [{"CPU implementer": "0x41", "CPU part": "0xd08"}] * 2


def state(khz: dict[int, int] | None = None, governor: str = "ondemand", degrees: float = 45.0) -> dict[str, Any]:
    """What `State.from_json` reads."""
    cpus = [{"cpu": cpu, "khz": clock, "governor": governor} for cpu, clock in (khz or {}).items()]
    return {"unix_time": 1, "cpus": cpus, "temperatures": [{"zone": "cpu", "millidegrees": degrees * 1e3}]}


def event(name: str, us: float, node: int = 0, kind: int = 8) -> dict[str, Any]:
    """One op of a profiled run."""
    return {"type": kind, "node": node, "start_us": 0, "us": us, "name": name}


def record(**changed: Any) -> dict[str, Any]:
    """What `Run.from_json` reads, with changes."""
    return {
        "format": 1,
        "init": {"load_s": 0.5, "compile_s": 0.25, "first_run_s": 0.125},
        "init_s": 0.875,
        "warmup_runs": 5,
        "before": state(),
        "after": state(),
        "memory": {"before_bytes": 10_000_000, "peak_bytes": 14_000_000},
        "golden": [],
        "profile": [],
        "kernels": "xnnpack",
        "fully_delegated": True,
        "threads": 1,
        "cpus": [0, 1, 2, 3, 4, 5],
        "pinned": False,
        "machine": {"architecture": "aarch64", "kernel": "4.4.194", "libc": "glibc 2.27", "processors": RK3399},
        "samples_us": [2000.0, 1000.0, 3000.0],
        **changed,
    }


class Board:
    """A board in memory; a `Transport`.

    Args:
      replies: what the runner writes, one a run; an exception is raised, a number is its exit code.
      architecture: that ``uname -m`` tells.
      probes: exit codes of the runner's probes, in order; 0 after these.
    """

    title = "ssh://user@board"
    emulated = False
    folder = "/there"

    def __init__(
        self, replies: Sequence[Any] = (), *, architecture: str = "x86_64", probes: Sequence[int] = (), **changed: Any
    ) -> None:
        self.replies, self.probes = list(replies), list(probes)
        self.machine = architecture
        self.files: dict[str, bytes] = {}
        self.commands: list[list[str]] = []
        self.state = "new"
        vars(self).update(changed)

    def __enter__(self) -> Board:
        assert self.state == "new"
        self.state = "open"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.state = "left"

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Finished:
        assert self.state == "open" and timeout_s > 0
        self.commands.append(list(argv))
        if argv[0] == "uname":
            return Finished(0, f"{self.machine}\n", "")
        if argv[0] == "rm":
            self.files.pop(argv[-1], None)
        if argv[0] in ("rm", "chmod"):
            assert argv[0] == "rm" or argv[-1] in self.files
            return Finished(0, "", "")
        if "--probe" in argv:
            code = self.probes.pop(0) if self.probes else 0
            return Finished(code, "{}", "" if code == 0 else "./tta_runner: GLIBC_2.34 not found\n")
        reply = self.replies.pop(0)
        if isinstance(reply, BaseException):
            raise reply
        if isinstance(reply, Finished):
            return reply
        [out] = [word.removeprefix("--out=") for word in argv if word.startswith("--out=")]
        self.files[out] = reply.encode() if isinstance(reply, str) else json.dumps(reply).encode()
        return Finished(0 if all(one["agrees"] for one in self._golden(reply)) else 3, "", "")

    def put(self, source: Path, name: str) -> str:
        path = f"{self.folder}/{inner_name(name)}"
        self.files[path] = source.read_bytes()
        return path

    def get(self, name: str, target: Path) -> None:
        path = f"{self.folder}/{inner_name(name)}"
        if path not in self.files:
            raise DeviceError(f"{self.title}: there is no {name}")
        target.write_bytes(self.files[path])

    @property
    def runs(self) -> list[list[str]]:
        """The commands that ran a network."""
        return [words for words in self.commands if any(word.startswith("--model=") for word in words)]

    @staticmethod
    def _golden(reply: Any) -> list[dict[str, Any]]:
        return reply["golden"] if isinstance(reply, dict) else []


def stands_in(monkeypatch: Any, folder: Path) -> None:
    """Files of any content instead of the runner and the libraries, where none of them is run."""
    from tta_lite.measure.device import runner

    for name in ("tta_runner", "libLiteRt.so", "ld-linux-x86-64.so.2", "libc.so.6"):
        (folder / name).write_text(name)
    assert runner.build_runner is build_runner and runner.litert_library is litert_library
    monkeypatch.setattr(runner, "build_runner", lambda architecture: folder / "tta_runner")
    monkeypatch.setattr(runner, "litert_library", lambda architecture: folder / "libLiteRt.so")
    monkeypatch.setattr(
        runner, "libc_files", lambda architecture: [folder / "ld-linux-x86-64.so.2", folder / "libc.so.6"]
    )
