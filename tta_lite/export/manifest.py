"""The list of an artifact's files. Imports no TensorFlow: whoever checks an artifact may not have it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tta_lite.export.check import Check
from tta_lite.types import InputError

FORMAT = 3
MANIFEST = "MANIFEST.json"
SUMS = "SHA256SUMS"


def file_sums(folder: Path) -> dict[str, tuple[str, int]]:
    """-> name in the folder: (SHA-256, bytes) of every file, sorted; folders are named as in ``golden/input_0.bin``."""
    sums = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() or path.is_symlink():
            # A link to nothing is a file that should not be there: it gets a sum, so that it is seen.
            content = path.read_bytes() if path.is_file() else b""
            sums[path.relative_to(folder).as_posix()] = (hashlib.sha256(content).hexdigest(), len(content))
    return sums


def write_sums(folder: Path) -> None:
    """Writes SHA256SUMS over all files that are there, after everything else."""
    sums = [f"{digest}  {name}" for name, (digest, _) in file_sums(folder).items()]
    (folder / SUMS).write_text("\n".join(sums) + "\n", encoding="utf-8")


def read_manifest(place: Path) -> dict[str, Any]:
    """-> what MANIFEST.json says.

    Raises:
      InputError: there is none, or of another format.
    """
    path = place / MANIFEST
    if not path.is_file():
        raise InputError(f"An artifact must be a folder with a {MANIFEST}. Received: {place}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} must hold JSON: {error}. Received: {path.stat().st_size} bytes") from error
    given = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
    if given != FORMAT:
        raise InputError(f"{path} must be of format {FORMAT}; write the artifact again. Received: format {given}")
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(isinstance(record, dict) for record in files.values()):
        raise InputError(f"{path} must list the files of the artifact. Received: {files!r}")
    return manifest


def network_bytes(place: Path, manifest: Mapping[str, Any]) -> bytes:
    """-> the network that model.tflite holds, as it was measured, without the metadata around it."""
    start, size = manifest["network"]["offset"], manifest["network"]["bytes"]
    return (place / "model.tflite").read_bytes()[start : start + size]


def file_checks(place: Path, manifest: Mapping[str, Any]) -> Iterator[Check]:
    """Compares the folder with both of its lists; one check for each file that is not right, or one for all."""
    there = {name: digest for name, (digest, _) in file_sums(place).items()}
    listed = {name: str(record.get("sha256")) for name, record in manifest["files"].items()}
    faults = _differences(listed, {name: there[name] for name in there if name not in (MANIFEST, SUMS)})
    summed = _read_sums(place / SUMS)
    if summed is None:
        faults.append(f"{SUMS}: missing")
    else:
        # Only this list can hold the sum of the manifest.
        wanted = {**listed, MANIFEST: there[MANIFEST]}
        if summed.get(MANIFEST) != there[MANIFEST]:
            faults.append(f"{MANIFEST}: changed, or {SUMS} is: the sum there is another")
        faults += [
            f"{SUMS}: changed: it does not say of {name} what {MANIFEST} says"
            for name in sorted({*wanted} | {*summed})
            if name != MANIFEST and summed.get(name) != wanted.get(name)
        ]
    yield from (Check("files", False, fault) for fault in faults)
    if not faults:
        yield Check("files", True, f"{len(listed)} files with the SHA-256 of {MANIFEST}, and no others")


def _differences(listed: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    faults = []
    for name in sorted({*listed} | {*there}):
        if name not in there:
            faults.append(f"{name}: missing")
        elif name not in listed:
            faults.append(f"{name}: extra: {MANIFEST} does not list it")
        elif there[name] != listed[name]:
            faults.append(f"{name}: changed: its SHA-256 is {there[name][:12]}..., listed is {listed[name][:12]}...")
    return faults


def _read_sums(path: Path) -> dict[str, str] | None:
    if not path.is_file():
        return None
    lines = [line.partition("  ") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return {name: digest for digest, _, name in lines}
