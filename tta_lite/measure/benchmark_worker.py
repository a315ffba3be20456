"""Time one ``.tflite`` file in this process, and print one JSON line.

Imports the standard library, NumPy and ``ai_edge_litert``, and nothing of this project: the file can be copied to a
board and run there by itself. TensorFlow is never imported (`modules_ok` says so); it would add some 570 MB to the
process and change what is measured. The flags are named as those of TFLite's ``benchmark_model``.

    python benchmark_worker.py --graph model.tflite --num_threads 1 --num_runs 50

What is measured:
  init_s: seconds to load the file, allocate the tensors and run once, from before the file is read to the end of the
    first run. Python's imports and the making of the random input are left out.
  latency_ms: figures over the runs after the warm-up: at least `num_runs` runs and at least `min_secs`.
  peak_memory_bytes: the largest resident set of the process since just before the file was read (VmHWM), minus its
    resident set at that moment (VmRSS): the file's pages, the packed weights and the tensors. The kernel keeps these
    two figures to some hundred kilobytes. On macOS the process's largest resident set stands for both, so that a small
    network can read 0. `null` elsewhere.
"""

from __future__ import annotations

import argparse
import array
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

FORBIDDEN_MODULES = ("tensorflow", "tf_keras", "keras", "torch")
SEED = 0
# TFLite's benchmark_model draws 32 and 64 bit integers from this range too: they are mostly indices.
INDEX_RANGE = 100
# Samples go to memory that was touched before the resident set is read, so that they are not counted as the model's.
SAMPLES = 1 << 16


def latency_figures(samples_ms: Iterable[float]) -> dict[str, Any]:
    """Milliseconds a run -> p50, p90, mean, min, max, std (of the population) and the number of runs.

    >>> latency_figures([1.0, 2.0, 3.0])["p50"]
    2.0
    """
    values = np.asarray(list(samples_ms), np.float64)
    p50, p90 = np.percentile(values, (50, 90))
    return {
        "p50": float(p50),
        "p90": float(p90),
        "mean": float(values.mean()),
        "min": float(values.min()),
        "max": float(values.max()),
        "std": float(values.std()),
        "runs": len(values),
    }


def random_input(shape: Sequence[int], dtype: Any, rng: np.random.Generator) -> np.ndarray:
    """-> random values of `shape`: floats in [-1, 1), 8 and 16 bit integers in their full range, others in 0..99.

    >>> random_input((1, 2), np.int8, np.random.default_rng(0)).dtype
    dtype('int8')
    """
    kind = np.dtype(dtype)
    if kind.kind == "f":
        values = rng.random(shape, np.float32)
        # In place: a copy here would count as the model's memory.
        values *= 2
        values -= 1
        return values.astype(kind, copy=False)
    if kind.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        low, high = (limits.min, limits.max) if kind.itemsize <= 2 else (0, INDEX_RANGE - 1)
        return rng.integers(low, high, shape, kind, endpoint=True)
    raise ValueError(f"Inputs must be numbers or booleans. Received: an input of type {kind}")


def _proc_status(key: str) -> int | None:
    """-> bytes of one line of ``/proc/self/status``, or None where there is none."""
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            for line in lines:
                if line.startswith(f"{key}:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def peak_bytes() -> int | None:
    """-> the largest resident set of this process so far; None where the system does not tell."""
    if sys.platform != "darwin":
        return _proc_status("VmHWM")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def resident_bytes() -> int | None:
    """-> the resident set now; the kernel's peak is set back to it where it can be, so that imports do not count."""
    if sys.platform == "darwin":
        return peak_bytes()
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as clear:
            clear.write("5")
    except OSError:
        pass
    return _proc_status("VmRSS")


def _seconds_since(start_ns: int) -> float:
    return (time.perf_counter_ns() - start_ns) / 1e9


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run the file as `args` says -> the JSON record."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN if args.use_xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    samples = array.array("q", bytes(8 * max(SAMPLES, args.num_runs)))
    rng = np.random.default_rng(SEED)
    resident = resident_bytes()

    start = time.perf_counter_ns()
    interpreter = Interpreter(
        model_path=args.graph, num_threads=args.num_threads, experimental_op_resolver_type=resolver
    )
    interpreter.allocate_tensors()
    init_s = _seconds_since(start)
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], random_input(detail["shape"], detail["dtype"], rng))
    start = time.perf_counter_ns()
    interpreter.invoke()
    init_s += _seconds_since(start)

    warm, start = 0, time.perf_counter_ns()
    while warm < args.warmup_runs or _seconds_since(start) < args.warmup_min_secs:
        interpreter.invoke()
        warm += 1

    runs, begin = 0, time.perf_counter_ns()
    while runs < args.num_runs or _seconds_since(begin) < args.min_secs:
        start = time.perf_counter_ns()
        interpreter.invoke()
        elapsed = time.perf_counter_ns() - start
        if runs < len(samples):
            samples[runs] = elapsed
        else:
            samples.append(elapsed)
        runs += 1
        if args.max_secs and _seconds_since(begin) >= args.max_secs:
            break
    peak = peak_bytes()

    samples_ms = [sample / 1e6 for sample in samples[:runs]]
    return {
        "init_s": init_s,
        "latency_ms": latency_figures(samples_ms),
        "peak_memory_bytes": None if peak is None or resident is None else max(0, peak - resident),
        "runtime": f"LiteRT {importlib.metadata.version('ai-edge-litert')}",
        "delegate": "XNNPACK" if _delegated(interpreter) else "none (builtin kernels)",
        "threads": args.num_threads,
        "warmup_runs": warm,
        "modules_ok": not any(name in sys.modules for name in FORBIDDEN_MODULES),
        "samples_ms": samples_ms,
    }


def _delegated(interpreter: Any) -> bool:
    """-> whether a delegate runs any node. It may take none, and then the builtin kernels were measured."""
    return any(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"must be true or false. Received: {text}")
    return text.lower() in ("true", "1")


def _count(low: int) -> Any:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(f"must be a whole number of {low} or more. Received: {text}")
        return int(text)

    return parse


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the flags.

    >>> parse_args(["--graph", "a.tflite", "--use_xnnpack=false"]).use_xnnpack
    False
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--graph", required=True, help="the .tflite file")
    parser.add_argument("--num_threads", type=_count(1), default=1, help="threads of the interpreter")
    parser.add_argument("--warmup_runs", type=_count(0), default=5, help="at least this many runs are thrown away")
    parser.add_argument("--warmup_min_secs", type=float, default=0.2, help="and at least this many seconds of them")
    parser.add_argument("--num_runs", type=_count(1), default=50, help="at least this many runs are timed")
    parser.add_argument("--min_secs", type=float, default=1.0, help="and at least this many seconds of them")
    parser.add_argument("--max_secs", type=float, default=0.0, help="stop after this many seconds; 0: no limit")
    parser.add_argument("--use_xnnpack", type=_boolean, default=True, help="false: TFLite's builtin kernels")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """-> 0 and one JSON line on stdout, or 1 and one line on stderr."""
    args = parse_args(argv)
    if not os.path.isfile(args.graph):
        print(f"error: there is no file {args.graph}", file=sys.stderr)
        return 1
    try:
        record = measure(args)
    except (ValueError, RuntimeError, ImportError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(json.dumps(record), flush=True)
    assert record["modules_ok"], "a heavy framework was imported into the benchmark"
    return 0


if __name__ == "__main__":
    sys.exit(main())
