"""A board over SSH that cannot be reached, or is not the one that it should be: one clear error each."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.measure.device.ssh_server import NEEDS_SSHD, SshServer, free_port, make_key, running
from tta_lite.measure.device.ssh import Ssh
from tta_lite.measure.device.transport import DeviceError

pytestmark = NEEDS_SSHD


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with running(tmp_path_factory.mktemp("sshd")) as started:
        yield started


def refusal(transport: Ssh) -> str:
    """-> the error with which connecting ends; nothing may be left of it."""
    with pytest.raises(DeviceError) as caught, transport:
        pass
    assert not transport._private
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{transport.title}: ")
    return str(caught.value)


def fingerprint(key: Path) -> str:
    shown = subprocess.run(["ssh-keygen", "-lf", f"{key}.pub"], capture_output=True, text=True, check=True)
    return shown.stdout.split()[1]


# Whatever is asked for, a key is never accepted by itself.
@pytest.mark.parametrize("changes", [{}, {"StrictHostKeyChecking": "no"}, {"StrictHostKeyChecking": "accept-new"}])
def test_an_unknown_host_key_is_shown_and_not_accepted(
    server: SshServer, tmp_path: Path, changes: dict[str, str]
) -> None:
    known = tmp_path / "known_hosts"
    known.touch()
    said = refusal(server.transport(server.options(UserKnownHostsFile=str(known), **changes)))
    assert "host key is not known" in said
    assert fingerprint(server.folder / "host") in said
    assert f"ssh -p {server.port} " in said
    assert known.read_text() == ""


def test_a_wrong_host_key_is_another_error(server: SshServer, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {(tmp_path / 'other.pub').read_text()}")
    before = known.read_text()
    said = refusal(server.transport(server.options(UserKnownHostsFile=str(known), StrictHostKeyChecking="no")))
    assert "not the one known here" in said
    assert f"{known}, line 1" in said
    assert fingerprint(server.folder / "host") in said
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}'" in said
    assert known.read_text() == before


def test_a_key_that_the_board_does_not_take_is_told_and_asked_for_no_password(
    server: SshServer, tmp_path: Path
) -> None:
    make_key(tmp_path / "stranger")
    said = refusal(server.transport(server.options(IdentityFile=str(tmp_path / "stranger"))))
    assert "refuses us" in said and "Permission denied" in said and "ssh-copy-id" in said


def test_options_of_the_user_that_are_for_people_change_nothing(server: SshServer, tmp_path: Path) -> None:
    config = tmp_path / "config"
    rest = "\n".join(word.replace("=", " ", 1) for word in server.options() if "=" in word)
    config.write_text(
        "Host my-board\n"
        f"HostName 127.0.0.1\nPort {server.port}\n{rest}\nRemoteCommand echo no\nRequestTTY force\nLogLevel QUIET\n"
        f"ControlMaster auto\nControlPath {tmp_path}/theirs\nControlPersist yes\n"
        f"LocalForward {free_port()} localhost:9\n"
    )
    with Ssh("ssh://my-board", options=("-F", str(config))) as board:
        assert board.run(["echo", "yes"], timeout_s=60).stdout == "yes\n"
    assert not (tmp_path / "theirs").exists()


def test_a_machine_that_is_off_is_tried_again_and_told(tmp_path: Path) -> None:
    started = time.monotonic()
    transport = Ssh(f"ssh://127.0.0.1:{free_port()}", options=("-F", "none"), attempts=3, pause_s=0.3)
    assert "cannot be reached" in refusal(transport)
    assert time.monotonic() - started >= 0.6


def test_a_board_that_still_starts_is_waited_for(tmp_path: Path) -> None:
    late = SshServer(tmp_path)
    timer = threading.Timer(0.5, late.start)
    timer.start()
    try:
        with late.transport(attempts=20, pause_s=0.2) as board:
            assert board.run(["true"], timeout_s=60).code == 0
    finally:
        timer.join()
        late.stop()


def test_a_server_that_allows_one_session_says_so(tmp_path: Path) -> None:
    strict = SshServer(tmp_path)
    strict.start("MaxSessions 1")
    try:
        with pytest.raises(DeviceError, match="MaxSessions"), strict.transport() as board:
            board.run(["true"], timeout_s=60)
        assert os.listdir(strict.temporary) == []
    finally:
        strict.stop()


def test_a_machine_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"ssh://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        said = refusal(Ssh(address, options=("-F", "none"), connect_s=1, attempts=1))
        assert time.monotonic() - started < 60
    assert "cannot be reached" in said and "timed out" in said.lower()


def test_a_login_without_a_shell_is_one_clear_error(server: SshServer) -> None:
    start_up = server.home / ".bashrc"
    start_up.write_text("echo This account is closed.\nexit 1\n")
    try:
        shown = subprocess.run(
            ["ssh", *server.options(), "-p", str(server.port), "127.0.0.1", "true"], capture_output=True
        )
        if b"closed" not in shown.stdout:
            pytest.skip("the login shell here reads no .bashrc for a command over ssh")
        said = refusal(server.transport())
    finally:
        start_up.unlink()
    assert "did not answer as a POSIX shell" in said and "This account is closed." in said


def test_no_client_program_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "openssh-client" in refusal(Ssh("ssh://board"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system to try")
def test_a_folder_where_programs_cannot_start_is_named(server: SshServer, tmp_path: Path) -> None:
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "noexec,size=1m", "none", tmp_path], capture_output=True
    ).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        said = refusal(server.transport(remote_folder=str(tmp_path)))
        assert "noexec" in said and f" in {tmp_path}:" in said and "--remote_folder" in said
        assert os.listdir(tmp_path) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)
