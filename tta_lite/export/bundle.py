"""The artifact folder: all that a firmware team needs to run a network, and to check that they run it rightly.

model.tflite          the network as it was measured, and TFLite Model Metadata around it
model_data.h, .cc     the network alone as a constant array on a 16-byte boundary (up to `C_ARRAY_LIMIT`)
model_io.h            shapes, types, scales, how a pixel becomes an input, what the outputs are called: C constants
op_resolver.h         the kernels that TensorFlow Lite Micro must link, where it has them all
ops.json              which ops, which versions, which types: what must be linked in elsewhere
golden.json, golden/  inputs and the outputs that belong to them, as the file stores them (little-endian)
selftest.cc           compares what a board computes with the golden outputs, which golden_data.h, .cc hold
MANIFEST.json         SHA-256 of all of these; inputs, outputs, memory need, versions, board, report; what is left out
SHA256SUMS            the same sums and that of MANIFEST.json: ``sha256sum -c SHA256SUMS``

docs/artifact.md goes through it file by file; `tta_lite.export.verify` checks it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tta_lite
from tta_lite.export.c_array import c_header, c_source, c_symbol
from tta_lite.export.contents import Contents, read_contents
from tta_lite.export.delegation import undelegated_ops
from tta_lite.export.golden import INDEX, edge_record, make_golden, runtime, write_golden
from tta_lite.export.manifest import FORMAT, MANIFEST, file_sums, write_sums
from tta_lite.export.metadata import LABELS, label_file, metadata_record
from tta_lite.export.metadata_file import with_metadata
from tta_lite.export.micro import MicroResult, measure_micro
from tta_lite.export.model_io import HEADER as IO_HEADER
from tta_lite.export.model_io import model_io_header
from tta_lite.export.op_resolver import HEADER as RESOLVER_HEADER
from tta_lite.export.op_resolver import lacking_ops, op_resolver_header
from tta_lite.export.runner import TFLitePredictor
from tta_lite.export.selftest import DATA_HEADER, DATA_SOURCE, HOOK, SOURCE, golden_count, selftest_files
from tta_lite.export.whole_folder import whole_folder
from tta_lite.files import to_json_text
from tta_lite.models.backbones import Normalisation

# GCC takes some 150 bytes of memory for each byte of an array (1.3 GB for 8 MB): beyond this it helps nobody.
C_ARRAY_LIMIT = 16 << 20
# Ops that run another graph of the file than the main one.
BRANCHES = ("IF", "WHILE", "CALL_ONCE")
PACKAGES = ("tensorflow", "tf_keras", "ai-edge-litert", "numpy")


@dataclasses.dataclass(frozen=True)
class About:
    """What is known of a network beside its file.

    Attributes:
      name: what it is called; it also names the C array.
      normalisation: how RGB pixels become the numbers that it takes; None: not known here.
      labels: what the places of the output's last dimension are called.
      board: the target it was made for; empty: none in particular.
      report: the row of the report: its name and figures, plain JSON values.
      version: of the network; empty: not known.
      author: who made the network; empty: not known.
    """

    name: str
    normalisation: Normalisation | None = None
    labels: Sequence[str] | None = None
    board: str = ""
    report: Mapping[str, Any] | None = None
    version: str = ""
    author: str = ""


def write_bundle(
    folder: str | Path,
    tflite: bytes,
    *,
    name: str,
    normalisation: Normalisation | None,
    golden_inputs: np.ndarray,
    labels: Sequence[str] | None = None,
    board: str = "",
    report: Mapping[str, Any] | None = None,
    version: str = "",
    author: str = "",
) -> Path:
    """Writes the folder, whole or not at all; a bundle that was there before is replaced.

    Args:
      folder: the artifact folder.
      tflite: a file with one input and one output; metadata that it has is replaced.
      name: what the network is called; it also names the C array.
      normalisation: how RGB pixels become the numbers that the network takes; None: not known here.
      golden_inputs: [N, H, W, 3] float32, normalised; a few are enough.
      labels: what the places of the output's last dimension are called, such as classes or joints; None: not known.
      board: the target it was made for; empty: none in particular.
      report: the row of the report that it is: its name and figures, plain JSON values.
      version: of the network, for the metadata of the file; empty: not known.
      author: who made the network, for the metadata of the file; empty: not known.

    Returns:
      The folder.

    Raises:
      InputError: the folder holds something else, or an argument cannot be used.
    """
    with whole_folder(folder) as temporary:
        about = About(name, normalisation, labels, board, report, version, author)
        _write_files(temporary, tflite, about, golden_inputs)
    return Path(folder)


def _write_files(folder: Path, network: bytes, about: About, golden_inputs: np.ndarray) -> None:
    symbol = c_symbol(about.name)
    tflite, offset = _with_metadata(network, about)
    contents = read_contents(tflite)
    golden = make_golden(tflite, golden_inputs)
    # It runs the C array.
    micro = measure_micro(network, golden)
    left_out: dict[str, str] = {}

    (folder / "model.tflite").write_bytes(tflite)
    has_array = len(network) <= C_ARRAY_LIMIT
    if has_array:
        (folder / "model_data.h").write_text(c_header(symbol), encoding="ascii")
        (folder / "model_data.cc").write_bytes(c_source(network, symbol))
    else:
        why = f"the {len(network)} bytes are more than the {C_ARRAY_LIMIT} that compilers take: read model.tflite"
        left_out |= dict.fromkeys(("model_data.h", "model_data.cc"), why)
    has_resolver = not (why := _no_resolver(contents, micro))
    if has_resolver:
        (folder / RESOLVER_HEADER).write_text(op_resolver_header(op.name for op in contents.ops), encoding="ascii")
    else:
        left_out[RESOLVER_HEADER] = why

    _write_json(folder / "ops.json", [dataclasses.asdict(op) for op in contents.op_counts()])
    _write_json(folder / INDEX, write_golden(folder, golden))
    header = model_io_header(
        golden.input, golden.output, name=about.name, normalisation=about.normalisation, labels=about.labels
    )
    (folder / IO_HEADER).write_text(header, encoding="ascii")
    if golden_count(golden):
        runs_micro = symbol if has_array and has_resolver else None
        for name, content in selftest_files(golden, symbol=runs_micro, arena_bytes=micro.arena_bytes).items():
            (folder / name).write_bytes(content)
        if not runs_micro:
            left_out[f"{SOURCE}, SELFTEST_TFLM"] = left_out.get(RESOLVER_HEADER) or left_out["model_data.cc"]
    else:
        why = "one golden vector is larger than a board holds beside the network: compare with golden/*.bin"
        left_out |= dict.fromkeys((SOURCE, HOOK, DATA_HEADER, DATA_SOURCE), why)

    manifest = {
        "format": FORMAT,
        "name": about.name,
        "model": {"file": "model.tflite", "sha256": hashlib.sha256(tflite).hexdigest()},
        "network": {"offset": offset, "bytes": len(network), "sha256": hashlib.sha256(network).hexdigest()},
        "c_array": {"header": "model_data.h", "symbol": symbol, "length": f"{symbol}_len"} if has_array else None,
        "input": edge_record(golden.input),
        "output": edge_record(golden.output),
        "normalisation": _normalisation_record(about.normalisation),
        "labels": None if about.labels is None else list(about.labels),
        "memory": dataclasses.asdict(contents.memory()),
        "tflite_micro": dataclasses.asdict(micro),
        "undelegated_ops": [dataclasses.asdict(op) for op in undelegated_ops(tflite)],
        "runtime": runtime(),
        "versions": _versions(micro),
        "board": about.board or None,
        "report": about.report,
        "left_out": left_out,
        "files": {name: {"sha256": digest, "bytes": size} for name, (digest, size) in file_sums(folder).items()},
    }
    _write_json(folder / MANIFEST, manifest)
    write_sums(folder)


def _with_metadata(network: bytes, about: About) -> tuple[bytes, int]:
    """-> the file with what is known of the network, and where the network begins in it."""
    predictor = TFLitePredictor(network)
    record = metadata_record(
        read_contents(network),
        predictor.input,
        predictor.output,
        name=about.name,
        description=f"Made by tta_lite {tta_lite.__version__}{f' for {about.board}' if about.board else ''}",
        version=about.version,
        author=about.author,
        normalisation=about.normalisation,
        labels=about.labels,
    )
    return with_metadata(network, record, {} if about.labels is None else {LABELS: label_file(about.labels)})


def _no_resolver(contents: Contents, micro: MicroResult) -> str:
    """-> why no resolver is written; empty if it is."""
    if micro.arena_bytes is None and micro.version:
        return f"TensorFlow Lite Micro cannot run the file: {micro.reason}"
    if branches := [op.name for op in contents.ops if op.name in BRANCHES]:
        return f"{branches[0]} runs another graph of the file, whose ops are not listed here: ask for all of them"
    lacking = lacking_ops(op.name for op in contents.ops)
    return f"TensorFlow Lite Micro has no kernel for {', '.join(lacking)}" if lacking else ""


def _versions(micro: MicroResult) -> dict[str, str]:
    versions = {"tta_lite": tta_lite.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            # The file may have come from elsewhere: LiteRT alone is needed here.
            continue
    return {**versions, **({"tflite-micro": micro.version} if micro.version else {})}


def _normalisation_record(normalisation: Normalisation | None) -> dict[str, Any] | None:
    if normalisation is None:
        return None
    formula = "real = (pixel - mean) / std for each channel, pixels 0..255, channels red, green, blue"
    return {"formula": formula, "mean": normalisation.mean, "std": normalisation.std}


def _write_json(path: Path, record: Any) -> None:
    path.write_text(to_json_text(record, indent=2) + "\n", encoding="utf-8")
