"""Files for the Arm NN of a board to run, in as few processes as do. Imports no TensorFlow."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.export.runner import Edge, edges, load
from tta_lite.measure.device import armnn_driver
from tta_lite.measure.device.transport import DeviceError, Finished, Transport
from tta_lite.measure.runtime_answers import CRASHED, TOO_SLOW

# What a process may take beside its jobs: PyArmNN is loaded in 5 s under emulation.
START_S = 120.0
# How a process ends that `signal.alarm` ended.
ALARMED = 128 + 14


class Job:
    """A file, the inputs it is given, and what LiteRT makes of them."""

    def __init__(self, tflite: bytes, real: bool) -> None:
        self.tflite = tflite
        interpreter = load(tflite)
        inputs, self.outputs = edges(interpreter)
        names = {one["index"]: one["name"] for one in interpreter.get_input_details()}
        self.inputs = [
            {**_drawn(edge, real), "name": names[edge.index], "seed": place} for place, edge in enumerate(inputs)
        ]
        self.expected: list[np.ndarray] | None = None
        try:
            for edge, one in zip(inputs, self.inputs, strict=True):
                interpreter.set_tensor(edge.index, armnn_driver.values(np, one))
            interpreter.invoke()
        except (ValueError, RuntimeError):
            # Inputs by chance that the op cannot take, such as an axis: then it is not compared.
            return
        self.expected = [interpreter.get_tensor(edge.index) for edge in self.outputs]


def _drawn(edge: Edge, real: bool) -> dict[str, Any]:
    coded = {"scale": edge.scale, "zero_point": edge.zero_point} if real and edge.scale else {}
    return {"shape": list(edge.shape), "dtype": str(edge.dtype), **coded}


def run_jobs(
    jobs: Sequence[Job], transport: Transport, python: Sequence[str], limit_s: float, folder: Path
) -> tuple[dict[int, dict[str, Any]], bytes]:
    """-> place of a job -> its record, and the bytes of all outputs."""
    with zipfile.ZipFile(folder / "jobs.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for place, job in enumerate(jobs):
            file.writestr(f"{place}.tflite", job.tflite)
        listed = [
            {"file": f"{place}.tflite", "inputs": job.inputs, "limit_s": limit_s} for place, job in enumerate(jobs)
        ]
        file.writestr("jobs.json", json.dumps(listed))
    there = f"{transport.folder}/"
    transport.put(folder / "jobs.zip", "jobs.zip")
    # What an earlier call left.
    for name in ("log", "outputs"):
        (folder / name).write_bytes(b"")
        transport.put(folder / name, name)
    records: dict[int, dict[str, Any]] = {}
    while len(records) < len(jobs):
        first = len(records)
        words = [*python, f"{there}armnn_driver.py", "run", *(there + name for name in ("jobs.zip", "log", "outputs"))]
        # Each job has its own limit there; this one is for a board that hangs.
        done = transport.run([*words, str(first)], timeout_s=limit_s * (len(jobs) - first) + START_S)
        transport.get("log", folder / "log")
        if done.code == armnn_driver.NO_FILE:
            raise DeviceError(
                f"{transport.title}: the board cannot keep what Arm NN gave. Received: {last_words(done)}"
            )
        lines = _lines((folder / "log").read_text(encoding="utf-8"))
        records.update({line["job"]: line for line in lines if line["state"] == "ended"})
        if len(records) < len(jobs):
            begun = {line["job"] for line in lines}
            if len(records) not in begun:
                raise DeviceError(
                    f"{transport.title}: Arm NN's process must not end before it has been asked. "
                    f"Received: {last_words(done)}"
                )
            records[len(records)] = _ended(done, limit_s)
    transport.get("outputs", folder / "outputs")
    return records, (folder / "outputs").read_bytes()


def _lines(text: str) -> list[dict[str, Any]]:
    """-> the records of a log, but for what a process that was ended left half written.

    >>> _lines('{"job": 0}\\n{"jo')
    [{'job': 0}]
    """
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def _ended(done: Finished, limit_s: float) -> dict[str, Any]:
    """-> the record of a job that ended its process."""
    if done.code == ALARMED:
        return {"came": TOO_SLOW, "words": [f"it took more than {limit_s:g} s"]}
    return {"came": CRASHED, "words": [last_words(done)]}


def last_words(done: Finished) -> str:
    """-> how a process ended, in its own last words."""
    lines = [line.strip() for line in (*done.stdout.splitlines(), *done.stderr.splitlines()) if line.strip()]
    return f"exit code {done.code}: {' '.join(lines[-3:])[-400:]}"
