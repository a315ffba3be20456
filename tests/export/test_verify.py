from __future__ import annotations

import hashlib
import json
import shutil
import stat

import numpy as np
import pytest

from tta_lite.export import bundle, compile_check, selftest
from tta_lite.export.bundle import write_bundle
from tta_lite.export.manifest import network_bytes
from tta_lite.export.metadata import label_file
from tta_lite.export.metadata_file import read_metadata, with_metadata
from tta_lite.export.verify import verify_artifact
from tta_lite.models.backbones import Normalisation
from tta_lite.types import InputError

NORMALISATION = Normalisation((127.5,) * 3, (127.5,) * 3)
JOINTS = ["head", "neck", "hand", "foot"]
CXX = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(CXX is None, reason="needs a C++ compiler")


def _write(folder, tflite, images):
    return write_bundle(
        folder, tflite, name="Tiny", normalisation=NORMALISATION, golden_inputs=images[:2], labels=JOINTS
    )


@pytest.fixture(scope="module")
def artifact(files, images, tmp_path_factory):
    return _write(tmp_path_factory.mktemp("run") / "artifact", files["int8"], images)


@pytest.fixture
def copy(artifact, tmp_path):
    return shutil.copytree(artifact, tmp_path / "copy")


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setattr(compile_check, "HOST", ())
    monkeypatch.setattr(compile_check, "CROSS", ())
    monkeypatch.delenv("CXX", raising=False)


def _failures(folder):
    return [check.text for check in verify_artifact(folder) if check.passed is False]


def _sign(folder):
    """Lists the files anew, as somebody would who changed one on purpose."""
    path = folder / "MANIFEST.json"
    manifest = json.loads(path.read_text())
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in ("MANIFEST.json", "SHA256SUMS")]
    there = {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    manifest["files"] = {name: {"sha256": digest} for name, digest in there.items()}
    manifest["model"]["sha256"] = there["model.tflite"]
    path.write_text(json.dumps(manifest))
    there["MANIFEST.json"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in there.items()))


@needs_compiler
@pytest.mark.parametrize("preset", ["fp32", "fp16", "dynamic", "int8"])
def test_what_was_written_passes(preset, files, images, tmp_path):
    checks = list(verify_artifact(_write(tmp_path / "artifact", files[preset], images)))
    assert [check.name for check in checks if check.passed] == [
        "files", "model", "metadata", "golden", "golden", "ops", "C array", "compile", "self-test", "self-test"
    ]  # fmt: skip
    assert [check for check in checks if check.passed is False] == []
    # Nothing is left in the folder.
    assert len(list(verify_artifact(tmp_path / "artifact"))) == len(checks)


def test_a_flipped_bit_of_any_file_names_it(copy):
    for path in [p for p in copy.rglob("*") if p.is_file()]:
        name = path.relative_to(copy).as_posix()
        whole = path.read_bytes()
        # Of MANIFEST.json a bit of a letter, so that it stays JSON: "name" becomes "nAme".
        at = whole.index(b"labels") + 1 if name == "MANIFEST.json" else len(whole) // 2
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
        checks = list(verify_artifact(copy))
        texts = [check.text for check in checks if check.passed is False]
        assert len(texts) == 1 or name == "SHA256SUMS", texts
        assert texts and all(text.startswith(f"{name}: changed") for text in texts), texts
        # A changed flatbuffer must not be run.
        assert str(checks[-1]).startswith("skip  model: not run")
        path.write_bytes(whole)
    assert next(verify_artifact(copy)).passed


def test_missing_and_extra_files_are_named(copy):
    (copy / "golden/output_1.bin").unlink()
    (copy / "notes.txt").write_text("x")
    (copy / "golden/link").symlink_to("nowhere")
    assert _failures(copy) == [
        "golden/link: extra: MANIFEST.json does not list it",
        "golden/output_1.bin: missing",
        "notes.txt: extra: MANIFEST.json does not list it",
    ]


def test_missing_sums_are_named(copy):
    (copy / "SHA256SUMS").unlink()
    assert _failures(copy) == ["SHA256SUMS: missing"]


def test_a_network_with_other_edges_and_right_sums_is_not_run(copy, no_compiler, other_net, calibration):
    from tta_lite.export.tflite import export_tflite
    from tta_lite.types import ExportSpec

    (copy / "model.tflite").write_bytes(export_tflite(other_net, ExportSpec("fp32")))
    _sign(copy)
    (text,) = _failures(copy)
    assert text.startswith("the input is not what MANIFEST.json says") and "float32" in text


def test_the_same_network_with_other_weights_gives_other_outputs(copy, no_compiler, files):
    # One weight in the middle of the file: a buffer, so that it still loads.
    path = copy / "model.tflite"
    whole = path.read_bytes()
    at = whole.index(files["int8"][20000:20064])
    path.write_bytes(whole[:at] + bytes(256) + whole[at + 256 :])
    _sign(copy)
    texts = _failures(copy)
    assert [text for text in texts if "2 outputs by LiteRT's xnnpack kernels" in text]
    assert "model_data.cc holds other bytes than the network of model.tflite" in texts


def _put_around(folder, change, labels=JOINTS):
    """Gives the network of an artifact other metadata, and signs it."""
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    network = network_bytes(folder, manifest)
    record, _ = read_metadata((folder / "model.tflite").read_bytes())
    change(record["subgraph_metadata"][0])
    tflite, manifest["network"]["offset"] = with_metadata(network, record, {"labels.txt": label_file(labels)})
    (folder / "model.tflite").write_bytes(tflite)
    (folder / "MANIFEST.json").write_text(json.dumps(manifest))
    _sign(folder)


@pytest.mark.parametrize(
    ("change", "labels", "said"),
    [
        (lambda graph: None, JOINTS[::-1], "labels.txt must hold the names of model_io.h, ['head', 'neck', 'hand', "),
        (lambda graph: graph["input_tensor_metadata"].append({}), JOINTS, "must describe 1 inputs, as many as the"),
        (lambda graph: graph["output_tensor_metadata"].clear(), JOINTS, "must describe 1 outputs, as many as the"),
        (
            lambda graph: graph["input_tensor_metadata"][0]["process_units"][0]["options"].update(
                NormalizationOptions={"mean": [0.0], "std": [255.0]}
            ),
            JOINTS,
            "the normalisation must be that of model_io.h, ",
        ),
        (lambda graph: graph["output_tensor_metadata"][0].pop("associated_files"), JOINTS, "those that it names, []"),
    ],
)
def test_metadata_that_says_something_else_fails(copy, no_compiler, change, labels, said):
    _put_around(copy, change, labels)
    (text,) = _failures(copy)
    assert text.startswith("TFLITE_METADATA of model.tflite: ") and said in text and "Received: " in text


def test_names_in_the_header_that_are_not_the_labels_fail(copy, no_compiler):
    path = copy / "model_io.h"
    path.write_text(path.read_text().replace('"neck",', '"knee",'))
    _sign(copy)
    (text,) = _failures(copy)
    assert text.endswith("model_io.h must name ['head', 'neck', 'hand', 'foot']. Received: others")


def test_a_network_without_metadata_fails(copy, no_compiler, files):
    (copy / "model.tflite").write_bytes(files["int8"])
    _sign(copy)
    texts = _failures(copy)
    assert texts[0].startswith("model.tflite: A .tflite file must hold a buffer TFLITE_METADATA. Received: ")


def test_a_golden_output_out_of_reach_fails(copy, no_compiler):
    path = copy / "golden/output_0.bin"
    stored = np.fromfile(path, np.int8)
    stored[7] = -128 if stored[7] > 0 else 127
    stored.tofile(path)
    _sign(copy)
    texts = _failures(copy)
    assert len(texts) == 2 and all("2 outputs by LiteRT's" in text and "allowed" in text for text in texts)


def test_an_array_of_other_bytes_fails(copy, no_compiler):
    path = copy / "model_data.cc"
    path.write_bytes(path.read_bytes().replace(b"0x00,", b"0x01,", 1))
    _sign(copy)
    assert _failures(copy) == ["model_data.cc holds other bytes than the network of model.tflite"]


@needs_compiler
def test_the_program_looks_at_the_array_itself(copy, monkeypatch):
    from tta_lite.export import verify

    path = copy / "model_data.cc"
    path.write_bytes(path.read_bytes().replace(b"0x00,", b"0x01,", 1))
    _sign(copy)
    monkeypatch.setattr(verify, "_array_check", lambda *_: verify.Check("C array", True, ""))
    (text,) = _failures(copy)
    assert "refuses what LiteRT computes here" in text and "run_model returned 4" in text


@needs_compiler
def test_a_source_that_does_not_compile_is_named(copy):
    with open(copy / "golden_data.h", "a") as file:
        file.write("int f(void) { int unused; return 0; }\n")
    _sign(copy)
    (text,) = _failures(copy)
    assert "golden_data.cc: " in text and "unused" in text


@needs_compiler
def test_a_self_test_that_accepts_all_fails(copy):
    path = copy / "selftest.cc"
    path.write_text(path.read_text().replace("++count;", "count += 0;"))
    _sign(copy)
    assert _failures(copy) == ["selftest.cc accepts a wrong output"]


@needs_compiler
def test_cross_compilers_compile_only(copy, tmp_path, monkeypatch):
    # Stands for a compiler for another processor: it compiles, and refuses to link.
    cross = tmp_path / "bin" / "arm-none-eabi-g++"
    cross.parent.mkdir()
    cross.write_text(f'#!/bin/sh\ncase "$*" in *" -c "*) exec {CXX} "$@";; esac\nexit 1\n')
    cross.chmod(cross.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(cross.parent), prepend=":")
    found = [check for check in verify_artifact(copy) if "arm-none-eabi-g++" in check.text]
    assert [(check.name, check.passed) for check in found] == [("compile", True)]


def test_without_a_compiler_it_says_so(copy, no_compiler):
    skipped = [str(check) for check in verify_artifact(copy) if check.passed is None]
    assert skipped[0].startswith("skip  compile: no C++ compiler here") and len(skipped) == 2


@needs_compiler
def test_a_large_network_is_checked_without_its_array(files, images, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "C_ARRAY_LIMIT", 1000)
    checks = list(verify_artifact(_write(tmp_path / "artifact", files["int8"], images)))
    assert all(check.passed for check in checks)
    assert "C array" not in [check.name for check in checks]
    assert [check.name for check in checks].count("self-test") == 2


@needs_compiler
def test_an_array_that_no_compiler_should_see_is_left_out_and_told(copy, monkeypatch):
    monkeypatch.setattr(compile_check, "ARRAY_LIMIT", (copy / "golden_data.cc").stat().st_size // 6 + 1)
    with open(copy / "model_data.cc", "ab") as file:
        file.write(b" " * 400_000)
    _sign(copy)
    found = {str(check) for check in verify_artifact(copy)}
    assert "skip  compile: model_data.cc: too long for a compiler's memory" in found
    assert "ok    self-test: selftest.cc refuses a wrong output" in found


def test_an_artifact_without_self_test_says_why(files, images, tmp_path, monkeypatch):
    monkeypatch.setattr(selftest, "GOLDEN_ARRAY_LIMIT", 1000)
    checks = list(verify_artifact(_write(tmp_path / "artifact", files["int8"], images)))
    assert str(checks[-1]).startswith("skip  compile: the artifact has no selftest.cc: one golden vector is larger")
    assert all(check.passed for check in checks[:-1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"must be a folder with a MANIFEST\.json\. Received: "),
        ("{", "must hold JSON.* Received: 1 bytes"),
        ("[]", "must be of format 3.*Received: format list"),
        ('{"format": 2}', "must be of format 3; write the artifact again. Received: format 2"),
        ('{"format": 3}', "must list the files.*Received: None"),
        ('{"format": 3, "files": {"a": 1}}', "must list the files.*Received: "),
    ],
)
def test_a_folder_that_is_no_artifact(text, said, tmp_path):
    if text is not None:
        (tmp_path / "MANIFEST.json").write_text(text)
    with pytest.raises(InputError, match=said):
        list(verify_artifact(tmp_path))
