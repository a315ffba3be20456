"""Asks Arm NN by PyArmNN; this file alone is copied to the board and runs there, under Python 3.6 or newer with NumPy.

    python3 armnn_driver.py check
    python3 armnn_driver.py run JOBS.zip LOG OUTPUTS FIRST

`JOBS.zip` holds ``jobs.json``, a list of {"file": a .tflite file in the zip, "inputs": [...], "limit_s": seconds}. Of
the job `FIRST` and each one after it a line of JSON says that it began, and another what came of it; so a job that ends
the process is known by the line that is missing. Outputs are appended to `OUTPUTS`, at the place that the line names.

One process has one runtime object: a second one aborts in Arm NN 20.08.
"""

import contextlib
import io
import json
import os
import signal
import sys
import tempfile
import time
import zipfile
from typing import Any

# Arm Compute Library's kernels, and plain loops that define what each op means.
ACCELERATED, REFERENCE = "CpuAcc", "CpuRef"
# Exit codes: PyArmNN is not there; the board's disk is full or the like.
NO_PYARMNN, NO_FILE = 3, 4


def main(words: Any) -> int:
    """-> the exit code."""
    try:
        # It tells at length which parsers it does not have.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            import numpy
            import pyarmnn
    except ImportError as error:
        print(error, file=sys.stderr)
        return NO_PYARMNN
    runtime = pyarmnn.IRuntime(pyarmnn.CreationOptions())
    if words[0] == "check":
        backends = sorted(str(one) for one in runtime.GetDeviceSpec().GetSupportedBackends())
        known = {"armnn": pyarmnn.ARMNN_VERSION, "python": sys.version.split()[0], "numpy": numpy.__version__}
        print(json.dumps(dict(known, backends=backends)))
        return 0
    try:
        _run_all(pyarmnn, numpy, runtime, *words[1:])
    except OSError as error:
        print(error, file=sys.stderr)
        return NO_FILE
    return 0


def _run_all(ann: Any, np: Any, runtime: Any, jobs_path: str, log_path: str, outputs_path: str, first: str) -> None:
    with zipfile.ZipFile(jobs_path) as jobs, open(log_path, "a") as log:
        for place, job in list(enumerate(json.loads(jobs.read("jobs.json").decode())))[int(first) :]:
            _write(log, {"job": place, "state": "begun"})
            # Its default action ends the process, also in the middle of Arm NN's own code.
            signal.alarm(max(1, int(job["limit_s"])))
            answer = _ask(ann, np, runtime, jobs.read(job["file"]), job["inputs"], outputs_path)
            signal.alarm(0)
            _write(log, dict(answer, job=place, state="ended"))


def _ask(ann: Any, np: Any, runtime: Any, tflite: Any, inputs: Any, outputs_path: str) -> Any:
    """-> what became of one file: how far it came, on which backend, in the runtime's own words."""
    answer: Any = {"came": "", "backend": "", "words": []}
    with tempfile.NamedTemporaryFile(suffix=".tflite", dir=os.getcwd()) as file:
        file.write(tflite)
        file.flush()
        for backends in ([ACCELERATED], [ACCELERATED, REFERENCE]):
            # Read anew: the optimiser may have changed what it gave up on.
            parser = ann.ITfLiteParser()
            try:
                network = parser.CreateNetworkFromBinaryFile(file.name)
            except Exception as error:
                answer["words"].append(str(error))
                return answer
            answer["came"] = "parsed"
            try:
                optimised, said = ann.Optimize(
                    network,
                    [ann.BackendId(name) for name in backends],
                    runtime.GetDeviceSpec(),
                    ann.OptimizerOptions(),
                )
            except Exception as error:
                answer["words"].append(str(error))
                continue
            answer.update(came="optimised", backend=backends[-1])
            answer["words"] += [str(one) for one in said if str(one) not in answer["words"]]
            break
        else:
            return answer
    try:
        answer.update(_run(ann, np, runtime, parser, optimised, inputs, outputs_path))
    except OSError:
        raise
    except Exception as error:
        answer["words"].append(str(error))
    return answer


def _run(ann: Any, np: Any, runtime: Any, parser: Any, optimised: Any, inputs: Any, outputs_path: str) -> Any:
    started = time.time()
    number, _ = runtime.LoadNetwork(optimised)
    loaded = time.time()
    try:
        bindings = [parser.GetNetworkInputBindingInfo(0, one["name"]) for one in inputs]
        given = ann.make_input_tensors(bindings, [values(np, one) for one in inputs])
        names = parser.GetSubgraphOutputTensorNames(0)
        results = ann.make_output_tensors([parser.GetNetworkOutputBindingInfo(0, name) for name in names])
        runtime.EnqueueWorkload(number, given, results)
        ran = time.time()
        found = []
        with open(outputs_path, "ab") as file:
            for array in ann.workload_tensors_to_ndarray(results):
                data = np.ascontiguousarray(array)
                found.append({"offset": file.tell(), "dtype": str(data.dtype), "shape": list(data.shape)})
                file.write(data.tobytes())
    finally:
        runtime.UnloadNetwork(number)
    return {"came": "ran", "outputs": found, "load_s": loaded - started, "run_s": ran - loaded}


def values(np: Any, one: Any) -> Any:
    """-> an input by chance, the same wherever it is drawn: NumPy's old generator is frozen.

    Args:
      np: the module NumPy.
      one: {"shape", "dtype", "seed"}, and {"scale", "zero_point"} for real numbers in 8 bits; without, all codes are as
        likely.
    """
    chance = np.random.RandomState(one["seed"])
    dtype = np.dtype(one["dtype"])
    if dtype.kind == "f":
        return chance.standard_normal(one["shape"]).astype(dtype)
    limits = np.iinfo(dtype)
    if dtype.itemsize > 1:
        # Places or sizes, of which none may lie outside.
        return np.zeros(one["shape"], dtype)
    if "scale" not in one:
        return chance.randint(limits.min, limits.max + 1, one["shape"]).astype(dtype)
    stored = np.round(chance.standard_normal(one["shape"]) / one["scale"]) + one["zero_point"]
    return np.clip(stored, limits.min, limits.max).astype(dtype)


def _write(log: Any, record: Any) -> None:
    log.write(json.dumps(record) + "\n")
    # A line that stays in a buffer is lost with the process.
    log.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
