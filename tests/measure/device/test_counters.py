"""Counts of programs whose every instruction is known, and of networks: the same each time, and split by op."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recipes._counts import outputs_line
from tests.measure.device import arm64
from tta_lite.measure.device.counters import Row, count_model, count_program, split_by_op, summed
from tta_lite.measure.device.emulated_cores import CORES, Caches
from tta_lite.measure.device.emulator import Emulated
from tta_lite.measure.device.executed import Counts, Tally
from tta_lite.measure.device.plugins import plugin_words
from tta_lite.measure.device.runner import Golden
from tta_lite.measure.device.transport import DeviceError
from tta_lite.types import InputError

# Two inferences; between their marks stand only instructions that the tests below count by hand. `LINES` lines are read
# twice from a place that begins with a line.
KNOWN = """
.global _start
.macro call number
  mov x8, #\\number
  svc #0
.endm
.macro mark number
  movn w0, #(\\number - 1) & 0xffff
  movk w0, #0xffff - ((\\number - 1) >> 16), lsl #16
  call 57
.endm
_start:
  mov x20, #2
again:
  adrp x2, place
  add x2, x2, :lo12:place
  mark 77001
  mov x1, #1000
loop:
  smlal v0.8h, v1.8b, v2.8b
  fmla v3.4s, v4.4s, v5.4s
  fmla v3.4s, v4.4s, v5.4s
  subs x1, x1, #1
  b.ne loop
  mov x0, #1
  mov x1, sp
  call 113
  mov x4, #2
pass:
  mov x1, #LINES
  mov x3, x2
walk:
  ldr q0, [x3], #64
  subs x1, x1, #1
  b.ne walk
  subs x4, x4, #1
  b.ne pass
  stp w1, w1, [x2]
  mark 77002
  subs x20, x20, #1
  b.ne again
  mov x0, #0
  call 94
.bss
.balign 4096
place: .skip 1 << 20
"""
TWO_THREADS = """
#include <pthread.h>
static void *work(void *nothing) { return nothing; }
int main(void) {
  pthread_t thread;
  pthread_create(&thread, 0, work, 0);
  return pthread_join(thread, 0);
}
"""
NO_END = "#include <unistd.h>\nint main(void) { close(-77001); return 0; }\n"
FAILS = '#include <stdio.h>\nint main(void) { fputs("it is broken\\n", stderr); return 3; }\n'


@pytest.fixture(scope="module", autouse=True)
def _emulator() -> None:
    arm64.need_emulator(plugins=True)


def counted_by_hand(lines: int, folder: Path, caches: Caches) -> tuple[tuple[Row, ...], ...]:
    program = arm64.build(KNOWN, folder / "known", "-nostdlib", "-static", f"-DLINES={lines}")
    with Emulated(caches=caches) as board:
        board.put(program, "known")
        return count_program(board, ["./known"], timeout_s=60).inferences


def test_a_program_whose_instructions_are_known(tmp_path):
    # 1,024 lines of 64 bytes: twice the first cache, a sixteenth of the second.
    first, second = counted_by_hand(1024, tmp_path, CORES["cortex-a72"].caches)
    none = dict.fromkeys(first[0], 0)
    # Up to and with the call that reads the clock; the mark itself lies before.
    multiplying = {
        "integer": 1 + 1000 + 3, "simd_widening_multiply": 1000, "float_multiply_add": 2000, "branch": 1000,
        "system": 1,
    }  # fmt: skip
    # Up to and with the mark of the end.
    walking = {
        "integer": 1 + 2 * (2 + 1024 + 1) + 3, "load_simd": 2048, "branch": 2048 + 2, "store": 1, "system": 1,
        "bytes_loaded": 2048 * 16, "bytes_stored": 8,
    }  # fmt: skip
    # Each line is pushed out of the first cache before it is read again. So is the first one before the store, which
    # brings it back for the second inference.
    assert first == (none | multiplying, none | walking | {"l1_misses": 2049, "l2_misses": 1024})
    assert second == (none | multiplying, none | walking | {"l1_misses": 2048, "l2_misses": 0})


def test_misses_hang_on_the_size_of_the_caches(tmp_path):
    _, second = counted_by_hand(1024, tmp_path, Caches(128 * 1024, 4, 256 * 1024, 8))
    assert (second[1]["l1_misses"], second[1]["l2_misses"]) == (0, 0)
    _, second = counted_by_hand(1024, tmp_path, Caches(4 * 1024, 1, 32 * 1024, 1))
    assert (second[1]["l1_misses"], second[1]["l2_misses"]) == (2048, 2048)


def test_decoded_bytes_are_those_that_the_emulator_sees(tmp_path):
    program = arm64.build(
        "#include <stdio.h>\n#include <stdlib.h>\n"
        "static int by(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }\n"
        "int main(void) {\n  static int values[2000];\n  double sum = 0;\n"
        "  for (unsigned i = 0, x = 1; i < 2000; i++) values[i] = (x = x * 69069 + 1) >> 8, sum += values[i] / 3.0;\n"
        '  qsort(values, 2000, sizeof *values, by);\n  printf("%d %f\\n", values[0], sum);\n  return 0;\n}\n',
        tmp_path / "sorting",
        "-O2",
    )
    with Emulated() as board:
        board.put(program, "sorting")
        outs = [Path(board.folder, name) for name in ("count,.json", "cache.json")]
        plugins = [
            plugin_words("count", outs[0]),
            plugin_words("cache", outs[1], l1=64, l1_ways=1, l2=64, l2_ways=1, line=64),
        ]
        assert board.run_with_plugins(["./sorting"], plugins, timeout_s=60).code == 0
        count, cache = (
            dict(zip(table["columns"], table["total"], strict=True))
            for table in (json.loads(out.read_text()) for out in outs)
        )
    # Only `dc zva`, 64 bytes each, and exclusive stores, which QEMU does by a reading comparison, are seen otherwise.
    assert (count["bytes_stored"] - cache["bytes_stored"]) % 64 == 0
    assert count["bytes_stored"] == pytest.approx(cache["bytes_stored"], rel=0.1)
    assert count["bytes_loaded"] == pytest.approx(cache["bytes_loaded"], rel=1e-3)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (TWO_THREADS, "2 threads"),
        (NO_END, "an inference without its end"),
        (FAILS, r"ended with code 3\. Received: it is broken"),
    ],
)
def test_what_cannot_be_counted_exactly_is_refused(tmp_path, source, said):
    program = arm64.build(source, tmp_path / "program", "-lpthread")
    with Emulated() as board, pytest.raises(DeviceError, match=said):
        board.put(program, "program")
        count_program(board, ["./program"], timeout_s=60)


def row(value: int) -> Row:
    return {"load": value, "bytes_loaded": 0, "bytes_stored": 0, "l1_misses": 0, "l2_misses": 0}


def test_rows_are_given_to_ops():
    events = [
        {"type": 8, "node": 0, "name": "a"},
        {"type": 8, "node": 1, "name": "b"},
        {"type": 2, "node": 5, "name": "HARD_SWISH"},
        {"type": 8, "node": 0, "name": "c"},
        # Another part of the network, as its ops are numbered from 0 again.
        {"type": 8, "node": 0, "name": "d"},
    ]
    # Three readings before, each part's first one, that after each of its ops, two for the builtin op, three after.
    rows = [row(value) for value in (900, 901, 902, 903, 1, 2, 904, 3, 905, 4, 906, 5, 907, 908, 909, 910)]
    split = split_by_op(rows, events)
    assert [(op.place, op.name, op.kind, op.tally.total) for op in split] == [
        (0, "a", "xnnpack", 1), (1, "b", "xnnpack", 2), (2, "HARD_SWISH", "builtin", 3), (3, "c", "xnnpack", 4),
        (4, "d", "xnnpack", 5),
    ]  # fmt: skip
    # A kernel that reads the clock itself: nothing is better than a wrong split.
    assert split_by_op([*rows, row(1)], events) == ()


def test_tallies_add_up():
    one, two = Tally({"load": 1, "half": 2}, 8, 0, 3, 1), Tally({"load": 4}, 1, 2, 3, 4)
    assert one + two == Tally({"load": 5, "half": 2}, 9, 2, 6, 5)
    assert (one + two).total == 7


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> dict[str, Path]:
    """Two files in int8, of one network: as it is, and with an op after it that XNNPACK leaves."""
    from tests import networks
    from tta_lite.compat import keras
    from tta_lite.export.tflite import export_tflite
    from tta_lite.types import INT8

    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="stem")(image)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Conv2D(32, 1, activation="relu", name="point")(x)
    x = layers.Conv2DTranspose(8, 4, strides=2, padding="same", name="up")(x)
    plain = networks.randomised(keras.Model(image, x))
    models = {"plain": plain, "mixed": keras.Model(image, layers.Softmax(name="end")(x))}
    images = np.random.default_rng(0).normal(size=(8, 1, 32, 32, 3)).astype(np.float32)
    folder = tmp_path_factory.mktemp("networks")
    for name, model in models.items():
        (folder / f"{name}.tflite").write_bytes(export_tflite(model, INT8, images))
    return {name: folder / f"{name}.tflite" for name in models}


def exact(tally: Tally) -> Tally:
    """-> a tally without its misses."""
    return dataclasses.replace(tally, l1_misses=0, l2_misses=0)


def test_a_network_is_counted_alike_each_time_and_by_op(networks):
    counted = []
    for cpu in ("cortex-a72", "cortex-a72", "cortex-a76"):
        with Emulated(cpu) as board:
            counted.append(count_model(board, networks["mixed"]))
    one, again, newer = counted
    # What was executed is the same; which lines the text of a time pushed out of a cache before may not be.
    assert exact(one.inference) == exact(again.inference)
    assert [(op.name, exact(op.tally)) for op in one.ops] == [(op.name, exact(op.tally)) for op in again.ops]
    assert abs(one.inference.l1_misses - again.inference.l1_misses) <= 4
    assert abs(one.inference.l2_misses - again.inference.l2_misses) <= 4
    assert Counts.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert [(op.place, op.kind, op.name.split(" ")[0]) for op in one.ops] == [
        (0, "xnnpack", "Convolution"), (1, "xnnpack", "Convolution"), (2, "xnnpack", "Fully"),
        (3, "xnnpack", "Deconvolution"), (4, "builtin", "SOFTMAX"),
    ]  # fmt: skip
    assert not one.fully_delegated
    # That op is another kernel on this machine and may round otherwise.
    [output] = one.outputs
    assert (output.elements, output.scale) == (32 * 32 * 8, 128) and output.largest <= 1
    # What lies between the ops is little, and is not the profiler's.
    apart = one.ops[0].tally
    for op in one.ops[1:]:
        apart += op.tally
    assert 0.9 * one.inference.total < apart.total <= one.inference.total
    # The stem: 16 x 16 x 16 outputs of 27 products each, 8 a multiplication (smlal), as there is no dot product.
    stem = one.ops[0].tally.instructions
    assert "dot_product" not in one.inference.instructions
    assert stem["simd_widening_multiply"] >= 16 * 16 * 16 * 27 / 8
    # And 16 an instruction where there is one.
    assert 16 * 16 * 16 * 27 / 16 <= newer.ops[0].tally.instructions["dot_product"] < stem["simd_widening_multiply"]
    assert newer.inference.total < one.inference.total


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a72", "cortex-a76"])
def test_int8_outputs_are_those_of_this_machine(networks, tmp_path, cpu):
    from tta_lite.export.runner import load
    from tta_lite.measure.device.runner import install, run_file

    interpreter = load(networks["plain"].read_bytes())
    [entry], [end] = interpreter.get_input_details(), interpreter.get_output_details()
    given = np.random.default_rng(1).integers(-128, 128, entry["shape"]).astype(entry["dtype"])
    interpreter.set_tensor(entry["index"], given)
    interpreter.invoke()
    expected = interpreter.get_tensor(end["index"])
    given.tofile(tmp_path / "given.bin")
    expected.tofile(tmp_path / "expected.bin")
    with Emulated(cpu) as board:
        files = (networks["plain"], tmp_path / "given.bin", tmp_path / "expected.bin")
        model, *pair = (board.put(file, file.name) for file in files)
        flags = ["--runs=1", "--min_secs=0", "--warmup_runs=0", "--warmup_min_secs=0", f"--golden={':'.join(pair)}"]
        run = run_file(board, install(board), model, flags=flags)
    assert run.fully_delegated and len(np.unique(expected)) > 100
    assert (run.golden[0].elements, run.golden[0].different) == (expected.size, 0)


def run_recipe(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "recipes.counts", *flags], capture_output=True, text=True, check=False)


def test_the_recipe_prints_and_writes_a_line_a_file_and_an_op(networks, tmp_path):
    out = tmp_path / "counts.json"
    done = run_recipe(f"--graph={networks['plain']}", "--cpu=cortex-a72,cortex-a53", "--ops", f"--out={out}")
    assert (done.returncode, done.stdout.count("Deconvolution")) == (0, 2), done.stderr
    records = json.loads(out.read_text())["counts"]
    assert [(record.pop("graph"), record["cpu"]) for record in records] == [
        (str(networks["plain"]), "cortex-a72"), (str(networks["plain"]), "cortex-a53"),
    ]  # fmt: skip
    first = Counts.from_json(records[0])
    assert [output.different for output in first.outputs] == [0] and "bit by bit" in done.stdout
    assert f"{first.inference.total / 1e3:,.1f}" in done.stdout
    # Other cores get other kernels.
    assert Counts.from_json(records[1]).inference.total != first.inference.total


def test_outputs_that_differ_are_not_called_equal():
    golden = Golden("output0.bin", elements=8, different=1, largest=1.0, scale=128.0, agrees=False)
    counts = Counts("cortex-a72", "", "", "xnnpack", True, CORES["cortex-a72"].caches, Tally({}, 0, 0, 0, 0), ())
    with_golden = [dataclasses.replace(counts, outputs=(one,)) for one in (
        dataclasses.replace(golden, different=0, largest=0.0, agrees=True),
        dataclasses.replace(golden, largest=1e-6, agrees=True),
        golden,
        dataclasses.replace(golden, largest=None, scale=None),
    )]  # fmt: skip
    lines = [outputs_line(one) for one in with_golden]
    assert ["DIFFER" in line for line in lines] == [False, False, True, True]
    assert "bit by bit" in lines[0] and "1e-06" in lines[1] and "no numbers" in lines[3]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--graph=missing.tflite"], "must name a .tflite file. Received: missing.tflite"),
        ([f"--graph={__file__}", "--cpu=max"], "wrong int8"),
        ([f"--graph={__file__}", "--out=missing/counts.json"], "in a folder that exists"),
    ],
)
def test_a_mistake_is_one_line(flags, said):
    done = run_recipe(*flags)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_is_no_network_is_one_clear_error(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"no network")
    with Emulated() as board, pytest.raises(DeviceError, match=r"cannot read the file as a \.tflite model"):
        count_model(board, tmp_path / "model.tflite")


def test_counts_of_another_format_are_refused():
    with pytest.raises(InputError, match="format 1"):
        Counts.from_json({"format": 2})
    with pytest.raises(InputError, match="fields"):
        Counts.from_json({"format": 1, "cpu": "cortex-a72"})


def test_rows_add_up():
    assert summed([{"a": 1, "b": 2}, {"a": 3, "b": 0}]) == {"a": 4, "b": 2}
