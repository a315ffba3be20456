"""What does Arm NN say of a file, op by op? Its own parser and optimiser are asked, on a board or under emulation.

Each op becomes a file of its own (`tta_lite.measure.single_ops`) and is parsed, optimised for ``CpuAcc`` (Arm Compute
Library on the CPU), run and compared with LiteRT: a runtime that takes an op may still compute something else. The
whole file follows in another process. Imports no TensorFlow.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.export.runner import edges, load
from tta_lite.measure.device import armnn_driver
from tta_lite.measure.device.armnn_jobs import START_S, Job, last_words, run_jobs
from tta_lite.measure.device.transport import DeviceError, Transport
from tta_lite.measure.runtime_answers import (
    CRASHED,
    DIFFERS,
    FALLBACK,
    REFUSED,
    TAKEN,
    TOO_SLOW,
    Answer,
    OpAnswer,
    RuntimeAnswer,
    compare,
)
from tta_lite.measure.single_ops import single_ops
from tta_lite.types import InputError

# Codes of 8 bits. Arm Compute Library rounds otherwise than XNNPACK: by 1 code in an op, and by 4 in a dead channel,
# whose scale is a millionth of the others'. In a whole network these add up.
OP_STEPS, WHOLE_STEPS = 4, 25
# The version of the package -> the release that it is of.
RELEASES = {"22.0.0": "20.08"}


def ask_armnn(
    tflite: bytes,
    transport: Transport,
    python: Sequence[str] = ("python3",),
    *,
    op_limit_s: float = 120,
    whole_limit_s: float = 1800,
    progress: Callable[[str], None] = lambda said: None,
) -> RuntimeAnswer:
    """-> what the Arm NN of a board says of a file.

    Args:
      tflite: the flatbuffer; a fixed batch.
      transport: to the board, entered.
      python: the command there that has PyArmNN; see `armnn_setup.emulated_armnn`.
      op_limit_s: seconds that one op may take; under emulation, too.
      whole_limit_s: the same for the whole file.
      progress: is told what is being done.

    Raises:
      InputError: a file that LiteRT cannot run.
      DeviceError: the board has no PyArmNN or cannot be reached.
    """
    inputs, _ = edges(load(tflite))
    if any(size < 1 for edge in inputs for size in edge.shape):
        raise InputError(f"The runtime is asked about a file with fixed shapes. Received: {[e.shape for e in inputs]}")
    about = check_armnn(transport, python)
    ops = single_ops(tflite)
    progress(f"{len(ops)} different ops")
    answers = ask_each([one.tflite for one in ops], transport, python, limit_s=op_limit_s, steps=OP_STEPS)
    by_place = {
        place: OpAnswer(place, one.name, layer, answer)
        for one, answer in zip(ops, answers, strict=True)
        for place, layer in zip(one.places, one.layers, strict=True)
    }
    whole = None
    if all(answer.answer in (TAKEN, FALLBACK, DIFFERS) for answer in answers):
        progress("the whole file")
        [whole] = ask_each([tflite], transport, python, limit_s=whole_limit_s, steps=WHOLE_STEPS, real=True)
    return RuntimeAnswer(about, transport.title, tuple(by_place[place] for place in sorted(by_place)), whole)


def check_armnn(transport: Transport, python: Sequence[str] = ("python3",)) -> str:
    """-> the runtime's name and version, as it tells them itself.

    Raises:
      DeviceError: PyArmNN is not there, or it has no CpuAcc.
    """
    driver = transport.put(Path(armnn_driver.__file__), "armnn_driver.py")
    done = transport.run([*python, driver, "check"], timeout_s=START_S)
    if done.code:
        needed = "python3-pyarmnn and libarmnn-cpuacc-backend22 of Debian 11 or 12" if done.code != 127 else "python3"
        raise DeviceError(
            f"{transport.title}: Arm NN is asked by its Python package, PyArmNN, and NumPy. Expected there: {needed}. "
            f"Received: {last_words(done)}"
        )
    known = json.loads(done.stdout.strip().splitlines()[-1])
    if armnn_driver.ACCELERATED not in known["backends"]:
        raise DeviceError(
            f"{transport.title}: Arm NN {known['armnn']} must have its backend {armnn_driver.ACCELERATED} (package "
            f"libarmnn-cpuacc-backend22). Received: {', '.join(known['backends']) or 'no backend'}"
        )
    return f"Arm NN {RELEASES.get(known['armnn'], known['armnn'])}"


def ask_each(
    files: Sequence[bytes],
    transport: Transport,
    python: Sequence[str],
    *,
    limit_s: float,
    steps: int = OP_STEPS,
    real: bool = False,
) -> list[Answer]:
    """-> one answer a file, from as few processes as do: one ends with the file that crashes it.

    Args:
      files: flatbuffers.
      transport: to the board, entered, after `check_armnn`.
      python: the command there.
      limit_s: seconds that each may take.
      steps: codes by which 8-bit outputs may differ.
      real: whether 8-bit inputs are real numbers about 0, as images are; else all codes are as likely.

    Raises:
      DeviceError: the board cannot be reached, or its processes end before they have begun.
    """
    jobs = [Job(file, real) for file in files]
    with tempfile.TemporaryDirectory(prefix="tta_lite_armnn_") as folder:
        records, outputs = run_jobs(jobs, transport, python, limit_s, Path(folder))
    return [_judge(job, records[place], outputs, steps) for place, job in enumerate(jobs)]


def _judge(job: Job, record: Mapping[str, Any], outputs: bytes, steps: int) -> Answer:
    words = _in_short(record["words"])
    if record["came"] in (TOO_SLOW, CRASHED):
        return Answer(record["came"], words)
    if record["came"] != "ran":
        return Answer(REFUSED, words)
    found = [
        np.frombuffer(outputs, one["dtype"], int(np.prod(one["shape"])), one["offset"]).reshape(one["shape"])
        for one in record["outputs"]
    ]
    answer = TAKEN if record["backend"] == armnn_driver.ACCELERATED else FALLBACK
    if job.expected is None:
        return Answer(answer, words)
    difference, unit, wrong = compare(job.expected, found, steps)
    return Answer(DIFFERS if wrong else answer, " ".join(filter(None, (wrong, words))), difference, unit)


def _in_short(words: Sequence[str]) -> str:
    """-> what a reader needs of the runtime's words.

    >>> _in_short(["Failed to parse operator #0 within subgraph #0 error: Operator not supported. at function F [a:1]"])
    'Operator not supported.'
    """
    said = []
    for text in words:
        # It writes a byte where it means a number.
        one = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
        one = re.sub(r"^Failed to parse operator #\d+ within subgraph #\d+ error: ", "", one)
        one = re.sub(r"\s*at function \S+ \[\S+\]$", "", one)
        one = re.sub(r"^WARNING: ", "", one)
        one = re.sub(r", falling back to the next backend\.(ERROR: .*)?$", ".", one)
        if one not in said:
            said.append(one)
    return " ".join(said)
