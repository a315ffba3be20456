"""Draws a clothed person over the bones of `skeleton.Bodies`. Front and back differ, and so tell left from right."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import ImageDraw

from tta_lite.datasets.clothes import Colour, Look, shade
from tta_lite.datasets.skeleton import L_HAND, L_TOES, R_HAND, R_TOES, Bodies

# Name, from, to, radius there and there (of a body of height 1); see `skeleton` for the points.
LIMBS = (
    ("thigh", 2, 1, 0.062, 0.046),
    ("shin", 1, 0, 0.044, 0.030),
    ("thigh", 3, 4, 0.062, 0.046),
    ("shin", 4, 5, 0.044, 0.030),
    ("arm", 12, 11, 0.042, 0.035),
    ("forearm", 11, 10, 0.034, 0.027),
    ("arm", 13, 14, 0.042, 0.035),
    ("forearm", 14, 15, 0.034, 0.027),
    ("hand", 10, R_HAND, 0.027, 0.031),
    ("hand", 15, L_HAND, 0.027, 0.031),
    ("foot", 0, R_TOES, 0.033, 0.026),
    ("foot", 5, L_TOES, 0.033, 0.026),
    ("neck", 7, 8, 0.040, 0.036),
)
_STARTS, _ENDS = np.array([limb[1] for limb in LIMBS]), np.array([limb[2] for limb in LIMBS])
_RADII = np.array([limb[3:] for limb in LIMBS])
_CAP = np.radians(np.linspace(-90, 90, 6))
_CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 18, endpoint=False)) for f in (np.cos, np.sin)])

# The trunk's silhouette from shoulders (level 0) to hips (1): level, width, depth.
_OUTLINE = np.array([
    (-0.06, 0.55, 0.6), (0.02, 1.05, 0.95), (0.3, 0.9, 1.1), (0.62, 0.86, 0.95), (0.86, 1.1, 1.05), (1.12, 1.0, 0.9),
])  # fmt: skip
_HOOPS = (0.08, 0.24, 0.4, 0.56, 0.72)
# Points on the front of the shirt: degrees to the left of its middle, and level.
_FRONT = {
    "neckline": ((-42, -0.03), (0, 0.24), (42, -0.03)),
    "buttons": ((0, 0.24), (0, 0.5), (0, 0.85)),
    "print": ((-40, 0.33), (40, 0.33), (40, 0.62), (-40, 0.62)),
    "badge": ((18, 0.28), (52, 0.28), (52, 0.45), (18, 0.45)),
}
_FRONT_AT = np.array([at for points in _FRONT.values() for at in points])
_LEVELS = np.concatenate([_OUTLINE[:, 0], _HOOPS, _FRONT_AT[:, 1]])[:, None]
_WIDTHS, _DEPTHS = (np.interp(_LEVELS, _OUTLINE[:, 0], _OUTLINE[:, i]) for i in (1, 2))
_SINE, _COSINE = np.sin(np.radians(_FRONT_AT[:, :1])), np.cos(np.radians(_FRONT_AT[:, :1]))

# Points of the head: how far left, up and forward, in half axes of its ellipsoid.
_FEATURES = {
    "r_ear": (-1, -0.1, 0.05), "l_ear": (1, -0.1, 0.05), "nose": (0, -0.12, 1.02), "r_eye": (-0.38, 0.1, 0.86),
    "l_eye": (0.38, 0.1, 0.86), "mouth_r": (-0.28, -0.5, 0.78), "mouth_l": (0.28, -0.5, 0.78),
    "brim_1": (-0.6, 0.45, 0.7), "brim_2": (0.6, 0.45, 0.7), "brim_3": (0.4, 0.42, 1.5), "brim_4": (-0.4, 0.42, 1.5),
    "crown": (0, 0.1, -0.25), "nape": (0, -1.35, -0.45),
}  # fmt: skip


def _ring(up: float, forward: float, degrees: float) -> np.ndarray:
    """-> [3, 18], the circle on the unit sphere that lies `degrees` around a direction without a part to the left."""
    axis = np.array([0.0, up, forward]) / math.hypot(up, forward)
    left = np.array([1.0, 0.0, 0.0])
    circle = np.outer(left, _CIRCLE[0]) + np.outer(np.cross(axis, left), _CIRCLE[1])
    return math.cos(math.radians(degrees)) * axis[:, None] + math.sin(math.radians(degrees)) * circle


_RINGS = {"face": _ring(-0.32, 0.95, 66), "beard": _ring(-0.85, 0.5, 30), "hat": _ring(0.9, -0.3, 62)}
_ON_HEAD = np.concatenate([np.array(list(_FEATURES.values())).T, *_RINGS.values()], axis=1)


def _capsules(starts: np.ndarray, ends: np.ndarray, r0: np.ndarray, r1: np.ndarray) -> list[list[float]]:
    """[L, 2], [L, 2], [L], [L] -> the outlines of L rounded, tapered bars: x, y, x, y, ..."""
    along = ends - starts
    angle = np.arctan2(along[:, 1], along[:, 0])[:, None] + np.concatenate([_CAP, np.pi + _CAP])
    outline = np.stack([np.cos(angle), np.sin(angle)], -1)
    outline[:, :6] = outline[:, :6] * r1[:, None, None] + ends[:, None]
    outline[:, 6:] = outline[:, 6:] * r0[:, None, None] + starts[:, None]
    return outline.reshape(len(starts), 24).tolist()


class _Person:
    """One person about to be drawn; lives for one call of `draw_person`."""

    def __init__(self, draw: ImageDraw.ImageDraw, bodies: Bodies, index: int, look: Look, scale: float):
        self.draw, self.look = draw, look
        self.points = bodies.points[index].astype(np.float64) * scale
        # Pillow fills a polygon as if pixel 0 reached from 0 to 1; the joints count from the middle of pixel 0.
        self.points[:, :2] += scale / 2
        self.head = bodies.head[index].astype(np.float64) * scale
        self.chest = bodies.chest[index].astype(np.float64) * scale
        self.unit = float(bodies.girth[index]) * scale
        self.light = np.array(look.light)
        self.trunk_depth = float(self.points[6, 2] + self.points[7, 2]) / 2
        self.head_middle = (self.points[8] + self.points[9]) / 2
        self.limb_depths = ((self.points[_STARTS, 2] + self.points[_ENDS, 2]) / 2).tolist()

        covered = np.array([self.covered(name) for name, *_ in LIMBS])
        starts, ends, radii = self.points[_STARTS, :2], self.points[_ENDS, :2], _RADII * self.unit
        shift = self.light * (0.3 * radii.mean(1))[:, None]
        cuff = starts + (ends - starts) * covered[:, None]
        cuff_radius = radii[:, 0] + (radii[:, 1] - radii[:, 0]) * covered
        bars = _capsules(
            np.concatenate([starts, starts + shift, starts]),
            np.concatenate([ends, ends + shift, cuff]),
            np.concatenate([radii[:, 0], radii[:, 0] * 0.66, radii[:, 0] * 1.08]),
            np.concatenate([radii[:, 1], radii[:, 1] * 0.66, cuff_radius * 1.18]),
        )
        n = len(LIMBS)
        self.bars, self.lit_bars, self.cuffs = bars[:n], bars[n : 2 * n], bars[2 * n :]

    def covered(self, limb: str) -> float:
        """-> the part of a limb that cloth covers."""
        sleeve, leg = self.look.sleeve, self.look.leg
        return min(1.0, max(0.0, {"arm": sleeve, "forearm": sleeve - 1, "thigh": leg, "shin": leg - 1}.get(limb, 0.0)))

    def width(self, share: float) -> int:
        return max(1, round(share * self.unit))

    def dot(self, at: Sequence[float], radius: float, colour: Colour) -> None:
        x, y, r = at[0], at[1], max(0.8, radius * self.unit)
        self.draw.ellipse([x - r, y - r, x + r, y + r], fill=colour)

    def limb(self, index: int) -> None:
        look, (name, start, end, r0, r1) = self.look, LIMBS[index]
        cloth, trim, pattern = look.trousers, look.trousers_trim, look.trouser_pattern
        if "arm" in name:
            cloth, trim, pattern = look.shirt, look.shirt_trim, look.pattern
        covered = self.covered(name)
        bare = look.shoes if name == "foot" else look.skin
        # What is farther away gets less light.
        gain = 1.0 if self.limb_depths[index] > self.trunk_depth - 0.03 * self.unit else 0.84
        base = cloth if covered >= 0.9 else bare
        self.draw.polygon(self.bars[index], shade(base, 0.7 * gain))
        self.draw.polygon(self.lit_bars[index], shade(base, 1.05 * gain))
        if 0 < covered < 0.9:
            self.draw.polygon(self.cuffs[index], shade(cloth, 0.95 * gain))
        if covered > 0 and pattern == "hoops":
            (ax, ay, _), (bx, by, _) = self.points[start].tolist(), self.points[end].tolist()
            length = math.hypot(bx - ax, by - ay) + 1e-6
            for share in (0.2, 0.5, 0.8):
                if share < covered:
                    half = (r0 + (r1 - r0) * share) * self.unit / length
                    x, y, dx, dy = ax + (bx - ax) * share, ay + (by - ay) * share, (ay - by) * half, (bx - ax) * half
                    self.draw.line([x - dx, y - dy, x + dx, y + dy], shade(trim, gain), self.width(0.018))

    def trunk(self) -> None:
        look, p, draw = self.look, self.points, self.draw
        level = np.clip(_LEVELS, 0, 1)
        middle = p[7] + (p[6] - p[7]) * _LEVELS
        # Hips are wider than their joints lie apart.
        left = ((p[13] - p[12]) * (1 - level) + (p[3] - p[2]) * (1.45 * level)) * (_WIDTHS / 2)
        front = self.chest * _DEPTHS
        across = np.array([p[7, 1] - p[6, 1], p[6, 0] - p[7, 0]])
        # An ellipse of half axes u, v touches the line of normal n at (u (u n) + v (v n)) / |(u n, v n)|.
        a, b = left[:, :2] @ across, front[:, :2] @ across
        edge = (left[:, :2] * a[:, None] + front[:, :2] * b[:, None]) / (np.hypot(a, b) + 1e-6)[:, None]

        def outline(first: int, last: int, share: float, shift: float) -> list[float]:
            at = middle[first:last, :2] + self.light * (shift * self.unit)
            side = share * edge[first:last]
            return np.concatenate([at + side, (at - side)[::-1]]).ravel().tolist()

        draw.polygon(outline(3, 6, 1.0, 0.0), shade(look.trousers, 0.72))
        draw.polygon(outline(3, 6, 0.7, 0.012), look.trousers)
        draw.polygon(outline(0, 5, 1.0, 0.0), shade(look.shirt, 0.74))
        draw.polygon(outline(0, 5, 0.74, 0.02), shade(look.shirt, 1.04))
        thin, rows = self.width(0.016), len(_OUTLINE)
        if look.pattern in ("hoops", "checks"):
            ends = np.concatenate([middle[:, :2] - edge, middle[:, :2] + edge], 1)
            for line in ends[rows : rows + len(_HOOPS)].tolist():
                draw.line(line, look.shirt_trim, thin)
        if look.pattern in ("pinstripes", "checks"):
            for share in (-0.75, -0.45, -0.15, 0.15, 0.45, 0.75):
                draw.line((middle[1:5, :2] + share * edge[1:5]).ravel().tolist(), look.shirt_trim, thin)
        start = rows + len(_HOOPS)
        self.shirt_front(middle[start:], left[start:], front[start:])

    def shirt_front(self, middle: np.ndarray, left: np.ndarray, front: np.ndarray) -> None:
        """What only the front of a shirt has: an open neck, and buttons, a print, or a badge on the left."""
        look, draw = self.look, self.draw
        at = (middle + left * _SINE + front * _COSINE)[:, :2].tolist()
        sizes = [(axis * axis).sum(1, keepdims=True) + 1e-6 for axis in (left, front)]
        normal = left * _SINE / sizes[0] + front * _COSINE / sizes[1]
        seen = (normal[:, 2] > 0.12 * np.sqrt((normal * normal).sum(1))).tolist()
        shown, start = {}, 0
        for name, points in _FRONT.items():
            stop = start + len(points)
            shown[name] = [(at[i][0], at[i][1]) for i in range(start, stop) if seen[i]]
            start = stop
        if len(shown["neckline"]) == 2:
            shown["neckline"].append((self.points[8, 0], self.points[8, 1]))
        if len(shown["neckline"]) == 3:
            draw.polygon(shown["neckline"], look.skin)
        if look.front == "buttons" and len(shown["buttons"]) > 1:
            draw.line(shown["buttons"], look.badge, self.width(0.03))
        elif len(shown.get(look.front, ())) > 2:
            draw.polygon(shown[look.front], look.badge)

    def patch(self, ring: np.ndarray, colour: Colour) -> None:
        """[3, 18], a circle on the head around its middle: fills the inside as far as it is in sight."""
        hidden = ring[2] < 0
        if hidden.all():
            return
        xy = ring[:2]
        if ring[2].mean() < 0:
            xy = xy[:, ~hidden]
        elif hidden.any():
            # What lies behind the rim is drawn on the rim.
            shadow = self.head[:2] @ self.head[:2].T
            xy = np.where(hidden, xy / np.sqrt((xy * (np.linalg.inv(shadow) @ xy)).sum(0) + 1e-9), xy)
        if xy.shape[1] > 2:
            self.draw.polygon((self.head_middle[:2, None] + xy).T.ravel().tolist(), colour)

    def skull(self) -> None:
        look, draw, middle, head = self.look, self.draw, self.head_middle, self.head
        on_head = head @ _ON_HEAD
        # [x, y] in the picture, and how far in front of the rim: 1 faces the viewer.
        depth = on_head[2] / math.sqrt(float(head[2] @ head[2]))
        features = dict(zip(_FEATURES, (on_head[:2].T + middle[:2]).tolist(), strict=False))
        front = dict(zip(_FEATURES, depth.tolist(), strict=False))
        rim_x, rim_slope = math.sqrt(head[0] @ head[0]), (head[0] @ head[1]) / math.sqrt(head[0] @ head[0])
        rim_y = math.sqrt(max(head[1] @ head[1] - rim_slope**2, 1e-6))
        rim = np.stack([rim_x * _CIRCLE[0], rim_slope * _CIRCLE[0] + rim_y * _CIRCLE[1]], -1)
        if look.long_hair:
            ends, radius = np.array([features["crown"], features["nape"]]), np.array([0.92 * rim_x])
            draw.polygon(_capsules(ends[:1], ends[1:], radius, radius)[0], shade(look.hair, 0.85))
            if head[2, 2] > 0:
                self.limb(len(LIMBS) - 1)
        draw.polygon((middle[:2] + rim).ravel().tolist(), shade(look.hair, 0.85))
        draw.polygon((middle[:2] + rim * 0.7 + self.light * (0.18 * rim_x)).ravel().tolist(), shade(look.hair, 1.15))
        for ear in ("r_ear", "l_ear"):
            if front[ear] > -0.2:
                self.dot(features[ear], 0.02, shade(look.skin, 0.8))
        rings = {name: on_head[:, len(_FEATURES) + 18 * i :][:, :18] for i, name in enumerate(_RINGS)}
        self.patch(rings["face"], look.skin)
        if look.beard:
            self.patch(rings["beard"], look.hair)
        if front["nose"] > -0.15:
            self.dot(features["nose"], 0.017, shade(look.skin, 0.72))
        for eye in ("r_eye", "l_eye"):
            if front[eye] > 0.1:
                self.dot(features[eye], 0.014, (30, 22, 22))
        if min(front["mouth_r"], front["mouth_l"]) > 0:
            draw.line([*features["mouth_r"], *features["mouth_l"]], (140, 40, 45), self.width(0.014))
        if look.hat is not None:
            self.patch(rings["hat"], look.hat)
            if front["brim_3"] > -0.8:
                brim = [tuple(features[f"brim_{i}"]) for i in (1, 2, 3, 4)]
                draw.polygon(brim, shade(look.hat, 0.75))


def draw_person(draw: ImageDraw.ImageDraw, bodies: Bodies, index: int, look: Look, scale: float = 1.0) -> None:
    """Draws one of `bodies`, what is farther away first. `scale`: how many times larger than the bodies."""
    person = _Person(draw, bodies, index, look, scale)
    parts: list[tuple[float, Callable[[], None]]] = [
        (depth, functools.partial(person.limb, i)) for i, depth in enumerate(person.limb_depths)
    ]
    parts.append((person.trunk_depth, person.trunk))
    # The near ends of neck and trunk touch the head: without a lead it would sink into the shirt.
    parts.append((float(person.head_middle[2]) + 0.05 * person.unit, person.skull))
    for _, paint in sorted(parts, key=lambda part: part[0]):
        paint()
