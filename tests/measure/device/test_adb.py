"""A board over adb: against the real program where no device is, and against a stand-in for one."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.measure.device import adb_stand_in
from tests.measure.device.processes import becomes_true, descendants, ends, number_in
from tests.measure.device.ssh_server import free_port
from tta_lite.measure.device.adb import Adb
from tta_lite.measure.device.transport import DeviceError, Transport
from tta_lite.types import InputError


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """-> the folder that the stand-in's shell may write to; beside it, `state` and `old` say how it behaves."""
    program = tmp_path / "bin" / "adb"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {adb_stand_in.__file__} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN", str(tmp_path))
    (tmp_path / "state").write_text("device\n")
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def refusal(transport: Adb) -> str:
    with pytest.raises(DeviceError) as caught, transport:
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("old", [False, True])
def test_the_whole_path(device: Path, tmp_path: Path, old: bool) -> None:
    if old:
        (tmp_path / "old").touch()
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\nprintf "$1\\0\\r\\n\\377" > result.bin\necho "out"\necho err >&2\nexit 3\n')
    program.chmod(0o755)
    transport: Transport = Adb("board", remote_folder=str(device))
    with transport as board:
        assert os.stat(board.folder).st_mode & 0o777 == 0o700
        assert board.put(program, "bin/it's a program") == f"{board.folder}/bin/it's a program"
        finished = board.run(["bin/it's a program", "it's $HOME"], timeout_s=60)
        streams = ("out\nerr\n", "") if old else ("out\n", "err\n")
        assert (finished.code, finished.stdout, finished.stderr) == (3, *streams)
        board.get("result.bin", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b"it's $HOME\0\r\n\xff"
        with pytest.raises(DeviceError, match="no file"):
            board.get("missing", tmp_path / "missing")
    assert not (tmp_path / "missing").exists()
    assert os.listdir(device) == []


def test_a_hung_command_is_ended_on_the_board_too(device: Path, tmp_path: Path) -> None:
    with Adb(remote_folder=str(device)) as board:
        with pytest.raises(DeviceError, match=r"did not end within 2 s and was ended"):
            board.run(["sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/pid; wait"], timeout_s=2)
        assert ends(number_in(tmp_path / "pid"))
        assert board.run(["echo", "on"], timeout_s=60).stdout == "on\n"
    assert os.listdir(device) == []


def test_a_board_that_is_unplugged(device: Path, tmp_path: Path) -> None:
    def unplug() -> None:
        number_in(tmp_path / "pid")
        for pid in descendants(os.getpid()):
            # What was their device's goes with the first of them.
            with contextlib.suppress(OSError):
                if adb_stand_in.__file__.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=unplug)
    thread.start()
    lost = pytest.raises(DeviceError, match="the connection was lost")
    with lost, Adb("board", remote_folder=str(device)) as board:
        board.run(["sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/pid; wait"], timeout_s=60)
    thread.join()
    assert ends(number_in(tmp_path / "pid"))
    assert becomes_true(lambda: os.listdir(device) == [])


def test_a_copy_that_fails_is_one_clear_error(device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x" * 100)
    with Adb("board", remote_folder=str(device)) as board:
        # It says that it worked, as an old `adb` does by its code.
        monkeypatch.setattr(Adb, "_copy", lambda self, words, timeout_s: "")
        with pytest.raises(DeviceError, match="no file"):
            board.put(tmp_path / "file", "file")
        monkeypatch.setattr(Adb, "_copy", lambda self, words, timeout_s: Path(words[2]).write_text("y" * 100) and "")
        with pytest.raises(DeviceError, match="did not arrive whole"):
            board.put(tmp_path / "file", "file")
        assert os.listdir(board.folder) == [".tta"]
        assert os.listdir(f"{board.folder}/.tta") == []


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("unauthorized", "allow this machine on the board's screen"),
        ("offline", "plug it in again"),
        ("none", "`adb devices` must list it"),
        ("several", "name one by adb:SERIAL"),
        ("permissions", "udev rules"),
        ("recovery", "it is in the state 'recovery'"),
    ],
)
def test_each_state_has_its_own_advice(device: Path, tmp_path: Path, state: str, said: str) -> None:
    (tmp_path / "state").write_text(state)
    assert said in refusal(Adb(remote_folder=str(device)))


def test_another_serial_is_not_found(device: Path) -> None:
    assert "'another' not found" in refusal(Adb("another", remote_folder=str(device)))


def test_a_folder_that_is_not_there(device: Path) -> None:
    said = refusal(Adb("board", remote_folder=str(device / "missing")))
    assert "No such file" in said and "--remote_folder" in said


def test_no_adb_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Debian's package is adb" in refusal(Adb("board"))


@pytest.mark.parametrize("serial", ["-x", "a b", "a\nb", "$(id)", "a;b", "../a"])
def test_what_is_no_serial_is_refused(serial: str) -> None:
    with pytest.raises(InputError, match="Not the serial"):
        Adb(serial)


@pytest.fixture
def real_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The real `adb`, with a server of its own, which sees no device."""
    if not shutil.which("adb"):
        pytest.skip("no adb: Debian's package has the same name")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(free_port()))
    monkeypatch.setenv("HOME", str(tmp_path))
    yield
    subprocess.run(["adb", "kill-server"], capture_output=True)


def test_the_real_adb_without_that_device(real_server: None) -> None:
    assert "'tta-no-such-serial' not found" in refusal(Adb("tta-no-such-serial"))
