"""Opens a flatbuffer from who knows where in a child process: a crash there is an error here. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.export.open_checks import check_identifier
from tta_lite.export.open_child import FAULT, FOUND, READING, STAGE
from tta_lite.export.runner import Edge
from tta_lite.types import InputError

CHILD = "tta_lite.export.open_child"
# Of the child, beyond what Python and the interpreter hold before the file is looked at.
MEMORY_BYTES = 4 << 30
TIMEOUT_S = 60.0
_MEMORY_WORDS = ("bad_alloc", "MemoryError", "failed to allocate", "out of memory")


@dataclasses.dataclass(frozen=True)
class Opened:
    """A file that can be read, loaded and run: it was, once, on zeros.

    Attributes:
      tflite: its bytes, those that were checked.
      inputs: in order.
      outputs: in order.
    """

    tflite: bytes
    inputs: tuple[Edge, ...]
    outputs: tuple[Edge, ...]


def open_safely(
    file: str | os.PathLike[str] | bytes, *, timeout_s: float = TIMEOUT_S, memory_bytes: int = MEMORY_BYTES
) -> Opened:
    """-> the file, after another process has read all of it and run it once on zeros; half a second.

    The interpreter trusts a file: one that is damaged, or made to do harm, can end the process that opens it, or never
    come back. That process is not this one.

    Args:
      file: a path, or the bytes.
      timeout_s: seconds that it may take.
      memory_bytes: that it may need.

    Raises:
      InputError: it is none, is damaged, ends the interpreter, takes too long or too much memory.
    """
    name, tflite = _read(file)
    try:
        check_identifier(tflite)
    except InputError as error:
        raise InputError(f"{name}{error}") from error
    records, code, said = _run(tflite, timeout_s, memory_bytes)
    last = records[-1] if records else {}
    if FOUND in last:
        return Opened(tflite, *(tuple(_edge(one) for one in last[FOUND][side]) for side in ("inputs", "outputs")))
    fault = _fault(records, code, said, timeout_s, f"{memory_bytes / 2**30:.3g} GiB")
    if "Received:" not in fault:
        fault = f"The .tflite file cannot be used: {fault}. Expected: one that runs. Received: {len(tflite)} bytes"
    raise InputError(f"{name}{fault}")


def _fault(records: list[dict[str, Any]], code: int | None, said: str, timeout_s: float, memory: str) -> str:
    """-> why the file cannot be used."""
    stage = next((record[STAGE] for record in reversed(records) if STAGE in record), READING)
    fault = next((record[FAULT] for record in records if FAULT in record), None)
    if any(word in f"{fault} {said}" for word in _MEMORY_WORDS):
        return f"it needs more than {memory} of memory when it {stage}"
    if fault is not None:
        # Where the system gives it no memory, the interpreter gives no reason.
        return (
            fault.rstrip(". ")
            or f"it is refused without a reason when it {stage}; {memory} of memory may be too little"
        )
    if code is None:
        return f"nothing came back within {timeout_s:g} s when it {stage}"
    if code >= 0:
        # The child could not start, or could not go on by itself: that is no fault of the file.
        raise RuntimeError(f"The process that opens files ended with {code}: {said.strip()[-400:]}")
    return f"the interpreter was ended by {_signal(-code)} when it {stage}"


def _read(file: str | os.PathLike[str] | bytes) -> tuple[str, bytes]:
    if isinstance(file, (bytes, bytearray, memoryview)):
        return "", bytes(file)
    try:
        return f"{os.fspath(file)}: ", Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"A .tflite file that can be read is expected ({error.strerror}). Received: {file}") from error


def _run(tflite: bytes, timeout_s: float, memory_bytes: int) -> tuple[list[dict[str, Any]], int | None, str]:
    """-> what the child printed, its exit code (None: it had to be ended) and its standard error."""
    # The child must find this package from whatever folder the caller is in, installed or not.
    root = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", CHILD, str(memory_bytes), str(int(timeout_s) + 1)]
    # One thread: the pools of others would take address space, which is what is limited.
    environment = {**os.environ, "PYTHONPATH": search_path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, input=tflite, env=environment, capture_output=True, timeout=timeout_s, check=False
        )
        code, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as expired:
        code, out, err = None, expired.stdout or b"", expired.stderr or b""
    return _records(out), (None if code == -signal.SIGXCPU else code), err.decode("utf-8", "replace")


def _records(out: bytes) -> list[dict[str, Any]]:
    records = []
    for line in out.decode("utf-8", "replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _edge(record: dict[str, Any]) -> Edge:
    return Edge(
        record["name"],
        record["index"],
        tuple(record["shape"]),
        np.dtype(record["dtype"]),
        record["scale"],
        record["zero_point"],
    )
