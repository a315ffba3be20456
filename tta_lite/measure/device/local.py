"""This machine as a board: programs run in a temporary folder of their own. Imports no TensorFlow."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from tta_lite.files import atomic_path
from tta_lite.measure.device import remote_script
from tta_lite.measure.device.keeper import Keeper
from tta_lite.measure.device.transport import OWN, DeviceError, Finished, checked_words, inner_name

# What a shell's exit code says of a program that it could not start.
NOT_FOUND, NOT_EXECUTABLE = 127, 126
_MARK = "tta"
_START_S = 30
# Here no connection can be cut without a sign.
_NEVER_S = 100_000_000


class Local:
    """Programs on this machine, or under an emulator that runs here; a `Transport`.

    Each runs as the leader of its own session and group, and the group is ended when the program is, or on a time-out.

    Args:
      prefix: words put before every command, as ``("qemu-aarch64", "-cpu", "cortex-a72")``.
      title: what reports call it.
      emulated: whether times say nothing, because `prefix` is an emulator.
      parent: the folder in which the work folder is made; None is the system's for temporary files.

    >>> with Local() as here:
    ...     here.run(["echo", "$HOME"], timeout_s=10)
    Finished(code=0, stdout='$HOME\\n', stderr='')
    """

    def __init__(
        self,
        prefix: Sequence[str] = (),
        title: str = "this machine",
        *,
        emulated: bool = False,
        parent: str | os.PathLike[str] | None = None,
    ) -> None:
        self.prefix = tuple(prefix)
        self.title = title
        self.emulated = emulated
        self.folder = ""
        self._parent = parent
        self._keeper: Keeper | None = None

    def __enter__(self) -> Local:
        parent = os.path.abspath(self._parent or tempfile.gettempdir())
        script = remote_script.keep(parent, _MARK, silence_s=_NEVER_S)
        # It also cleans up after us where we are killed and cannot.
        keeper = Keeper(["sh"], os.fsencode(script), _MARK, limit_s=_START_S, beat_s=_NEVER_S)
        if keeper.word != "ready":
            keeper.close(_START_S)
            why = "programs cannot be started there: it is mounted noexec" if keeper.word == "noexec" else keeper.text
            raise DeviceError(
                f"{self.title}: the work folder cannot be made: {why}; expected a folder for files and programs. "
                f"Received: {parent}"
            )
        self._keeper, self.folder = keeper, keeper.text
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.close(_START_S)
            self._keeper = None

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Finished:
        """Runs a program within the work folder; see `Transport.run`."""
        words = [*self.prefix, *checked_words(argv)]
        if not os.path.isdir(os.path.join(self.folder, OWN)):
            raise DeviceError(f"{self.title}: the work folder is gone: somebody removed it. Received: {self.folder}")
        # Files and not pipes: a child that outlives the program would hold a pipe open, and us with it.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaints:
            try:
                process = subprocess.Popen(
                    words,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=complaints,
                    start_new_session=True,
                )
            except OSError as error:
                code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
                return Finished(code, "", f"{words[0]}: {error.strerror}\n")
            running = Path(self.folder, OWN, f"{process.pid}=-{process.pid}")
            try:
                with contextlib.suppress(FileNotFoundError):
                    running.touch()
                code = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                raise DeviceError(
                    f"{self.title}: a command did not end within {timeout_s:g} s and was ended. "
                    f"Received: {' '.join(words)}"
                ) from None
            finally:
                _end_group(process)
                running.unlink(missing_ok=True)
            # Popen gives a signal's number as a negative code.
            return Finished(128 - code if code < 0 else code, _written(out), _written(complaints))

    def put(self, source: Path, name: str) -> str:
        """Copies a file into the work folder, whole or not at all -> its path; see `Transport.put`."""
        target = Path(self.folder, inner_name(name))
        try:
            with atomic_path(target) as temporary:
                shutil.copyfile(source, temporary)
                temporary.chmod(0o700 if os.access(source, os.X_OK) else 0o600)
        except OSError as error:
            raise DeviceError(f"{self.title}: {source} was not copied to {target}: {error.strerror}.") from error
        return str(target)

    def get(self, name: str, target: Path) -> None:
        """Copies a file from the work folder, whole or not at all; see `Transport.get`."""
        source = Path(self.folder, inner_name(name))
        try:
            with atomic_path(target) as temporary:
                shutil.copyfile(source, temporary)
        except OSError as error:
            raise DeviceError(f"{self.title}: {source} was not copied to {target}: {error.strerror}.") from error


def _end_group(process: subprocess.Popen[bytes]) -> None:
    # Also after a program that ended: its children may be left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _written(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")
