"""Compiles the plugins of QEMU in ``native/``, for this machine. Imports no TensorFlow."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path

from tta_lite.measure.device.build import NATIVE, compiler, run_compiler
from tta_lite.measure.device.cache import cache_folder, kept

HEADERS: Mapping[str, tuple[str, ...]] = {
    "count": ("a64_classes.h", "plugin.h"),
    "cache": ("cache_model.h", "plugin.h"),
}
OPTIONS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-fvisibility=hidden")


def build_plugin(name: str) -> Path:
    """-> the plugin ``count`` or ``cache`` as a shared library, built the first time.

    Raises:
      DeviceError: there is no C compiler, or it failed.
    """
    command = compiler(platform.machine())
    source = NATIVE / f"{name}_plugin.c"
    digest = hashlib.sha256(" ".join((*command, *OPTIONS)).encode())
    for file in (source, *(NATIVE / header for header in HEADERS[name])):
        digest.update(file.read_bytes())
    path = cache_folder("plugins", digest.hexdigest()[:16], f"{name}_plugin.so")
    return kept(path, lambda target: _compile(command, source, target))


def plugin_words(name: str, out: Path, **arguments: int) -> str:
    """-> what follows QEMU's ``-plugin``: the plugin, the file that it writes at the end, and its numbers."""
    # QEMU reads a doubled comma as a part of the path.
    files = {"file": build_plugin(name), "out": out}
    words = [f"{key}={str(path).replace(',', ',,')}" for key, path in files.items()]
    return ",".join([*words, *(f"{key}={value}" for key, value in arguments.items())])


def _compile(command: list[str], source: Path, target: Path) -> None:
    run_compiler(command, [*OPTIONS, "-o", str(target), str(source), "-lpthread"], f"plugin {source.name}")
