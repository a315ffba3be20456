"""A board over SSH where something breaks in the middle: one clear error each, and nothing left on either side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.measure.device.processes import becomes_true, ends, is_alive, number_in
from tests.measure.device.ssh_server import NEEDS_SSHD, SshServer, running
from tta_lite.measure.device import remote
from tta_lite.measure.device.ssh import Ssh
from tta_lite.measure.device.transport import DeviceError

pytestmark = NEEDS_SSHD
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    folder = tmp_path / "sshd"
    folder.mkdir()
    with running(folder) as started:
        yield started


def hanging(told: Path) -> list[str]:
    """-> a program that never ends, whose child does not either; it tells that one's number."""
    return ["sh", "-c", f"sleep 1000 & echo $! > {told}; wait"]


def nothing_is_left(server: SshServer, limit_s: float = 120) -> bool:
    return becomes_true(lambda: not os.listdir(server.temporary), limit_s)


def test_a_hung_command_is_ended_on_the_board_too(server: SshServer, tmp_path: Path) -> None:
    with server.transport() as board:
        with pytest.raises(DeviceError, match=r"did not end within 2 s and was ended\. Received: sh -c"):
            board.run(hanging(tmp_path / "pid"), timeout_s=2)
        assert ends(number_in(tmp_path / "pid"))
        # The board is as good as before.
        assert board.run(["echo", "on"], timeout_s=60).stdout == "on\n"
    assert nothing_is_left(server)


def test_what_a_program_leaves_running_is_ended(server: SshServer, tmp_path: Path) -> None:
    with server.transport() as board:
        started = time.monotonic()
        assert board.run(["sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/pid"], timeout_s=60).code == 0
        assert time.monotonic() - started < 300
        assert ends(number_in(tmp_path / "pid"))


def test_a_dropped_connection(server: SshServer, tmp_path: Path) -> None:
    def cut() -> None:
        number_in(tmp_path / "pid")
        server.signal_sessions(signal.SIGKILL)

    thread = threading.Thread(target=cut)
    thread.start()
    with pytest.raises(DeviceError, match="the connection was lost") as caught, server.transport() as board:
        started = time.monotonic()
        board.run(hanging(tmp_path / "pid"), timeout_s=60)
    assert time.monotonic() - started < 300
    thread.join()
    assert "\n" not in str(caught.value)
    assert ends(number_in(tmp_path / "pid"))
    assert nothing_is_left(server)


def test_a_connection_that_is_cut_without_a_sign(server: SshServer, tmp_path: Path) -> None:
    def freeze() -> None:
        number_in(tmp_path / "pid")
        server.signal_sessions(signal.SIGSTOP)

    thread = threading.Thread(target=freeze)
    thread.start()
    lost = pytest.raises(DeviceError, match=r"the connection was lost: .*not responding")
    with lost, server.transport(drop_s=3) as board:
        started = time.monotonic()
        board.run(hanging(tmp_path / "pid"), timeout_s=60)
    assert time.monotonic() - started < 300
    thread.join()
    # The board heard nothing either. What serves the connection still stands still.
    assert ends(number_in(tmp_path / "pid"))
    assert nothing_is_left(server)


def test_a_connection_that_drops_within_a_copy_leaves_no_half_file(server: SshServer, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(30_000_000))
    with pytest.raises(DeviceError, match="the connection was lost"), server.transport() as board:
        # More than the buffers between here and there hold cannot have been copied then.
        threading.Timer(0.5, server.signal_sessions, [signal.SIGKILL]).start()
        upload = board._upload

        def frozen(source: Path, data: bytes, path: str, timeout_s: float) -> str:
            server.signal_sessions(signal.SIGSTOP)
            return upload(source, data, path, timeout_s)

        board._upload = frozen  # type: ignore[method-assign]
        board.put(tmp_path / "large", "large")
    assert nothing_is_left(server)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_killed_here(server: SshServer, tmp_path: Path, number: int) -> None:
    # Short, as the name of a socket must be.
    private = Path(tempfile.mkdtemp(prefix="t-"))
    program = (
        "import sys\nfrom tta_lite.measure.device.ssh import Ssh\n"
        f"with Ssh({server.address!r}, options={server.options()!r}) as board:\n"
        f"    board.run({hanging(tmp_path / 'pid')!r}, timeout_s=600)\n"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(private)}
    )
    pid = number_in(tmp_path / "pid")
    assert is_alive(pid)
    assert os.listdir(private)
    client.send_signal(number)
    client.wait()
    assert ends(pid)
    assert nothing_is_left(server)
    assert becomes_true(lambda: not os.listdir(private))
    assert becomes_true(lambda: not server.sessions())
    private.rmdir()


def test_a_work_folder_that_somebody_removed(server: SshServer) -> None:
    with server.transport() as board:
        subprocess.run(["rm", "-rf", board.folder], check=True)
        with pytest.raises(DeviceError, match=r"work folder .* is gone"):
            board.run(["true"], timeout_s=60)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small file system to fill, and not in every container")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("known", [True, False])
def test_a_full_disk(
    server: SshServer, small_disk: Path, tmp_path: Path, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.bin").write_bytes(bytes(1_500_000))
    (tmp_path / "small").write_bytes(bytes(500_000))
    copied: list[Path] = []
    upload = Ssh._upload

    def noted(self: Ssh, source: Path, data: bytes, path: str, timeout_s: float) -> str:
        copied.append(source)
        return upload(self, source, data, path, timeout_s)

    monkeypatch.setattr(Ssh, "_upload", noted)
    with server.transport(remote_folder=str(small_disk)) as board:
        board.put(tmp_path / "small", "small")
        if not known:
            # As where another program fills the disk in the meantime.
            monkeypatch.setattr(remote, "_free_bytes", lambda listing: None)
        with pytest.raises(DeviceError, match=r"no room for model\.bin in .*1500000 bytes are needed") as caught:
            board.put(tmp_path / "model.bin", "model.bin")
        assert "--remote_folder" in str(caught.value)
        if known:
            assert copied == [tmp_path / "small"]
            assert f" {small_free(small_disk)} are free" in str(caught.value)
        else:
            assert "No space left" in str(caught.value)
        assert sorted(os.listdir(board.folder)) == [".tta", "small"]
        assert os.listdir(f"{board.folder}/.tta") == []
        # And on the full disk a program still starts, and is still ended.
        Path(board.folder, "filler").write_bytes(bytes(small_free(small_disk)))
        with pytest.raises(DeviceError, match="was ended"):
            board.run(hanging(tmp_path / "pid"), timeout_s=2)
        assert ends(number_in(tmp_path / "pid"))
    assert os.listdir(small_disk) == []


def small_free(folder: Path) -> int:
    room = os.statvfs(folder)
    return room.f_bavail * room.f_bsize
