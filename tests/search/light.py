"""Workers of a search whose trials take no time: a process that has loaded Optuna once and forks them.

Never TensorFlow. Commands come as lines of JSON: {"where", "study", "folder", "role", "settings"}; answers are lines
``began PID ROLE`` and ``ended PID CODE``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import optuna

from tta_lite.search import worker
from tta_lite.search.engine import Plan, Search
from tta_lite.search.goal import Goal
from tta_lite.search.space import Choice, Space
from tta_lite.search.trial import Measured, key_of

optuna.logging.set_verbosity(optuna.logging.WARNING)

SPACE = Space(
    "light",
    (
        Choice("width", (0.25, 0.5, 0.75, 1.0)),
        Choice("family", ("a", "b")),
        Choice("kernel", (3, 5, 7), (("family", ("b",)),)),
    ),
)
GOAL = Goal("front")
TRIALS = 8


def measured(point) -> Measured:
    """Wider is better and slower; so is a larger kernel."""
    cost = point["width"] * (1 + point.get("kernel", 2) / 10)
    return Measured(float(100 * (1 - np.exp(-2 * cost))), float(10 * cost), "by a formula")


def plan(**settings) -> Plan:
    return Plan(**{"space": SPACE, "goal": GOAL, "trials": TRIALS, "sampler": "random", "poll_s": 0.5, **settings})


def work(command) -> None:
    """Searches; a ``victim`` stops in its second trial and says so by a file, for which ``patient`` ones wait."""
    folder, role = Path(command["folder"]), command["role"]
    if role == "victim":
        # To the others it is on another machine: they must listen for its beats.
        worker._place = lambda: "another machine"
    done = []

    def evaluate(point, report):
        with open(folder / f"{role}.evaluated", "a") as file:
            file.write(key_of(point) + "\n")
        found = measured(point)
        report.latency(found.latency_ms, found.source)
        report(1, found.accuracy / 2)
        # Or the others would have tried everything before the victim comes to its second one.
        while command["patient"] and role != "victim" and done and not (folder / "hangs").exists():
            time.sleep(0.05)
        if role == "victim" and len(done) == 1:
            (folder / "hangs.tmp").write_text(key_of(point))
            (folder / "hangs.tmp").rename(folder / "hangs")
            time.sleep(3600)
        report(2, found.accuracy)
        done.append(point)
        return found

    search = Search(plan(**command["settings"]), evaluate, command["where"], command["study"])
    settled = search.work()
    result = {"settled": settled, "tensorflow": "tensorflow" in sys.modules, "done": len(done)}
    (folder / f"{role}.json").write_text(json.dumps(result))


def main() -> None:
    lock = threading.Lock()

    def say(*words) -> None:
        with lock:
            print(*words, flush=True)

    def watch(pid: int) -> None:
        say("ended", pid, os.waitpid(pid, 0)[1])

    # What SQLAlchemy and Alembic work out at their first use, the workers need not.
    warm = Search(plan(trials=2), lambda point, report: measured(point), "sqlite:///:memory:", "warm")
    warm.work()
    del warm
    for line in sys.stdin:
        command = json.loads(line)
        pid = os.fork()
        if not pid:
            code = 1
            try:
                work(command)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        say("began", pid, command["role"])
        threading.Thread(target=watch, args=(pid,), daemon=True).start()


if __name__ == "__main__":
    main()
