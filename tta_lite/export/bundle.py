"""The artifact folder: all that a firmware team needs to run a network, and to check that they run it rightly.

model.tflite         the flatbuffer
model_data.h, .cc    the same as a constant array on a 16-byte boundary (up to `C_ARRAY_LIMIT`)
ops.json             which ops, which versions, which types: what must be linked in
golden.json, golden/ inputs and the outputs that belong to them, as the file stores them (little-endian)
manifest.json        inputs, outputs, how a pixel becomes an input, memory need, what XNNPACK does not take
SHA256SUMS           of all of these: ``sha256sum -c SHA256SUMS``
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.export.c_array import c_header, c_source, c_symbol
from tta_lite.export.contents import read_contents
from tta_lite.export.delegation import undelegated_ops
from tta_lite.export.runner import Edge, TFLitePredictor
from tta_lite.files import TEMPORARY_PREFIX, to_json_text
from tta_lite.models.backbones import Normalisation
from tta_lite.types import InputError

FORMAT = 1
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
# GCC takes some 150 bytes of memory for each byte of an array (1.3 GB for 8 MB): beyond this it helps nobody.
C_ARRAY_LIMIT = 16 << 20


def write_bundle(
    folder: str | Path,
    tflite: bytes,
    *,
    name: str,
    normalisation: Normalisation | None,
    golden_inputs: np.ndarray,
) -> Path:
    """Writes the folder, whole or not at all; a bundle that was there before is replaced.

    Args:
      folder: the artifact folder.
      tflite: a file with one input and one output.
      name: what the network is called; it also names the C array.
      normalisation: how RGB pixels become the numbers that the network takes; None: not known here.
      golden_inputs: [N, H, W, 3] float32, normalised; a few are enough.

    Returns:
      The folder.

    Raises:
      InputError: the folder holds something else, or an argument cannot be used.
    """
    target = Path(folder)
    _check_replaceable(target)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:8]}-{target.name}")
    temporary.mkdir(parents=True)
    try:
        _write_files(temporary, tflite, name, normalisation, golden_inputs)
        _swap_in(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _write_files(
    folder: Path, tflite: bytes, name: str, normalisation: Normalisation | None, golden_inputs: np.ndarray
) -> None:
    symbol = c_symbol(name)
    predictor = TFLitePredictor(tflite)
    contents = read_contents(tflite)
    has_array = len(tflite) <= C_ARRAY_LIMIT

    (folder / "model.tflite").write_bytes(tflite)
    if has_array:
        (folder / "model_data.h").write_text(c_header(symbol), encoding="ascii")
        (folder / "model_data.cc").write_bytes(c_source(tflite, symbol))
    _write_json(folder / "ops.json", [dataclasses.asdict(op) for op in contents.op_counts()])
    _write_json(folder / "golden.json", _write_golden(folder, tflite, predictor, golden_inputs))
    _write_json(
        folder / MANIFEST,
        {
            "format": FORMAT,
            "name": name,
            "model": {"file": "model.tflite", "sha256": hashlib.sha256(tflite).hexdigest()},
            "c_array": {"header": "model_data.h", "symbol": symbol, "length": f"{symbol}_len"} if has_array else None,
            "input": _edge_record(predictor.input),
            "output": _edge_record(predictor.output),
            "normalisation": _normalisation_record(normalisation),
            "memory": dataclasses.asdict(contents.memory()),
            "undelegated_ops": [dataclasses.asdict(op) for op in undelegated_ops(tflite)],
            "runtime": _runtime(),
        },
    )
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}" for path in files]
    (folder / SUMS).write_text("\n".join(sums) + "\n", encoding="utf-8")


def _write_golden(folder: Path, tflite: bytes, predictor: TFLitePredictor, images: np.ndarray) -> dict[str, Any]:
    images = np.asarray(images, dtype=np.float32)
    # Checks the shape, and gives real numbers to compare with.
    expected = predictor(images)
    (folder / "golden").mkdir()
    vectors = []
    for number, image in enumerate(images):
        stored = predictor.input.quantise(image[None])
        record = {"input": f"golden/input_{number}.bin", "output": f"golden/output_{number}.bin"}
        (folder / record["input"]).write_bytes(_little_endian(stored))
        (folder / record["output"]).write_bytes(_little_endian(predictor.run(stored)))
        vectors.append(record)
    # Kernels may round otherwise: XNNPACK's and the runtime's own differ by a step or two of int8.
    other = TFLitePredictor(tflite, kernels="builtin")(images)
    difference = float(np.abs(other - expected).max())
    return {
        "vectors": vectors,
        "input": _edge_record(predictor.input),
        "output": _edge_record(predictor.output),
        "made_by": _runtime(),
        "kernel_difference": difference,
        "tolerance": max(2 * difference, predictor.output.scale),
        "tolerance_note": (
            "the largest difference from the golden output, in real numbers, that other kernels may show: twice that "
            "of the runtime's own kernels against XNNPACK on these inputs, and at least one step of the output's scale"
        ),
    }


def _normalisation_record(normalisation: Normalisation | None) -> dict[str, Any] | None:
    if normalisation is None:
        return None
    formula = "real = (pixel - mean) / std for each channel, pixels 0..255, channels red, green, blue"
    return {"formula": formula, "mean": normalisation.mean, "std": normalisation.std}


def _edge_record(edge: Edge) -> dict[str, Any]:
    record = {"name": edge.name, "shape": edge.shape, "dtype": edge.dtype.name}
    if not edge.scale:
        return {**record, "quantisation": None}
    formula = "stored = round(real / scale) + zero_point, clipped to the type; real = (stored - zero_point) * scale"
    return {**record, "quantisation": {"scale": edge.scale, "zero_point": edge.zero_point, "formula": formula}}


def _little_endian(stored: np.ndarray) -> bytes:
    return stored.astype(stored.dtype.newbyteorder("<")).tobytes()


def _runtime() -> str:
    return f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}, XNNPACK, batch 1"


def _write_json(path: Path, record: Any) -> None:
    path.write_text(to_json_text(record, indent=2) + "\n", encoding="utf-8")


def _check_replaceable(target: Path) -> None:
    if not target.exists():
        return
    is_bundle = target.is_dir() and ((target / MANIFEST).is_file() or not any(target.iterdir()))
    if not is_bundle:
        raise InputError(
            f"The artifact folder must be new, empty, or an earlier bundle (with a {MANIFEST}). Received: {target}"
        )


def _swap_in(temporary: Path, target: Path) -> None:
    if not target.exists():
        os.replace(temporary, target)
        return
    # A folder that is not empty cannot be replaced in one step.
    old = target.with_name(f"{temporary.name}-old")
    os.replace(target, old)
    try:
        os.replace(temporary, target)
    except BaseException:
        os.replace(old, target)
        raise
    shutil.rmtree(old)
