"""Arm NN 20.08 with Arm Compute Library for arm64, fetched from Debian 12, to run under emulation where no board is.

Imports no TensorFlow.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tta_lite.measure.device.cache import cache_folder, kept
from tta_lite.measure.device.local import Local
from tta_lite.measure.device.transport import DeviceError

VERSION = "20.08"
# What is asked for; apt finds what these need: Python, NumPy, Arm Compute Library, the C library. 28 MB in all.
PACKAGES = (
    "python3-pyarmnn", "libarmnntfliteparser22", "libarmnn-cpuacc-backend22", "libarmnn-cpuref-backend22",
)  # fmt: skip
PROGRAMS = {"apt-get": "apt", "dpkg-deb": "dpkg", "qemu-aarch64": "qemu-user"}
QEMU, PYTHON = "qemu-aarch64", "usr/bin/python3.11"
LIBRARIES = "usr/lib/aarch64-linux-gnu"
# Debian chooses among these when a package is installed, which an unpacked one is not.
CHOSEN = {"libblas.so.3": "blas/libblas.so.3", "liblapack.so.3": "lapack/liblapack.so.3"}
SETUP = "tta-lite setup-emulator --runtime=armnn"
TIMEOUT_S = 900


def armnn_root() -> Path:
    """-> the folder where it is kept; it is there if `setup_armnn` was run.

    >>> armnn_root().name
    'armnn-20.08'
    """
    return cache_folder("emulator", f"armnn-{VERSION}")


def setup_armnn(*, sources: Path | None = None, say: Callable[[str], None] = lambda said: None) -> Path:
    """Fetches and unpacks it, whole or not at all, unless it is there -> `armnn_root`.

    The system's own packages and lists are neither read nor changed; only its list of archives is read.

    Args:
      sources: a list of apt's with an archive of Debian 12, for a host that is not Debian 12.
      say: is told what is being done.

    Raises:
      DeviceError: a program is missing, the host is not Debian 12, or the packages cannot be fetched.
      InputError: the cache cannot be written.
    """
    root = armnn_root()
    if root.exists():
        return root
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if missing:
        raise DeviceError(
            f"Arm NN for the emulated board needs {', '.join(PROGRAMS)}. "
            f"Missing packages of Debian and Ubuntu: {', '.join(missing)}"
        )
    if sources is None:
        _check_release()
    elif not sources.is_file():
        raise DeviceError(f"The list of archives must be a file. Received: {sources}")
    return kept(root, lambda folder: _make(folder, sources, say))


def emulated_armnn(
    cpu: str = "cortex-a72", *, parent: str | os.PathLike[str] | None = None
) -> tuple[Local, tuple[str, ...]]:
    """-> a transport to an emulated processor with Arm NN, and the command that has PyArmNN there.

    Args:
      cpu: as ``qemu-aarch64 -cpu help`` lists it.
      parent: the folder in which the work folder is made; None is the system's for temporary files.

    Raises:
      DeviceError: it is not set up.
    """
    root = armnn_root()
    if not (root.exists() and shutil.which(QEMU)):
        raise DeviceError(
            f"Arm NN under emulation must be set up once: {SETUP} (28 MB). Received: no {root}"
            if shutil.which(QEMU)
            else f"Arm NN under emulation needs {QEMU}, of the package qemu-user. Received: no such program on the path"
        )
    title = f"{cpu}, emulated by qemu-aarch64"
    return Local(_prefix(root, cpu), title, emulated=True, parent=parent), (str(root / PYTHON),)


def _prefix(root: Path, cpu: str) -> tuple[str, ...]:
    # Nothing of this machine's environment may lead the emulated Python to this machine's packages.
    settings = (f"PATH={os.environ.get('PATH', os.defpath)}", "PYTHONDONTWRITEBYTECODE=1", "PYTHONNOUSERSITE=1")
    return ("env", "-i", *settings, QEMU, "-cpu", cpu, "-L", str(root))


def _check_release() -> None:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    if (release.get("ID"), release.get("VERSION_ID")) != ("debian", "12"):
        raise DeviceError(
            f"Arm NN {VERSION} with Arm Compute Library is in Debian 12 (bookworm), and this host's own archives are "
            "others. Expected: a Debian 12 host or container; or --apt_sources=FILE with one line `deb "
            "[signed-by=KEYRING] MIRROR bookworm main`, whose keyring is in the package debian-archive-keyring. "
            f"Received: {release.get('PRETTY_NAME', 'a host without /etc/os-release')}"
        )


def _make(root: Path, sources: Path | None, say: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="tta_lite_apt_") as folder:
        packages = _fetch(Path(folder), sources, say)
        say(f"unpacking {len(packages)} packages")
        root.mkdir()
        for package in packages:
            _run(["dpkg-deb", "-x", str(package), str(root)], f"{package.name} cannot be unpacked")
    for name, target in CHOSEN.items():
        link = root / LIBRARIES / name
        if not link.is_symlink():
            link.symlink_to(target)
    # Manuals and translations.
    shutil.rmtree(root / "usr/share", ignore_errors=True)
    say("trying it")
    _run(
        [*_prefix(root, "cortex-a72"), str(root / PYTHON), "-c", "import numpy, pyarmnn"],
        "What was unpacked does not run under emulation",
    )


def _fetch(folder: Path, sources: Path | None, say: Callable[[str], None]) -> list[Path]:
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    # No package is installed, as far as apt is told: so it fetches all that the packages need.
    (folder / "status").write_text("")
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Install-Recommends": "false",
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        # The user `_apt` may not write here.
        "APT::Sandbox::User": "root",
    }
    if sources is not None:
        options |= {"Dir::Etc::SourceList": sources.resolve(), "Dir::Etc::SourceParts": "/dev/null"}
    apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]
    say("reading the lists of arm64 packages")
    # An archive that has nothing for arm64 fails here, and does no harm: what counts is whether the packages are found.
    updated = _run([*apt, "update"], "apt-get update", must=False)
    say("fetching 28 MB")
    _run(
        [*apt, "install", "--download-only", "--yes", *PACKAGES],
        f"The packages of Arm NN {VERSION} for arm64 cannot be fetched",
        also=updated,
    )
    return sorted((folder / "cache/archives").glob("*.deb"))


def _run(words: Sequence[str], wrong: str, *, must: bool = True, also: str = "") -> str:
    """-> what a program said.

    Raises:
      DeviceError: it did not end in time, or failed and must not.
    """
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceError(f"{wrong}. Received: {error}") from error
    if done.returncode and must:
        lines = [line.strip() for line in (also + done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("E:", "Err:"))] or lines
        raise DeviceError(f"{wrong}. Received: {' '.join(errors[-4:])[-500:] or f'exit code {done.returncode}'}")
    return done.stdout + done.stderr
