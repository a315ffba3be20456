"""Where a search is kept: a file of this machine, or a server that many machines reach."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import Any

from tta_lite.search.optional import load, optuna
from tta_lite.types import InputError

FORMS = "a path of a SQLite file, sqlite:///PATH, postgresql://USER:PASSWORD@HOST/DATABASE, journal:PATH, redis://HOST"
# Workers that start at one moment make the tables at one moment, and all but one fail at it.
ATTEMPTS = 6
# Within which a locked SQLite file must come free, and a server answer, in s.
PATIENCE_S = 60


def open_storage(where: str) -> Any:
    """-> Optuna's storage.

    Args:
      where: one of `FORMS`. SQLite is for the workers of one machine; a journal is a file that they append to, which
        may lie on a network drive.

    Raises:
      InputError: another form, a package that is missing, or a server that does not answer.
    """
    opt = optuna()
    kind, colon, rest = where.partition(":")
    try:
        if colon and kind == "journal":
            return opt.storages.JournalStorage(opt.storages.journal.JournalFileBackend(_path(rest, where)))
        if colon and kind in ("redis", "rediss"):
            load("redis")
            return opt.storages.JournalStorage(opt.storages.journal.JournalRedisBackend(where, prefix="tta_lite"))
        if colon and kind in ("postgresql", "postgres", "postgresql+psycopg"):
            load("psycopg")
            arguments = {"pool_pre_ping": True, "connect_args": {"connect_timeout": PATIENCE_S}}
            return _relational(opt, f"postgresql+psycopg:{rest}", arguments)
        if colon and kind == "sqlite":
            where = rest.removeprefix("///")
        elif colon and rest.startswith("//"):
            raise InputError(f"A storage is {FORMS}. Received: {without_password(where)!r}")
        arguments = {"connect_args": {"timeout": PATIENCE_S}}
        return _relational(opt, f"sqlite:///{_path(where, where)}", arguments)
    except InputError:
        raise
    except Exception as error:  # SQLAlchemy, drivers and file systems raise dozens of kinds.
        reason = without_password(str(error).strip().split("\n")[0])
        raise InputError(
            f"The storage {without_password(where)} must be reachable; expected {FORMS}. Received: "
            f"{type(error).__name__}: {reason}"
        ) from error


def without_password(where: str) -> str:
    """-> the text without what lies between a user's name and the host.

    >>> without_password("postgresql://me:secret@host/db")
    'postgresql://me:***@host/db'
    """
    return re.sub(r"(://[^:/@\s]*):[^@/\s]*@", r"\1:***@", where)


def _path(text: str, where: str) -> str:
    path = Path(text)
    if not text or not path.parent.is_dir() or path.is_dir():
        raise InputError(f"A storage's file must lie in a folder that exists; {FORMS}. Received: {where!r}")
    return str(path)


def _relational(opt: Any, url: str, arguments: dict[str, Any]) -> Any:
    for attempt in range(ATTEMPTS):
        try:
            return opt.storages.RDBStorage(url, engine_kwargs=arguments)
        except Exception as error:
            if attempt == ATTEMPTS - 1 or "connect" in str(error).lower():
                raise
            time.sleep(random.random() * 0.2 * 2**attempt)
    raise AssertionError
