"""Files that are whole or not there: written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TEMPORARY_PREFIX = ".tmp-"


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name beside `path`, with its suffix, for savers that write by themselves.

    The file takes the name `path` when the block ends, and is removed when the block raises. Folders are created.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder) / "model.keras") as temporary:
    ...         _ = temporary.write_bytes(b"weights")
    ...     sorted(os.listdir(folder))
    ['model.keras']
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: Keras chooses its file format by it.
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:8]}-{target.name}")
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def atomic_write(path: str | os.PathLike[str], data: bytes | str) -> Path:
    """Writes `data` (text as UTF-8, line ends unchanged) so that a killed run leaves the old file or the new one.

    Returns:
      The path, as a `Path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
    return Path(path)


def digest(path: str | os.PathLike[str]) -> str:
    """-> the SHA-256 of a file's bytes, which tells it from another one."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def to_json_text(record: Any, *, indent: int | None = None) -> str:
    """-> strict JSON: NumPy numbers and arrays as plain ones, NaN and infinity as ``null``.

    >>> to_json_text({"b": float("nan"), "a": (1, 2)})
    '{"b": null, "a": [1, 2]}'
    """
    return json.dumps(_plain(record), ensure_ascii=False, allow_nan=False, indent=indent)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    # NumPy scalars and arrays, without importing NumPy here.
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    raise TypeError(f"Cannot be written as JSON. Received: {value!r} of type {type(value).__name__}")


def _flush_to_disk(path: Path) -> None:
    # Without this a power cut can leave the new name on an empty file.
    if path.is_file():
        with open(path, "rb+") as stream:
            os.fsync(stream.fileno())
