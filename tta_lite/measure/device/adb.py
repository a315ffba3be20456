"""A board with Android, or with another system that answers `adb`, by the user's own `adb` program."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from tta_lite.measure.device import remote_script
from tta_lite.measure.device.client import Answer, answered, communicate, marked, one_line
from tta_lite.measure.device.keeper import Keeper, KeeperError
from tta_lite.measure.device.remote import SHORT_S, RemoteTransport
from tta_lite.measure.device.transport import DeviceError
from tta_lite.types import InputError

SCHEME = "adb:"
# Android lets its shell write, and start programs, here and nowhere else.
WORK_PARENT = "/data/local/tmp"
# What `adb` says, and what a user can do about it.
_ADVICE = (
    (
        "unauthorized",
        "allow this machine on the board's screen, or put its ~/.android/adbkey.pub into the board's keys",
    ),
    ("offline", "plug it in again, or run `adb reconnect offline`"),
    ("more than one", "name one by adb:SERIAL; `adb devices` lists them"),
    ("no devices", "is it plugged in, and its USB debugging on? `adb devices` must list it"),
    ("not found", "is it plugged in, and its USB debugging on? `adb devices` must list it"),
    ("permissions", "this user may not open the USB device: Debian's android-sdk-platform-tools-common has udev rules"),
)


class Adb(RemoteTransport):
    """A board that `adb` reaches; a `Transport`.

    A device whose `adb` is from before Android 7 has one stream for both outputs: all of it is in `stdout` then, with
    the ends of line changed as its terminal does.

    Args:
      serial: as `adb devices` lists it; "" is the only device there is.
      remote_folder: where on the board the work folder is made; None is /data/local/tmp.
      drop_s: the board cleans up after twice that without hearing from here.

    Raises:
      InputError: this cannot be a serial.
    """

    def __init__(self, serial: str = "", *, remote_folder: str | None = None, drop_s: float = 15) -> None:
        if serial and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]*", serial):
            raise InputError(f"Not the serial of a device as `adb devices` lists it. Received: {serial!r}")
        super().__init__(f"{SCHEME}{serial}", drop_s=drop_s)
        self._words = ["adb", "-s", serial] if serial else ["adb"]
        self._parent = remote_folder or WORK_PARENT

    def _connect(self) -> Keeper:
        if not shutil.which("adb"):
            raise self._error("the program `adb` is not installed here; Debian's package is adb.")
        try:
            self._start_server()
            out, complaints = communicate([*self._words, "get-state"], None, SHORT_S)
        except (TimeoutError, subprocess.TimeoutExpired):
            raise self._error(f"`adb` did not answer within {SHORT_S:g} s; try `adb kill-server`.") from None
        if out.strip() != b"device":
            raise self._unreachable(one_line(complaints) or f"it is in the state {one_line(out)!r}")
        mark = secrets.token_hex(8)
        script = remote_script.keep(self._parent, mark, silence_s=max(1, round(2 * self.drop_s)))
        try:
            return Keeper([*self._words, "shell", script], b"", mark, limit_s=SHORT_S, beat_s=self.drop_s / 5)
        except KeeperError as error:
            raise self._unreachable(error.complaint or error.output) from None

    def _start_server(self) -> None:
        # It outlives us, as it does everywhere, and keeps its streams: a pipe of ours would never end.
        with tempfile.TemporaryFile() as said:
            tried = subprocess.run(
                ["adb", "start-server"], stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=SHORT_S
            )
            if tried.returncode != 0:
                said.seek(0)
                raise self._error(f"adb's own server does not start here: {one_line(said.read())}")

    def _call(self, script: str, timeout_s: float) -> Answer:
        mark = secrets.token_hex(8)
        out, complaints = communicate([*self._words, "shell", marked(script, mark)], None, timeout_s)
        answer = answered(mark, out, complaints)
        if answer is None:
            raise self._lost(complaints)
        return answer

    def _upload(self, source: Path, data: bytes, path: str, timeout_s: float) -> str:
        return self._copy(["push", str(source), path], timeout_s)

    def _download(self, inner: str, timeout_s: float) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "file")
            if complaint := self._copy(["pull", f"{self.folder}/{inner}", str(target)], timeout_s):
                raise self._error(f"{self.folder}/{inner} cannot be read: {complaint}")
            return target.read_bytes()

    def _copy(self, words: list[str], timeout_s: float) -> str:
        """-> what went wrong, or nothing. Whether the file is whole, its checksum says."""
        try:
            out, complaints = communicate([*self._words, *words], None, timeout_s)
        except TimeoutError:
            return f"it took longer than {timeout_s:.0f} s."
        # `adb` tells errors of a copy on either stream, by its version.
        said = one_line(complaints + b" " + out)
        return said if re.search(r"\berror\b|failed to copy", said) else ""

    def _unreachable(self, said: str) -> DeviceError:
        advice = next((text for word, text in _ADVICE if word in said), "try `adb devices`")
        return self._error(f"the board cannot be reached: {said.removeprefix('error: ')}; {advice}.")
