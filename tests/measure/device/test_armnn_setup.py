"""Setting up Arm NN, with programs that stand for apt-get, dpkg-deb and QEMU: nothing is fetched."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from tta_lite.measure.device import armnn_setup
from tta_lite.measure.device.armnn_setup import CHOSEN, LIBRARIES, PROGRAMS, armnn_root, emulated_armnn, setup_armnn
from tta_lite.measure.device.transport import DeviceError

BOOKWORM = {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"}
# They write down how they were called; what they do beside that is given by each test.
APT = """
echo "apt-get $*" >> {log}
for word in "$@"; do
  case "$word" in -oDir::Cache=*) cache="${{word#-oDir::Cache=}}";; esac
done
case "$*" in
  *update) {update};;
  *install*) {install};;
esac
"""
DOWNLOADS = 'touch "$cache/archives/one_1_arm64.deb" "$cache/archives/two_1_arm64.deb"'
DPKG = 'echo "dpkg-deb $*" >> {log}; mkdir -p "$3/usr/share/doc" "$3/' + LIBRARIES + '"; echo "$2" >> "$3/unpacked"'
TRIAL = 'echo "qemu-aarch64 $*" >> {log}; {trial}'


@pytest.fixture
def host(tmp_path, monkeypatch):
    """-> a function that installs the programs; it returns where they write down how they were called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for program in Path(folder).iterdir():
            if program.name not in PROGRAMS and not (programs / program.name).is_symlink():
                (programs / program.name).symlink_to(program)
    log = tmp_path / "log"

    def install(update="true", install=DOWNLOADS, trial="true", without=(), release=BOOKWORM):
        texts = {
            "apt-get": APT.format(log=log, update=update, install=install),
            "dpkg-deb": DPKG.format(log=log),
            "qemu-aarch64": TRIAL.format(log=log, trial=trial),
        }
        for name, text in texts.items():
            (programs / name).unlink(missing_ok=True)
            if name not in without:
                (programs / name).write_text(f"#!/bin/sh\n{text}\n")
                (programs / name).chmod(0o755)
        monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
        return log

    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return install


def nothing_is_left(tmp_path) -> bool:
    return not list((tmp_path / "cache").rglob("*armnn*"))


def test_it_is_fetched_unpacked_and_tried_once(host, tmp_path):
    log = host()
    said: list[str] = []
    root = setup_armnn(say=said.append)
    assert root == armnn_root() == tmp_path / "cache/tta_lite/emulator/armnn-20.08"
    assert [line.rpartition("/")[2] for line in (root / "unpacked").read_text().split()] == [
        "one_1_arm64.deb",
        "two_1_arm64.deb",
    ]
    assert not (root / "usr/share").exists()
    assert all((root / LIBRARIES / name).is_symlink() for name in CHOSEN)
    assert said[-1] == "trying it"
    update, install, *_, trial = log.read_text().splitlines()
    # The system's own lists, cache and list of packages are named by none of the calls.
    for call in (update, install):
        assert "-oAPT::Architecture=arm64" in call and "-oDir::State::status=/" in call and "/var/" not in call
    assert install.endswith(" ".join(armnn_setup.PACKAGES)) and "--download-only" in install
    assert trial.endswith("-c import numpy, pyarmnn")
    log.unlink()
    assert setup_armnn() == root and not log.exists()
    with emulated_armnn("cortex-a53")[0] as transport:
        assert transport.emulated and transport.run(["a"], timeout_s=60).code == 0
    assert "-cpu cortex-a53" in log.read_text()


def test_an_archive_without_arm64_is_no_harm(host):
    host(update='echo "E: The repository other has no Release file" >&2; exit 100')
    assert setup_armnn().exists()


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ({"without": ("apt-get", "qemu-aarch64")}, "Missing packages of Debian and Ubuntu: apt, qemu-user"),
        (
            {"release": {"ID": "ubuntu", "VERSION_ID": "24.04", "PRETTY_NAME": "Ubuntu 24.04 LTS"}},
            "Expected: a Debian 12 host or container; or --apt_sources=FILE .* Received: Ubuntu 24.04 LTS",
        ),
        (
            {"install": 'echo "E: Unable to locate package python3-pyarmnn" >&2; exit 100'},
            "Arm NN 20.08 for arm64 cannot be fetched. Received: E: Unable to locate package python3-pyarmnn",
        ),
        ({"trial": "echo bad >&2; exit 139"}, "does not run under emulation. Received: bad"),
    ],
    ids=["programs", "release", "packages", "trial"],
)
def test_what_goes_wrong_is_said_and_leaves_nothing(host, tmp_path, faults, said):
    host(**faults)
    with pytest.raises(DeviceError, match=said):
        setup_armnn()
    assert nothing_is_left(tmp_path)
    with pytest.raises(DeviceError, match=r"needs qemu-aarch64|set up once: tta-lite setup-emulator --runtime=armnn"):
        emulated_armnn()


def test_another_host_may_name_its_archive(host, tmp_path):
    log = host(release={})
    with pytest.raises(DeviceError, match=r"must be a file\. Received: .*none"):
        setup_armnn(sources=tmp_path / "none")
    sources = tmp_path / "bookworm.list"
    sources.write_text("deb file:/archive bookworm main\n")
    assert setup_armnn(sources=sources).exists()
    assert f"-oDir::Etc::SourceList={sources} -oDir::Etc::SourceParts=/dev/null" in log.read_text()
