"""A board over SSH: the whole path against a real OpenSSH server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.measure.device.ssh_server import NEEDS_SSHD, SshServer, running
from tta_lite.measure.device.ssh import Ssh
from tta_lite.measure.device.transport import DeviceError, Transport

pytestmark = NEEDS_SSHD
WORDS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30), max_size=5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with running(tmp_path_factory.mktemp("sshd")) as started:
        yield started


@pytest.fixture(scope="module")
def board(server: SshServer) -> Iterator[Ssh]:
    with server.transport() as entered:
        assert isinstance(entered, Ssh)
        yield entered


def test_the_work_folder_is_private_and_goes(server: SshServer) -> None:
    transport: Transport = server.transport()
    before = sorted(os.listdir(server.temporary))
    with transport as entered:
        assert os.path.dirname(entered.folder) == str(server.temporary)
        assert os.stat(entered.folder).st_mode & 0o777 == 0o700
        assert entered.title == server.address
        folder = entered.folder
    assert not os.path.exists(folder)
    assert sorted(os.listdir(server.temporary)) == before


def test_a_program_is_copied_run_and_its_result_fetched(board: Ssh, tmp_path: Path) -> None:
    program, result = tmp_path / "program", tmp_path / "new" / "result.json"
    program.write_text('#!/bin/sh\necho "$1" > result.json\necho out\necho err >&2\nexit 3\n')
    program.chmod(0o755)
    assert board.put(program, "bin/program") == f"{board.folder}/bin/program"
    finished = board.run(["./bin/program", "it's $HOME"], timeout_s=60)
    assert (finished.code, finished.stdout, finished.stderr) == (3, "out\n", "err\n")
    board.get("result.json", result)
    assert result.read_text() == "it's $HOME\n"


def test_files_of_any_bytes_arrive_and_come_back(board: Ssh, tmp_path: Path) -> None:
    source, back = tmp_path / "it's a file", tmp_path / "back"
    for size in (0, 1, 3_000_000):
        source.write_bytes(os.urandom(size))
        # The second one takes the place of the first.
        path = board.put(source, "in puts/$x.bin")
        assert Path(path).read_bytes() == source.read_bytes()
        assert os.stat(path).st_mode & 0o777 == 0o600
        board.get("in puts/$x.bin", back)
        assert back.read_bytes() == source.read_bytes()
    assert os.listdir(f"{board.folder}/.tta") == []


def test_codes_are_the_programs_own(board: Ssh) -> None:
    # 255 is also what `ssh` gives for a lost connection.
    for code in (0, 1, 255):
        assert board.run(["sh", "-c", f"exit {code}"], timeout_s=60).code == code
    assert board.run(["./missing"], timeout_s=60).code == 127
    assert board.run(["/etc/passwd"], timeout_s=60).code == 126
    killed = board.run(["sh", "-c", "kill -9 $$"], timeout_s=60)
    assert (killed.code, killed.stderr) == (137, "")


def test_a_large_output_comes_whole_and_input_is_empty(board: Ssh) -> None:
    finished = board.run(["sh", "-c", "head -c 5000000 /dev/zero; cat; echo end >&2"], timeout_s=30)
    assert (finished.stdout, finished.stderr) == ("\0" * 5_000_000, "end\n")


@settings(max_examples=25)
@given(words=WORDS)
def test_words_survive(board: Ssh, words: list[str]) -> None:
    program = "import json, sys; print(json.dumps(sys.argv[1:]))"
    finished = board.run([sys.executable, "-I", "-S", "-c", program, *words], timeout_s=30)
    assert json.loads(finished.stdout) == words


def test_a_command_costs_no_handshake(board: Ssh, server: SshServer) -> None:
    # Who serves the connection: the same process for every command.
    served = {board.run(["sh", "-c", "echo $SSH_CONNECTION"], timeout_s=60).stdout for _ in range(3)}
    assert len(served) == 1
    assert served.pop().split()[3] == str(server.port)


def test_a_start_up_file_that_speaks_changes_nothing(server: SshServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\0\r\n\xff")
    start_up = server.home / ".bashrc"
    start_up.write_text("echo Welcome\necho warning >&2\n")
    try:
        shown = subprocess.run(
            ["ssh", *server.options(), "-p", str(server.port), "127.0.0.1", "true"], capture_output=True
        )
        if b"Welcome" not in shown.stdout:
            pytest.skip("the login shell here reads no .bashrc for a command over ssh")
        with server.transport() as board:
            finished = board.run(["sh", "-c", "echo a; echo b >&2"], timeout_s=60)
            assert (finished.stdout, finished.stderr) == ("a\n", "b\n")
            board.put(tmp_path / "file", "file")
            board.get("file", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b"\0\r\n\xff"
    finally:
        start_up.unlink()


def test_the_work_folder_goes_where_one_asks(server: SshServer, tmp_path: Path) -> None:
    with server.transport(remote_folder=str(tmp_path)) as board:
        assert os.path.dirname(board.folder) == str(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("name", "said"), [("missing", "No such file"), ("with space", "letters, digits")])
def test_a_folder_that_does_not_do_is_one_clear_error(server: SshServer, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "with space").mkdir()
    with pytest.raises(DeviceError, match=said) as caught, server.transport(remote_folder=str(tmp_path / name)):
        pass
    assert "--remote_folder" in str(caught.value)
    assert os.listdir(tmp_path / "with space") == []


@pytest.mark.parametrize("name", ["with space", "%h", "x" * 100])
def test_any_folder_for_temporary_files_does_here(
    server: SshServer, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    with server.transport() as board:
        assert board.run(["echo", "on"], timeout_s=60).stdout == "on\n"
    assert os.listdir(tmp_path / name) == []


def test_what_cannot_be_copied_leaves_nothing(board: Ssh, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "taken").write_text("x")
    board.put(tmp_path / "taken", "taken")
    with pytest.raises(DeviceError, match=r"no file .*/missing"):
        board.get("missing", tmp_path / "target")
    with pytest.raises(DeviceError, match="No such file"):
        board.put(tmp_path / "absent", "absent")
    # A file stands where a folder should.
    with pytest.raises(DeviceError, match="not copied"):
        board.put(tmp_path / "file", "taken/file")
    assert not (tmp_path / "target").exists()
    assert os.listdir(f"{board.folder}/.tta") == []
    assert Path(board.folder, "taken").read_text() == "x"
