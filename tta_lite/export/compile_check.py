"""Do the sources of an artifact compile, and does its self-test tell right outputs from wrong ones?"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.export.check import Check
from tta_lite.export.golden import little_endian
from tta_lite.export.manifest import network_bytes
from tta_lite.export.selftest import SOURCE, golden_count_in

FLAGS = ("-std=c++17", "-Wall", "-Wextra", "-Werror")
HOST = ("c++", "g++", "clang++")
CROSS = ("aarch64-linux-gnu-g++", "arm-none-eabi-g++")
TIMEOUT_S = 300
# GCC takes 150 bytes of memory and some microseconds for each byte of an array.
ARRAY_LIMIT = 4 << 20

# Plays back what LiteRT computed on this machine, in the order of the golden vectors, after a look at the input.
_PLAYBACK = """\
#include <cstdio>
#include <cstring>
#include "model_io.h"
#include "selftest_hook.h"
@INCLUDE@

static unsigned char wanted[MODEL_INPUT_BYTES];

extern "C" int run_model(const void* input, void* output) {
  static std::FILE* file = std::fopen("played_back.bin", "rb");
  if (!file || std::fread(wanted, 1, sizeof(wanted), file) != sizeof(wanted)) return 1;
  if (std::memcmp(input, wanted, sizeof(wanted)) != 0) return 2;
  if (std::fread(output, 1, MODEL_OUTPUT_BYTES, file) != MODEL_OUTPUT_BYTES) return 3;
  @ARRAY@
  return 0;
}
"""
_SAME_ARRAY = """\
static std::FILE* model = std::fopen("network.tflite", "rb");
  static unsigned at = 0;
  for (int byte; model && (byte = std::fgetc(model)) != EOF; ++at) {
    if (at >= @SYMBOL@_len || byte != @SYMBOL@[at]) return 4;
  }
  if (at != @SYMBOL@_len) return 5;"""


def compile_checks(
    place: Path, manifest: Mapping[str, Any], computed: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Iterator[Check]:
    """Compiles the sources with each compiler that is here, links and runs the self-test with the host's.

    Args:
      place: the artifact folder; it stays as it is.
      manifest: its manifest.
      computed: golden inputs, and what LiteRT gave for them on this machine, as the file stores them.
    """
    sources = _sources(place)
    compilers = [os.environ["CXX"]] if os.environ.get("CXX") else HOST
    host = next((path for name in compilers if (path := shutil.which(name))), None)
    if not sources:
        yield Check("compile", None, f"the artifact has no {SOURCE}: {manifest['left_out'].get(SOURCE, 'not written')}")
        return
    if left := sorted({path.name for path in place.glob("*.cc")} - {source.name for source in sources}):
        yield Check("compile", None, f"{', '.join(left)}: too long for a compiler's memory")
    if host is None:
        yield Check("compile", None, f"no C++ compiler here ({', '.join(compilers)})")
        yield Check("self-test", None, "no C++ compiler here")
    else:
        yield from _on_host(host, place, manifest, sources, computed)
    for name in CROSS:
        if path := shutil.which(name):
            with tempfile.TemporaryDirectory() as build:
                said = _compile(path, sources, Path(build))
            yield _compiled(name, sources, said)


def _on_host(
    compiler: str,
    place: Path,
    manifest: Mapping[str, Any],
    sources: Sequence[Path],
    computed: Sequence[tuple[np.ndarray, np.ndarray]],
) -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder)
        said = _compile(compiler, sources, build)
        yield _compiled(Path(compiler).name, sources, said)
        if said:
            return
        array = manifest["c_array"] if any(source.name == "model_data.cc" for source in sources) else None
        (build / "playback.cc").write_text(_playback(array), encoding="ascii")
        objects = [str(build / f"{source.stem}.o") for source in sources]
        link = [compiler, *FLAGS, f"-I{place.resolve()}", "playback.cc", *objects, "-o", "selftest"]
        if said := _run(link, build):
            yield Check("self-test", False, f"it does not link: {said}")
            return
        (build / "network.tflite").write_bytes(network_bytes(place, manifest))
        held = golden_count_in(place)
        _play_back(build, computed[:held])
        if said := _run([str(build / "selftest")], build):
            yield Check("self-test", False, f"{SOURCE} refuses what LiteRT computes here: {said}")
            return
        yield Check("self-test", True, f"{SOURCE} accepts what LiteRT computes here for {held} vectors")
        wrong = [(stored, _spoilt(output)) for stored, output in computed[:held]]
        _play_back(build, wrong)
        noticed = "beyond it" in _run([str(build / "selftest")], build)
        yield Check("self-test", noticed, f"{SOURCE} {'refuses' if noticed else 'accepts'} a wrong output")


def _sources(place: Path) -> list[Path]:
    """-> the C++ sources, those with an array that is too long for a compiler left out; none without a self-test."""
    if not (place / SOURCE).is_file():
        return []
    return [p for p in sorted(place.glob("*.cc")) if p.stat().st_size < 6 * ARRAY_LIMIT]


def _playback(array: Mapping[str, Any] | None) -> str:
    text = _PLAYBACK.replace("@INCLUDE@", f'#include "{array["header"]}"' if array else "")
    return text.replace("@ARRAY@", _SAME_ARRAY.replace("@SYMBOL@", array["symbol"]) if array else "")


def _play_back(build: Path, computed: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    content = b"".join(little_endian(stored) + little_endian(output) for stored, output in computed)
    (build / "played_back.bin").write_bytes(content)


def _spoilt(output: np.ndarray) -> np.ndarray:
    """-> the same with one element far off."""
    spoilt = output.copy()
    flat = spoilt.reshape(-1)
    if np.issubdtype(flat.dtype, np.integer):
        limits = np.iinfo(flat.dtype)
        flat[-1] = limits.min if flat[-1] > (limits.min + limits.max) // 2 else limits.max
    else:
        flat[-1] = np.nan
    return spoilt


def _compile(compiler: str, sources: Sequence[Path], build: Path) -> str:
    """-> what the compiler said of the first source that it refuses; empty if it takes all."""
    for source in sources:
        command = [compiler, *FLAGS, "-c", str(source.resolve()), "-o", str(build / f"{source.stem}.o")]
        if said := _run(command, build):
            return f"{source.name}: {said}"
    return ""


def _compiled(name: str, sources: Sequence[Path], said: str) -> Check:
    names = ", ".join(source.name for source in sources)
    return Check("compile", not said, f"{name} {' '.join(FLAGS)}: {said or names}")


def _run(command: Sequence[str], folder: Path) -> str:
    """-> one line of what went wrong; empty if the exit code is 0."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if not done.returncode:
        return ""
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    telling = next((line for line in lines if "error" in line or line.startswith("FAIL")), lines[0] if lines else "")
    return telling[:300] or f"exit code {done.returncode}"
