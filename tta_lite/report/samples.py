"""The same test examples, row by row: what each exported file says of them."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tta_lite.export.runner import TFLitePredictor
from tta_lite.models.backbones import Normalisation
from tta_lite.report import columns as cols
from tta_lite.report import plots
from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.page import data_uri
from tta_lite.report.skeletons import people_strip
from tta_lite.report.strips import joined
from tta_lite.tasks.classification import ClassificationTask
from tta_lite.tasks.pose import PoseTask
from tta_lite.tasks.stream import read_batches
from tta_lite.types import InputError, LedgerEntry, Predictor, Task

COUNT = 6
# Of a picture's longer side; the strip of six is as wide as the page.
TILE = 192
# What a file is asked about, and what is right, in the strips of a task of the user's own.
INPUTS, TRUTH = "inputs", "truth"
# Class 0 is mostly the ground.
GROUND = "#D9DCE0"


@dataclasses.dataclass(frozen=True)
class Classes:
    """Pictures that were classified.

    Attributes:
      pictures: PNGs.
      truth: the class of each.
      found: row -> (class, probability in percent) of each.
    """

    pictures: tuple[bytes, ...]
    truth: tuple[str, ...]
    found: Mapping[str, Sequence[tuple[str, float]]]


@dataclasses.dataclass(frozen=True)
class Samples:
    """What can be shown of a task; what cannot is empty.

    Attributes:
      people: row -> PNG of people with their joints.
      pictures: row, `INPUTS` or `TRUTH` -> PNG of pictures.
      classes: of a classification.
    """

    people: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    pictures: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    classes: Classes | None = None


def samples(task: Task, files: Mapping[str, Path], count: int = COUNT) -> Samples:
    """-> what the files say of the same `count` test examples, which lie evenly over the test set.

    Args:
      task: people are drawn with their joints, pictures of a folder get their class. Of a task of the user's own,
        its ``show(inputs, outputs)`` makes the pictures, [N, H, W, 3] uint8; without it, outputs that are maps of
        classes [N, H, W, C] are coloured by their largest channel.
      files: row -> ``.tflite`` file.
      count: examples.

    Raises:
      InputError: an example could not be read, or ``show`` gave something else or failed.
    """
    rows: dict[str, Predictor] = {row: TFLitePredictor(file.read_bytes()) for row, file in files.items()}
    if isinstance(task, PoseTask):
        return Samples(people=_people(task, rows, count))
    if isinstance(task, ClassificationTask):
        return Samples(classes=_classes(task, rows, count))
    return Samples(pictures=_pictures(task, rows, count))


def samples_view(shown: Samples, entries: Sequence[LedgerEntry], say: Language = ENGLISH) -> dict[str, Any]:
    """-> what the page shows of them but for the people: ``classes`` and ``pictures``."""
    about = {entry.name: _about(entry, say) for entry in entries}
    view: dict[str, Any] = {"pictures": [_strip(name, png, about, say) for name, png in shown.pictures.items()]}
    if shown.classes is not None:
        truth, colours = shown.classes.truth, plots.row_colours(entries)
        view["classes"] = {
            "pictures": [
                {"uri": data_uri(png), "truth": name} for png, name in zip(shown.classes.pictures, truth, strict=True)
            ],
            "rows": [
                {
                    "name": row,
                    "about": about.get(row, ""),
                    "colour": colours.get(row, ""),
                    "cells": [
                        {"name": name, "share": f"{share:.0f} %", "right": name == true}
                        for (name, share), true in zip(found, truth, strict=True)
                    ],
                }
                for row, found in shown.classes.found.items()
            ],
        }
    return view


def _about(entry: LedgerEntry, say: Language) -> str:
    accuracy = cols.finite(entry.report.accuracy)
    return "" if accuracy is None else f"{say.known(entry.report.metric or 'accuracy')} {accuracy:.1f}"


def _strip(name: str, png: bytes, about: Mapping[str, str], say: Language) -> dict[str, str]:
    if name in about:
        spoken, alt = name, say("Outputs of {row} for test examples", row=name)
    else:
        spoken = say("test examples") if name == INPUTS else say("annotated")
        alt = say("What the networks get") if name == INPUTS else say("What the outputs should be")
    return {"name": spoken, "about": about.get(name, ""), "uri": data_uri(png), "alt": alt}


def spread(size: int, count: int) -> np.ndarray:
    """-> up to `count` places that lie evenly over `size`, both ends included.

    >>> spread(11, 3).tolist(), spread(2, 6).tolist()
    ([0, 5, 10], [0, 1])
    """
    return np.unique(np.linspace(0, size - 1, num=min(count, size)).astype(int))


def _people(task: PoseTask, rows: Mapping[str, Predictor], count: int) -> dict[str, bytes]:
    chosen = spread(len(task.test), count)
    # The few people are decoded as the score does it, by the task itself.
    few = dataclasses.replace(task, test=task.test.subset(chosen))
    return {row: people_strip(task.test, chosen, few.predict_joints(predict)) for row, predict in rows.items()}


def _classes(task: ClassificationTask, rows: Mapping[str, Predictor], count: int) -> Classes:
    chosen = spread(len(task.test), count)
    pictures = task.test_pictures(chosen)
    inputs, names = task.normalisation.apply(pictures), task.test.classes
    found = {}
    for row, predict in rows.items():
        scores = task.probabilities(predict(inputs))
        best = scores.argmax(axis=1)
        found[row] = [(names[k], 100.0 * float(one[k])) for k, one in zip(best, scores, strict=True)]
    return Classes(
        tuple(_png(picture) for picture in pictures), tuple(names[task.test.labels[i]] for i in chosen), found
    )


def _png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    _tile(picture).quantize(255).save(stream, "png", optimize=True)
    return stream.getvalue()


def _pictures(task: Task, rows: Mapping[str, Predictor], count: int) -> dict[str, bytes]:
    inputs, labels = _examples(task, count)
    show = getattr(task, "show", None)
    outputs = {row: predict(inputs) for row, predict in rows.items()}
    shape = next(iter(outputs.values()), np.zeros(0)).shape
    if not callable(show):
        if len(shape) != 4 or min(shape[1:3]) < 2:
            return {}
        show = _maps
    strips = {}
    if (seen := _as_pictures(inputs, task)) is not None:
        strips[INPUTS] = joined([_tile(one) for one in seen])
    if labels is not None and len(shape) == 4 and labels.shape == shape[:3] and labels.dtype.kind in "iu":
        # What a network without a fault would say.
        perfect = (labels[..., None] == np.arange(shape[-1])).astype(np.float32)
        strips[TRUTH] = _shown(show, inputs, perfect)
    return {**strips, **{row: _shown(show, inputs, output) for row, output in outputs.items()}}


def _shown(show: Callable[[np.ndarray, np.ndarray], Any], inputs: np.ndarray, outputs: np.ndarray) -> bytes:
    try:
        pictures = np.asarray(show(inputs, outputs))
    except Exception as error:  # The user's own may raise anything; the page must not fail for it.
        raise InputError(f"show(inputs, outputs) must give pictures. Received: {type(error).__name__}: {error}") from (
            error
        )
    wanted = pictures.ndim == 4 and len(pictures) == len(inputs) and pictures.shape[-1] == 3
    if not wanted or pictures.dtype != np.uint8 or not pictures.size:
        raise InputError(
            f"show(inputs, outputs) must give pictures [{len(inputs)}, H, W, 3] uint8. "
            f"Received: {list(pictures.shape)} {pictures.dtype}"
        )
    return joined([_tile(one) for one in pictures])


def _maps(inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """[N, H, W, C] -> [N, H, W, 3] uint8: the colour of the largest channel; one channel from black to white."""
    if outputs.shape[-1] == 1:
        return np.repeat(_stretched(outputs), 3, axis=-1)
    colours = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (GROUND, *plots.PALETTE)]
    return np.array(colours, np.uint8)[outputs.argmax(axis=-1) % len(colours)]


def _as_pictures(inputs: np.ndarray, task: Task) -> np.ndarray | None:
    """-> [N, H, W, 3] uint8 of what the networks get; None: it is no picture."""
    if inputs.ndim != 4 or inputs.shape[-1] not in (1, 3):
        return None
    how = getattr(task, "normalisation", None)
    if isinstance(how, Normalisation) and inputs.shape[-1] == 3:
        pixels = inputs * np.asarray(how.std, np.float32) + np.asarray(how.mean, np.float32)
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return np.broadcast_to(_stretched(inputs), (*inputs.shape[:3], 3))


def _stretched(values: np.ndarray) -> np.ndarray:
    """-> uint8 of the same shape: the least is 0 and the most 255."""
    values = np.nan_to_num(np.asarray(values, np.float32))
    low, high = float(values.min()), float(values.max())
    return np.rint((values - low) * (255.0 / ((high - low) or 1.0))).astype(np.uint8)


def _tile(picture: np.ndarray) -> Image.Image:
    """-> the picture with a longer side of `TILE`; small ones get whole pixels, so that none is washed out."""
    image = Image.fromarray(np.ascontiguousarray(picture)).convert("RGB")
    scale = TILE / max(image.size)
    if scale > 1:
        # A browser's smoothing would hide what the network has of the picture.
        whole = max(1, int(scale))
        return image.resize((image.width * whole, image.height * whole), Image.Resampling.NEAREST)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _examples(task: Task, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """-> inputs [N, ...] and, where they are plain arrays, labels of up to `count` test examples."""
    chosen = _evenly(_labelled(task), count)
    if not chosen:
        raise InputError("The test part must hold an example. Received: none")
    inputs = np.stack([one for one, _ in chosen]).astype(np.float32)
    return inputs, None if chosen[0][1] is None else np.stack([label for _, label in chosen])


def _labelled(task: Task) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    for inputs, *labels in read_batches(task.validation_data()):
        plain = labels[0] if labels and isinstance(labels[0], np.ndarray) else [None] * len(inputs)
        yield from zip(inputs, plain, strict=True)


def _evenly(examples: Iterable[Any], count: int) -> list[Any]:
    """-> up to `count` of them, evenly spread, without keeping all: nobody knows how many there are.

    >>> _evenly(range(1000), 3)
    [0, 384, 896]
    """
    kept: list[Any] = []
    step = 1
    for place, example in enumerate(examples):
        if place % step:
            continue
        kept.append(example)
        if len(kept) > 4 * count:
            kept, step = kept[::2], 2 * step
    return [kept[i] for i in spread(len(kept), count)] if kept else []
