"""`tta-lite benchmark --connect=ssh://...` against a real OpenSSH server: the whole path, and each way it can break."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.measure.device.processes import becomes_true
from tests.measure.device.ssh_server import NEEDS_SSHD, SshServer, running
from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.types import FP32

pytestmark = NEEDS_SSHD
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Conv2D(16, 3, activation="relu", name="conv")(image)
    path = tmp_path_factory.mktemp("network") / "net.tflite"
    path.write_bytes(export_tflite(keras.Model(image, keras.layers.Conv2D(4, 1, name="last")(x)), FP32))
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with running(tmp_path_factory.mktemp("sshd")) as started:
        yield started


class Board:
    """Runs the recipe against a server; `ssh` on its path reads nothing of the user's."""

    def __init__(self, server: SshServer, network: Path, folder: Path, **options: str):
        self.server, self.network, self.out = server, network, folder / "out.json"
        programs = folder / "bin"
        programs.mkdir()
        words = " ".join(f"'{word}'" for word in server.options(**options))
        (programs / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {words} "$@"\n')
        (programs / "ssh").chmod(0o755)
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{programs}:{os.environ['PATH']}"}

    def start(self, *flags: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "recipes.benchmark", f"--graph={self.network}", f"--out={self.out}"]
        command += [f"--connect={self.server.address}", "--board=host", "--cool_down_secs=0", "--num_runs=3"]
        return subprocess.Popen(
            [*command, "--min_secs=0", *flags], env=self.environment, text=True, cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def ends_in_one_error(self, process: subprocess.Popen[str]) -> str:
        _, said = process.communicate(timeout=600)
        assert process.returncode == 2, said
        (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in said and line.count("Received: ") <= 1
        assert not self.out.exists() and not list(self.out.parent.glob(".*"))
        assert becomes_true(lambda: not os.listdir(self.server.temporary), 120)
        return line


@pytest.fixture
def board(server: SshServer, network: Path, tmp_path: Path) -> Board:
    return Board(server, network, tmp_path)


def test_a_network_is_timed_there_and_nothing_is_left(board: Board) -> None:
    process = board.start(f"--graph={shutil.copy(board.network, board.out.parent / 'other.tflite')}", "--rounds=2")
    printed, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert "times as fast as" in printed and "C runner" in printed
    rows = json.loads(board.out.read_text())["benchmarks"]
    assert len(rows) == 2
    for row in rows:
        # Runs are shared out over the rounds.
        assert row["latency_ms"]["runs"] == 4 and 0 < row["latency_ms"]["min"] <= row["latency_ms"]["p50"]
        assert row["measured_on"]["emulated"] is False and row["measured_on"]["delegate"] == "XNNPACK"
        assert row["peak_memory_bytes"] > board.network.stat().st_size
    assert becomes_true(lambda: not os.listdir(board.server.temporary), 10)


def test_a_wrong_host_key(server: SshServer, network: Path, tmp_path: Path) -> None:
    other = tmp_path / "other_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{server.port} {other.with_suffix('.pub').read_text()}")
    board = Board(server, network, tmp_path, UserKnownHostsFile=str(known))
    assert "key" in board.ends_in_one_error(board.start())


def test_another_board_than_was_named(board: Board) -> None:
    assert "Cortex-A72" in board.ends_in_one_error(board.start("--board=rk3399"))


def test_a_network_that_does_not_run_there(board: Board, tmp_path: Path) -> None:
    torn = tmp_path / "torn.tflite"
    torn.write_bytes(board.network.read_bytes()[:400])
    assert "did not run there" in board.ends_in_one_error(board.start(f"--graph={torn}"))


def test_a_full_disk(board: Board, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small file system to fill, and not in every container")
    try:
        assert "no room for" in board.ends_in_one_error(board.start(f"--remote_folder={disk}"))
        assert os.listdir(disk) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def runs_there(board: Board) -> bool:
    """Whether the runner runs on the board."""
    marks = [Path("/proc", pid, "cmdline") for pid in os.listdir("/proc") if pid.isdigit()]
    return any(_words(mark).startswith(f"{board.server.temporary}/") for mark in marks)


def _words(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_a_hung_command(board: Board) -> None:
    process = board.start("--num_runs=1000000", "--min_secs=1000", "--timeout_s=2")
    assert "did not end within 2 s" in board.ends_in_one_error(process)
    assert becomes_true(lambda: not runs_there(board), 10)


def test_a_dropped_connection(board: Board) -> None:
    process = board.start("--num_runs=1000000", "--min_secs=1000")
    assert becomes_true(lambda: runs_there(board), 120)
    threading.Timer(0.2, board.server.signal_sessions, [signal.SIGKILL]).start()
    assert "connection was lost" in board.ends_in_one_error(process)
    assert becomes_true(lambda: not runs_there(board), 120)


def test_a_killed_run(board: Board) -> None:
    process = board.start("--num_runs=1000000", "--min_secs=1000")
    assert becomes_true(lambda: runs_there(board), 120)
    process.kill()
    process.communicate(timeout=600)
    assert not board.out.exists()
    assert becomes_true(lambda: not runs_there(board), 120)
    assert becomes_true(lambda: not os.listdir(board.server.temporary), 120)
    # The next one finds nothing in its way.
    started = time.monotonic()
    again = board.start()
    again.communicate(timeout=600)
    assert again.returncode == 0 and time.monotonic() - started < 400
    assert np.isfinite(json.loads(board.out.read_text())["benchmarks"][0]["latency_ms"]["p50"])
