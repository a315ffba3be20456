"""Colours and clothes by chance."""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Colour = tuple[int, int, int]
T = TypeVar("T")

SKINS: tuple[Colour, ...] = (
    (246, 214, 190), (232, 190, 160), (214, 165, 130), (186, 134, 98), (150, 100, 70), (112, 74, 52), (84, 56, 42),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (28, 24, 22),
    (60, 42, 30),
    (100, 66, 38),
    (150, 104, 58),
    (196, 162, 100),
    (130, 128, 126),
)
SIGNALS: tuple[Colour, ...] = (
    (225, 40, 40),
    (250, 215, 40),
    (40, 90, 230),
    (40, 190, 90),
    (245, 245, 245),
    (20, 20, 24),
)


class Dice:
    """Uniform random numbers one at a time, drawn from `rng` in blocks."""

    def __init__(self, rng: np.random.Generator):
        self._rng = rng
        self._left: list[float] = []

    def __call__(self, low: float = 0.0, high: float = 1.0) -> float:
        """-> the next number of [low, high)."""
        if not self._left:
            self._left = self._rng.random(128).tolist()
        return low + (high - low) * self._left.pop()

    def chance(self, probability: float) -> bool:
        """-> True that often."""
        return self() < probability

    def choose(self, options: Sequence[T]) -> T:
        """-> one of them, each as often."""
        return options[int(self() * len(options))]

    def colour(self) -> Colour:
        """Any colour; a third of them nearly grey, as cloth and walls often are."""
        saturation = self(0, 0.15) if self.chance(0.35) else self(0.2, 0.95)
        r, g, b = colorsys.hsv_to_rgb(self(), saturation, self(0.12, 1.0))
        return int(255 * r), int(255 * g), int(255 * b)


def shade(colour: Colour, gain: float) -> Colour:
    """-> the colour in more or less light.

    >>> shade((100, 200, 50), 1.5)
    (150, 255, 75)
    """
    r, g, b = colour
    return min(255, int(r * gain)), min(255, int(g * gain)), min(255, int(b * gain))


def brightness(colour: Colour) -> float:
    """-> how light a colour looks, 0 to 255.

    >>> brightness((100, 100, 100))
    100.0
    """
    return (3 * colour[0] + 6 * colour[1] + colour[2]) / 10


def contrast(colour: Colour, dice: Dice) -> Colour:
    """-> a colour that is much lighter or much darker."""
    grey = dice(10, 60) if brightness(colour) > 115 else dice(195, 250)
    tint = dice.colour()
    r, g, b = (int(0.8 * grey + 0.2 * part) for part in tint)
    return r, g, b


@dataclasses.dataclass(frozen=True)
class Look:
    """What a person wears. `sleeve` and `leg` are how many bones of arm and leg are covered (0..2)."""

    skin: Colour
    hair: Colour
    shirt: Colour
    shirt_trim: Colour
    badge: Colour
    trousers: Colour
    trousers_trim: Colour
    shoes: Colour
    sleeve: float = 2.0
    leg: float = 2.0
    pattern: str = "plain"
    trouser_pattern: str = "plain"
    front: str = "buttons"
    long_hair: bool = False
    hat: Colour | None = None
    beard: bool = False
    light: tuple[float, float] = (-0.5, -0.5)


def random_look(dice: Dice, light: tuple[float, float]) -> Look:
    """-> clothes by chance; the front of the shirt always shows."""
    shirt, trousers, skin = dice.colour(), dice.colour(), dice.choose(SKINS)
    trim, pattern = contrast(shirt, dice), dice.choose(("plain", "plain", "plain", "hoops", "pinstripes", "checks"))
    signals = [colour for colour in SIGNALS if sum(abs(a - b) for a, b in zip(colour, shirt, strict=True)) > 150]
    return Look(
        skin=shade(skin, dice(0.92, 1.06)),
        # The back of a head must not pass for a face.
        hair=dice.choose([hair for hair in HAIRS if abs(brightness(hair) - brightness(skin)) > 50]),
        shirt=shirt,
        shirt_trim=trim,
        badge=trim if pattern == "plain" else dice.choose(signals),
        trousers=trousers,
        trousers_trim=contrast(trousers, dice),
        shoes=dice.colour(),
        sleeve=dice.choose((0.25, 0.6, 0.6, 1.3, 1.95, 1.95)),
        leg=dice.choose((0.55, 0.9, 1.5, 1.9, 1.9, 1.9)),
        pattern=pattern,
        trouser_pattern=dice.choose(("plain", "plain", "plain", "hoops")),
        front=dice.choose(("buttons", "print", "badge")),
        long_hair=dice.chance(0.35),
        hat=dice.colour() if dice.chance(0.2) else None,
        beard=dice.chance(0.2),
        light=light,
    )
