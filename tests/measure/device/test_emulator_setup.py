"""What the emulated board needs: said, installed by a stand-in for apt-get, and checked."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from recipes import _app
from tests.measure.device import arm64
from tests.recipes import in_process
from tta_lite.measure.device import emulator, emulator_setup
from tta_lite.measure.device.emulated_cores import CORES
from tta_lite.measure.device.transport import DeviceError


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing: its only folder of programs, empty."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(emulator, "LIBRARIES", tmp_path / "lib")

    def none(architecture: str) -> list[str]:
        raise DeviceError("no compiler")

    monkeypatch.setattr(emulator_setup, "compiler", none)
    return tmp_path


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_all_that_is_missing_is_named_with_its_packages(bare):
    missing = emulator_setup.needs()
    assert [need.what for need in missing][:2] == [
        "qemu-aarch64",
        "ld-linux-aarch64.so.1, libc.so.6, libstdc++.so.6",
    ]
    assert emulator_setup.install_command(missing) == [
        "apt-get", "install", "--yes", "--no-install-recommends", "qemu-user", "libc6-arm64-cross",
        "libstdc++6-arm64-cross", "gcc", "libc6-dev", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross",
    ]  # fmt: skip


def test_a_static_qemu_is_told_apart_and_no_package_is_promised(bare):
    program(bare / "qemu-aarch64", "echo qemu-aarch64 version 10.0.8")
    need = emulator_setup.needs()[0]
    assert "takes plugins" in need.what and "Debian 12" in need.why and need.packages == ()
    assert emulator_setup.install_command([need]) == []


def test_apt_get_is_given_the_packages(bare, monkeypatch):
    program(bare / "apt-get", f'printf "%s\\n" "$*" >> {bare}/said')
    monkeypatch.setattr("os.geteuid", lambda: 0)
    emulator_setup.install(["apt-get", "install", "--yes", "qemu-user"])
    assert (bare / "said").read_text() == "update --quiet\ninstall --yes qemu-user\n"


def test_sudo_is_used_where_it_asks_nothing(bare, monkeypatch):
    program(bare / "apt-get", "exit 1")
    program(bare / "true", "exit 0")
    program(bare / "sudo", f'printf "%s\\n" "$*" >> {bare}/said')
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    emulator_setup.install(["apt-get", "install", "qemu-user"])
    assert (bare / "said").read_text() == "-n true\n-n apt-get update --quiet\n-n apt-get install qemu-user\n"


@pytest.mark.parametrize(
    ("programs", "user", "said"),
    [
        ({}, 0, "none here"),
        ({"apt-get": "exit 0"}, 1000, "Received: neither"),
        ({"apt-get": "exit 0", "sudo": "exit 1"}, 1000, "Received: neither"),
        ({"apt-get": "echo no such package >&2; exit 100"}, 0, "Received: no such package"),
    ],
)
def test_what_cannot_be_installed_is_one_error_with_the_command(bare, monkeypatch, programs, user, said):
    for name, text in programs.items():
        program(bare / name, text)
    monkeypatch.setattr("os.geteuid", lambda: user)
    with pytest.raises(DeviceError, match=r"Run it yourself: sudo apt-get install qemu-user.*" + said):
        emulator_setup.install(["apt-get", "install", "qemu-user"])


@pytest.fixture
def setup_emulator() -> Iterator[types.ModuleType]:
    with in_process.recipe("setup_emulator") as loaded:
        yield loaded


def run_recipe(setup_emulator: types.ModuleType, monkeypatch: pytest.MonkeyPatch, **flags: object) -> int:
    for name, value in {"install": False, "runtime": "litert", "apt_sources": None, **flags}.items():
        monkeypatch.setattr(setup_emulator, f"_{name.upper()}", types.SimpleNamespace(value=value))
    return _app.guarded(setup_emulator.main, ["setup_emulator"])


def test_the_recipe_says_the_line_and_ends_with_2(setup_emulator, bare, capsys, monkeypatch):
    assert run_recipe(setup_emulator, monkeypatch) == _app.USER_MISTAKE
    said = capsys.readouterr()
    assert "missing: qemu-aarch64 (emulates arm64 programs)" in said.out
    assert "apt-get update && apt-get install --yes --no-install-recommends qemu-user " in said.err


def test_the_recipe_fetches_arm_nn_only_if_asked_to(setup_emulator, capsys, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(setup_emulator, "needs", list)
    monkeypatch.setattr(setup_emulator, "check_cores", lambda: ["Cortex-A72: runs and counts"])
    monkeypatch.setattr(setup_emulator, "emulator_words", lambda: "qemu -L root")
    monkeypatch.setattr(setup_emulator, "setup_armnn", lambda *, sources, say: asked.append(sources) or tmp_path)
    assert run_recipe(setup_emulator, monkeypatch) == 0 and asked == []
    assert run_recipe(setup_emulator, monkeypatch, runtime="armnn", apt_sources="bookworm.list") == 0
    assert asked == [Path("bookworm.list")]
    assert f"Arm NN: {tmp_path}" in capsys.readouterr().out
    assert run_recipe(setup_emulator, monkeypatch, apt_sources="bookworm.list") == _app.USER_MISTAKE


def test_every_core_works_here():
    arm64.need_emulator(plugins=True)
    arm64.need_compiler()
    assert [line.partition(",")[0] for line in emulator_setup.check_cores()] == [core.title for core in CORES.values()]


def test_a_core_that_is_not_what_its_files_say_is_found(monkeypatch):
    arm64.need_emulator()
    arm64.need_compiler()
    wrong = dataclasses.replace(CORES["cortex-a72"], features=CORES["cortex-a76"].features)
    monkeypatch.setattr(emulator_setup, "CORES", {"cortex-a72": wrong})
    with pytest.raises(DeviceError, match=r"Cortex-A72.*'0xd08 1 1 1'\. Received: '0xd08 0 0 1'"):
        list(emulator_setup.check_cores())
