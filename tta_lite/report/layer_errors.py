"""What each layer of the chosen integer file loses: found once, kept in the run folder, shown as bars on the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.export.quantize.debug import Debug, debug, debug_export
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.files import digest
from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.quantization import op_line, op_notes
from tta_lite.report.run_folder import RunFolder
from tta_lite.training.quantization_aware import plain_network
from tta_lite.types import Candidate

KEPT = "quantization.json"
# Tell most; more tell it finer.
IMAGES = 8
# Of the chart; a table below it holds the others.
BARS = 15


def found_errors(
    folder: RunFolder,
    candidate: Candidate,
    file: Path,
    images: Callable[[int], Sequence[np.ndarray]],
    *,
    write: Callable[[str], Any] = print,
) -> Debug | None:
    """-> what every layer of a file loses; None of one that has no integers between its layers.

    It is read from ``quantization.json`` if that is of the same file.

    Args:
      folder: of the run.
      candidate: the network and how it was exported.
      file: what came of it.
      images: number of images -> training images, each [1, H, W, C] float32.
      write: where progress goes.

    Raises:
      InputError: the file is not of this network.
    """
    spec = candidate.export
    if not spec.needs_images:
        return None
    key = digest(file)
    try:
        kept = json.loads((folder.path / KEPT).read_text(encoding="utf-8"))
        if kept["file"] == key:
            return Debug.from_json(kept["debug"])
    except (OSError, ValueError, KeyError, TypeError):
        # Not there, or of another version: it is found again.
        pass
    write("comparing every layer of the integer file with the float network")
    layers = [layer.name for layer in plain_network(candidate.model).layers]
    # What learnt with rounding is compared with what it would be without.
    post = PostTraining(FloatFile.of_model(plain_network(candidate.model)), images(spec.calibration_images))
    if spec.repairs:
        found = debug_export(post, spec, list(post.images[:IMAGES]), layers=layers)
    else:
        # The file itself: what quantisation-aware training has made cannot be made again.
        found = debug(post.source.tflite, file.read_bytes(), list(post.images[:IMAGES]), layers=layers)
    folder.write_json(KEPT, {"file": key, "debug": found.to_json()})
    return found


def errors_view(row: str, found: Debug, say: Language = ENGLISH) -> Mapping[str, Any]:
    """-> what the page shows: bars of the worst layers, all figures of every layer, and what to know of them."""
    worst = found.worst(BARS)
    return {
        "title": say("What the worst layers of {row} lose in integers", row=row),
        "bars": [{**op_line(one, found, say), "worst": False} for one in found.ops if one in worst],
        "short": True,
        "every": [op_line(one, found, say) for one in found.ops],
        "with_gain": False,
        "notes": op_notes(found, say),
    }
