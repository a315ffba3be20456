from __future__ import annotations

import ctypes
import hashlib
import json
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tta_lite.export import bundle, selftest
from tta_lite.export.bundle import write_bundle
from tta_lite.export.c_array import c_source
from tta_lite.export.metadata_file import read_metadata
from tta_lite.export.micro import MicroResult
from tta_lite.models.backbones import Normalisation
from tta_lite.types import InputError

NORMALISATION = Normalisation((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
COMPILER = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")


def write(folder, tflite, images):
    return write_bundle(folder, tflite, name="Tiny net 0.35", normalisation=NORMALISATION, golden_inputs=images[:2])


def network_of(folder):
    place = json.loads((folder / "MANIFEST.json").read_text())["network"]
    network = (folder / "model.tflite").read_bytes()[place["offset"] : place["offset"] + place["bytes"]]
    assert hashlib.sha256(network).hexdigest() == place["sha256"]
    return network


@pytest.fixture(scope="module", params=["fp32", "int8"])
def made(request, files, images, tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("run") / "artifact", files[request.param], images)
    return request.param, folder


def test_what_is_in_the_folder(made, files):
    preset, folder = made
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    wanted = ["model.tflite", "model_data.h", "model_data.cc", "ops.json", "golden.json", "MANIFEST.json", "SHA256SUMS"]
    wanted += ["model_io.h", "op_resolver.h", "selftest.cc", "selftest_hook.h", "golden_data.h", "golden_data.cc"]
    wanted += [f"golden/{side}_{n}.bin" for side in ("input", "output") for n in (0, 1)]
    assert names == sorted(wanted)
    assert network_of(folder) == files[preset]
    # Nothing is left of the temporary folder.
    assert [path.name for path in folder.parent.iterdir()] == ["artifact"]


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum")
def test_sums_verify_and_notice_a_change(made, tmp_path):
    copy = shutil.copytree(made[1], tmp_path / "copy")
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(check, cwd=copy, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK") == len([p for p in copy.rglob("*") if p.is_file()]) - 1
    (copy / "ops.json").write_text("[]")
    assert subprocess.run(check, cwd=copy, capture_output=True).returncode == 1


@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
def test_the_c_array_compiles_to_the_same_bytes(made, files, tmp_path):
    preset, folder = made
    library = tmp_path / "model.so"
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([COMPILER, *flags, str(folder / "model_data.cc"), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    length = ctypes.c_uint.in_dll(loaded, "tiny_net_0_35_tflite_len").value
    array = (ctypes.c_ubyte * length).in_dll(loaded, "tiny_net_0_35_tflite")
    assert bytes(array) == files[preset]
    assert ctypes.addressof(array) % 16 == 0


@pytest.mark.parametrize("length", [1, 15, 16, 17, 256])
def test_c_source_holds_every_byte(length):
    data = bytes(np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8))
    body = c_source(data, "x").decode().split("{\n")[1].split("};")[0]
    assert bytes(int(value, 16) for value in body.replace("\n", "").rstrip(",").split(",")) == data


def test_golden_vectors_come_from_the_file(made):
    preset, folder = made
    golden = json.loads((folder / "golden.json").read_text())
    dtype = {"fp32": "<f4", "int8": "i1"}[preset]
    assert len(golden["vectors"]) == 2
    for kernels in (OpResolverType.AUTO, OpResolverType.BUILTIN_REF):
        interpreter = Interpreter(model_content=(folder / "model.tflite").read_bytes(),
                                  experimental_op_resolver_type=kernels)  # fmt: skip
        interpreter.allocate_tensors()
        for vector in golden["vectors"]:
            stored = np.fromfile(folder / vector["input"], dtype).reshape(golden["input"]["shape"])
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], stored)
            interpreter.invoke()
            output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
            wanted = np.fromfile(folder / vector["output"], dtype).reshape(golden["output"]["shape"])
            if kernels == OpResolverType.AUTO:
                assert np.array_equal(output, wanted)
            # The plain loops that define each op, in real numbers.
            scale = golden["output"]["quantisation"]["scale"] if preset == "int8" else 1.0
            assert np.abs(output.astype(float) - wanted).max() * scale <= golden["tolerance"] * 1.001


def test_golden_inputs_are_the_images_that_were_given(made, images):
    preset, folder = made
    edge = json.loads((folder / "golden.json").read_text())["input"]
    stored = np.fromfile(folder / "golden/input_1.bin", {"fp32": "<f4", "int8": "i1"}[preset]).reshape(edge["shape"])
    if preset == "fp32":
        assert np.array_equal(stored[0], images[1])
    else:
        scale, zero_point = edge["quantisation"]["scale"], edge["quantisation"]["zero_point"]
        real = (stored[0].astype(float) - zero_point) * scale
        assert np.abs(real - images[1]).max() <= scale / 2 * 1.001


def test_the_manifest_says_how_to_feed_the_network(made):
    preset, folder = made
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    assert manifest["input"]["name"] == "image"
    assert manifest["input"]["shape"] == [1, 64, 64, 3]
    assert manifest["input"]["dtype"] == {"fp32": "float32", "int8": "int8"}[preset]
    assert manifest["output"]["name"] == "heatmaps"
    assert manifest["normalisation"]["mean"] == [127.5] * 3
    assert manifest["memory"]["input_bytes"] == 64 * 64 * 3 * {"fp32": 4, "int8": 1}[preset]
    assert manifest["undelegated_ops"] == []
    assert manifest["c_array"]["symbol"] == "tiny_net_0_35_tflite"
    ops = json.loads((folder / "ops.json").read_text())
    assert {op["name"]: op["count"] for op in ops} == {
        "CONV_2D": 4, "DEPTHWISE_CONV_2D": 2, "ADD": 1, "TRANSPOSE_CONV": 2
    }  # fmt: skip


def test_an_earlier_bundle_is_replaced_whole(files, images, tmp_path):
    folder = write(tmp_path / "artifact", files["fp32"], images)
    write_bundle(folder, files["int8"], name="b", normalisation=NORMALISATION, golden_inputs=images[:1])
    assert network_of(folder) == files["int8"]
    assert not (folder / "golden/input_1.bin").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def test_the_same_file_gives_the_same_sums(files, images, tmp_path):
    a, b = (write(tmp_path / name, files["int8"], images) for name in "ab")
    assert (a / "SHA256SUMS").read_text() == (b / "SHA256SUMS").read_text()


def test_a_folder_of_something_else_is_left_alone(files, images, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"must be new, empty, or an earlier bundle.*Received: "):
        write(tmp_path, files["fp32"], images)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_failure_leaves_the_earlier_bundle_and_no_rest(files, images, tmp_path):
    folder = write(tmp_path / "artifact", files["fp32"], images)
    with pytest.raises(InputError, match=r"\[B, 64, 64, 3\]"):
        write(folder, files["int8"], images[:, :32])
    assert network_of(folder) == files["fp32"]
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def test_a_name_without_letters_is_refused(files, images, tmp_path):
    with pytest.raises(InputError, match=r"ASCII letter or digit.*Received: '--'"):
        write_bundle(tmp_path / "a", files["fp32"], name="--", normalisation=NORMALISATION, golden_inputs=images[:1])


def test_a_large_file_has_no_array(files, images, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "C_ARRAY_LIMIT", len(files["int8"]) - 1)
    folder = write(tmp_path / "artifact", files["int8"], images)
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    assert manifest["c_array"] is None
    assert not (folder / "model_data.cc").exists()
    assert set(manifest["left_out"]) == {"model_data.h", "model_data.cc", "selftest.cc, SELFTEST_TFLM"}
    assert "read model.tflite" in manifest["left_out"]["model_data.cc"]
    # What the self-test compares with is small; the network it asks for is the caller's.
    source = (folder / "selftest.cc").read_text()
    assert "model_data.h" not in source and "run_model" in source


def test_vectors_that_are_too_large_leave_out_the_self_test(files, images, tmp_path, monkeypatch):
    monkeypatch.setattr(selftest, "GOLDEN_ARRAY_LIMIT", 1000)
    folder = write(tmp_path / "artifact", files["int8"], images)
    left_out = json.loads((folder / "MANIFEST.json").read_text())["left_out"]
    assert set(left_out) == {"selftest.cc", "selftest_hook.h", "golden_data.h", "golden_data.cc"}
    assert not any((folder / name).exists() for name in left_out)
    assert (folder / "golden/output_1.bin").is_file()


def test_what_tflite_micro_cannot_run_has_no_resolver(files, images, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "measure_micro", lambda *_: MicroResult("7", reason="Hybrid models are not supported"))
    folder = write(tmp_path / "artifact", files["dynamic"], images)
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    assert manifest["tflite_micro"]["reason"] == "Hybrid models are not supported"
    assert set(manifest["left_out"]) == {"op_resolver.h", "selftest.cc, SELFTEST_TFLM"}
    assert "Hybrid models are not supported" in manifest["left_out"]["op_resolver.h"]


def test_ops_of_another_graph_of_the_file_leave_out_the_resolver(tmp_path):
    function = tf.function(lambda x: tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.sin(y)), (0, x))[1])
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function(tf.TensorSpec((1, 2, 2, 3)))]
    )
    inputs = np.ones((1, 2, 2, 3), np.float32)
    folder = write_bundle(tmp_path / "a", converter.convert(), name="n", normalisation=None, golden_inputs=inputs)
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    assert manifest["left_out"]["op_resolver.h"].startswith("WHILE runs another graph")
    # sin(sin(sin(1))), by hand.
    output = np.fromfile(folder / "golden/output_0.bin", "<f4")
    assert output == pytest.approx(0.678430, abs=1e-5)


def test_the_arena_that_was_measured_is_the_one_that_is_built(files, images, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "measure_micro", lambda *_: MicroResult("7", 692624, {"head": 688128}, 0.01))
    folder = write(tmp_path / "artifact", files["int8"], images)
    assert "#define SELFTEST_ARENA_BYTES 692624" in (folder / "selftest.cc").read_text()
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    assert manifest["tflite_micro"]["arena_bytes"] == 692624
    assert manifest["versions"]["tflite-micro"] == "7"


def test_board_report_and_labels_are_told(files, images, tmp_path):
    folder = write_bundle(
        tmp_path / "a",
        files["int8"],
        name="n",
        normalisation=None,
        golden_inputs=images[:1],
        labels=["head", "neck", "hand", "foot"],
        board="A board",
        report={"row": "G1+G3", "accuracy": 76.5},
        version="1.2",
        author="Somebody",
    )
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    assert manifest["board"] == "A board"
    assert manifest["report"] == {"row": "G1+G3", "accuracy": 76.5}
    assert manifest["labels"] == ["head", "neck", "hand", "foot"]
    assert '"neck",' in (folder / "model_io.h").read_text()
    assert "model_input_from_pixel" not in (folder / "model_io.h").read_text()
    record, others = read_metadata((folder / "model.tflite").read_bytes())
    assert (record["name"], record["version"], record["author"]) == ("n", "1.2", "Somebody")
    assert record["description"].startswith("Made by tta_lite") and record["description"].endswith(" for A board")
    assert others == {"labels.txt": b"head\nneck\nhand\nfoot\n"}
    # No normalisation is known: nothing is said of pixels.
    (image,) = record["subgraph_metadata"][0]["input_tensor_metadata"]
    assert "content" not in image and "process_units" not in image


def test_the_sizes_are_those_of_the_file_and_of_the_network(made, files):
    preset, folder = made
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    size = (folder / "model.tflite").stat().st_size
    assert manifest["memory"]["file_bytes"] == manifest["files"]["model.tflite"]["bytes"] == size
    assert manifest["network"]["bytes"] == len(files[preset]) < size < len(files[preset]) + 1536


def test_the_manifest_holds_the_sum_of_every_file(made):
    _, folder = made
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    there = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    wanted = {name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in there.items()
              if name not in ("MANIFEST.json", "SHA256SUMS")}  # fmt: skip
    assert manifest["files"] == wanted
    assert {"tta_lite", "python", "ai-edge-litert", "numpy"} <= set(manifest["versions"])


def test_a_bundle_of_the_first_format_is_replaced(files, images, tmp_path):
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact/manifest.json").write_text("{}")
    folder = write(tmp_path / "artifact", files["int8"], images)
    assert [path.name for path in folder.glob("*anifest*")] == []
    assert (folder / "MANIFEST.json").is_file()
