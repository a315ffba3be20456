from __future__ import annotations

import random
import struct
import sys

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.single_op_files import File
from tta_lite.export import open_safely as module
from tta_lite.export.open_checks import check_bytes
from tta_lite.export.open_safely import open_safely
from tta_lite.types import InputError


def small(**changes) -> bytes:
    """A convolution [1, 6, 6, 2] -> [1, 6, 6, 3] and an addition; `changes` are made before it is written."""
    file = File()
    image = file.tensor([1, 6, 6, 2])
    weights = file.constant(np.arange(54, dtype=np.float32).reshape(3, 3, 3, 2))
    bias = file.constant(np.arange(3, dtype=np.float32))
    between, result = file.tensor([1, 6, 6, 3]), file.tensor([1, 6, 6, 3])
    file.op("CONV_2D", [image, weights, bias], [between], kind="Conv2DOptions", strideW=1, strideH=1)
    file.op("ADD", [between, between], [result], kind="AddOptions")
    for change in changes.values():
        change(file)
    return file.to_bytes([image], [result])


@pytest.fixture(scope="module")
def whole() -> bytes:
    return small()


def test_a_good_file_comes_back_with_its_edges(whole, tmp_path):
    (tmp_path / "good.tflite").write_bytes(whole)
    for opened in (open_safely(whole), open_safely(tmp_path / "good.tflite")):
        assert opened.tflite == whole
        assert [(edge.shape, edge.dtype) for edge in opened.inputs] == [((1, 6, 6, 2), np.dtype("f4"))]
        assert [edge.shape for edge in opened.outputs] == [(1, 6, 6, 3)]


def test_integers_keep_their_scales(files):
    (image,), (heat_maps,) = (lambda opened: (opened.inputs, opened.outputs))(open_safely(files["int8"]))
    assert image.dtype == heat_maps.dtype == np.int8
    assert image.scale > 0 and heat_maps.scale > 0
    assert image.name == "image"


def split_in_no_parts(file):
    axis, result = file.constant(np.array(3, np.int32)), file.tensor([1, 6, 6, 3])
    file.op("SPLIT", [axis, 3], [result], kind="SplitOptions", numSplits=0)


def scale_of_zero(file):
    result = file.tensor([1, 6, 6, 3], "int8", ([0.0], 0))
    file.op("QUANTIZE", [3], [result])


@pytest.mark.parametrize("change", [split_in_no_parts, scale_of_zero])
def test_a_file_that_crashes_the_interpreter_is_an_error_here(change):
    crashing = small(change=change)
    # Nothing is wrong with it as a flatbuffer.
    check_bytes(crashing)
    with pytest.raises(
        InputError, match=r"the interpreter was ended by SIG(SEGV|ABRT|FPE) when it .*Received: \d+ bytes$"
    ):
        open_safely(crashing)


def test_a_file_that_needs_too_much_memory_is_an_error():
    file = File()
    image, result = (file.tensor([1, 20000, 20000]) for _ in range(2))
    file.op("EXP", [image], [result])
    with pytest.raises(InputError, match=r"1 GiB of memory"):
        open_safely(file.to_bytes([image], [result]), memory_bytes=1 << 30)


def test_one_that_does_not_come_back_is_ended(whole, monkeypatch, tmp_path):
    (tmp_path / "forever.py").write_text(
        'import time\nprint(\'{"stage": "gets its tensors"}\', flush=True)\ntime.sleep(60)'
    )
    monkeypatch.setattr(module, "CHILD", "forever")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(InputError, match=r"nothing came back within 8 s when it gets its tensors"):
        open_safely(whole, timeout_s=8)


def test_a_child_that_cannot_start_is_no_fault_of_the_file(whole, monkeypatch):
    monkeypatch.setattr(module, "CHILD", "no_such_module")
    with pytest.raises(RuntimeError, match="No module named"):
        open_safely(whole)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "b'' in 0 bytes"),
        (b"\x1c\x00\x00\x00TFL2" + bytes(100), "b'TFL2' in 108 bytes"),
        (b"PK\x03\x04 a zip of a Keras model", "b' a z' in 27 bytes"),
    ],
)
def test_what_is_no_such_file_is_said_without_a_child(content, said, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHILD", "no_such_module")
    path = tmp_path / "net.tflite"
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=rf"^{path}: A .tflite file has the letters TFL3 at its 5th byte. Received: {said}$"
    ):
        open_safely(path)
    with pytest.raises(InputError, match=rf"No such file or directory.*Received: {tmp_path}/none"):
        open_safely(tmp_path / "none")


def cut(whole, share):
    return whole[: int(len(whole) * share)]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_file_that_ends_early_is_damaged(whole, share):
    with pytest.raises(InputError, match=r"is damaged: .*Expected: a whole file. Received: \d+ bytes"):
        check_bytes(cut(whole, share))


def test_a_damaged_file_is_told_of_by_its_child(whole, tmp_path):
    (tmp_path / "half.tflite").write_bytes(cut(whole, 0.5))
    with pytest.raises(InputError, match=rf"^{tmp_path}/half.tflite: The .tflite file is damaged: its tables"):
        open_safely(tmp_path / "half.tflite")


def tensor(file, place, **values):
    for name, value in values.items():
        setattr(file.graph.tensors[place], name, value)


def twice(file):
    file.graph.operators[1].outputs = file.graph.operators[0].outputs


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: tensor(file, 1, buffer=77), "tensor 1 has its data in buffer 77 of 3"),
        (lambda file: tensor(file, 1, buffer=2), "tensor 1 of 216 bytes has 12 bytes of data"),
        (lambda file: tensor(file, 1, type=99), "tensor 1 is of the unknown type 99"),
        (
            lambda file: tensor(file, 3, shape=np.array([1, -6, 6, 3], np.int32)),
            r"tensor 3 has the shape \[1, -6, 6, 3\]",
        ),
        (lambda file: tensor(file, 3, shape=np.array([2**30] * 4, np.int32)), "tensor 3 has the shape"),
        (lambda file: tensor(file, 0, name=b"imag\xff"), "a name in it is no text"),
        (
            lambda file: setattr(file.graph.operators[1], "inputs", np.array([3, 900], np.int32)),
            "op 1 names tensor 900 of 5",
        ),
        (
            lambda file: setattr(file.graph.operators[1], "outputs", np.array([-1], np.int32)),
            "op 1 names tensor -1 of 5",
        ),
        (lambda file: setattr(file.graph.operators[1], "opcodeIndex", 4), "op 1 is of kind 4"),
        (twice, "op 1 writes a tensor that another op writes too"),
        (lambda file: setattr(file.model, "subgraphs", []), "it has no graph"),
        (
            lambda file: tensor(file, 1, quantization=scales(1, np.nan)),
            "tensor 1 has a scale that is no number, or below 0",
        ),
        (lambda file: tensor(file, 1, quantization=scales(5)), r"tensor 1 of the shape \[3, 3, 3, 2\] has 5 scales"),
    ],
)
def test_references_that_lead_nowhere_are_found(change, said):
    with pytest.raises(InputError, match=f"is damaged: {said}"):
        check_bytes(small(change=change))


def scales(count, value=0.5):
    file = File()
    return file.graph.tensors[file.tensor([count], "int8", ([value] * count, 0))].quantization


def test_data_behind_the_tables_must_be_there():
    def behind(file):
        file.model.buffers[1] = schema.BufferT(offset=5000, size=216)

    with pytest.raises(InputError, match="buffer 1 ends at byte 5216"):
        check_bytes(small(change=behind))


@pytest.mark.parametrize("seed", range(40))
def test_bytes_that_were_changed_raise_nothing_else(whole, seed):
    rng = random.Random(seed)
    changed = bytearray(whole)
    for _ in range(rng.choice([1, 2, 8])):
        changed[rng.randrange(8, len(changed))] = rng.choice([0, 255, rng.randrange(256)])
    try:
        check_bytes(bytes(changed))
    except InputError as error:
        assert "\n" not in str(error) and str(error).count("Received:") == 1


@pytest.mark.parametrize("place", ["root", "table"])
def test_offsets_that_point_anywhere_end_in_one_error_of_the_child(whole, place):
    changed = bytearray(whole)
    struct.pack_into("<i", changed, 0 if place == "root" else struct.unpack_from("<i", whole)[0], 0x7FFFFFF0)
    with pytest.raises(InputError, match=r"Received: \d+ bytes$"):
        open_safely(bytes(changed), timeout_s=120)


def test_the_child_loads_no_tensorflow(whole):
    import subprocess

    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", module.CHILD, str(1 << 32), "20"],
        input=whole, capture_output=True, check=True, cwd=module.Path(module.__file__).parents[2],
    )  # fmt: skip
    imported = {row.rsplit(b"|", 1)[1].strip().split(b".")[0] for row in done.stderr.splitlines() if b"|" in row}
    assert b"ai_edge_litert" in imported and not imported & {b"tensorflow", b"tf_keras", b"keras"}
