"""Is an artifact folder what it was when it was written, and does it run here? One line a check."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.export.c_array import c_source
from tta_lite.export.check import Check
from tta_lite.export.compile_check import compile_checks
from tta_lite.export.contents import read_contents
from tta_lite.export.golden import INDEX, edge_record
from tta_lite.export.manifest import MANIFEST, file_checks, network_bytes, read_manifest
from tta_lite.export.metadata import metadata_fault
from tta_lite.export.metadata_file import NAME, network_in, read_metadata
from tta_lite.export.model_io import HEADER, label_table
from tta_lite.export.open_safely import open_safely
from tta_lite.export.runner import TFLitePredictor
from tta_lite.files import to_json_text
from tta_lite.types import InputError

# The library's own kernels beside XNNPACK's: a phone or board may run either.
KERNELS = ("xnnpack", "builtin")
# A step of the output's scale must not fail by the last bit of a float.
SLACK = 1.0001


def verify_artifact(folder: str | Path) -> Iterator[Check]:
    """Goes through the folder; yields each check when it is done.

    Where a file is not the one that was written, nothing is run: a changed flatbuffer can end the process, and a
    changed source is somebody else's program.

    Args:
      folder: what `tta_lite.export.bundle.write_bundle` wrote; it stays as it is.

    Raises:
      InputError: no such folder, or one without a manifest that can be read.
    """
    place = Path(folder)
    manifest = read_manifest(place)
    found = list(file_checks(place, manifest))
    yield from found
    if not all(check.passed for check in found):
        yield Check("model", None, "not run, because the files are not those that were written")
        return
    model = _model_check(place, manifest)
    yield model
    if not model.passed:
        return
    yield _metadata_check(place, manifest)
    vectors = _read_vectors(place)
    outputs: list[np.ndarray] = []
    for kernels in KERNELS:
        check, outputs = _golden_check(place, vectors, kernels)
        yield check
    yield _ops_check(place)
    if manifest["c_array"]:
        yield _array_check(place, manifest)
    computed = [(stored, output) for (stored, _), output in zip(vectors, outputs, strict=True)]
    yield from compile_checks(place, manifest, computed)


def _model_check(place: Path, manifest: Mapping[str, Any]) -> Check:
    try:
        # Whoever wrote the file wrote its checksum too.
        tflite = open_safely(place / "model.tflite").tflite
    except InputError as error:
        return Check("model", False, str(error))
    predictor = TFLitePredictor(tflite)
    for side, edge in (("input", predictor.input), ("output", predictor.output)):
        record = json.loads(to_json_text(edge_record(edge)))
        told = manifest[side]
        # The file may leave open what the vectors fix.
        fits = len(record["shape"]) == len(told["shape"]) and all(
            a in (b, -1) for a, b in zip(record.pop("shape"), told["shape"], strict=True)
        )
        if not fits or any(told[key] != value for key, value in record.items()):
            return Check("model", False, f"the {side} is not what {MANIFEST} says: {edge_record(edge)}")
    digest = hashlib.sha256(tflite).hexdigest()
    if digest != manifest["model"]["sha256"]:
        return Check("model", False, f"model.tflite is another than {MANIFEST} names")
    edges = " -> ".join(f"{manifest[s]['dtype']} {manifest[s]['shape']}" for s in ("input", "output"))
    return Check("model", True, f"model.tflite loads in LiteRT, {edges}")


def _metadata_check(place: Path, manifest: Mapping[str, Any]) -> Check:
    tflite = (place / "model.tflite").read_bytes()
    contents, labels, told = read_contents(tflite), manifest["labels"], manifest["network"]
    try:
        record, files = read_metadata(tflite)
        network = network_in(tflite, told["offset"], told["bytes"])
        fault = metadata_fault(
            record,
            files,
            inputs=len(contents.inputs),
            outputs=len(contents.outputs),
            labels=labels,
            normalisation=manifest["normalisation"],
        )
    except InputError as error:
        return Check("metadata", False, f"model.tflite: {error}")
    digest = hashlib.sha256(network).hexdigest()
    if not fault and digest != told["sha256"]:
        fault = f"the network must have the SHA-256 {told['sha256']} of {MANIFEST}. Received: {digest}"
    if not fault and labels is not None and label_table(labels) not in (place / HEADER).read_text(encoding="ascii"):
        fault = f"{HEADER} must name {labels}. Received: others"
    what = f"around the network, with {'no' if labels is None else len(labels)} labels"
    return Check("metadata", not fault, f"{NAME} of model.tflite: {fault or what}")


def _read_vectors(place: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """-> (input, output) of each golden vector, as the file stores them."""
    golden = json.loads((place / INDEX).read_text(encoding="utf-8"))
    return [
        (_read(place / vector["input"], golden["input"]), _read(place / vector["output"], golden["output"]))
        for vector in golden["vectors"]
    ]


def _read(path: Path, edge: Mapping[str, Any]) -> np.ndarray:
    dtype = np.dtype(edge["dtype"])
    return np.fromfile(path, dtype.newbyteorder("<")).astype(dtype).reshape(edge["shape"])


def _golden_check(
    place: Path, vectors: list[tuple[np.ndarray, np.ndarray]], kernels: str
) -> tuple[Check, list[np.ndarray]]:
    predictor = TFLitePredictor((place / "model.tflite").read_bytes(), kernels=kernels)
    tolerance = float(json.loads((place / INDEX).read_text(encoding="utf-8"))["tolerance"])
    outputs = [predictor.run(stored) for stored, _ in vectors]
    real = predictor.output.dequantise
    largest = [float(np.abs(real(a) - real(b)).max()) for a, (_, b) in zip(outputs, vectors, strict=True)]
    # Not `max(largest) <=`: a NaN must fail wherever it stands.
    passed = bool(vectors) and all(difference <= tolerance * SLACK for difference in largest)
    text = f"{len(vectors)} outputs by LiteRT's {kernels} kernels, largest difference {np.max(largest or [0]):.3g}, "
    return Check("golden", passed, f"{text}allowed {tolerance:.3g}"), outputs


def _ops_check(place: Path) -> Check:
    counts = read_contents((place / "model.tflite").read_bytes()).op_counts()
    wanted = json.loads(to_json_text([dataclasses.asdict(op) for op in counts]))
    passed = json.loads((place / "ops.json").read_text(encoding="utf-8")) == wanted
    return Check("ops", passed, f"ops.json {'names' if passed else 'does not name'} the ops of model.tflite")


def _array_check(place: Path, manifest: Mapping[str, Any]) -> Check:
    written = (place / "model_data.cc").read_bytes()
    passed = written == c_source(network_bytes(place, manifest), manifest["c_array"]["symbol"])
    what = "the network of model.tflite"
    return Check("C array", passed, f"model_data.cc holds {'' if passed else 'other bytes than '}{what}")
