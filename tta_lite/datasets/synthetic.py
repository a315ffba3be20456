"""A synthetic pose set: clothed people in cluttered pictures, rendered on the fly from a seed."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from tta_lite.datasets.clothes import HAIRS, SKINS, Dice, random_look, shade
from tta_lite.datasets.figure import draw_person
from tta_lite.datasets.pose_set import MPII16, PoseSet
from tta_lite.datasets.skeleton import BODY_NUMBERS, Bodies, make_bodies
from tta_lite.types import InputError

_PLACE_NUMBERS = 20
_EXAMPLE_NUMBERS = 2 * BODY_NUMBERS + _PLACE_NUMBERS
# People are drawn at twice the size and averaged: Pillow's shapes have hard edges.
_OVERSAMPLING = 2


def synthetic_pose(count: int, *, seed: int = 0, picture_size: int = 192) -> PoseSet:
    """`count` people with the joints of MPII, and pictures that are rendered when they are loaded.

    Example k depends on (`seed`, k, `picture_size`) alone, so a longer set begins with the shorter one: give training
    and test different seeds. A joint outside the picture is not annotated; one behind an object is. `head_size` is
    MPII's: 0.6 of the diagonal of the head's box.

    Args:
      count: how many people.
      seed: 0 to 2**32 - 1.
      picture_size: width and height in pixels, 32 to 1024.

    Raises:
      InputError: an argument is out of range.

    >>> people = synthetic_pose(3, seed=1, picture_size=64)
    >>> people.load(0).shape, people.joints.shape
    ((64, 64, 3), (3, 16, 2))
    """
    for name, value, least, most in (
        ("count", count, 1, 2**31 - 1),
        ("seed", seed, 0, 2**32 - 1),
        ("picture_size", picture_size, 32, 1024),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
            raise InputError(f"Argument `{name}` must be a whole number from {least} to {most}. Received: {value!r}")
    uniform = np.empty((count, _EXAMPLE_NUMBERS))
    for index, row in enumerate(uniform):
        _generator(seed, index).random(out=row)
    people, bystanders = _place(uniform, picture_size)
    low, high = people.bounds()
    extent = (high - low).max(1)
    jitter = uniform[:, -3:]
    center = (low + high) / 2 + (jitter[:, :2] - 0.5) * 0.24 * extent[:, None]
    head_low, head_high = people.head_box()
    diagonal = np.sqrt(((head_high - head_low).astype(np.float64) ** 2).sum(1))
    joints = people.points[:, : len(MPII16), :2]
    annotated = np.all((joints >= 0) & (joints <= picture_size - 1), axis=-1)

    def load(index: int) -> np.ndarray:
        if not 0 <= index < count:
            raise InputError(f"The synthetic set holds items 0 to {count - 1}. Received: {index}")
        rng = _generator(seed, index)
        rng.random(_EXAMPLE_NUMBERS)
        return _render(people, bystanders, index, Dice(rng), picture_size)

    return PoseSet(
        name="synthetic",
        joint_set=MPII16,
        joints=np.where(annotated[..., None], joints, 0).astype(np.float32),
        annotated=annotated,
        center=center.astype(np.float32),
        box=(1.25 * extent * (0.9 + 0.3 * jitter[:, 2])).astype(np.float32),
        head_size=(0.6 * diagonal).astype(np.float32),
        items=tuple(f"synthetic person {index} of seed {seed}" for index in range(count)),
        load=load,
    )


def _generator(seed: int, index: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(seed), int(index)])))


def _place(uniform: np.ndarray, size: int) -> tuple[Bodies, Bodies]:
    """[N, _EXAMPLE_NUMBERS] -> the people, and for each a bystander beside them, in pixels."""
    people, others = make_bodies(uniform[:, :BODY_NUMBERS]), make_bodies(uniform[:, BODY_NUMBERS : 2 * BODY_NUMBERS])
    number = uniform[:, 2 * BODY_NUMBERS :].T
    low, high = people.bounds()
    extent = size * (0.55 + 0.37 * number[0])
    scale = extent / (high - low).max(1)
    # One in six may be cut by the picture's edge.
    inside = np.where(number[1] < 1 / 6, 0.72, 1.02)
    room = np.maximum(0.0, size - inside[:, None] * (high - low) * scale[:, None])
    middle = (size - 1) / 2 + (number[2:4].T - 0.5) * room
    placed = people.moved(scale, middle - (low + high) / 2 * scale[:, None]).rounded()

    low, high = others.bounds()
    other_scale = scale * (0.65 + 0.45 * number[4])
    away = np.stack([np.where(number[5] < 0.5, -1, 1) * (0.6 + 0.3 * number[6]), 0.4 * (number[7] - 0.5)], -1)
    other_middle = middle + away * extent[:, None]
    return placed, others.moved(other_scale, other_middle - (low + high) / 2 * other_scale[:, None]).rounded()


def _render(people: Bodies, bystanders: Bodies, index: int, dice: Dice, size: int) -> np.ndarray:
    """-> [size, size, 3] uint8."""
    light = (dice(-1, 1), dice(-1, 0.2))
    picture = _background(dice, size).resize((size * _OVERSAMPLING,) * 2, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    if dice.chance(0.2):
        draw_person(draw, bystanders, index, random_look(dice, light), _OVERSAMPLING)
    draw_person(draw, people, index, random_look(dice, light), _OVERSAMPLING)
    if dice.chance(0.3):
        _occlude(draw, people, index, dice)
    return np.array(_develop(_shrink(picture, dice, size), dice))


def _background(dice: Dice, size: int) -> Image.Image:
    """Coarse patches of colour, shapes, stripes and sticks that look like limbs."""
    cells = int(dice(2, 7))
    base = np.array([dice.colour() for _ in range(cells)])
    tile = base[[int(dice(0, cells)) for _ in range(cells * cells)]].reshape(cells, cells, 3).astype(np.uint8)
    smooth = dice.choose((Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST))
    picture = Image.fromarray(tile).resize((size, size), smooth)
    draw = ImageDraw.Draw(picture)

    def place() -> tuple[float, float]:
        return dice(-0.1, 1.1) * size, dice(-0.1, 1.1) * size

    if dice.chance(0.3):
        step, colour, slant = dice(0.04, 0.15) * size, dice.colour(), dice(-0.5, 0.5) * size
        upright = dice.chance(0.5)
        for i in range(int(size / step) + 1):
            first, last, width = i * step, i * step + slant, max(1, int(step * dice(0.1, 0.4)))
            draw.line([first, 0.0, last, size] if upright else [0.0, first, size, last], colour, width)
    for _ in range(int(dice(2, 9))):
        (x, y), w, h = place(), dice(0.05, 0.4) * size, dice(0.05, 0.4) * size
        kind, colour = dice(), dice.colour()
        if kind < 0.35:
            draw.rectangle([x, y, x + w, y + h], colour)
        elif kind < 0.6:
            draw.ellipse([x, y, x + w, y + h], colour)
        elif kind < 0.8:
            draw.polygon([*place(), *place(), x, y], colour)
        else:
            draw.line([*place(), x, y], colour, int(dice(1, 0.04 * size)))
    for _ in range(int(dice(0, 4))):
        x, y = place()
        thick = dice(0.025, 0.06) * size
        for colour in (dice.colour(), dice.choose(SKINS)):
            to_x, to_y = x + dice(-0.2, 0.2) * size, y + dice(-0.2, 0.2) * size
            draw.line([x, y, to_x, to_y], shade(colour, 0.8), int(thick))
            draw.line([x, y, to_x, to_y], colour, max(1, int(thick * 0.6)))
            x, y = to_x, to_y
        if dice.chance(0.3):
            draw.ellipse([x - thick, y - thick, x + thick, y + thick], dice.choose(HAIRS))
    return picture


def _shrink(picture: Image.Image, dice: Dice, size: int) -> Image.Image:
    """From the drawing's size to the picture's; half of the pictures are blurred, as by a bad lens."""
    if dice.chance(0.5):
        return picture.reduce(_OVERSAMPLING)
    factor = dice.choose((3, 3, 4))
    edge = picture.width / factor
    return picture.reduce(factor).resize((size, size), Image.Resampling.BILINEAR, (0, 0, edge, edge))


def _occlude(draw: ImageDraw.ImageDraw, people: Bodies, index: int, dice: Dice) -> None:
    """One or two things in front of the person, near a joint."""
    points = people.points[index, : len(MPII16), :2] * _OVERSAMPLING
    reach = float(np.ptp(points, axis=0).max())
    for _ in range(int(dice(1, 3))):
        x, y = (float(v) + dice(-0.08, 0.08) * reach for v in points[int(dice(0, len(points)))])
        w, h, colour = dice(0.04, 0.13) * reach, dice(0.04, 0.13) * reach, dice.colour()
        kind = dice()
        if kind < 0.35:
            draw.rectangle([x - w, y - h, x + w, y + h], shade(colour, 0.8))
            draw.rectangle([x - 0.8 * w, y - 0.8 * h, x + 0.8 * w, y + 0.8 * h], colour)
        elif kind < 0.7:
            draw.ellipse([x - w, y - h, x + w, y + h], shade(colour, 0.8))
            draw.ellipse([x - 0.9 * w, y - 0.9 * h, x + 0.6 * w, y + 0.6 * h], colour)
        else:
            slant = dice(-1, 1) * reach
            draw.line([x - slant, y - 2 * reach, x + slant, y + 2 * reach], colour, max(2, int(0.5 * w)))


@functools.lru_cache(maxsize=32)
def _grain(size: int, strength: int) -> Image.Image:
    """[2 * size, 2 * size] of nearly normal noise around 128, the same for every picture; each takes a part of it."""
    rng = np.random.Generator(np.random.PCG64(strength))
    noise = rng.random((3, 2 * size, 2 * size, 3), dtype=np.float32).sum(0) - 1.5
    return Image.fromarray(np.uint8(128 + 2 * strength * noise))


def _develop(picture: Image.Image, dice: Dice) -> Image.Image:
    """Light from one side, colour cast, contrast and noise."""
    size = picture.width
    dim = dice(0.3, 1.0)
    lamp = np.array([[dice(dim, 1.0)] for _ in range(9)])
    cast = np.array([dice(0.8, 1.0) for _ in range(3)])
    tile = Image.fromarray(np.uint8(255 * lamp * cast).reshape(3, 3, 3))
    picture = ImageChops.multiply(picture, tile.resize((size, size), Image.Resampling.BILINEAR))
    # The lamp only takes light away: give back what it took on average, more or less.
    gain, contrast, level = dice(0.85, 1.2) / float(lamp.mean() * cast.mean()), dice(0.7, 1.1), dice(-20, 20)
    x, y, noise = int(dice(0, size)), int(dice(0, size)), _grain(size, int(dice(0, 5)) * 2)
    # (picture + noise) / scale + offset: one pass over the pixels does it all. The noise's 128 is taken off again.
    scale = 1 / (gain * contrast)
    offset = round(128 * (1 - contrast) + level - 128 / scale)
    return ImageChops.add(picture, noise.crop((x, y, x + size, y + size)), scale, offset)
