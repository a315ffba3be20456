"""The process here that holds the board's side alive: when it ends, in whatever way, the board cleans up by itself."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence


class KeeperError(Exception):
    """The board's side did not come up.

    Attributes:
      complaint: what the client program said, without empty lines around it.
      output: what came instead of an answer.
    """

    def __init__(self, complaint: str, output: str) -> None:
        super().__init__(complaint or output)
        self.complaint = complaint
        self.output = output


class Keeper:
    """A client program with the script `remote_script.keep` at its other end, and a thread that is heard there.

    Args:
      argv: the client program.
      first: what it is given to read first.
      mark: what the script's lines begin with.
      limit_s: until when it must have answered.
      beat_s: after how long it hears from us again.
      environment: that of the client program; None is ours.

    Attributes:
      word: the script's answer: ``ready``, ``refused`` or ``noexec``.
      text: what it says of that: the work folder, or why not.

    Raises:
      KeeperError: there was no answer, or not in time.
    """

    def __init__(
        self,
        argv: Sequence[str],
        first: bytes,
        mark: str,
        *,
        limit_s: float,
        beat_s: float,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._mark = mark
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (`close` closes it)
        # A session of its own: Ctrl-C at our terminal is for us, and we then end it in good order.
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env=environment,
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self._stop = threading.Event()
        self._beats = threading.Thread(target=self._beat, args=(beat_s,), daemon=True)
        try:
            self.word, self.text = self._answer(first, time.monotonic() + limit_s)
        except BaseException:
            self.close(0)
            raise
        self._beats.start()

    def is_alive(self) -> bool:
        """Does the client program still run?"""
        return self._process.poll() is None

    def wait(self, limit_s: float) -> None:
        """Waits for the client program to end, but not longer than that."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(limit_s)

    def complaint(self) -> str:
        """-> what the client program said on its standard error."""
        size = os.fstat(self._complaints.fileno()).st_size
        return os.pread(self._complaints.fileno(), size, 0).decode("utf-8", "replace").replace("\r", "").strip()

    def close(self, limit_s: float) -> None:
        """Ends it: the board is told and given some time to clean up, then the client program is ended."""
        self._stop.set()
        if self._beats.is_alive():
            self._beats.join()
        with contextlib.suppress(OSError):
            self._input.close()
        self.wait(limit_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()
        self._complaints.close()

    def _answer(self, first: bytes, deadline: float) -> tuple[str, str]:
        with contextlib.suppress(OSError):
            self._input.write(first)
            self._input.flush()
        got = b""
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._output], [], [], left)[0]:
                continue
            piece = os.read(self._output.fileno(), 65536)
            got += piece
            # A start-up file of the board's shell may have written something before.
            _, marked, rest = got.partition(self._mark.encode() + b" ")
            if marked and b"\n" in rest:
                line = rest.partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r")
                word, _, text = line.partition(" ")
                return word, text
            if not piece:
                self._process.wait()
                raise KeeperError(self.complaint(), got.decode("utf-8", "replace").strip())
        raise KeeperError(self.complaint() or "timed out", got.decode("utf-8", "replace").strip())

    def _beat(self, beat_s: float) -> None:
        while not self._stop.wait(beat_s):
            try:
                self._input.write(b"\n")
                self._input.flush()
            except (OSError, ValueError):
                return
