"""Human bodies in three dimensions, from uniform random numbers to joints; vectorised over people."""

from __future__ import annotations

import dataclasses

import numpy as np

BODY_NUMBERS = 80
"""How many uniform numbers `make_bodies` takes for one body (a few are spare)."""

R_HAND, L_HAND, R_TOES, L_TOES = 16, 17, 18, 19
"""The points of a body that follow the 16 joints of MPII16."""


@dataclasses.dataclass(frozen=True)
class Bodies:
    """N bodies as the viewer sees them: x goes right, y down, z towards the viewer. All in one unit of length.

    Attributes:
      points: [N, 20, 3], the 16 joints of MPII16, then right hand, left hand, right toes, left toes.
      head: [N, 3, 3], half axes of the head's ellipsoid; its columns go to the person's left, up and forward.
        Its middle lies half-way between upper neck and head top.
      chest: [N, 3], from the spine to the front of the chest.
      girth: [N], thickness of the limbs: 1 for a body of height 1 and usual build.
    """

    points: np.ndarray
    head: np.ndarray
    chest: np.ndarray
    girth: np.ndarray

    def __len__(self) -> int:
        return len(self.points)

    def head_box(self) -> tuple[np.ndarray, np.ndarray]:
        """-> the least and greatest x and y of each head, two of [N, 2]."""
        middle = (self.points[:, 8, :2] + self.points[:, 9, :2]) / 2
        # An ellipsoid reaches as far in x as the x row of its half axes is long.
        half = np.sqrt((self.head[:, :2] ** 2).sum(-1))
        return middle - half, middle + half

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """-> the least and greatest x and y of each body, two of [N, 2]."""
        low, high = self.head_box()
        return np.minimum(low, self.points[..., :2].min(1)), np.maximum(high, self.points[..., :2].max(1))

    def moved(self, scale: np.ndarray, shift: np.ndarray) -> Bodies:
        """-> each body [N] times larger, then moved by [N, 2]."""
        points = self.points * scale[:, None, None]
        points[..., :2] += shift[:, None]
        return Bodies(points, self.head * scale[:, None, None], self.chest * scale[:, None], self.girth * scale)

    def rounded(self, steps: int = 64) -> Bodies:
        """-> the same bodies on a grid of 1 / `steps`, float32: libraries of sines differ in their last bit."""

        def rounded(values: np.ndarray) -> np.ndarray:
            return (np.round(values * steps) / steps).astype(np.float32)

        return Bodies(rounded(self.points), rounded(self.head), rounded(self.chest), rounded(self.girth))


class _Numbers:
    """Hands out the columns of [N, M] uniform numbers, each once."""

    def __init__(self, uniform: np.ndarray):
        self._columns = iter(np.asarray(uniform, dtype=np.float64).T)

    def flat(self, low: float, high: float) -> np.ndarray:
        return low + (high - low) * next(self._columns)

    def peaked(self, low: float, high: float) -> np.ndarray:
        return low + (high - low) * (next(self._columns) + next(self._columns)) / 2

    def mostly_low(self, low: float, high: float) -> np.ndarray:
        return low + (high - low) * next(self._columns) ** 2

    def chance(self, probability: float) -> np.ndarray:
        return next(self._columns) < probability


def _rotation(axis: str, degrees: np.ndarray) -> np.ndarray:
    """[N] -> [N, 3, 3], counter-clockwise for a viewer whom the axis points at."""
    a, b = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    angle = np.radians(degrees)
    matrix = np.zeros((len(angle), 3, 3)) + np.eye(3)
    matrix[:, a, a] = matrix[:, b, b] = np.cos(angle)
    matrix[:, b, a] = np.sin(angle)
    matrix[:, a, b] = -matrix[:, b, a]
    return matrix


def _along(frame: np.ndarray, direction: tuple[float, float, float], length: np.ndarray) -> np.ndarray:
    """[N, 3, 3], [N] -> [N, 3]."""
    return (frame @ np.array(direction)) * length[:, None]


def _leg(numbers: _Numbers, side: int, sits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-> the frames of thigh and shin."""
    forward = np.where(sits, numbers.flat(50, 100), numbers.peaked(-30, 55))
    outward = numbers.mostly_low(-2, 45)
    knee = np.where(sits, numbers.flat(15, 100), numbers.mostly_low(0, 75))
    thigh = _rotation("z", side * outward) @ _rotation("x", -forward) @ _rotation("y", side * numbers.flat(-5, 35))
    return thigh, thigh @ _rotation("x", knee)


def _arm(numbers: _Numbers, side: int) -> tuple[np.ndarray, np.ndarray]:
    """-> the frames of upper arm and forearm, in the chest's."""
    raised = numbers.chance(0.2)
    forward = np.where(raised, numbers.flat(80, 170), numbers.peaked(-35, 60))
    outward = numbers.mostly_low(5, 90)
    elbow = 115 * numbers.flat(0, 1) ** 1.5
    upper = _rotation("z", side * outward) @ _rotation("x", -forward) @ _rotation("y", -side * numbers.flat(-30, 60))
    return upper, upper @ _rotation("x", -elbow)


def _view(numbers: _Numbers) -> np.ndarray:
    """-> what turns person axes into view axes: facing, the camera's height, the picture's tilt."""
    kind = numbers.flat(0, 1)
    # Front 45 %, back 30 %, sides 25 %.
    side = numbers.flat(60, 120) * np.where(numbers.chance(0.5), 1, -1)
    facing = np.where(kind < 0.75, numbers.peaked(-60, 60) + np.where(kind < 0.45, 0, 180), side)
    return _rotation("z", numbers.flat(-30, 30)) @ _rotation("x", numbers.peaked(-15, 20)) @ _rotation("y", facing)


def make_bodies(uniform: np.ndarray) -> Bodies:
    """Bodies of height about 1, pelvis at 0, joint angles within a person's limits.

    Person axes: x to the person's left, y up, z forward. Heads are a fifth of the height, as a child's are.

    Args:
      uniform: [N, BODY_NUMBERS] in [0, 1).

    >>> make_bodies(np.full((2, BODY_NUMBERS), 0.5)).points.shape
    (2, 20, 3)
    """
    numbers = _Numbers(uniform)
    peaked = numbers.peaked
    view = _view(numbers)
    limbs, width, build = peaked(0.88, 1.12), peaked(0.82, 1.18), peaked(0.7, 1.35)
    head_length, head_width = peaked(0.17, 0.205), peaked(0.9, 1.08)
    left, up = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
    down, forward = (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)

    # Sideways after forward: the lean is the hips', the twist the shoulders'.
    trunk = _rotation("z", peaked(-25, 25)) @ _rotation("x", peaked(-14, 40))
    chest = trunk @ _rotation("y", peaked(-30, 30))
    skull = chest @ _rotation("y", peaked(-40, 40)) @ _rotation("x", peaked(-22, 28)) @ _rotation("z", peaked(-20, 20))

    pelvis = np.zeros((len(uniform), 3))
    thorax = pelvis + _along(trunk, up, limbs * peaked(0.25, 0.29))
    neck = thorax + _along(chest, up, peaked(0.045, 0.065))
    top = neck + _along(skull, up, head_length)
    joints: dict[int, np.ndarray] = {6: pelvis, 7: thorax, 8: neck, 9: top}

    shoulder_half, hip_half = width * peaked(0.1, 0.12), width * peaked(0.06, 0.075)
    upper_arm, forearm = limbs * peaked(0.145, 0.175), limbs * peaked(0.125, 0.155)
    thigh_length, shin_length = limbs * peaked(0.215, 0.255), limbs * peaked(0.205, 0.245)
    sits = numbers.chance(0.15)
    order = ((-1, (12, 11, 10, R_HAND), (2, 1, 0, R_TOES)), (1, (13, 14, 15, L_HAND), (3, 4, 5, L_TOES)))
    for side, arm, leg in order:
        upper, lower = _arm(numbers, side)
        upper, lower = chest @ upper, chest @ lower
        joints[arm[0]] = thorax + _along(chest, left, side * shoulder_half) + _along(chest, down, 0.15 * shoulder_half)
        joints[arm[1]] = joints[arm[0]] + _along(upper, down, upper_arm)
        joints[arm[2]] = joints[arm[1]] + _along(lower, down, forearm)
        joints[arm[3]] = joints[arm[2]] + _along(lower, down, forearm * 0.35)
        thigh, shin = _leg(numbers, side, sits)
        foot = shin @ _rotation("x", peaked(-5, 45))
        joints[leg[0]] = pelvis + _along(np.broadcast_to(np.eye(3), trunk.shape), left, side * hip_half)
        joints[leg[1]] = joints[leg[0]] + _along(thigh, down, thigh_length)
        joints[leg[2]] = joints[leg[1]] + _along(shin, down, shin_length)
        joints[leg[3]] = joints[leg[2]] + _along(foot, forward, shin_length * 0.45)

    points = np.stack([joints[index] for index in range(20)], axis=1)
    axes = np.stack([0.4 * head_length * head_width, 0.5 * head_length, 0.42 * head_length * head_width], axis=-1)
    mirror = np.array([1.0, -1.0, 1.0])
    return Bodies(
        points=(points @ view.transpose(0, 2, 1)) * mirror,
        head=(view @ skull * axes[:, None, :]) * mirror[:, None],
        chest=(view @ _along(chest, forward, 0.065 * build)[..., None])[..., 0] * mirror,
        girth=build,
    )
