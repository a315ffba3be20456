"""Which C library a program needs, against what binutils and a C compiler say; and what is kept of built things."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from tta_lite.measure.device import build, library, own_libc
from tta_lite.measure.device.build import NATIVE, build_runner, compiler
from tta_lite.measure.device.cache import cache_folder, kept
from tta_lite.measure.device.library import as_numbers, litert_library, needed_versions
from tta_lite.measure.device.own_libc import libc_files
from tta_lite.measure.device.transport import DeviceError
from tta_lite.types import InputError

MACHINE = platform.machine()
needs_readelf = pytest.mark.skipif(not shutil.which("readelf"), reason="needs readelf (Debian's package binutils)")
needs_cc = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler as `cc` (Debian's package gcc)")


def said_by_readelf(path: Path) -> dict[str, str]:
    """Kind -> the most that the section of needed versions names."""
    done = subprocess.run(["readelf", "--version-info", "--wide", path], capture_output=True, text=True, check=True)
    needs = done.stdout.partition("Version needs section")[2]
    most: dict[str, str] = {}
    for kind, number in re.findall(r"Name: ([A-Z]+)_([\d.]+)\s", needs):
        if as_numbers(number) > as_numbers(most.get(kind, "0")):
            most[kind] = number
    return most


@needs_readelf
def test_needs_are_those_that_readelf_tells():
    path = litert_library(MACHINE)
    found = needed_versions(path)
    assert found == said_by_readelf(path)
    assert as_numbers(found["GLIBC"]) >= (2, 17) and "GLIBCXX" in found


@needs_cc
@pytest.mark.skipif(MACHINE != "x86_64", reason="the versions are those of x86-64's C library")
def test_needs_of_a_known_program(tmp_path):
    # glibc 2.25 got getentropy (its manual, section "Unpredictable Bytes"), 2.2.5 is the first for x86-64.
    for name, body, wanted in (
        ("old", "int old(void) { return getpid(); }", "2.2.5"),
        ("new", "int new(char *room) { return getentropy(room, 8) + getpid(); }", "2.25"),
    ):
        source = tmp_path / f"{name}.c"
        source.write_text(f"int getpid(void);\nint getentropy(void *, unsigned long);\n{body}\n")
        shared = ["cc", "-shared", "-fPIC", "-fno-stack-protector", "-nostartfiles", "-Wl,-z,lazy"]
        subprocess.run([*shared, "-o", tmp_path / f"{name}.so", source], check=True)
        assert needed_versions(tmp_path / f"{name}.so") == {"GLIBC": wanted}
    # Of several the most counts, and as numbers: 2.25 is newer than 2.2.5.
    assert needed_versions(tmp_path / "new.so", tmp_path / "old.so") == {"GLIBC": "2.25"}
    assert needed_versions() == {}


def test_what_is_no_program_is_refused(tmp_path):
    text = tmp_path / "text.so"
    text.write_text("not a library")
    with pytest.raises(DeviceError, match=r"text\.so must be a program or a shared library\. Received: "):
        needed_versions(text)
    with pytest.raises(DeviceError, match=r"none\.so must be a program"):
        needed_versions(tmp_path / "none.so")


def test_no_library_for_a_microcontroller():
    with pytest.raises(DeviceError, match=r"one of aarch64, x86_64\. Received: armv7e-m; a microcontroller"):
        litert_library("armv7e-m")


def test_a_library_that_cannot_be_fetched_leaves_nothing(tmp_path, monkeypatch):
    other = "aarch64" if MACHINE == "x86_64" else "x86_64"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(DeviceError, match=rf"fetch ai-edge-litert {library.version()} for {other}, once\. Received: E"):
        litert_library(other)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_runner_for_boards_needs_an_old_c_library_only():
    pytest.importorskip("ziglang", reason="needs the package ziglang")
    found = needed_versions(build_runner("aarch64"))
    assert as_numbers(found["GLIBC"]) <= (2, 17) and set(found) == {"GLIBC"}


def test_without_a_compiler_the_ways_are_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    for architecture, ways in (
        (MACHINE, r"pip install ziglang, or a C compiler as `cc`"),
        ("riscv64", r"aarch64 or x86_64"),
    ):
        with pytest.raises(DeviceError, match=rf"no compiler for it is here\. Expected: {ways}.*Received: none"):
            build_runner(architecture)
    if MACHINE != "aarch64":
        with pytest.raises(DeviceError, match=r"ziglang, or Debian's and Ubuntu's package gcc-aarch64-linux-gnu"):
            compiler("aarch64")


@needs_cc
def test_a_runner_that_does_not_compile_is_told_and_not_kept(tmp_path, monkeypatch):
    native = shutil.copytree(NATIVE, tmp_path / "native")
    (native / "board.c").write_text("int main(void) { return unknown; }\n")
    monkeypatch.setattr(build, "NATIVE", native)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DeviceError, match=r"The runner cannot be compiled with .*cc\. Received: .*board\.c"):
        build_runner(MACHINE)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@needs_cc
def test_a_changed_source_is_compiled_anew(tmp_path, monkeypatch):
    native = shutil.copytree(NATIVE, tmp_path / "native")
    before = build_runner(MACHINE)
    monkeypatch.setattr(build, "NATIVE", native)
    assert build_runner(MACHINE) == before
    monkeypatch.setattr(build, "_compile", lambda command, path: path.write_text("compiled"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (native / "json.h").write_text((native / "json.h").read_text() + "\n/* changed */\n")
    after = build_runner(MACHINE)
    assert after.parent.name != before.parent.name and after.read_text() == "compiled"


def test_what_is_kept_is_made_once_and_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = cache_folder("things", "one")
    assert path == tmp_path / "tta_lite" / "things" / "one"
    calls = []

    def fails(target: Path) -> None:
        target.write_text("half")
        raise DeviceError("no more")

    def make(target: Path) -> None:
        calls.append(target)
        target.write_text("whole")

    with pytest.raises(DeviceError, match="no more"):
        kept(path, fails)
    assert list(path.parent.iterdir()) == []
    assert kept(path, make) == kept(path, make) == path
    assert path.read_text() == "whole" and len(calls) == 1 and calls[0] != path
    assert [one.name for one in path.parent.iterdir()] == ["one"]


def test_two_at_once_are_no_harm(tmp_path):
    both = threading.Barrier(2, timeout=60)

    def make(target: Path) -> None:
        both.wait()
        target.mkdir()
        (target / "file").write_text("whole")

    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(kept(tmp_path / "folder", make))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "folder"] * 2
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "file").read_text() == "whole"


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"XDG_CACHE_HOME names another\. Received: .*file"):
        kept(cache_folder("one"), lambda path: None)


def test_a_c_library_to_bring_along_is_whole_or_refused(tmp_path, monkeypatch):
    with pytest.raises(DeviceError, match=r"brought for aarch64, x86_64\. Received: riscv64"):
        libc_files("riscv64")
    monkeypatch.setitem(own_libc.FOLDERS, "aarch64", (str(tmp_path / "first"), str(tmp_path / "second")))  # type: ignore[index]
    names = [own_libc.LOADERS["aarch64"], *own_libc.FILES]
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    for place, name in enumerate(names):
        (tmp_path / ("first" if place % 2 else "second") / name).write_text(name)
    (tmp_path / "second" / names[1]).write_text("the other one")
    assert [path.read_text() for path in libc_files("aarch64")] == names
    (tmp_path / "second" / "libm.so.6").unlink()
    with pytest.raises(
        DeviceError, match=r"packages libc6-arm64-cross libstdc\+\+6-arm64-cross.*Received: no libm\.so"
    ):
        libc_files("aarch64")


def test_the_brought_files_close_over_their_needs():
    """Whatever LiteRT's library and the brought files need is among them, by name and by version."""
    elffile = pytest.importorskip("elftools.elf.elffile", reason="needs the package pyelftools")
    try:
        files = {path.name: path for path in libc_files(MACHINE)}
    except DeviceError as error:
        pytest.skip(str(error))
    for path in (litert_library(MACHINE), *files.values()):
        with path.open("rb") as file:
            dynamic = elffile.ELFFile(file).get_section_by_name(".dynamic")
            needed = {tag.needed for tag in dynamic.iter_tags() if tag.entry.d_tag == "DT_NEEDED"}
        assert needed <= set(files), path
    assert os.access(files[own_libc.LOADERS[MACHINE]], os.X_OK)
