"""What is found about a set of calibration images, and how it is said. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tta_lite.datasets.picture_marks import Marks
from tta_lite.types import InputError

ERROR, WARNING = "error", "warning"
# A share of the set beyond which a fault is no accident.
MANY = 0.1
SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something about a calibration set.

    Attributes:
      code: for programs, as ``same_picture``.
      severity: ``error``: the ranges or the score would be wrong; ``warning``: they may be worse than they could be.
      text: for people.
    """

    code: str
    severity: str
    text: str


def error(code: str, text: str) -> Finding:
    """-> a finding with which nothing may be calibrated."""
    return Finding(code, ERROR, text)


def warning(code: str, text: str) -> Finding:
    """-> a finding to be told of."""
    return Finding(code, WARNING, text)


def refuse_errors(findings: Sequence[Finding]) -> list[Finding]:
    """-> the warnings.

    Raises:
      InputError: there are errors among the findings.
    """
    errors = [finding.text for finding in findings if finding.severity == ERROR]
    if errors:
        raise InputError("; ".join(errors))
    return list(findings)


def these(places: Sequence[int] | np.ndarray) -> str:
    """-> which images.

    >>> these([3]), these(range(9))
    ('image 3', 'images 0, 1, 2, 3, 4, ...')
    """
    shown = ", ".join(str(int(place)) for place in places[:SHOWN])
    return f"image{'s' if len(places) > 1 else ''} {shown}{', ...' if len(places) > SHOWN else ''}"


def channels(values: np.ndarray) -> str:
    """-> one number a channel.

    >>> channels(np.array([0.5, 1.25]))
    '0.5/1.25'
    """
    return "/".join(f"{value:.3g}" for value in values)


def scale_of(marks: Marks) -> str:
    """-> the figures of a set's scale."""
    return (
        f"{marks.low.min():.3g} to {marks.high.max():.3g}, mean {channels(marks.mean.mean(0))}, deviation "
        f"{channels(marks.deviation)}"
    )
