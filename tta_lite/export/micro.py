"""What a file needs in TensorFlow Lite Micro, as measured by its own interpreter (PyPI package ``tflite-micro``)."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tta_lite.export.contents import read_contents
from tta_lite.export.golden import Golden
from tta_lite.export.micro_child import CANNOT_LOAD
from tta_lite.export.op_resolver import lacking_ops

WORKER = "tta_lite.export.micro_child"
NOT_INSTALLED = "the package tflite-micro is not installed: pip install 'tta_lite[micro]' where the artifact is made"
_BROKEN = "the package tflite-micro is installed and cannot be loaded"
# Its loops are the plain ones, many times slower than LiteRT's.
TIMEOUT_S = 120.0
MOST_ARENA_BYTES = 1 << 30
_TOO_SMALL = ("Failed to resize buffer", "Failed to allocate", "Arena size is too small", "missing:")
_TOTAL = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
_PART = re.compile(r"'([^']+)' used (\d+) bytes")


@dataclasses.dataclass(frozen=True)
class MicroResult:
    """What the interpreter said.

    Attributes:
      version: of the package; empty if it is not installed, or cannot be loaded.
      arena_bytes: the smallest arena in which the file runs on this machine; None: it did not run. Pointers of a
        32-bit microcontroller are half as long, so that it needs no more there.
      breakdown: bytes by what they are for: ``head`` (tensors and scratch buffers, which share places), ``tail`` (what
        stays), and the records in the tail.
      difference: the largest difference from the first golden output, in real numbers; None: not compared.
      reason: why something above is None; empty if nothing is.
    """

    version: str = ""
    arena_bytes: int | None = None
    breakdown: Mapping[str, int] = dataclasses.field(default_factory=dict)
    difference: float | None = None
    reason: str = ""


def measure_micro(tflite: bytes, golden: Golden, *, timeout_s: float = TIMEOUT_S) -> MicroResult:
    """-> the arena that the file needs in TensorFlow Lite Micro, or the reason why that is not known.

    Args:
      tflite: the flatbuffer.
      golden: its vectors; the first is run.
      timeout_s: seconds that a run may take.
    """
    if importlib.util.find_spec("tflite_micro") is None:
        return MicroResult(reason=NOT_INSTALLED)
    version = _version()
    contents = read_contents(tflite)
    if lacking := lacking_ops(op.name for op in contents.ops):
        return MicroResult(version, reason=f"TensorFlow Lite Micro has no kernel for {', '.join(lacking)}")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "model.tflite").write_bytes(tflite)
        np.save(place / "input.npy", golden.inputs[0])
        # Kernels ask for scratch buffers, which the plan does not know: TRANSPOSE_CONV for four times its output.
        arena = 2 * contents.memory().arena_bytes + (1 << 20)
        ending, said = _run(place, arena, timeout_s)
        if ending == _BROKEN:
            return MicroResult(reason=f"{_BROKEN}: {said.strip()[-400:]}")
        while ending and any(text in said for text in _TOO_SMALL) and arena < MOST_ARENA_BYTES:
            arena = min(4 * arena, MOST_ARENA_BYTES)
            ending, said = _run(place, arena, timeout_s)
        output = np.load(place / "output.npy") if (place / "output.npy").is_file() else None
    breakdown = _breakdown(said)
    total = breakdown.pop("total", None)
    if output is None:
        return MicroResult(version, total, breakdown, reason=ending or "it gave no output")
    difference = float(np.abs(golden.output.dequantise(output) - golden.output.dequantise(golden.outputs[0])).max())
    return MicroResult(version, total, breakdown, difference)


def _run(place: Path, arena_bytes: int, timeout_s: float) -> tuple[str, str]:
    """-> how it failed, empty if it did not; and all that it said."""
    # The child must find this package from whatever folder the caller is in, installed or not.
    root = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", WORKER, str(place), str(arena_bytes)]
    with open(place / "said.txt", "w+b") as said:
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "PYTHONPATH": search_path},
                stdout=subprocess.DEVNULL,
                stderr=said,
                timeout=timeout_s,
                check=False,
            )
            code, ending = done.returncode, ""
        except subprocess.TimeoutExpired:
            code, ending = 1, f"the run took more than {timeout_s:g} s in its plain loops and was not waited for"
        said.seek(0)
        text = said.read().decode("utf-8", "replace")
    if code == CANNOT_LOAD:
        return _BROKEN, text
    return (ending or _ending(code, text)) if code else "", text


def _version() -> str:
    try:
        return importlib.metadata.version("tflite-micro")
    except importlib.metadata.PackageNotFoundError:
        # Built from source and put on the path by hand.
        return "unknown"


def _ending(code: int, said: str) -> str:
    """-> why it failed, in the interpreter's words.

    >>> _ending(1, "kernels/conv.cc Hybrid models are not supported.\\nNode CONV_2D (number 4) failed\\nTFLM failed")
    'kernels/conv.cc Hybrid models are not supported. Node CONV_2D (number 4) failed TFLM failed'
    """
    lines = [line.strip() for line in said.splitlines() if line.strip() and "RecordingMicroAllocator" not in line]
    words = " ".join(lines[-3:])[-400:]
    if code < 0:
        return f"the interpreter was ended by {signal.Signals(-code).name}: {words}"
    return words or f"the interpreter ended with exit code {code}"


def _breakdown(said: str) -> dict[str, int]:
    """-> the parts of the arena; ``total`` is the sum of ``head`` and ``tail``.

    >>> _breakdown("Arena allocation total 96 bytes\\n'Persistent buffer data' used 32 bytes with alignment overhead")
    {'total': 96, 'persistent buffer data': 32}
    """
    parts = {name: int(size) for name, size in _TOTAL.findall(said)}
    return {**parts, **{name[0].lower() + name[1:]: int(size) for name, size in _PART.findall(said)}}
