"""Reads and runs an untrusted flatbuffer: the process that `tta_lite.export.open_safely` starts.

The file comes on standard input. On standard output goes one JSON line a stage, before it begins, so that whoever reads
them knows where the process ended if it was ended; the last one holds what was found. Imports no TensorFlow.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from typing import Any

# Said on the way: what was going on when the process ended.
READING, LOADING, ALLOCATING, RUNNING, DONE = "is read", "is loaded", "gets its tensors", "runs", "done"
# Under these keys.
STAGE, FAULT, FOUND = "stage", "fault", "found"


def main(memory_bytes: int, seconds: int) -> None:
    """Prints the stages and what was found, or the fault."""
    import numpy as np

    from tta_lite.export.open_checks import check_bytes
    from tta_lite.export.runner import Interpreter, edges
    from tta_lite.types import InputError

    tflite = sys.stdin.buffer.read()
    _limit(memory_bytes, seconds)
    try:
        _say({STAGE: READING})
        check_bytes(tflite)
        _say({STAGE: LOADING})
        interpreter = Interpreter(model_content=tflite)
        _say({STAGE: ALLOCATING})
        interpreter.allocate_tensors()
        inputs, outputs = edges(interpreter)
        _say({STAGE: RUNNING})
        for one in interpreter.get_input_details():
            interpreter.set_tensor(one["index"], np.zeros(one["shape"], one["dtype"]))
        interpreter.invoke()
        for one in interpreter.get_output_details():
            interpreter.get_tensor(one["index"])
        _say(
            {STAGE: DONE, FOUND: {"inputs": [_edge(one) for one in inputs], "outputs": [_edge(one) for one in outputs]}}
        )
    except (InputError, ValueError, RuntimeError) as error:
        _say({FAULT: " ".join(str(error).split())[:400]})
    except MemoryError:
        _say({FAULT: "MemoryError"})


def _edge(edge: Any) -> dict[str, Any]:
    return {"name": edge.name, "index": edge.index, "shape": list(edge.shape), "dtype": edge.dtype.name,
            "scale": edge.scale, "zero_point": edge.zero_point}  # fmt: skip


def _say(record: dict[str, Any]) -> None:
    print(json.dumps(record), flush=True)


def _limit(memory_bytes: int, seconds: int) -> None:
    # A crash shall not fill the disk either.
    limits = [(resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)]
    # Elsewhere than on Linux it is not known what the process holds already.
    with contextlib.suppress(OSError), open("/proc/self/statm", encoding="ascii") as pages:
        held = int(pages.read().split()[0]) * resource.getpagesize()
        limits.append((resource.RLIMIT_AS, held + memory_bytes))
    for kind, most in limits:
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
