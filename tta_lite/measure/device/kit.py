"""A folder to copy to a board by hand: the runner, LiteRT, the network, golden vectors and one script.

    run.sh          runs everything and writes results.json; POSIX sh
    README.txt      what to type, on one page
    tta_runner      the C program
    lib/            LiteRT's library and, for a board whose C library is too old, a C library of its own
    model.tflite    the network of the artifact
    golden/         inputs, and the outputs that are expected
    kit.json        which network, which board, which versions
    SHA256SUMS      of all of these

Nothing needs to be installed on the board. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shlex
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np

import tta_lite
from tta_lite.boards.profile import BoardProfile
from tta_lite.export.golden import FLOAT_TOLERANCE, INDEX
from tta_lite.export.manifest import SUMS, file_checks, file_sums, read_manifest
from tta_lite.files import TEMPORARY_PREFIX, to_json_text
from tta_lite.measure.device import library
from tta_lite.measure.device.build import NATIVE, build_runner
from tta_lite.measure.device.library import NAME, as_numbers, litert_library, needed_versions
from tta_lite.measure.device.own_libc import LOADERS, libc_files
from tta_lite.measure.device.runner import RUNNER
from tta_lite.types import InputError

KIT, SCRIPT, README = "kit.json", "run.sh", "README.txt"
FORMAT = 1
# The boards' own architectures that LiteRT's library exists for.
DEFAULT_ARCHITECTURE = "aarch64"


@dataclasses.dataclass(frozen=True)
class Fit:
    """Whether LiteRT's library runs with a board's C library.

    Attributes:
      needs: the glibc that the runner and the library need.
      has: the board's, by its profile; empty: its version is not known, or it is another one.
      own_libc: whether one is brought along.
      system: what the board runs, by its profile.
    """

    needs: str
    has: str
    own_libc: bool
    system: str

    def __str__(self) -> str:
        board = f"{self.system} has {f'glibc {self.has}' if self.has else 'no glibc that is known'}"
        if not self.system:
            board = "the profile does not say what the board has"
        how = "the kit brings a glibc of its own" if self.own_libc else "the board's own C library serves"
        return f"LiteRT {library.version()} needs glibc {self.needs}; {board}: {how}"


def fit(board: BoardProfile, *, own_libc: bool | None = None) -> Fit:
    """-> what C library the kit will use there; fetches LiteRT's library the first time.

    Args:
      board: the target.
      own_libc: whether to bring one along; None: if the board's is too old.

    Raises:
      DeviceError: there is no runner or no library for that board.
    """
    architecture = board.architecture or DEFAULT_ARCHITECTURE
    # The library first: a microcontroller has none, and its error says what runs there instead.
    shared = litert_library(architecture)
    needs = needed_versions(build_runner(architecture), shared)["GLIBC"]
    system = board.systems[0] if board.systems else None
    has = system.libc_version if system and system.libc == "glibc" else ""
    serves = system is None or (bool(has) and as_numbers(has) >= as_numbers(needs))
    return Fit(needs, has, not serves if own_libc is None else own_libc, system.name if system else "")


def write_kit(artifact: str | Path, board: BoardProfile, out: str | Path, *, own_libc: bool | None = None) -> Fit:
    """Writes the folder, whole or not at all -> which C library it uses.

    Args:
      artifact: what `tta_lite.export.bundle.write_bundle` wrote; its sums are checked.
      board: the target.
      out: the folder to write; one of an earlier kit is replaced.
      own_libc: whether to bring a C library along; None: if the board's is too old.

    Raises:
      InputError: the artifact is not right, or `out` holds something else.
      DeviceError: there is no compiler, no library, or no C library to bring along.
    """
    source, target = Path(artifact), Path(out)
    manifest = read_manifest(source)
    wrong = [check for check in file_checks(source, manifest) if not check.passed]
    if wrong:
        raise InputError(f"The artifact must be as it was written. Received: {source}, {wrong[0]}")
    if target.exists() and not (target / KIT).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"The kit's folder must be new, empty, or an earlier kit (with a {KIT}). Received: {target}")
    found = fit(board, own_libc=own_libc)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:8]}-{target.name}")
    try:
        _fill(temporary, source, manifest, board, found)
        if target.exists():
            shutil.rmtree(target)
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"The kit cannot be written: {error.strerror}. Received: {target}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return found


def _fill(folder: Path, source: Path, manifest: dict[str, Any], board: BoardProfile, found: Fit) -> None:
    architecture = board.architecture or DEFAULT_ARCHITECTURE
    (folder / "lib").mkdir(parents=True)
    (folder / "golden").mkdir()
    _copy(build_runner(architecture), folder / RUNNER, 0o755)
    _copy(litert_library(architecture), folder / "lib" / NAME)
    if found.own_libc:
        for file in libc_files(architecture):
            _copy(file, folder / "lib" / file.name, 0o755)
    _copy(source / "model.tflite", folder / "model.tflite")
    golden = json.loads((source / INDEX).read_text(encoding="utf-8"))
    flags = _tolerance(source, golden)
    for vector in golden["vectors"]:
        for side in ("input", "output"):
            _copy(source / vector[side], folder / vector[side])
        flags.append(f"--golden={vector['input']}:{vector['output']}")
    record = {
        "format": FORMAT,
        "board": board.name,
        "board_title": board.title,
        "name": manifest["name"],
        "row": (manifest["report"] or {}).get("row", ""),
        "model_sha256": manifest["model"]["sha256"],
        "runtime": f"LiteRT {library.version()}",
        "own_libc": found.own_libc,
        "made_by": f"tta_lite {tta_lite.__version__}",
    }
    (folder / KIT).write_text(to_json_text(record, indent=1) + "\n", encoding="utf-8")
    (folder / SCRIPT).write_text(_script(board, architecture, found, flags), encoding="ascii")
    (folder / SCRIPT).chmod(0o755)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    (folder / README).write_text(_readme(board, manifest, found, size), encoding="utf-8")
    sums = [f"{digest}  {name}" for name, (digest, _) in file_sums(folder).items()]
    (folder / SUMS).write_text("\n".join(sums) + "\n", encoding="ascii")


def _script(board: BoardProfile, architecture: str, found: Fit, flags: list[str]) -> str:
    loader = f"./lib/{LOADERS[architecture]} --library-path ./lib " if found.own_libc else ""
    text = (NATIVE / SCRIPT).read_text(encoding="ascii")
    kinds = "big little" if len(board.cores) > 1 else "all"
    return (
        text.replace("@CORES@", kinds)
        .replace("@RUNNER@", f"{loader}./{RUNNER}")
        .replace("@GOLDEN@", " ".join(map(shlex.quote, flags)))
    )


def _tolerance(source: Path, golden: dict[str, Any]) -> list[str]:
    """-> how far outputs may lie from the golden ones, as the artifact says it, in the runner's terms."""
    quantisation = golden["output"]["quantisation"]
    if quantisation:
        return [f"--steps={math.floor(golden['tolerance'] / quantisation['scale'] + 1e-3)}"]
    dtype = np.dtype(golden["output"]["dtype"]).newbyteorder("<")
    largest = max(float(np.abs(np.fromfile(source / one["output"], dtype)).max()) for one in golden["vectors"])
    return [f"--tolerance={max(golden['tolerance'] / largest, FLOAT_TOLERANCE) if largest else FLOAT_TOLERANCE:.3g}"]


def _readme(board: BoardProfile, manifest: dict[str, Any], found: Fit, size: int) -> str:
    title = f"{manifest['name']} on {board.title}"
    edges = " -> ".join(f"{manifest[side]['dtype']} {manifest[side]['shape']}" for side in ("input", "output"))
    kinds = (
        'It measures the big and the little cores apart (CORES="big little"; CORES=all lets the system choose).'
        if len(board.cores) > 1
        else "It measures on all cores (CORES=all)."
    )
    return f"""{title}
{"=" * len(title)}

How fast does this network run on this board, and does it compute what it should? This folder answers both. It needs
Linux, a shell and nothing else: no Python, no network, no root.

Before you copy
  {found}.
  The folder takes some {math.ceil(size / 1e6)} MB.

On this machine
  scp -r <this folder> user@board:kit        (or adb push, or a memory card)

On the board
  cd kit && sha256sum -c SHA256SUMS && ./run.sh

  Two to five minutes. {kinds}
  Each kind is measured ROUNDS=3 times in turn with 1 thread, after a pause of COOL_DOWN=5 seconds.
  Flags are handed on: ./run.sh --threads=2   Settings stand in front: ROUNDS=5 CORES=big ./run.sh
  Where the system does not say which cores are fast, name them: CORES=all ./run.sh --cpus=4,5
  EMULATOR="qemu-aarch64 -L root" CORES=all ./run.sh tries it on another machine; its times say nothing then.
  For steady figures set the governor first, if you may:
    for f in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo performance > $f; done

What comes out
  results.json: latency of every run, initialisation, peak memory, the time of each op, clocks and temperatures before
  and after, and whether the outputs are the expected ones. Exit code 0: they are; 3: they are not; 1: it did not run,
  and the last lines say why (runner.log has the rest).

Back on the other machine
  scp user@board:kit/results.json .
  tta-lite import-results results.json --run=<the run folder>     shows it, and puts it into report.html

The network
  {edges}; {manifest["model"]["file"]}, SHA-256 {manifest["model"]["sha256"]}
"""


def _copy(source: Path, target: Path, mode: int = 0o644) -> None:
    shutil.copyfile(source, target)
    target.chmod(mode)
