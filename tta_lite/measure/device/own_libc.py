"""A C library for boards whose own is too old for LiteRT, such as Ubuntu 18.04's. Imports no TensorFlow.

LiteRT 2.3 needs glibc 2.34 on ARM, whatever its wheel's name says; Ubuntu 18.04 has 2.27. A program can be started by
another glibc's loader with that glibc's libraries beside it, and uses nothing of the board's then but its kernel:
``ld-linux-aarch64.so.1 --library-path . ./tta_runner``. The files are those of Debian's and Ubuntu's cross packages.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

from tta_lite.measure.device.transport import DeviceError

LOADERS: Mapping[str, str] = {"aarch64": "ld-linux-aarch64.so.1", "x86_64": "ld-linux-x86-64.so.2"}
FILES = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libstdc++.so.6", "libgcc_s.so.1")
# Where the libraries of that architecture lie on a machine of another one, and on one of its own.
FOLDERS: Mapping[str, tuple[str, ...]] = {
    "aarch64": ("/usr/aarch64-linux-gnu/lib", "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu"),
    "x86_64": ("/usr/x86_64-linux-gnu/lib", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"),
}
PACKAGES: Mapping[str, str] = {
    "aarch64": "libc6-arm64-cross libstdc++6-arm64-cross",
    "x86_64": "libc6-amd64-cross libstdc++6-amd64-cross",
}


def libc_files(architecture: str) -> list[Path]:
    """-> the loader and the libraries, as they lie here.

    Raises:
      DeviceError: one of them is not here.
    """
    if architecture not in LOADERS:
        raise DeviceError(f"A C library can be brought for {', '.join(LOADERS)}. Received: {architecture}")
    found, missing = [], []
    for name in (LOADERS[architecture], *FILES):
        places = [Path(folder, name) for folder in FOLDERS[architecture]]
        here = next((place for place in places if place.is_file()), None)
        if here is None:
            missing.append(name)
        else:
            found.append(here)
    if missing:
        own = " (or a machine of that architecture)" if architecture != platform.machine() else ""
        raise DeviceError(
            f"The board's C library is too old for LiteRT, and one to bring along is not here. Expected: Debian's or "
            f"Ubuntu's packages {PACKAGES[architecture]}{own}. Received: no {', '.join(missing)}"
        )
    return found
