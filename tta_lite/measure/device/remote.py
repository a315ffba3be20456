"""What SSH and adb have in common: a work folder on another machine, guarded there by a script of its own."""

from __future__ import annotations

import abc
import contextlib
import itertools
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from absl import logging

from tta_lite.files import atomic_write
from tta_lite.measure.device import remote_script
from tta_lite.measure.device.checksum import CHECKSUMS
from tta_lite.measure.device.client import Answer, last_line
from tta_lite.measure.device.keeper import Keeper
from tta_lite.measure.device.transport import OWN, DeviceError, Finished, checked_words, inner_name

# For what takes no time by itself; a busy board may need long even for that.
SHORT_S = 30.0
# The slowest copy that is waited for: a board on a bad wireless link.
BYTES_PER_S = 50_000
NO_ROOM = re.compile(r"no space left|quota exceeded|file too large", re.IGNORECASE)


class RemoteTransport(abc.ABC):
    """A `Transport` to another machine with a POSIX shell.

    Attributes:
      drop_s: after how much silence the connection counts as lost here; the board waits twice as long, then ends what
        runs there and removes the work folder.
    """

    emulated = False

    def __init__(self, title: str, *, drop_s: float) -> None:
        self.title = title
        self.folder = ""
        self.drop_s = drop_s
        self._keeper: Keeper | None = None
        self._numbers = itertools.count(1)

    @abc.abstractmethod
    def _connect(self) -> Keeper:
        """Starts what guards the work folder; its answer is read by `__enter__`."""

    @abc.abstractmethod
    def _call(self, script: str, timeout_s: float) -> Answer:
        """Runs a script on the board, within the connection; TimeoutError where it takes longer."""

    @abc.abstractmethod
    def _upload(self, source: Path, data: bytes, path: str, timeout_s: float) -> str:
        """Writes `data`, which `source` holds, to a file on the board -> what went wrong, or nothing."""

    def _download(self, inner: str, timeout_s: float) -> bytes:
        """-> what a file in the work folder holds, whole or not."""
        answer = self._ask(remote_script.read(self.folder, inner), timeout_s)
        if answer.code != "0":
            raise self._error(f"{self.folder}/{inner} cannot be read: {answer.complaint}.")
        return answer.stdout

    def __enter__(self) -> RemoteTransport:
        try:
            self._keeper = self._connect()
            if self._keeper.word != "ready":
                raise self._unusable(self._keeper.word, self._keeper.text)
            self.folder = self._keeper.text
            # Where a file's bytes are sent, the login shell reads this path, and that may be any shell.
            if not re.fullmatch(r"/[A-Za-z0-9_./+-]*", self.folder):
                raise self._error(
                    "the work folder's path must hold letters, digits and _ . / + - alone; choose another by "
                    f"--remote_folder. Received: {self.folder!r}"
                )
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lost = self._keeper is not None and not self._keeper.is_alive()
        self._leave()
        if lost and error is None:
            logging.warning("%s: the connection was lost; the board removes %s by itself.", self.title, self.folder)

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Finished:
        """Runs a program within the work folder; see `Transport.run`."""
        words, number = checked_words(argv), self._number()
        try:
            answer = self._call(remote_script.run(self.folder, number, words), timeout_s)
        except TimeoutError:
            self._ask(remote_script.end(self.folder, number))
            raise self._error(
                f"a command did not end within {timeout_s:g} s and was ended. Received: {' '.join(words)}"
            ) from None
        self._refuse_gone(answer)
        return Finished(
            int(answer.code), answer.stdout.decode("utf-8", "replace"), answer.stderr.decode("utf-8", "replace")
        )

    def put(self, source: Path, name: str) -> str:
        """Copies a file into the work folder, whole or not at all -> its path there; see `Transport.put`."""
        inner, part = inner_name(name), f"{OWN}/{self._number()}.part"
        path = f"{self.folder}/{inner}"
        try:
            data = Path(source).read_bytes()
            executable = bool(Path(source).stat().st_mode & 0o100)
        except OSError as error:
            raise self._error(f"{source} was not copied to {path}: {error.strerror}.") from error
        room = self._ask(remote_script.room(self.folder, posixpath.dirname(inner)))
        free = _free_bytes(room.stdout)
        if room.code != "0":
            raise self._error(f"{source} was not copied to {path}: {room.complaint}.")
        if free is not None and len(data) > free:
            raise self._no_room(source, len(data), free)
        try:
            complaint = self._upload(source, data, f"{self.folder}/{part}", SHORT_S + len(data) / BYTES_PER_S)
            if NO_ROOM.search(complaint):
                room = self._ask(remote_script.room(self.folder, ""))
                raise self._no_room(source, len(data), _free_bytes(room.stdout), complaint)
            if complaint:
                raise self._error(f"{source} was not copied to {path}: {complaint}")
            self._check(part, data, f"{source} did not arrive whole at {path}")
            kept = self._ask(remote_script.keep_file(self.folder, part, inner, executable=executable))
            if kept.code != "0":
                raise self._error(f"{source} was not copied to {path}: {kept.complaint}.")
        except BaseException:
            # Where this fails too, the connection is lost, and the folder goes as a whole.
            with contextlib.suppress(DeviceError):
                self._ask(remote_script.drop(self.folder, part))
            raise
        return path

    def get(self, name: str, target: Path) -> None:
        """Copies a file from the work folder, whole or not at all; see `Transport.get`."""
        inner = inner_name(name)
        size, _, _ = self._look(inner)
        data = self._download(inner, SHORT_S + size / BYTES_PER_S)
        self._check(inner, data, f"{self.folder}/{inner} did not arrive whole")
        try:
            atomic_write(target, data)
        except OSError as error:
            raise self._error(f"{self.folder}/{inner} was not copied to {target}: {error.strerror}.") from error

    def _check(self, inner: str, data: bytes, wrong: str) -> None:
        size, kind, checksum = self._look(inner)
        if size != len(data) or checksum != CHECKSUMS[kind](data):
            raise self._error(f"{wrong}: {len(data)} bytes here and {size} there, or other ones. Nothing was kept.")

    def _look(self, inner: str) -> tuple[int, str, str]:
        answer = self._ask(remote_script.look(self.folder, inner))
        if answer.code == "missing":
            raise self._error(f"there is no file {self.folder}/{inner} on the board.")
        words = answer.stdout.decode("utf-8", "replace").split()
        if answer.code != "0" or len(words) != 3 or words[1] not in CHECKSUMS:
            raise self._error(
                f"{self.folder}/{inner} cannot be checked on the board, which needs wc and sha256sum or cksum: "
                f"{answer.complaint or ' '.join(words)}"
            )
        return int(words[0]), words[1], words[2]

    def _ask(self, script: str, timeout_s: float = SHORT_S) -> Answer:
        try:
            answer = self._call(script, timeout_s)
        except TimeoutError:
            raise self._error(f"the board did not answer within {timeout_s:g} s.") from None
        self._refuse_gone(answer)
        return answer

    def _refuse_gone(self, answer: Answer) -> None:
        if answer.code == "gone":
            if self._keeper is not None:
                self._keeper.wait(1)
                if not self._keeper.is_alive():
                    raise self._lost(b"")
            raise self._error(
                f"the work folder {self.folder} on the board is gone: somebody removed it, or the board heard nothing "
                f"from here for {2 * self.drop_s:g} s."
            )

    def _lost(self, complaint: bytes) -> DeviceError:
        said = complaint.decode("utf-8", "replace")
        if self._keeper is not None:
            # Its program knows the reason, and ends a moment after that of a command.
            self._keeper.wait(2)
            said = self._keeper.complaint() or said
        return self._error(
            f"the connection was lost: {last_line(said)}. What ran there is ended and the work folder is removed by "
            "the board itself; nothing was measured to the end."
        )

    def _unusable(self, word: str, text: str) -> DeviceError:
        if word == "noexec":
            return self._error(
                f"programs cannot be started in {text}: its file system is mounted noexec. Choose another folder by "
                "--remote_folder, as a home folder there."
            )
        return self._error(
            f"no work folder can be made on the board: {text}. Choose a folder that can be written to by "
            "--remote_folder, or free some room."
        )

    def _no_room(self, source: Path, need: int, free: int | None, complaint: str = "") -> DeviceError:
        known = "" if free is None else f" and {free} are free"
        said = f" ({complaint})" if complaint else ""
        return self._error(
            f"there is no room for {source.name} in {self.folder} on the board: {need} bytes are needed{known}{said}. "
            "Free some there, or choose another folder by --remote_folder."
        )

    def _error(self, text: str) -> DeviceError:
        return DeviceError(f"{self.title}: {text}")

    def _number(self) -> str:
        return str(next(self._numbers))

    def _leave(self) -> None:
        if self._keeper is not None:
            self._keeper.close(self.drop_s)
            self._keeper = None


def _free_bytes(listing: bytes) -> int | None:
    """-> the free room that ``df -k`` printed; None where it cannot be read.

    >>> _free_bytes(b"Filesystem 1024-blocks Used Available Capacity Mounted on\\ntmpfs 512000 1 511999 1% /tmp\\n")
    524286976
    """
    found = re.findall(rb"\s\d+\s+\d+\s+(-?\d+)\s+\d+%\s", listing)
    return max(0, int(found[-1])) * 1024 if found else None
