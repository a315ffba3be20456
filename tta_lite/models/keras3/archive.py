"""The ``.keras`` file: a zip of config.json, metadata.json and model.weights.h5. Nothing is unpacked to the disk."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from tta_lite.types import InputError

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"

# Keras stores its members as they are, and deflate gains a factor of 1032 at most: what is far larger than its place in
# the file is there to fill the memory.
MAX_EXPANSION = 100
SMALL = 1 << 24


def is_keras3(version: str) -> bool:
    """Whether a version is Keras 3's or that of a later one.

    >>> is_keras3("3.15.1"), is_keras3("2.21.0"), is_keras3("")
    (True, False, False)
    """
    major = version.partition(".")[0]
    return major.isdigit() and int(major) >= 3


@dataclasses.dataclass(frozen=True)
class Archive:
    """What a ``.keras`` file says of its model.

    Attributes:
      path: of the file.
      config: the layers and how they hang together.
      version: of the Keras that wrote it, e.g. ``3.15.1``.
    """

    path: Path
    config: dict[str, Any]
    version: str

    @property
    def is_keras3(self) -> bool:
        """Whether Keras 3 or a later one wrote it."""
        return is_keras3(self.version)

    def weights(self) -> bytes:
        """-> model.weights.h5, whole: HDF5 seeks in it, which a zip can do only by beginning anew."""
        with zipfile.ZipFile(self.path) as archive:
            try:
                return _member(archive, WEIGHTS)
            except (KeyError, zipfile.BadZipFile, ValueError) as error:
                raise InputError(f"{self.path} lacks a {WEIGHTS} that can be read. Received: {error}") from error


def open_archive(path: Path) -> Archive:
    """-> what a ``.keras`` file says of its model; the weights are left in it.

    Raises:
      InputError: it is no whole zip, lacks a part, or has members that no Keras writes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                _check_member(member)
            config, metadata = (json.loads(_member(archive, name)) for name in (CONFIG, METADATA))
    # What a torn zip, a wrong encoding, wrong JSON and JSON that is nested too deep raise.
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError, NotImplementedError, RecursionError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{path} cannot be read as a .keras file. Expected: a zip of {CONFIG}, {METADATA} and {WEIGHTS}, as Keras "
            f"writes it. Received: {type(error).__name__}: {reason}"
        ) from error
    if not isinstance(config, dict) or not isinstance(metadata, dict) or "class_name" not in config:
        raise InputError(f"{path} cannot be read: its {CONFIG} must describe a model. Received: {str(config)[:80]}")
    return Archive(path, config, str(metadata.get("keras_version", "")))


def _check_member(member: zipfile.ZipInfo) -> None:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in member.filename:
        raise ValueError(f"the member {member.filename!r} leads out of the archive")
    if member.file_size > max(SMALL, MAX_EXPANSION * member.compress_size):
        raise ValueError(
            f"the member {member.filename!r} would grow from {member.compress_size} bytes to {member.file_size}"
        )


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as file:
        return file.read()
