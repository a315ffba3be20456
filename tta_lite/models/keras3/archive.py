"""The ``.keras`` file: a zip of config.json, metadata.json and model.weights.h5. Nothing is unpacked to the disk."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from tta_lite.types import InputError

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"

# Keras stores its members as they are, and deflate gains a factor of 1032 at most: what is far larger than its place in
# the file is there to fill the memory.
_MAX_EXPANSION = 100
_SMALL = 1 << 24


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
        major = re.match(r"\d+", self.version)
        return bool(major) and int(major.group()) >= 3

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
    if member.file_size > max(_SMALL, _MAX_EXPANSION * member.compress_size):
        raise ValueError(
            f"the member {member.filename!r} would grow from {member.compress_size} bytes to {member.file_size}"
        )


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as file:
        return file.read()


class WeightsFile:
    """The arrays of model.weights.h5, found by their path. Links and files elsewhere are not followed.

    Args:
      file: an open ``h5py.File``.
      where: for messages.
    """

    def __init__(self, file: Any, where: str):
        self.file, self.where = file, where

    def arrays(self, path: str, name: str) -> list[Any]:
        """-> what a layer has, in the order in which its variables were made, as arrays.

        Args:
          path: of the layer, as ``layers/conv2d_1``.
          name: of the layer; newer files repeat it, and then it must be the same.

        Raises:
          InputError: it is another layer's, or no array.
        """
        group = self._group(f"{path}/vars".lstrip("/"))
        if group is None:
            return []
        found = group.attrs.get("name", name)
        if str(found) != name:
            raise InputError(f"{self.where}: {path} must hold the weights of {name!r}. Received: those of {found!r}")
        keys = [str(number) for number in range(len(group))]
        if sorted(group) != sorted(keys):
            raise InputError(f"{self.where}: the weights of {name!r} must be numbered. Received: {sorted(group)[:5]}")
        return [self._array(group, key, name) for key in keys]

    def _group(self, path: str) -> Any:
        import h5py

        group = self.file
        for part in path.split("/"):
            if part not in group:
                return None
            if group.get(part, getclass=True, getlink=True) is not h5py.HardLink:
                raise InputError(f"{self.where}: {path} must not lead elsewhere. Received: a link")
            group = group[part]
            if not isinstance(group, h5py.Group):
                raise InputError(f"{self.where}: {path} must be a group. Received: {type(group).__name__}")
        return group

    def _array(self, group: Any, key: str, name: str) -> Any:
        import h5py
        import numpy as np

        item = group[key] if group.get(key, getclass=True, getlink=True) is h5py.HardLink else None
        if not isinstance(item, h5py.Dataset) or item.external or item.is_virtual:
            raise InputError(f"{self.where}: the weights of {name!r} must be arrays of the file. Received: {item}")
        declared = math.prod(item.shape) * item.dtype.itemsize
        if declared > max(_SMALL, _MAX_EXPANSION * item.id.get_storage_size()):
            raise InputError(
                f"{self.where}: the weights of {name!r} must be in the file. Received: {declared} bytes declared, "
                f"{item.id.get_storage_size()} stored"
            )
        value = np.asarray(item)
        if item.attrs.get("dtype") == "bfloat16":
            # HDF5 has no such type: the bits are those of the upper half of a float32.
            bits = value.view(np.uint16).astype(np.uint32) << 16
            value = bits.view(np.float32).reshape(value.shape)
        return value
