"""Say or do what the emulated board needs on Debian and Ubuntu, then check it.

    tta-lite setup-emulator              # what is missing, and the line that installs it
    tta-lite setup-emulator --install    # installs it: as root, or through a sudo that asks no password
    tta-lite setup-emulator --runtime=armnn    # then fetches Arm NN 20.08 for `tta-lite check-runtime`

What is needed: qemu-user 7.2 to 8.2 with plugins, the C and C++ libraries of arm64, and a C compiler for this machine
(the plugins) and for arm64 (the runner; the package `ziglang` is both). The check runs a small program under every core
that can be emulated, and counts it. Arm NN is kept in the cache folder and needs no root; where the host is not Debian
12, --apt_sources names an archive of Debian 12.

Cost: seconds; the packages are some 60 MB, and Arm NN 28 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from recipes import _app
from tta_lite.measure.device.armnn_setup import setup_armnn
from tta_lite.measure.device.emulator_setup import check_cores, emulator_words, install, install_command, needs
from tta_lite.measure.device.transport import DeviceError
from tta_lite.types import InputError

_INSTALL = flags.DEFINE_boolean("install", False, "Install what is missing.")
_RUNTIME = flags.DEFINE_enum("runtime", "litert", ("litert", "armnn"), "What is to run on the emulated board.")
_APT_SOURCES = flags.DEFINE_string("apt_sources", None, "With --runtime=armnn: a list of archives, as apt reads it.")


def main(argv: Sequence[str]) -> None:
    """Tells what is missing, installs it if asked to, checks."""
    del argv
    if _APT_SOURCES.value and _RUNTIME.value != "armnn":
        raise InputError(f"Flag --apt_sources needs --runtime=armnn. Received: --runtime={_RUNTIME.value}")
    missing = needs()
    if missing and _INSTALL.value and (command := install_command(missing)):
        print(f"Running: {' '.join(command)}")
        install(command)
        missing = needs()
    for need in missing:
        print(f"missing: {need.what} ({need.why})")
    if command := install_command(missing):
        raise DeviceError(
            f"The emulated board is not complete. Expected: tta-lite setup-emulator --install, or as root: "
            f"apt-get update && {' '.join(command)}. Received: {', '.join(need.what for need in missing)} missing"
        )
    for line in check_cores():
        print(line)
    print(f'A kit runs here as on a Cortex-A72: EMULATOR="{emulator_words()}" CORES=all ./run.sh')
    if _RUNTIME.value == "armnn":
        sources = Path(_APT_SOURCES.value) if _APT_SOURCES.value else None
        print(f"Arm NN: {setup_armnn(sources=sources, say=print)}")


if __name__ == "__main__":
    _app.run(main)
