"""A module in a process of its own, which is forked from one that has loaded TensorFlow already.

Python and TensorFlow take 5 s and more of a core to start. The fork server loads them once; what it forks has its own
memory, flags, limits and exit code as a new process has, and can be killed. TensorFlow starts its threads at its first
op, which the server never runs. What a start by hand loads is not seen here: see recipes/test_cli.py for that. Nor do
sets have another order in each process: of two runs that must be alike start one by hand.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import resource
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

import pytest

ROOT = Path(__file__).parents[1]
# No recipe: a recipe defines its flags when it is loaded.
LOADED = (
    "tta_lite.guideline.program", "tta_lite.report.guideline", "tta_lite.report.case_study", "tta_lite.report.pictures",
    "tta_lite.training.quantization_aware", "tta_lite.export.onnx", "tta_lite.tasks.find",
)  # fmt: skip
# How long a process may take, in s. It ends what hangs, and must not end what a busy machine holds up.
LIMIT_S = 800


class Started:
    """A module that runs; as much of `subprocess.Popen` as the tests need."""

    def __init__(self, module: str, words: tuple[str, ...], settings: Mapping[str, str | None], file_limit: int | None):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(LOADED))
        out, out_end = context.Pipe(duplex=False)
        err, err_end = context.Pipe(duplex=False)
        self._process = context.Process(target=_module, args=(module, words, settings, file_limit, out_end, err_end))
        with pytest.MonkeyPatch.context() as patch:
            # The server looks for what it loads only here.
            patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
            self._process.start()
        out_end.close()
        err_end.close()
        self.stdout, self.stderr = _text(out), _text(err)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Nothing happens if it has ended, as with `Popen`."""
        if self._process.pid is not None and self._process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def communicate(self, timeout: float = LIMIT_S) -> tuple[str, str]:
        """-> what it still printed, and where; it has ended then."""
        printed = {}

        def read(name: str, stream: TextIO) -> None:
            with stream:
                printed[name] = stream.read()

        readers = [threading.Thread(target=read, args=pair) for pair in (("out", self.stdout), ("err", self.stderr))]
        for reader in readers:
            reader.start()
        self._process.join(timeout)
        if self._process.is_alive():
            self.send_signal(signal.SIGKILL)
        for reader in readers:
            reader.join()
        self._process.join()
        if self.returncode == -signal.SIGKILL:
            print(printed["out"], printed["err"], sep="\n")
        return printed["out"], printed["err"]


def start(module: str, *words: object, file_limit: int | None = None, **settings: str | None) -> Started:
    """-> ``python -m <module> <words>`` at the repository's root, running.

    Args:
      module: with its packages: "recipes.guideline".
      words: as they are typed.
      file_limit: no file may grow beyond so many bytes.
      settings: of the environment; None takes one away.
    """
    return Started(module, tuple(map(str, words)), {"COLUMNS": "200", **settings}, file_limit)


def run(module: str, *words: object, **settings: str | None) -> subprocess.CompletedProcess[str]:
    """-> ``python -m <module> <words>``, which has ended."""
    process = start(module, *words, **settings)
    out, err = process.communicate()
    assert process.returncode is not None
    return subprocess.CompletedProcess([module, *map(str, words)], process.returncode, out, err)


def _text(connection: Connection) -> TextIO:
    number = os.dup(connection.fileno())
    connection.close()
    return os.fdopen(number, encoding="utf-8", errors="replace")


def _module(
    module: str, words: tuple[str, ...], settings: Mapping[str, str | None], file_limit: int | None,
    out: Connection, err: Connection,
) -> None:  # fmt: skip
    os.chdir(ROOT)
    for name, value in settings.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    for number, end in ((1, out), (2, err)):
        os.dup2(end.fileno(), number)
        end.close()
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    sys.argv = [module, *words]
    try:
        # absl shows the flags and the docstring of the module that is `__main__`.
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()
