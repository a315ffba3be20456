"""The artifact folder of an adaptive network: its files, policy.json, golden answers and sums. Imports no TensorFlow.

policy.json       the modes (`tta_lite.adaptive.policy`)
*.tflite          what it names
golden.json       images and what each mode answers for them: which stages run, and the scores
golden/image_*.bin  the images, float32, little-endian
MANIFEST.json     SHA-256 of all of these, versions
SHA256SUMS        the same sums and that of MANIFEST.json

docs/adaptive.md goes through it; `verify_adaptive` checks it.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tta_lite
from tta_lite.adaptive.policy import POLICY, Policy, read_policy, write_policy
from tta_lite.adaptive.runner import AdaptiveRunner, Resize
from tta_lite.export.check import Check
from tta_lite.export.manifest import FORMAT, MANIFEST, file_checks, file_sums, read_manifest, write_sums
from tta_lite.export.whole_folder import whole_folder
from tta_lite.files import to_json_text
from tta_lite.types import InputError

GOLDEN = "golden.json"
# Of a task's test part, where nothing else is given.
GOLDEN_IMAGES = 4
PACKAGES = ("ai-edge-litert", "numpy")
# Of the largest score: sums in another order differ in the last bits, and a step of an int8 file is more.
TOLERANCE = 0.01


def write_adaptive(
    folder: str | Path, policy: Policy, files: Mapping[str, bytes], images: Sequence[np.ndarray]
) -> Path:
    """Writes the folder, whole or not at all; one that was there before is replaced.

    Args:
      folder: the artifact folder.
      policy: whose stages name the files.
      files: name -> flatbuffer; all that the policy names and no others.
      images: for golden answers: a few, each [H, W, C] float32, normalised. All modes that take the image must take
        that size.

    Raises:
      InputError: files that do not fit the policy, or images that do not fit the files.
    """
    named = {stage.file for stage in policy.stages}
    if set(files) != named:
        raise InputError(f"Argument `files` must hold {', '.join(sorted(named))}. Received: {', '.join(sorted(files))}")
    with whole_folder(folder) as place:
        for name, content in files.items():
            (place / name).write_bytes(content)
        write_policy(place / POLICY, policy)
        _write_golden(place, images)
        manifest = {
            "format": FORMAT,
            "name": policy.name,
            "policy": POLICY,
            "versions": _versions(),
            "files": {name: {"sha256": digest, "bytes": size} for name, (digest, size) in file_sums(place).items()},
        }
        _write_json(place / MANIFEST, manifest)
        write_sums(place)
    return Path(folder)


def rewrite_policy(folder: str | Path, policy: Policy) -> Path:
    """Writes the folder anew with another policy over the same files, for one whose stages were timed since."""
    place = Path(folder)
    files = {stage.file: (place / stage.file).read_bytes() for stage in policy.stages}
    return write_adaptive(place, policy, files, read_golden(place)[0])


def is_adaptive(folder: str | Path) -> bool:
    """-> whether a folder is an artifact with a policy."""
    return (Path(folder) / POLICY).is_file()


def read_golden(folder: str | Path) -> tuple[list[np.ndarray], dict[str, Any]]:
    """-> the images, each [H, W, C] float32, and what golden.json says."""
    place = Path(folder)
    record = json.loads((place / GOLDEN).read_text(encoding="utf-8"))
    images = [
        np.fromfile(place / one["file"], np.dtype("<f4")).astype(np.float32).reshape(one["shape"])
        for one in record["images"]
    ]
    return images, record


def verify_adaptive(folder: str | Path, *, resize: Resize | None = None) -> Iterator[Check]:
    """Goes through the folder; yields each check when it is done. Nothing is run where a file is not what was written.

    Raises:
      InputError: no such folder, or one without a manifest that can be read.
    """
    place = Path(folder)
    found = list(file_checks(place, read_manifest(place)))
    yield from found
    if not all(check.passed for check in found):
        yield Check("policy", None, "not read, because the files are not those that were written")
        return
    try:
        policy = read_policy(place)
        AdaptiveRunner(place, resize=resize)
    except InputError as error:
        yield Check("policy", False, str(error))
        return
    count = len(policy.stages)
    yield Check("policy", True, f"{policy.kind}, {count} stage{'s' * (count > 1)}, {len(policy.modes)} modes")
    images, record = read_golden(place)
    for mode in policy.modes:
        yield _golden_check(place, mode.name, images, record, resize)


def _golden_check(
    place: Path, mode: str, images: Sequence[np.ndarray], record: Mapping[str, Any], resize: Resize | None
) -> Check:
    runner = AdaptiveRunner(place, mode=mode, resize=resize)
    wanted = record["modes"].get(mode, [])
    largest, parted = 0.0, 0
    for image, told in zip(images, wanted, strict=False):
        answer = runner.run(image)
        scores = np.asarray(told["scores"], np.float32)
        parted += list(answer.stages) != told["stages"]
        scale = float(np.abs(scores).max()) or 1.0
        largest = max(largest, float(np.abs(answer.scores.ravel() - scores).max()) / scale)
    # Not `largest >`: a NaN must fail.
    passed = bool(images) and len(wanted) == len(images) and not parted and largest <= TOLERANCE
    text = f"mode {mode}: {len(wanted)} answers, largest difference {100 * largest:.2g} % of the largest score"
    return Check("golden", passed, text + (f", {parted} ended at another stage" if parted else ""))


def _write_golden(place: Path, images: Sequence[np.ndarray]) -> None:
    (place / "golden").mkdir()
    policy = read_policy(place)
    told: list[dict[str, Any]] = []
    for number, image in enumerate(images):
        name = f"golden/image_{number}.bin"
        (place / name).write_bytes(np.asarray(image, np.dtype("<f4")).tobytes())
        told.append({"file": name, "shape": np.shape(image)})
    modes = {}
    for mode in policy.modes:
        runner = AdaptiveRunner(place, mode=mode.name)
        found = [runner.run(image) for image in images]
        modes[mode.name] = [{"stages": one.stages, "scores": one.scores.ravel()} for one in found]
    _write_json(place / GOLDEN, {"images": told, "modes": modes})


def _versions() -> dict[str, str]:
    found = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"tta_lite": tta_lite.__version__, "python": platform.python_version(), **found}


def _write_json(path: Path, record: Any) -> None:
    path.write_text(to_json_text(record, indent=2) + "\n", encoding="utf-8")
