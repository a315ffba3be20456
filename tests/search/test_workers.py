"""Workers in processes of their own, killed in the middle of a trial: nothing is lost and nothing is there twice.

The tests wait for what happens, never for a time: a slow machine makes them slow and not wrong.
"""

from __future__ import annotations

import collections
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.search import postgres, redis_server

pytest.importorskip("optuna")
ROOT = Path(__file__).resolve().parents[2]
# Ends what hangs, in s.
LIMIT_S = 600
TRIALS = 8
PLAIN = {"beat_s": 0.5, "grace_s": 2.0}


class Nursery:
    """The process of `tests.search.light`, which forks workers."""

    def __init__(self, folder: Path):
        self.folder = folder
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.search.light"], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._began: queue.Queue[int] = queue.Queue()
        self._ended: dict[int, int] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, where: str, role: str, folder: Path, *, patient: bool = False, **settings) -> int:
        """-> the number of a process that works on the search ``where``."""
        command = {"where": where, "study": "s", "folder": str(folder), "role": role, "patient": patient}
        command["settings"] = PLAIN | settings
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._began.get(timeout=LIMIT_S)

    def ended(self, pid: int) -> int:
        """-> how a process ended."""
        wait_for(lambda: pid in self._ended)
        return self._ended[pid]

    def close(self):
        self._process.stdin.close()
        self._process.wait()

    def _listen(self):
        for line in self._process.stdout:
            what, pid, rest = line.split()
            if what == "began":
                self._began.put(int(pid))
            else:
                self._ended[int(pid)] = int(rest)


def wait_for(happened):
    end = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    found = Nursery(tmp_path_factory.mktemp("nursery"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def postgresql():
    with postgres.server() as address:
        yield address


@pytest.fixture(scope="module")
def redis():
    with redis_server.server() as found:
        yield found


def read(where, sampler="random"):
    """-> all tries of the search, in order, as this process sees them."""
    from tests.search.light import GOAL, SPACE
    from tta_lite.search.log import SharedLog

    setting = {"sampler": sampler, "pruner": "median", "seed": 0}
    return SharedLog(where, "s", SPACE, GOAL, setting).trials()


def evaluated(folder):
    """-> role -> the points whose trials it began."""
    return {file.stem: file.read_text().splitlines() for file in sorted(folder.glob("*.evaluated"))}


def check(where, folder, roles, sampler="random"):
    """All points are there once, and the one that was being tried when its worker was killed was taken up."""
    from tests.search.light import measured
    from tta_lite.search.claims import standing
    from tta_lite.search.trial import State

    tries = read(where, sampler)
    found = standing(tries, TRIALS)
    assert len(found) == TRIALS and all(trial.state.finished for trial in found.values())
    # Nothing is finished twice, and nothing is left running.
    finished = [trial for trial in tries if trial.state.finished]
    assert sorted(trial.key for trial in finished) == sorted(found)
    assert not [trial for trial in tries if trial.state is State.RUNNING]
    assert all(trial.measured == measured(trial.point) for trial in finished if trial.state is State.DONE)
    # The killed worker's trial.
    hung = (folder / "hangs").read_text()
    (again,) = [trial for trial in tries if trial.key == hung and trial.state.finished]
    dead = tries[again.takes_up]
    assert dead.state is State.DEAD and dead.owner["name"] != again.owner["name"] and dead.steps
    # What was measured: each point by one worker, but for the one that was killed in it.
    counts = collections.Counter(key for keys in evaluated(folder).values() for key in keys)
    assert counts == collections.Counter({**dict.fromkeys(found, 1), hung: 2})
    for role in roles:
        result = json.loads((folder / f"{role}.json").read_text())
        assert result["settled"] and not result["tensorflow"]


def test_three_workers_on_postgresql_one_of_them_killed(nursery, postgresql, tmp_path):
    victim = nursery.start(postgresql, "victim", tmp_path, sampler="tpe")
    others = [nursery.start(postgresql, role, tmp_path, patient=True, sampler="tpe") for role in ("one", "two")]
    wait_for((tmp_path / "hangs").exists)
    os.kill(victim, signal.SIGKILL)
    assert nursery.ended(victim) == signal.SIGKILL
    assert [nursery.ended(pid) for pid in others] == [0, 0]
    check(postgresql, tmp_path, ("one", "two"), "tpe")
    # All three took part.
    assert sorted(evaluated(tmp_path)) == ["one", "two", "victim"]


def test_three_workers_on_redis_one_of_them_killed_and_the_server_too(nursery, redis, tmp_path):
    where = redis.address
    victim = nursery.start(where, "victim", tmp_path)
    others = [nursery.start(where, role, tmp_path, patient=True) for role in ("one", "two")]
    wait_for((tmp_path / "hangs").exists)
    os.kill(victim, signal.SIGKILL)
    assert nursery.ended(victim) == signal.SIGKILL
    redis.kill_and_begin_again()
    assert [nursery.ended(pid) for pid in others] == [0, 0]
    check(where, tmp_path, ("one", "two"))
    assert sorted(evaluated(tmp_path)) == ["one", "two", "victim"]


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_file_of_this_machine_and_a_worker_that_comes_after_the_kill(nursery, tmp_path, kind):
    where = {"sqlite": f"{tmp_path}/search.db", "journal": f"journal:{tmp_path}/search.log"}[kind]
    victim = nursery.start(where, "victim", tmp_path)
    wait_for((tmp_path / "hangs").exists)
    os.kill(victim, signal.SIGKILL)
    assert nursery.ended(victim) == signal.SIGKILL
    before = [trial for trial in read(where) if trial.state.finished]
    assert len(before) == 1
    assert nursery.ended(nursery.start(where, "later", tmp_path)) == 0
    check(where, tmp_path, ("later",))
    assert read(where)[before[0].number] == before[0]


def test_workers_that_ask_at_one_moment_get_different_points(nursery, tmp_path):
    from tta_lite.search.claims import standing

    where = f"journal:{tmp_path}/search.log"
    # All of the space is asked for: towards the end they can only propose the same points.
    pids = [nursery.start(where, role, tmp_path, trials=16) for role in ("one", "two", "three")]
    assert [nursery.ended(pid) for pid in pids] == [0, 0, 0]
    tries = read(where)
    assert len(standing(tries, 99)) == 16
    counts = collections.Counter(key for keys in evaluated(tmp_path).values() for key in keys)
    assert sorted(counts.values()) == [1] * 16
