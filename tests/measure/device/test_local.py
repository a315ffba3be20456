"""This machine as a board: real programs, each ended and cleaned up after."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.measure.device.processes import becomes_true, ends, number_in
from tta_lite.measure.device.local import Local
from tta_lite.measure.device.transport import DeviceError, Transport
from tta_lite.types import InputError

ROOT = Path(__file__).resolve().parents[3]


def test_a_program_runs_in_a_private_folder_that_goes_with_it(tmp_path: Path) -> None:
    source = tmp_path / "hello.sh"
    source.write_text("#!/bin/sh\npwd\necho oh >&2\necho done > out.txt\nexit 3\n")
    source.chmod(0o755)
    transport: Transport = Local()
    with transport as here:
        assert os.stat(here.folder).st_mode & 0o777 == 0o700
        assert here.put(source, "bin/hello.sh") == f"{here.folder}/bin/hello.sh"
        finished = here.run(["./bin/hello.sh"], timeout_s=60)
        assert (finished.code, finished.stdout, finished.stderr) == (3, here.folder + "\n", "oh\n")
        here.get("out.txt", tmp_path / "new" / "out.txt")
        assert (tmp_path / "new" / "out.txt").read_text() == "done\n"
    assert not os.path.exists(here.folder)


def test_the_prefix_goes_before_every_command() -> None:
    with Local(["env", "GREETING=hello"]) as here:
        assert here.run(["sh", "-c", "echo $GREETING"], timeout_s=60).stdout == "hello\n"


def test_a_program_that_cannot_start_has_the_code_of_a_shell(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    with Local() as here:
        here.put(tmp_path / "text", "text")
        assert here.run(["./missing"], timeout_s=60).code == 127
        assert here.run(["./text"], timeout_s=60).code == 126
        assert here.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 15)"], timeout_s=60).code == 143


def test_a_slow_program_is_ended_with_its_children(tmp_path: Path) -> None:
    with Local() as here, pytest.raises(DeviceError, match=r"did not end within 0\.5 s") as caught:
        here.run(["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait"], timeout_s=0.5)
    assert "sleep 60" in str(caught.value)
    assert ends(number_in(tmp_path / "pid"))


def test_a_child_that_is_left_is_ended_and_holds_nothing_up() -> None:
    with Local() as here:
        started = time.monotonic()
        finished = here.run(["sh", "-c", "sleep 60 & echo $!"], timeout_s=55)
        assert time.monotonic() - started < 50
        assert ends(int(finished.stdout))


def test_a_run_that_is_killed_here_leaves_nothing(tmp_path: Path) -> None:
    # Also where its number was not yet noted.
    program = (
        "from tta_lite.measure.device.local import Local\n"
        f"with Local(parent={str(tmp_path / 'parent')!r}) as here:\n"
        f"    here.run(['sh', '-c', 'rm -f .tta/*=*; sleep 1000 & echo $! > {tmp_path}/pid; wait'], timeout_s=600)\n"
    )
    (tmp_path / "parent").mkdir()
    client = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    pid = number_in(tmp_path / "pid")
    client.kill()
    client.wait()
    assert ends(pid)
    assert becomes_true(lambda: os.listdir(tmp_path / "parent") == [])


def test_what_cannot_be_copied_leaves_nothing(tmp_path: Path) -> None:
    with Local() as here:
        with pytest.raises(DeviceError, match="No such file"):
            here.get("missing", tmp_path / "target")
        with pytest.raises(DeviceError, match="No such file"):
            here.put(tmp_path / "missing", "name")
        assert os.listdir(here.folder) == [".tta"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["", ".", "/etc/passwd", "../x", "a/../../x", ".tta/x", "a\0b"])
def test_a_name_outside_the_work_folder_is_refused(name: str, tmp_path: Path) -> None:
    with Local() as here, pytest.raises(InputError, match="within the work folder"):
        here.get(name, tmp_path / "target")


@pytest.mark.parametrize("words", [[], [""], ["echo", "a\0b"], ["echo", "\ud800"]])
def test_words_that_no_program_can_be_given_are_refused(words: list[str]) -> None:
    with Local() as here, pytest.raises(InputError, match="words without NUL"):
        here.run(words, timeout_s=1)


def test_a_work_folder_that_somebody_removed() -> None:
    with Local() as here:
        shutil.rmtree(here.folder)
        with pytest.raises(DeviceError, match="somebody removed it"):
            here.run(["true"], timeout_s=60)


def test_a_parent_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="work folder cannot be made"), Local(parent=tmp_path / "missing"):
        pass
