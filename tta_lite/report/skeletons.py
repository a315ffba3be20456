"""Pictures of people with the predicted joints over them, one strip a row of the table."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from tta_lite.datasets.pose_set import JointSet, PoseSet
from tta_lite.report.strips import joined
from tta_lite.tasks import crop
from tta_lite.types import InputError

# Okabe and Ito's orange and sky blue: told apart with every common colour blindness, and on dark and light pictures.
LEFT, RIGHT, MIDDLE = "#E69F00", "#56B4E9", "#FFFFFF"
TRUTH, SHADE = "#C8C8C8", "#000000"
TILE = 240
# Side of a person's picture before it is enlarged: what the networks see is hardly finer.
CROP = 192
# Drawn larger and reduced: Pillow's lines have hard steps.
OVERSAMPLE = 2


def skeleton_strip(
    images: np.ndarray, joints: np.ndarray, truth: np.ndarray, annotated: np.ndarray, joint_set: JointSet
) -> bytes:
    """Draws predictions over pictures, side by side.

    Args:
      images: [N, H, W, 3] uint8 RGB.
      joints: [N, J, 2] predicted (x, y) in pixels; (0, 0) is the centre of the top left pixel. Not finite: not drawn.
      truth: [N, J, 2] annotated (x, y), drawn thin and grey.
      annotated: [N, J] bool, which of `truth` exist.
      joint_set: whose bones and sides are drawn.

    Returns:
      A PNG, N tiles of 240 pixels' height in a row.
    """
    images, joints, truth = np.asarray(images), np.asarray(joints, float), np.asarray(truth, float)
    annotated = np.asarray(annotated, bool)
    _check(images, joints, truth, annotated, len(joint_set))
    count, height, width, _ = images.shape
    scale = TILE / height
    tile = (max(1, round(width * scale)), TILE)
    return joined([
        _draw(images[i], joints[i], truth[i], annotated[i], joint_set, tile) for i in range(count)
    ])  # fmt: skip


def people_strip(people: PoseSet, chosen: np.ndarray, found: np.ndarray) -> bytes:
    """-> `skeleton_strip` of some people of a set, each cut out of the picture.

    Args:
      people: the set.
      chosen: [N] int, places in it.
      found: [N, J, 2], their predicted joints in pixels of their pictures.
    """
    matrices = [crop.crop_matrix(people.center[i], float(people.box[i]), CROP) for i in chosen]
    pictures = [crop.warp(people.load(int(i)), matrix, CROP) for i, matrix in zip(chosen, matrices, strict=True)]
    truth = [crop.apply(matrix, people.joints[i]) for i, matrix in zip(chosen, matrices, strict=True)]
    predicted = [crop.apply(matrix, joints) for joints, matrix in zip(found, matrices, strict=True)]
    return skeleton_strip(
        np.stack(pictures), np.stack(predicted), np.stack(truth), people.annotated[chosen], people.joint_set
    )


def side(joint_set: JointSet, a: int, b: int) -> str:
    """-> ``left``, ``right`` or ``middle``: whose limb the bone between joints `a` and `b` is.

    >>> from tta_lite.datasets.pose_set import MPII16
    >>> side(MPII16, 0, 1), side(MPII16, 3, 6), side(MPII16, 6, 7)
    ('right', 'left', 'middle')
    """
    sides = {name[:2] for name in (joint_set.names[a], joint_set.names[b])} & {"l_", "r_"}
    return {"l_": "left", "r_": "right"}[sides.pop()] if len(sides) == 1 else "middle"


def _draw(
    image: np.ndarray, joints: np.ndarray, truth: np.ndarray, annotated: np.ndarray, joint_set: JointSet,
    tile: tuple[int, int],
) -> Image.Image:  # fmt: skip
    size = (tile[0] * OVERSAMPLE, tile[1] * OVERSAMPLE)
    picture = Image.fromarray(image).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    factor = np.array([size[0] / image.shape[1], size[1] / image.shape[0]])
    # Pixel centres: the middle of the first pixel lies half a pixel in from the picture's corner.
    predicted, marked = ((points + 0.5) * factor - 0.5 for points in (joints, truth))
    drawn = np.isfinite(predicted).all(axis=-1)
    line = max(2, round(size[1] / 70))
    for a, b in joint_set.bones:
        if annotated[a] and annotated[b]:
            _line(pen, marked[a], marked[b], SHADE, line)
            _line(pen, marked[a], marked[b], TRUTH, max(1, line // 2))
    colours = {"left": LEFT, "right": RIGHT, "middle": MIDDLE}
    # All the dark edges lie under all the colours, or one limb would cut another.
    for extra in (line, 0):
        for a, b in joint_set.bones:
            if drawn[a] and drawn[b]:
                colour = SHADE if extra else colours[side(joint_set, a, b)]
                _line(pen, predicted[a], predicted[b], colour, line + extra)
    for j in np.flatnonzero(drawn).tolist():
        x, y = predicted[j]
        radius = line * 0.9
        pen.ellipse(
            (x - radius, y - radius, x + radius, y + radius), fill=colours[side(joint_set, j, j)], outline=SHADE
        )
    return picture.resize(tile, Image.Resampling.LANCZOS)


def _line(pen: ImageDraw.ImageDraw, a: np.ndarray, b: np.ndarray, colour: str, width: int) -> None:
    pen.line((float(a[0]), float(a[1]), float(b[0]), float(b[1])), fill=colour, width=width)


def _check(images: np.ndarray, joints: np.ndarray, truth: np.ndarray, annotated: np.ndarray, count: int) -> None:
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or len(images) == 0:
        raise InputError(
            f"Argument `images` must be [N, H, W, 3] uint8 with N of 1 or more. Received: {images.shape} {images.dtype}"
        )
    wanted = {"joints": (joints, (2,)), "truth": (truth, (2,)), "annotated": (annotated, ())}
    for name, (array, last) in wanted.items():
        shape = (len(images), count, *last)
        if array.shape != shape:
            raise InputError(f"Argument `{name}` must be {shape}. Received: {array.shape}")
