"""A board over SSH, by OpenSSH's own client: the user's keys, agent and configuration hold.

One connection is made, and commands go over it, so that none costs a handshake. The board needs a POSIX shell and the
programs of coreutils, busybox or toybox; no Python.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tta_lite.measure.device import remote_script, ssh_errors
from tta_lite.measure.device.client import Answer, answered, communicate, marked, one_line
from tta_lite.measure.device.keeper import Keeper, KeeperError
from tta_lite.measure.device.remote import RemoteTransport
from tta_lite.measure.device.ssh_options import SshTarget, master_options, session_words
from tta_lite.measure.device.transport import DeviceError

# sun_path holds 108 bytes, and OpenSSH adds a random end of 17 to the name until it listens.
_LONGEST_SOCKET = 90
# Removes the socket's folder when the client ends, also where we were killed and cannot.
_AND_REMOVE = 'folder=$1; shift; "$@"; code=$?; rm -rf "$folder"; exit "$code"'


class Ssh(RemoteTransport):
    """A board over SSH; a `Transport`.

    Args:
      address: ``ssh://[user@]host[:port]``.
      remote_folder: where on the board the work folder is made; None is its ``$TMPDIR``, or /tmp.
      options: more options of ``ssh``, as ``("-i", "key")``; none of them loosens the check of the host key.
      connect_s: until when the connection must stand.
      drop_s: after how much silence it counts as lost; the board waits twice as long before it cleans up.
      attempts: how often connecting is tried where the board may still start; nothing else is ever tried twice.
      pause_s: between two attempts.

    Raises:
      InputError: the address is none.
    """

    def __init__(
        self,
        address: str,
        *,
        remote_folder: str | None = None,
        options: Sequence[str] = (),
        connect_s: float = 10,
        drop_s: float = 15,
        attempts: int = 3,
        pause_s: float = 2,
    ) -> None:
        self.target = SshTarget.parse(address)
        super().__init__(str(self.target), drop_s=drop_s)
        self._remote_folder = remote_folder or ""
        self._options = tuple(options)
        self._connect_s = connect_s
        self._attempts = attempts
        self._pause_s = pause_s
        self._private = ""

    @property
    def _socket(self) -> str:
        return os.path.join(self._private, "s")

    def _connect(self) -> Keeper:
        if not shutil.which("ssh"):
            raise self._error("OpenSSH's client `ssh` is not installed here; Debian's package is openssh-client.")
        for left in reversed(range(self._attempts)):
            self._private = _private_folder()
            try:
                return self._keep()
            except KeeperError as error:
                self._remove_private()
                if left and ssh_errors.is_passing(error.complaint):
                    time.sleep(self._pause_s)
                    continue
                offered = self._offered_key() if ssh_errors.wants_fingerprint(error.complaint) else None
                said = ssh_errors.explained(self.target, error.complaint, error.output, offered)
                raise self._error(said) from None
        raise AssertionError("the last attempt returns or raises")

    def _keep(self) -> Keeper:
        mark = secrets.token_hex(8)
        words = master_options(self._socket, connect_s=self._connect_s, drop_s=self.drop_s, extra=self._options)
        return Keeper(
            ["sh", "-c", _AND_REMOVE, "sh", self._private, *words, *self.target.words(), "exec sh"],
            os.fsencode(remote_script.keep(self._remote_folder, mark, silence_s=max(1, round(2 * self.drop_s)))),
            mark,
            # The handshake, logging in on a slow board, and its shell's start-up files.
            limit_s=3 * self._connect_s,
            beat_s=self.drop_s / 5,
            environment=_environment(),
        )

    def _offered_key(self) -> str | None:
        words = master_options("none", connect_s=self._connect_s, drop_s=self.drop_s, extra=self._options)
        plain = [word.replace("LogLevel=INFO", "LogLevel=DEBUG1") for word in words]
        with contextlib.suppress(subprocess.TimeoutExpired):
            tried = subprocess.run(
                [*plain, *self.target.words(), "exit"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=_environment(),
                timeout=2 * self._connect_s,
                start_new_session=True,
            )
            return ssh_errors.fingerprint(tried.stderr.decode("utf-8", "replace"))
        return None

    def _call(self, script: str, timeout_s: float) -> Answer:
        mark = secrets.token_hex(8)
        # The script comes as input and not as words, so that only `sh` reads it, whatever the login shell is.
        text = os.fsencode(marked(script, mark))
        out, complaints = communicate(self._session("exec sh"), text, timeout_s, _environment())
        answer = answered(mark, out, complaints)
        if answer is None:
            raise self._lost(complaints)
        return answer

    def _upload(self, source: Path, data: bytes, path: str, timeout_s: float) -> str:
        # Any login shell reads this the same way: `RemoteTransport` sees to a plain path.
        mark = secrets.token_hex(8)
        command = f"env LC_ALL=C cat > {path} && echo {mark}-whole || echo {mark}-torn"
        try:
            out, complaints = communicate(self._session(command), data, timeout_s, _environment())
        except TimeoutError:
            return f"it took longer than {timeout_s:.0f} s."
        if f"{mark}-whole".encode() in out:
            return ""
        if f"{mark}-torn".encode() in out:
            return one_line(complaints) or "the copy ended early."
        raise self._lost(complaints)

    def _lost(self, complaint: bytes) -> DeviceError:
        if b"Session open refused by peer" in complaint:
            return self._error(
                "the board's SSH server allows no second session in a connection; `MaxSessions` in its sshd_config "
                "must be 3 or more, or not there."
            )
        return super()._lost(complaint)

    def _session(self, command: str) -> list[str]:
        return session_words(self._socket, command)

    def _leave(self) -> None:
        super()._leave()
        self._remove_private()

    def _remove_private(self) -> None:
        if self._private:
            shutil.rmtree(self._private, ignore_errors=True)
            self._private = ""


def _private_folder() -> str:
    folder = tempfile.mkdtemp(prefix="tta-ssh-")
    # OpenSSH reads spaces and signs in a socket's path in ways of its own.
    if len(folder) <= _LONGEST_SOCKET and re.fullmatch(r"[A-Za-z0-9_./+-]+", folder):
        return folder
    os.rmdir(folder)
    return tempfile.mkdtemp(prefix="tta-ssh-", dir="/tmp")


def _environment() -> dict[str, str]:
    # Messages are read here, so that they must be in English; and no window may ask for a password.
    return {**os.environ, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
