"""Where what is built or fetched once is kept: ``$XDG_CACHE_HOME/tta_lite``. Imports no TensorFlow."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from tta_lite.files import TEMPORARY_PREFIX
from tta_lite.types import InputError


def cache_folder(*parts: str) -> Path:
    """-> a folder for that purpose; it need not be there yet.

    >>> cache_folder("runner").parts[-2:]
    ('tta_lite', 'runner')
    """
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, "tta_lite", *parts)


def kept(path: Path, make: Callable[[Path], None]) -> Path:
    """-> `path`, which `make` fills the first time; two processes at once are no harm.

    Args:
      path: a file or folder of the cache, whose name says all that it hangs on.
      make: gets another path to write to, which becomes `path` when it is whole.

    Raises:
      InputError: the cache cannot be written.
    """
    if path.exists():
        return path
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        make(temporary)
        try:
            os.replace(temporary, path)
        except OSError:
            # Another process was quicker: a folder that is not empty is not replaced.
            if not path.exists():
                raise
    except OSError as error:
        raise InputError(
            f"The cache must be a folder that can be written; XDG_CACHE_HOME names another. Received: {error}"
        ) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            # Where the cache is no folder there is nothing to remove, and the error above is the one to tell.
            with contextlib.suppress(OSError):
                temporary.unlink()
    return path
