"""The scripts on the board's side, in every shell that is here: a board may have any of them."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.measure.device.processes import becomes_true, descendants, ends, is_alive, number_in
from tta_lite.measure.device import remote_script
from tta_lite.measure.device.checksum import CHECKSUMS, cksum
from tta_lite.measure.device.client import Answer, answered, communicate, marked

# What a board's `sh` may be: Debian's, a desktop's, busybox's, and Android's.
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"], "mksh": ["mksh"]}
NUMBERS = itertools.count(1)
WORDS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20), max_size=4)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """-> a shell, which is also what `sh` means to the scripts."""
    words = SHELLS[request.param]
    program = shutil.which(words[0])
    if not program:
        pytest.skip(f"no {words[0]}: Debian's package has the same name")
    folder = tmp_path / "path"
    folder.mkdir()
    wrapper = folder / "sh"
    wrapper.write_text(f'#!/bin/sh\nexec {program} {" ".join(words[1:])} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return [program, *words[1:]]


class Side:
    """The board's side: a shell that keeps a work folder, and others that run scripts in it."""

    def __init__(self, shell: list[str], parent: Path, silence_s: int = 60) -> None:
        self.shell = shell
        self.process = subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(remote_script.keep(str(parent), "mark", silence_s=silence_s).encode())
        self.process.stdin.flush()
        mark, self.word, self.folder = self.process.stdout.readline().decode().rstrip("\n").split(" ", 2)
        assert mark == "mark"

    def call(self, script: str) -> Answer:
        out, complaints = communicate(self.shell, os.fsencode(marked(script, "m")), 30)
        answer = answered("m", out, complaints)
        assert answer is not None, (out, complaints)
        return answer

    def end(self) -> None:
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None and not stream.closed:
                stream.close()
        self.process.wait(60)


@pytest.fixture
def side(shell: list[str], tmp_path: Path) -> Iterator[Side]:
    (tmp_path / "parent").mkdir()
    made = Side(shell, tmp_path / "parent")
    yield made
    made.end()


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=WORDS)
def test_words_survive(side: Side, words: list[str]) -> None:
    program = [sys.executable, "-I", "-S", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"]
    answer = side.call(remote_script.run(side.folder, str(next(NUMBERS)), [*program, *words]))
    assert (answer.code, answer.stderr) == ("0", b"")
    assert json.loads(answer.stdout) == words


def test_a_program_that_runs_ends_with_the_input(side: Side, tmp_path: Path) -> None:
    words = ["sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/pid; wait"]
    script = marked(remote_script.run(side.folder, "1", words), "m")
    running = subprocess.Popen(side.shell, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert running.stdin and side.process.stdin and side.process.stdout
    running.stdin.write(script.encode())
    running.stdin.close()
    pid = number_in(tmp_path / "pid")
    # The signs of life that come in between.
    side.process.stdin.write(b"\n\n")
    side.process.stdin.flush()
    children = descendants(side.process.pid)
    assert is_alive(pid) and children
    side.process.stdin.close()
    assert side.process.stdout.read() == b"mark swept\n"
    assert side.process.wait(60) == 0
    assert all(ends(child) for child in (pid, *children))
    assert running.wait(60) == 0
    assert not os.path.exists(side.folder)


def test_silence_ends_everything(shell: list[str], tmp_path: Path) -> None:
    side = Side(shell, tmp_path, silence_s=1)
    children = descendants(side.process.pid)
    # Its input stays open, as after a cut that nobody noticed.
    assert side.process.wait(60) == -9
    assert becomes_true(lambda: not os.path.exists(side.folder))
    assert all(ends(child) for child in children)
    side.end()


def test_a_program_that_leaves_its_group_ends_too(side: Side, tmp_path: Path) -> None:
    leaves = f"setsid sh -c 'echo $$ > {tmp_path}/pid; cd .tta; exec sleep 1000' >/dev/null 2>&1 &"
    words = ["sh", "-c", f"{leaves} until [ -s {tmp_path}/pid ]; do sleep 0.1; done"]
    assert side.call(remote_script.run(side.folder, "1", words)).code == "0"
    pid = number_in(tmp_path / "pid")
    # One beside it, and one whose folder only begins the same, are not ours.
    os.mkdir(f"{side.folder}-other")
    others = [subprocess.Popen(["sleep", "1000"], cwd=folder) for folder in (tmp_path, f"{side.folder}-other")]
    try:
        assert is_alive(pid)
        side.end()
        assert ends(pid)
        assert all(other.poll() is None for other in others)
    finally:
        for other in others:
            other.kill()
            other.wait()


def test_a_hang_up_ends_everything(side: Side) -> None:
    children = descendants(side.process.pid)
    side.process.terminate()
    assert side.process.wait(60) == 0
    assert not os.path.exists(side.folder)
    assert all(ends(child) for child in children)


def test_a_program_is_ended_by_its_number(side: Side, tmp_path: Path) -> None:
    words = ["sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/pid; wait"]
    script = marked(remote_script.run(side.folder, "7", words), "m")
    running = subprocess.Popen(side.shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdin
    running.stdin.write(script.encode())
    running.stdin.flush()
    pid = number_in(tmp_path / "pid")
    assert side.call(remote_script.end(side.folder, "77")).code == "0"
    assert is_alive(pid)
    assert side.call(remote_script.end(side.folder, "7")).code == "0"
    assert ends(pid)
    answer = answered("m", *running.communicate(timeout=600))
    assert answer is not None and (answer.code, answer.stderr) == ("137", b"")
    assert os.listdir(f"{side.folder}/.tta") == []


def test_a_board_with_few_programs(side: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Neither setsid nor sha256sum.
    few = tmp_path / "few"
    few.mkdir()
    for name in ("wc", "cksum", "cat", "rm", "chmod", "mv", "printf"):
        (few / name).symlink_to(shutil.which(name) or "")
    (few / "sh").symlink_to(tmp_path / "path" / "sh")
    Path(side.folder, "it's").write_bytes(b"123456789")
    monkeypatch.setenv("PATH", str(few))
    if Path(side.shell[0]).name != "busybox":  # it finds its own programs without a path
        assert side.call(remote_script.look(side.folder, "it's")).stdout == b"9 cksum 930766865\n"
    assert side.call(remote_script.look(side.folder, "missing")).code == "missing"
    ran = side.call(remote_script.run(side.folder, "1", ["cat", "it's"]))
    assert (ran.code, ran.stdout) == ("0", b"123456789")


def test_files_are_looked_at_as_their_own_programs_do(side: Side, tmp_path: Path) -> None:
    Path(side.folder, "-n x").write_bytes(b"\0\xff" * 1000)
    size, kind, checksum = side.call(remote_script.look(side.folder, "-n x")).stdout.decode().split()
    assert (int(size), kind, checksum) == (2000, "sha256sum", CHECKSUMS["sha256sum"](b"\0\xff" * 1000))
    assert side.call(remote_script.read(side.folder, "-n x")).stdout == b"\0\xff" * 1000


@settings(max_examples=20)
@given(data=st.binary(max_size=600))
def test_cksum_is_posix(data: bytes) -> None:
    told = subprocess.run(["cksum"], input=data, capture_output=True, check=True).stdout
    assert cksum(data).encode() == told.split()[0]
