from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tta_lite.compat import keras
from tta_lite.measure import benchmark as bench
from tta_lite.measure import benchmark_worker as worker
from tta_lite.types import InputError, Latency, Report

WORKER_FILE = Path(worker.__file__)
RECORD_KEYS = {
    "init_s",
    "latency_ms",
    "peak_memory_bytes",
    "runtime",
    "delegate",
    "threads",
    "warmup_runs",
    "modules_ok",
    "samples_ms",
}
LATENCY_KEYS = {"p50", "p90", "mean", "min", "max", "std", "runs"}


def _convert(model, folder, name, int8=False):
    shape = (1, *model.inputs[0].shape[1:])
    function = tf.function(model).get_concrete_function(tf.TensorSpec(shape))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    if int8:
        rng = np.random.default_rng(0)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([rng.random(shape, np.float32)] for _ in range(4))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    path = folder / name
    path.write_bytes(converter.convert())
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    tiny = keras.Model(image, keras.layers.Conv2DTranspose(4, 4, strides=2, padding="same")(x))
    vector = keras.Input((2048,))
    big = keras.Model(vector, keras.layers.Dense(4096, use_bias=False)(vector))
    garbage = folder / "garbage.tflite"
    garbage.write_bytes(b"this is not a model")
    truncated = folder / "truncated.tflite"
    tiny_path = _convert(tiny, folder, "tiny.tflite")
    truncated.write_bytes(tiny_path.read_bytes()[:700])
    return {
        "tiny": tiny_path,
        "int8": _convert(tiny, folder, "int8.tflite", int8=True),
        "big": _convert(big, folder, "big.tflite"),
        "garbage": garbage,
        "truncated": truncated,
    }


def test_worker_runs_by_itself_and_imports_no_framework(files, tmp_path):
    # The file alone, from another folder, without this project on the path: as on a board.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-X", "importtime", str(WORKER_FILE), f"--graph={files['tiny']}", "--min_secs=0"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-500:]
    (line,) = done.stdout.splitlines()
    record = json.loads(line)
    assert set(record) == RECORD_KEYS
    assert set(record["latency_ms"]) == LATENCY_KEYS
    assert record["modules_ok"] is True
    # Python's own list of what was imported is the second witness.
    imported = {row.rsplit("|", 1)[1].strip() for row in done.stderr.splitlines() if row.startswith("import time:")}
    assert "numpy" in imported and "ai_edge_litert" in imported
    assert not {name.split(".")[0] for name in imported} & {"tensorflow", "tf_keras", "keras", "torch", "tta_lite"}


def test_figures_of_the_worker_agree_with_its_samples(files):
    command = [sys.executable, str(WORKER_FILE), f"--graph={files['tiny']}", "--num_runs=7", "--min_secs=0"]
    record = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout)
    samples = sorted(record["samples_ms"])
    assert len(samples) == record["latency_ms"]["runs"] == 7
    assert record["latency_ms"]["p50"] == pytest.approx(samples[3])
    assert record["latency_ms"]["min"] == samples[0]
    assert record["latency_ms"]["max"] == samples[-1]
    assert record["latency_ms"]["mean"] == pytest.approx(math.fsum(samples) / 7)


def test_latency_figures_by_hand():
    # Between ranks the percentile is linear: p90 of four values lies 0.7 of the way from the third to the fourth.
    figures = worker.latency_figures([4.0, 1.0, 3.0, 2.0])
    expected = {"p50": 2.5, "p90": 3.7, "mean": 2.5, "min": 1.0, "max": 4.0, "std": math.sqrt(1.25), "runs": 4}
    assert figures == pytest.approx(expected)


def test_num_runs_and_min_secs_are_lower_limits(files):
    few = bench.benchmark(files["tiny"], num_runs=3, min_secs=0)
    assert few.latency.runs == 3
    long = bench.benchmark(files["tiny"], num_runs=1, min_secs=0.3)
    assert long.latency.runs > 3
    # The timed runs fill nearly all of the 0.3 s; reading the clock takes the rest. A wrong unit is off by a thousand.
    assert 30 < long.latency.mean * long.latency.runs < 30_000


def test_benchmark_fills_the_fields_of_a_report(files):
    result = bench.benchmark(files["tiny"], num_runs=5, min_secs=0, num_threads=2)
    assert isinstance(result.latency, Latency)
    assert 0 < result.init_s < 10
    assert result.measured_on.board.startswith("this machine: ")
    assert result.measured_on.runtime.startswith("LiteRT ")
    assert result.measured_on.delegate == "XNNPACK"
    assert result.measured_on.threads == 2
    assert result.measured_on.emulated is False
    report = Report(**result.report_fields())
    written = json.loads(json.dumps(report.to_json()))
    assert {key: written[key] for key in result.to_json()} == json.loads(json.dumps(result.to_json()))


def test_without_xnnpack_the_delegate_is_none(files):
    result = bench.benchmark(files["tiny"], num_runs=2, min_secs=0, use_xnnpack=False)
    assert result.measured_on.delegate == "none (builtin kernels)"


def test_full_integer_file_runs(files):
    assert bench.benchmark(files["int8"], num_runs=2, min_secs=0).latency.runs == 2


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is exact on Linux only")
def test_peak_memory_holds_the_weights(files):
    size = files["big"].stat().st_size
    assert size > 2048 * 4096 * 4
    big = bench.benchmark(files["big"], num_runs=2, min_secs=0).peak_memory_bytes
    tiny = bench.benchmark(files["tiny"], num_runs=2, min_secs=0).peak_memory_bytes
    # The file is mapped and its weights are packed once more; TensorFlow alone would be ten times that.
    assert size < big < 3 * size
    assert 0 < tiny < size / 2


def test_files_take_turns_and_their_runs_are_pooled(files):
    seen = []
    paths = {"a": files["tiny"], "b": files["int8"]}
    result = bench.benchmark_together(
        paths, rounds=2, num_runs=5, min_secs=0, progress=lambda done, total, name: seen.append((done, total, name))
    )
    assert seen == [(1, 4, "a"), (2, 4, "b"), (3, 4, "a"), (4, 4, "b")]
    assert list(result) == ["a", "b"] and len(result) == 2
    # 5 runs over 2 rounds: 3 in each.
    assert result["a"].latency.runs == result["b"].latency.runs == 6
    assert len(result.round_p50["a"]) == 2
    assert result["a"].latency.min <= min(result.round_p50["a"])
    with pytest.raises(InputError, match=r"a, b\. Received: 'c'"):
        result.speedups("c")


def test_speedups_are_medians_of_ratios_of_the_same_round():
    # Round by round 10 / 5, 20 / 5, 30 / 10: the machine slowed down, the ratio did not.
    rounds = {"old": (10.0, 20.0, 30.0), "new": (5.0, 5.0, 10.0)}
    speedups = bench.Comparison({}, rounds).speedups("old")
    assert speedups["new"] == bench.Speedup(median=3.0, min=2.0, max=4.0, rounds=3)
    assert speedups["old"] == bench.Speedup(median=1.0, min=1.0, max=1.0, rounds=3)


@pytest.mark.parametrize("name", ["garbage", "truncated"])
def test_a_file_that_is_no_model_is_one_clear_error(files, name):
    with pytest.raises(InputError) as caught:
        bench.benchmark(files[name])
    message = str(caught.value)
    assert f"{name}.tflite failed" in message
    assert "Received: error: " in message and "\n" not in message


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.tflite", tmp_path):
        with pytest.raises(InputError, match=r"no such file to benchmark.*Received: "):
            bench.benchmark(path)


def test_timeout_ends_the_process(files):
    with pytest.raises(InputError, match=r"within 1 s; .* Received: .*tiny\.tflite, which was still running"):
        bench.benchmark(files["tiny"], min_secs=60, timeout_s=1)


def test_a_crash_is_told_by_its_signal(files, tmp_path, monkeypatch):
    (tmp_path / "crashing_worker.py").write_text(
        "import os, signal, sys\n"
        "print('ERROR: tensor 3 is broken', file=sys.stderr)\n"
        "print('INFO: Created TensorFlow Lite XNNPACK delegate for CPU.', file=sys.stderr, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(bench, "WORKER", "crashing_worker")
    with pytest.raises(InputError, match=r"ended by SIGSEGV.*Received: ERROR: tensor 3 is broken$"):
        bench.benchmark(files["tiny"])


@pytest.mark.parametrize(
    "argument",
    [{"num_threads": 0}, {"num_runs": 0}, {"warmup_runs": -1}, {"min_secs": -1}, {"timeout_s": 0}, {"num_runs": 1.5}],
)
def test_arguments_out_of_range(files, argument):
    (name,) = argument
    with pytest.raises(InputError, match=f"Argument `{name}` .* Received: "):
        bench.benchmark(files["tiny"], **argument)


def test_no_files_and_no_rounds(files):
    with pytest.raises(InputError, match="at least one file"):
        bench.benchmark_together({})
    with pytest.raises(InputError, match="`rounds`"):
        bench.benchmark_together({"a": files["tiny"]}, rounds=0)


@given(
    st.sampled_from(["int8", "uint8", "int16", "int32", "int64", "float32", "float16", "bool"]),
    st.integers(0, 2**32 - 1),
)
def test_random_input_is_in_range_and_repeats(dtype, seed):
    kind = np.dtype(dtype)
    first = worker.random_input((1, 5, 3), kind, np.random.default_rng(seed))
    again = worker.random_input((1, 5, 3), kind, np.random.default_rng(seed))
    assert first.dtype == kind and first.shape == (1, 5, 3)
    np.testing.assert_array_equal(first, again)
    if kind.kind == "f":
        assert first.min() >= -1 and first.max() <= 1
    if kind.itemsize >= 4 and kind.kind == "i":
        assert first.min() >= 0 and first.max() <= 99


def test_random_input_uses_the_full_range_of_8_bits():
    values = worker.random_input((10_000,), np.int8, np.random.default_rng(0))
    assert (values.min(), values.max()) == (-128, 127)


def test_worker_refuses_text_inputs_and_bad_flags():
    with pytest.raises(ValueError, match="Received: an input of type"):
        worker.random_input((1,), np.bytes_, np.random.default_rng(0))
    for flag in ("--num_threads=0", "--use_xnnpack=perhaps", "--num_runs=few"):
        with pytest.raises(SystemExit):
            worker.parse_args(["--graph=a.tflite", flag])
