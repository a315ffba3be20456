"""LiteRT's shared library for a board, and which C library it needs there. Imports no TensorFlow."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from tta_lite.files import atomic_write
from tta_lite.measure.device.cache import cache_folder, kept
from tta_lite.measure.device.transport import DeviceError

PACKAGE = "ai-edge-litert"
NAME = "libLiteRt.so"
# The wheel's tag, and not what it needs: see `needed_versions`.
PLATFORMS = {"aarch64": "manylinux_2_27_aarch64", "x86_64": "manylinux_2_27_x86_64"}
# The Python that the wheel is for does not matter, as only its C library is taken.
PYTHON = "311"
TIMEOUT_S = 600


def version() -> str:
    """-> the version of LiteRT that runs here, and on boards too, so that the two compare."""
    return importlib.metadata.version(PACKAGE)


def litert_library(architecture: str) -> Path:
    """-> ``libLiteRt.so`` for that architecture: the installed one, or fetched the first time with pip.

    Args:
      architecture: ``aarch64`` or ``x86_64``.

    Raises:
      DeviceError: there is none for it, or it cannot be fetched.
    """
    if architecture == platform.machine():
        spec = importlib.util.find_spec("ai_edge_litert")
        for place in (spec.submodule_search_locations or ()) if spec else ():
            if (path := Path(place, NAME)).is_file():
                return path
    if architecture not in PLATFORMS:
        raise DeviceError(
            f"LiteRT's library must be for one of {', '.join(PLATFORMS)}. Received: {architecture}; a microcontroller "
            "runs TensorFlow Lite Micro instead (docs/artifact.md)"
        )
    path = cache_folder("litert", version(), architecture, NAME)
    return kept(path, lambda target: _fetch(architecture, target))


def _fetch(architecture: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="tta_lite_wheel_") as folder:
        words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        words += ["--only-binary=:all:", f"--platform={PLATFORMS[architecture]}", f"--python-version={PYTHON}"]
        words += [f"--dest={folder}", f"{PACKAGE}=={version()}"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise DeviceError(f"pip must fetch {PACKAGE} within {TIMEOUT_S} s. Received: no end of it") from error
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise DeviceError(
                f"pip must be able to fetch {PACKAGE} {version()} for {architecture}, once. Received: "
                f"{said[-1] if said else 'no wheel'}"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            atomic_write(target, wheel.read(f"ai_edge_litert/{NAME}"))


def needed_versions(*paths: Path) -> dict[str, str]:
    """-> what shared libraries of the system must offer at least: ``{"GLIBC": "2.34", "GLIBCXX": "3.4.30"}``.

    Args:
      paths: programs and libraries; the most that one of them needs counts.

    Raises:
      DeviceError: a file that is no program or library.
    """
    most: dict[str, tuple[int, ...]] = {}
    for path in paths:
        for kind, number in _versions_of(path):
            most[kind] = max(most.get(kind, ()), number)
    return {kind: ".".join(map(str, number)) for kind, number in sorted(most.items())}


def _versions_of(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    found = []
    try:
        with path.open("rb") as file:
            for section in ELFFile(file).iter_sections():
                if not isinstance(section, GNUVerNeedSection):
                    continue
                for _, needs in section.iter_versions():
                    names = (match for need in needs if (match := re.fullmatch(r"([A-Z]+)_([\d.]+)", need.name)))
                    found += [(match[1], as_numbers(match[2])) for match in names]
    except (OSError, ELFError) as error:
        raise DeviceError(f"{path} must be a program or a shared library. Received: {error}") from error
    return found


def as_numbers(text: str) -> tuple[int, ...]:
    """-> a version as numbers that compare.

    >>> as_numbers("2.4") < as_numbers("2.34")
    True
    """
    return tuple(int(part) for part in text.split("."))
