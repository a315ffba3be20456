"""The C runner as a program: what it computes, measures and refuses. The truth is LiteRT's Python interpreter."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.measure.device.conftest import IMAGES, QUICK, Program
from tta_lite.export.runner import TFLitePredictor

CPUS = sorted(os.sched_getaffinity(0))


@pytest.fixture(scope="module", params=["fp32", "int8"])
def preset(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def vectors(files, tmp_path_factory) -> dict[str, tuple[Path, Path, np.ndarray]]:
    """Preset -> input file, file of the output that the interpreter gives, and that output."""
    folder, found = tmp_path_factory.mktemp("vectors"), {}
    for name, path in files.items():
        interpreter = TFLitePredictor(path.read_bytes())
        stored = interpreter.input.quantise(IMAGES[:1])
        output = interpreter.run(stored)
        paths = folder / f"{name}.input.bin", folder / f"{name}.output.bin"
        paths[0].write_bytes(stored.tobytes())
        paths[1].write_bytes(output.tobytes())
        found[name] = (*paths, output)
    return found


def test_outputs_are_those_of_the_interpreter(program: Program, files, vectors, preset, tmp_path):
    given, _, wanted = vectors[preset]
    program.record(files[preset], tmp_path / "out.json", f"--input={given}", f"--dump={tmp_path}")
    found = np.frombuffer((tmp_path / "output0.bin").read_bytes(), wanted.dtype).reshape(wanted.shape)
    if preset == "int8":
        assert found.tobytes() == wanted.tobytes()
    else:
        assert np.abs(found - wanted).max() <= 1e-6 * np.abs(wanted).max()
    assert np.unique(wanted).size > 100


def test_the_runtimes_own_kernels_can_be_chosen(program: Program, files, vectors, tmp_path):
    given, _, xnnpack = vectors["int8"]
    flags = f"--input={given}", f"--dump={tmp_path}", "--kernels=builtin"
    record = program.record(files["int8"], tmp_path / "out.json", *flags)
    assert (record["kernels"], record["fully_delegated"]) == ("builtin", False)
    interpreter = TFLitePredictor(files["int8"].read_bytes(), kernels="builtin")
    wanted = interpreter.run(np.frombuffer(given.read_bytes(), np.int8).reshape(1, 16, 16, 3))
    assert (tmp_path / "output0.bin").read_bytes() == wanted.tobytes() != xnnpack.tobytes()


def test_a_golden_output_agrees(program: Program, files, vectors, preset, tmp_path):
    given, output, wanted = vectors[preset]
    record = program.record(files[preset], tmp_path / "out.json", f"--golden={given}:{output}")
    [golden] = record["golden"]
    assert (golden["output"], golden["elements"], golden["agrees"]) == (str(output), wanted.size, True)
    assert golden["scale"] == pytest.approx(np.abs(wanted.astype(float)).max(), rel=1e-6)
    assert golden["largest"] <= 1e-6 * golden["scale"]
    # By name as well, where the inputs are given.
    record = program.record(files[preset], tmp_path / "out.json", f"--input={given}", f"--expect={output}")
    assert [one["agrees"] for one in record["golden"]] == [True]


def test_a_changed_output_is_told(program: Program, files, vectors, tmp_path):
    given, output, wanted = vectors["int8"]
    changed = wanted.copy().ravel()
    # Two steps up or down, and one, so that nothing wraps around.
    changed[7] += 2 if changed[7] < 100 else -2
    changed[9] += 1 if changed[9] < 100 else -1
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(changed.tobytes())
    flags = f"--golden={given}:{output}", f"--golden={given}:{wrong}"
    right, told = program.record(files["int8"], tmp_path / "out.json", *flags, code=3)["golden"]
    assert right["agrees"] and (right["different"], right["largest"]) == (0, 0)
    assert not told["agrees"] and (told["different"], told["largest"]) == (2, 2)
    # Kernels of other processors may differ by some steps.
    [told] = program.record(files["int8"], tmp_path / "out.json", flags[1], "--steps=2")["golden"]
    assert told["agrees"] and told["largest"] == 2
    program.record(files["int8"], tmp_path / "out.json", flags[1], "--steps=1", code=3)


def test_a_float_that_differs_is_measured_by_the_largest(program: Program, files, vectors, tmp_path):
    given, _, wanted = vectors["fp32"]
    scale = float(np.abs(wanted).max())
    changed = wanted.copy().ravel()
    place = int(np.abs(changed).argmin())
    changed[place] += np.float32(0.01 * scale)
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(changed.tobytes())
    flags = f"--golden={given}:{wrong}", "--tolerance=0.011"
    [told] = program.record(files["fp32"], tmp_path / "out.json", *flags)["golden"]
    assert told["agrees"] and told["largest"] == pytest.approx(0.01 * scale, rel=1e-3)
    [told] = program.record(files["fp32"], tmp_path / "out.json", flags[0], "--tolerance=0.009", code=3)["golden"]
    assert not told["agrees"]
    changed[place] = np.nan
    wrong.write_bytes(changed.tobytes())
    [told] = program.record(files["fp32"], tmp_path / "out.json", *flags, code=3)["golden"]
    assert not told["agrees"] and told["largest"] == -1


def test_what_is_recorded_of_a_run(program: Program, files, tmp_path):
    flags = "--warmup_runs=3", "--runs=7", "--profile_runs=2"
    record = program.record(files["int8"], tmp_path / "out.json", *flags)
    assert len(record["samples_us"]) == 7 and min(record["samples_us"]) > 0
    assert record["warmup_runs"] == 3
    assert (record["format"], record["threads"], record["kernels"]) == (1, 1, "xnnpack")
    assert record["fully_delegated"] is True and record["golden"] == []
    assert (record["cpus"], record["pinned"]) == (CPUS, False)
    assert record["init_s"] == pytest.approx(sum(record["init"].values()), abs=2e-6)
    # The library alone has some megabytes; the process some tens.
    assert 1 << 20 < record["memory"]["before_bytes"] <= record["memory"]["peak_bytes"] < 1 << 30
    assert record["machine"]["architecture"] == os.uname().machine
    assert abs(record["before"]["unix_time"] - time.time()) < 60
    names = [name for name in (tmp_path).iterdir()]
    assert names == [tmp_path / "out.json"]


def test_seconds_add_runs_and_end_them(program: Program, files, tmp_path):
    out, model = tmp_path / "out.json", files["int8"]
    record = program.record(model, out, "--runs=1", "--min_secs=0.05")
    # The last run may end after the time is up.
    assert sum(record["samples_us"][:-1]) <= 0.05e6 and len(record["samples_us"]) > 10
    record = program.record(model, out, "--runs=1000000", "--max_secs=0.05")
    assert 10 < len(record["samples_us"]) < 1_000_000
    record = program.record(model, out, "--warmup_min_secs=0.05")
    assert record["warmup_runs"] > 10


def test_ops_sum_to_the_whole(program: Program, files, tmp_path):
    flags = "--runs=200", "--warmup_runs=50", "--profile_runs=200"
    record = program.record(files["fp32"], tmp_path / "out.json", *flags)
    profile = record["profile"]
    assert len(profile) == 200 and len({tuple(one["name"] for one in run) for run in profile}) == 1
    assert any("Deconvolution" in one["name"] for one in profile[0])
    # Not seconds, not nanoseconds, not one op of many. How busy this machine is moves the one against the other.
    ops = np.median([sum(one["us"] for one in run) for run in profile])
    assert 0.02 * np.median(record["samples_us"]) < ops < 50 * np.median(record["samples_us"])


def test_threads_are_used(program: Program, files, tmp_path):
    record = program.record(files["fp32"], tmp_path / "out.json", "--threads=3")
    assert record["threads"] == 3
    # Threads that a sleeping process has: its own, and two more of a pool of three.
    counts = []
    for threads in (1, 3):
        words = [*program.words, f"--library={program.library}", f"--model={files['fp32']}", "--min_secs=30"]
        words += [f"--out={tmp_path / 'two.json'}", f"--threads={threads}"]
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        try:
            counts.append(_settled(lambda process=process: len(os.listdir(f"/proc/{process.pid}/task"))))
        finally:
            process.kill()
            process.wait()
    assert counts[1] - counts[0] == 2


def _settled(count) -> int:
    """-> a number that did not change for 1 s."""
    last, since = count(), time.monotonic()
    began = since
    while time.monotonic() - since < 1 and time.monotonic() - began < 60:
        time.sleep(0.02)
        if (now := count()) != last:
            last, since = now, time.monotonic()
    return last


def test_cores_are_chosen_by_number(program: Program, files, tmp_path):
    record = program.record(files["fp32"], tmp_path / "out.json", f"--cpus={CPUS[-1]}")
    assert (record["cpus"], record["pinned"]) == ([CPUS[-1]], True)
    text = f"{CPUS[0]}-{CPUS[0]},{CPUS[-1]}"
    assert program.record(files["fp32"], tmp_path / "out.json", f"--cpus={text}")["cpus"] == sorted({CPUS[0], CPUS[-1]})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--cpus=255"], "does not let this run on those cores"),
        (["--cpus=256"], "--cpus must be as 4,5 or 0-3. Received: 256"),
        (["--cpus=1-0"], "--cpus must be as 4,5 or 0-3"),
        (["--cpus=0,,1"], "--cpus must be as 4,5 or 0-3"),
        (["--cpus=x"], "--cpus must be as 4,5 or 0-3"),
        (["--cores=fast"], "--cores must be big, little or all. Received: fast"),
        (["--cores=all", "--cpus=0"], "--cores and --cpus say the same"),
        (["--threads=0"], "--threads must be a whole number of 1 to 256. Received: 0"),
        (["--threads=2x"], "--threads must be a whole number"),
        (["--threads=99999999999"], "--threads must be a whole number"),
        (["--runs="], "--runs must be a whole number"),
        (["--runs=99999999999999999999"], "--runs must be a whole number"),
        (["--min_secs=nan"], "--min_secs must be 0 or more. Received: nan"),
        (["--max_secs=-1"], "--max_secs must be 0 or more"),
        (["--kernels=gpu"], "--kernels must be xnnpack or builtin. Received: gpu"),
        (["--speed=1"], "There is no flag --speed"),
        (["model.tflite"], "A flag must be as --name=value. Received: model.tflite"),
        (["--threads"], "A flag must be as --name=value. Received: --threads"),
        (["--golden=one"], "--golden must be as input.bin:output.bin. Received: one"),
        (["--expect=a", "--expect=b"], "--expect must be given once for each of the 1 outputs. Received: 2"),
        (["--input=a", "--input=b"], "--input must be given once for each of the 1 inputs. Received: 2"),
        (["--input=/nowhere"], "/nowhere cannot be read: No such file"),
        (["--input=/dev/null"], "/dev/null: 768 bytes are expected. Received: 0"),
        (["--input=/dev/zero"], "/dev/zero: 768 bytes are expected. Received: 769 or more"),
        (["--dump=/nowhere"], "/nowhere/output0.bin cannot be written"),
        (["--library=/nowhere.so"], "the library of LiteRT cannot be opened: /nowhere.so"),
        (["--library=libm.so.6"], "libm.so.6 has no function LiteRtCreateEnvironment"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(program: Program, files, tmp_path, flags, said):
    done = program(f"--model={files['int8']}", f"--out={tmp_path / 'out.json'}", *QUICK, *flags)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ") and said in last
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"this is not a model", None], ids=["empty", "text", "cut"])
def test_what_is_no_model_is_refused(program: Program, files, tmp_path, content):
    model = tmp_path / "model.tflite"
    whole = files["fp32"].read_bytes()
    model.write_bytes(whole[: len(whole) // 2] if content is None else content)
    done = program(f"--model={model}", f"--out={tmp_path / 'out.json'}", *QUICK)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("error: LiteRT cannot ")
    assert list(tmp_path.iterdir()) == [model]


def test_missing_flags_and_folders_are_told(program: Program, files, tmp_path):
    assert "--model and --out must be given" in program(f"--model={files['fp32']}").stderr
    done = program(f"--model={files['fp32']}", f"--out={tmp_path / 'none' / 'out.json'}")
    assert done.returncode == 1 and "out.json.part cannot be written: No such file" in done.stderr


def test_a_full_disk_leaves_nothing(program: Program, files, tmp_path):
    out = tmp_path / "out.json"
    (tmp_path / "out.json.part").symlink_to("/dev/full")
    done = program(f"--model={files['fp32']}", f"--out={out}", *QUICK)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"error: {out} cannot be written: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_a_limit_on_files_leaves_nothing(program: Program, files, tmp_path):
    out = tmp_path / "out.json"
    words = [*program.words, f"--library={program.library}", f"--model={files['fp32']}", f"--out={out}", *QUICK]
    script = "trap '' XFSZ; ulimit -f 1; exec \"$@\""
    done = subprocess.run(
        ["sh", "-c", script, "sh", *words, "--runs=2000"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"error: {out} cannot be written: File too large"
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_leaves_no_results(program: Program, files, tmp_path):
    out = tmp_path / "out.json"
    words = [*program.words, f"--library={program.library}", f"--model={files['fp32']}", f"--out={out}"]
    process = subprocess.Popen([*words, "--min_secs=60"], stderr=subprocess.DEVNULL)
    while not (tmp_path / "out.json.part").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    assert not out.exists()


def test_old_results_stay_until_there_are_new_ones(program: Program, files, tmp_path):
    out = tmp_path / "out.json"
    out.write_text("old")
    assert program(f"--model={tmp_path / 'none'}", f"--out={out}", *QUICK).returncode == 1
    assert out.read_text() == "old"


def test_a_probe_tells_of_the_machine(program: Program):
    done = program("--probe")
    record = json.loads(done.stdout)
    assert done.returncode == 0 and record["architecture"] == os.uname().machine
    assert record["libc"] == f"glibc {os.confstr('CS_GNU_LIBC_VERSION').split()[1]}"
    assert len(record["processors"]) == Path("/proc/cpuinfo").read_text().count("processor\t:")
    assert program("--probe", "--library=/nowhere").returncode == 1


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace (Debian's package strace)")
def test_marks_lie_around_every_run(program: Program, files, tmp_path):
    trace = tmp_path / "trace"
    traced = Program(["strace", "-e", "trace=close", "-o", str(trace), *program.words], program.library)
    traced.record(files["fp32"], tmp_path / "out.json", "--marks", "--runs=3", "--profile_runs=2")
    marks = [line for line in trace.read_text().splitlines() if "close(-7700" in line]
    # The first run, three timed ones and two profiled.
    assert [line.split(")")[0] for line in marks] == ["close(-77001", "close(-77002"] * 6
