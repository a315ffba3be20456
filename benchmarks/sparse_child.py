"""Times one file in LiteRT with XNNPACK told that the processor lacks features; for bench_sparse.py.

    python benchmarks/sparse_child.py MODEL KEEP SECONDS

KEEP is a mask of the features that XNNPACK's record of the processor keeps; -1 keeps all. XNNPACK asks the processor
once and reads its record from then on; it is changed here, in this process alone, before anything reads it. Without
the bit of AVX (16) XNNPACK takes its sparse path, which on x86 computes with SSE; without the bits above too, the
dense kernels compute with SSE as well. For LiteRT 2.3.0 on Linux, whose library still has its symbols. Prints one
JSON line: ``p10_ms``, of processor time of its one thread, and the ``output`` for a fixed input.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from pathlib import Path

import ai_edge_litert
import numpy as np
from ai_edge_litert.interpreter import Interpreter

LIBRARY = Path(ai_edge_litert.__file__).parent / "libpywrap_litert_common.so"
# XNNPACK's record: what it can use, and then one bit a feature (src/xnnpack/hardware-config.h); AVX as in
# `xnn_subgraph_optimize` of this library, which tests it before it looks for zeros.
ARCH_FLAGS, AVX = 8, 0x10


def keep_features(mask: int) -> None:
    """Takes the features that are not in `mask` out of XNNPACK's record."""
    symbols = subprocess.run(["nm", str(LIBRARY)], capture_output=True, text=True, check=True).stdout.splitlines()
    place = next(int(line.split()[0], 16) for line in symbols if line.endswith(" xnn_init_hardware_config"))
    maps = Path("/proc/self/maps").read_text(encoding="ascii").splitlines()
    base = min(int(line.split("-")[0], 16) for line in maps if line.endswith(LIBRARY.name))
    record = ctypes.CFUNCTYPE(ctypes.c_void_p)(base + place)()
    assert record is not None
    flags = ctypes.c_uint64.from_address(record + ARCH_FLAGS)
    flags.value &= mask & (2**64 - 1)


def main() -> None:
    """Changes the record, runs, prints."""
    model, keep, seconds = sys.argv[1], int(sys.argv[2], 0), float(sys.argv[3])
    if keep != -1:
        keep_features(keep)
    interpreter = Interpreter(model, num_threads=1)
    interpreter.allocate_tensors()
    edge = interpreter.get_input_details()[0]
    picture = np.random.default_rng(0).uniform(-1, 1, edge["shape"]).astype(np.float32)
    interpreter.set_tensor(edge["index"], picture)
    samples: list[float] = []
    until = time.perf_counter() + 1.25 * seconds
    while time.perf_counter() < until or len(samples) < 10:
        start = time.thread_time()
        interpreter.invoke()
        samples.append(time.thread_time() - start)
    output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).astype(np.float64)
    # The first fifth warms up.
    kept = samples[len(samples) // 5 :]
    print(json.dumps({"p10_ms": 1e3 * float(np.percentile(kept, 10)), "output": output.reshape(-1).tolist()}))


if __name__ == "__main__":
    main()
