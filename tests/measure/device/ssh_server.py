"""A real OpenSSH server on loopback, with keys, a home folder and a folder for temporary files of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.measure.device.processes import becomes_true, descendants, name_of
from tta_lite.measure.device.ssh import Ssh

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
NEEDS_SSHD = pytest.mark.skipif(
    not (SSHD and shutil.which("ssh")), reason="no sshd and ssh: Debian's openssh-server and openssh-client"
)


class SshServer:
    """A server that is told to run on a free port; `start` runs it.

    Attributes:
      temporary: the ``$TMPDIR`` of its sessions.
      home: their ``$HOME``.
      known: a file of known hosts that holds its key.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary, self.home, self.known = folder / "tmp", folder / "home", folder / "known_hosts"
        self.temporary.mkdir()
        self.home.mkdir()
        for name in ("host", "user"):
            make_key(folder / name)
        shutil.copy(folder / "user.pub", folder / "authorized_keys")
        self.port = free_port()
        self.known.write_text(f"[127.0.0.1]:{self.port} {(folder / 'host.pub').read_text()}")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"ssh://{pwd.getpwuid(os.geteuid()).pw_name}@127.0.0.1:{self.port}"

    def start(self, *more: str) -> None:
        """Runs it, with more lines of configuration."""
        assert SSHD is not None
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        (self.folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
            f"PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
            f"SetEnv HOME={self.home} TMPDIR={self.temporary}\n" + "".join(f"{line}\n" for line in more)
        )
        command = [SSHD, "-D", "-f", f"{self.folder}/config"]
        # Newer servers shut out for a while whoever failed, which here is the next test.
        lenient = [*command, "-o", "PerSourcePenalties=no"]
        if subprocess.run([*lenient, "-t"], capture_output=True).returncode == 0:
            command = lenient
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert becomes_true(self._answers, 10)

    def stop(self) -> None:
        if self._process is not None:
            for pid in (*self.sessions(), self._process.pid):
                for number in (signal.SIGCONT, signal.SIGKILL):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
            self._process.wait()

    def sessions(self) -> list[int]:
        """-> the server's processes for one connection each, without what runs in them."""
        assert self._process is not None
        return [pid for pid in descendants(self._process.pid) if name_of(pid).startswith("sshd")]

    def signal_sessions(self, number: int) -> None:
        for pid in self.sessions():
            os.kill(pid, number)

    def options(self, **changes: str) -> list[str]:
        """-> options of `ssh` with which this server is reached, and nothing of the user's is read."""
        values = {
            "IdentityFile": str(self.folder / "user"),
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": str(self.known),
            "GlobalKnownHostsFile": "/dev/null",
            **changes,
        }
        return ["-F", "none", *(word for name, value in values.items() for word in ("-o", f"{name}={value}"))]

    def transport(self, options: Sequence[str] | None = None, **settings: Any) -> Ssh:
        return Ssh(self.address, options=self.options() if options is None else options, **settings)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


def make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True)


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


@contextlib.contextmanager
def running(folder: Path) -> Iterator[SshServer]:
    server = SshServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
