"""An artifact folder is written whole or not at all. Imports no TensorFlow."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from tta_lite.export.manifest import MANIFEST
from tta_lite.files import TEMPORARY_PREFIX
from tta_lite.types import InputError

# What marks a folder as a bundle that may be replaced; format 1 wrote the name in small letters.
MARKS = (MANIFEST, "manifest.json")


@contextlib.contextmanager
def whole_folder(folder: str | Path) -> Iterator[Path]:
    """An empty folder to write into; it takes the place of `folder` when the block ends, and is removed if it raises.

    Raises:
      InputError: `folder` is there, and neither empty nor an earlier artifact.
    """
    target = Path(folder)
    _check_replaceable(target)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:8]}-{target.name}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        _swap_in(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_replaceable(target: Path) -> None:
    if not target.exists():
        return
    is_bundle = target.is_dir() and (any((target / mark).is_file() for mark in MARKS) or not any(target.iterdir()))
    if not is_bundle:
        raise InputError(
            f"The artifact folder must be new, empty, or an earlier bundle (with a {MANIFEST}). Received: {target}"
        )


def _swap_in(temporary: Path, target: Path) -> None:
    if not target.exists():
        os.replace(temporary, target)
        return
    # A folder that is not empty cannot be replaced in one step.
    old = target.with_name(f"{temporary.name}-old")
    os.replace(target, old)
    try:
        os.replace(temporary, target)
    except BaseException:
        os.replace(old, target)
        raise
    shutil.rmtree(old)
