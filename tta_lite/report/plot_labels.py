"""Names beside the marks of a plot, where they cover nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, TextArea

MARK_SIZE = 7
# Points of free space round a name.
MARGIN = 2.5


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colours of a plot: its page, text and grid; `lift` (0..1) mixes white into the rows' colours."""

    page: str
    ink: str
    faint: str
    grid: str
    lift: float = 0.0


@dataclasses.dataclass(frozen=True)
class Point:
    """One row in a plot."""

    name: str
    x: float
    y: float
    interval: tuple[float, float] | None
    colour: str
    mark: str


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a name may stand: offset in points from the mark (or from an end of its interval), and a line to it."""

    dx: float
    dy: float
    start: str = "mark"
    line: bool = False


# In the order of liking: beside the mark, above and below its interval, then farther off with a line.
PLACES = (
    *(Place(dx, dy) for dx, dy in ((8, 0), (-8, 0), (7, 8), (7, -8), (-7, 8), (-7, -8))),
    Place(0, 8, "top"), Place(0, -8, "bottom"),
    *(Place(dx, dy) for dx, dy in ((8, 16), (8, -16), (-8, 16), (-8, -16))),
    Place(6, 5, "top"), Place(-6, 5, "top"), Place(6, -5, "bottom"), Place(-6, -5, "bottom"),
    *(Place(dx, dy, "mark", True) for dy in (24, -24, 36, -36, 50, -50, 64, -64) for dx in (14, -14)),
    *(Place(dx, dy, "mark", True) for dx in (30, -30) for dy in (0, 12, -12, 24, -24, 40, -40)),
)  # fmt: skip

Box = tuple[float, float, float, float]


def place_labels(figure: Figure, axes: Axes, rows: Sequence[Point], theme: Theme) -> dict[str, Box]:
    """Writes each row's name where it covers no mark, no interval and no other name, as far as there is room.

    Returns:
      The box of each name in pixels: left, bottom, right, top.
    """
    # The layout must stand before pixel positions mean anything.
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    unit = figure.dpi / 72
    at = {row.name: axes.transData.transform((row.x, row.y)) for row in rows}
    taken = [box for row in rows for box in _own_boxes(axes, row, unit)]
    frame = tuple(axes.get_window_extent(renderer).extents)
    placed: dict[str, Box] = {}
    # Crowded rows first: they have the fewest places to go.
    for row in sorted(rows, key=lambda row: _nearest(at, row)[0]):
        width, height = _extent(_words(row, theme), axes, renderer)
        boxes = [_box(axes, row, place, unit, width, height) for place in PLACES]
        towards = _nearest(at, row)[1]
        costs = [
            # A name between two marks could be either's.
            _cost(box, taken, frame, MARGIN * unit) + 2 * unit * (rank + 4 * (place.dx * towards > 0))
            for rank, (place, box) in enumerate(zip(PLACES, boxes, strict=True))
        ]
        best = int(np.argmin(costs))
        _write(axes, row, PLACES[best], boxes[best], theme, figure.dpi)
        taken.append(boxes[best])
        placed[row.name] = boxes[best]
    return placed


def framed(axes: Axes, title: str, x_label: str, theme: Theme, *, size: float = 9.5) -> None:
    """Gives a panel its title, the name of its lower axis, a grid behind what is drawn, and no box.

    Args:
      axes: of the panel.
      title: on its left; no mathematics.
      x_label: of the lower axis.
      theme: colours.
      size: of the title, points.
    """
    axes.set_facecolor(theme.page)
    axes.set_xlabel(x_label, color=theme.ink)
    axes.set_title(title, loc="left", color=theme.ink, fontsize=size, parse_math=False)
    axes.grid(color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=theme.faint, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.faint)


def mix(colour: str, other: str, share: float) -> str:
    """-> `colour` with a `share` (0..1) of `other` in it.

    >>> mix("#000000", "#ffffff", 0.5)
    '#808080'
    """
    red, green, blue = (float(a + share * (b - a)) for a, b in zip(to_rgb(colour), to_rgb(other), strict=True))
    return to_hex((red, green, blue))


def overlap(a: Box, b: Box) -> float:
    """-> the area that two boxes (left, bottom, right, top) share.

    >>> overlap((0, 0, 2, 2), (1, 1, 3, 3)), overlap((0, 0, 1, 1), (2, 0, 3, 1))
    (1, 0)
    """
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0


def _own_boxes(axes: Axes, row: Point, unit: float) -> list[Box]:
    """-> what a row itself covers: its mark and its interval."""
    x, y = axes.transData.transform((row.x, row.y))
    half = (MARK_SIZE / 2 + 1) * unit
    low, high = (axes.transData.transform((row.x, end))[1] for end in (row.interval or (row.y, row.y)))
    return [(x - half, y - half, x + half, y + half), (x - 2 * unit, low, x + 2 * unit, high)]


def _words(row: Point, theme: Theme) -> TextArea:
    # The row's colour, mixed with the ink until small letters can be read.
    colour = mix(row.colour, theme.ink, 0.5)
    # A dollar sign in a name is no formula.
    return TextArea(row.name, textprops={"color": colour, "fontsize": 9, "parse_math": False})


def _extent(words: TextArea, axes: Axes, renderer: RendererBase) -> tuple[float, float]:
    note = AnnotationBbox(words, (0.5, 0.5), xycoords="axes fraction", frameon=False, pad=0)
    axes.add_artist(note)
    box = note.get_window_extent(renderer)
    note.remove()
    return box.width, box.height


def _box(axes: Axes, row: Point, place: Place, unit: float, width: float, height: float) -> Box:
    low, high = row.interval or (row.y, row.y)
    x, y = axes.transData.transform((row.x, {"mark": row.y, "top": high, "bottom": low}[place.start]))
    x, y = x + place.dx * unit, y + place.dy * unit
    left = x if place.dx > 0 else x - width if place.dx < 0 else x - width / 2
    return (left, y - height / 2, left + width, y + height / 2)


def _cost(box: Box, taken: Sequence[Box], frame: Sequence[float], margin: float) -> float:
    """-> covered pixels; leaving the frame counts most."""
    wide = (box[0] - margin, box[1] - margin / 2, box[2] + margin, box[3] + margin / 2)
    beyond = (
        max(frame[0] - box[0], 0) + max(box[2] - frame[2], 0) + max(frame[1] - box[1], 0) + max(box[3] - frame[3], 0)
    )
    return sum(overlap(wide, other) for other in taken) + 10 * beyond * (box[3] - box[1])


def _write(axes: Axes, row: Point, place: Place, box: Box, theme: Theme, dpi: float) -> None:
    to_points = 72 / dpi
    anchor = axes.transData.transform((row.x, row.y))
    middle = ((box[0] + box[2]) / 2 - anchor[0], (box[1] + box[3]) / 2 - anchor[1])
    line = (
        {"arrowstyle": "-", "color": row.colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4} if place.line else None
    )
    axes.add_artist(
        AnnotationBbox(
            _words(row, theme), (row.x, row.y), xybox=(middle[0] * to_points, middle[1] * to_points),
            boxcoords="offset points", frameon=False, pad=0, arrowprops=line, zorder=4,
        )
    )  # fmt: skip


def _nearest(at: Mapping[str, np.ndarray], row: Point) -> tuple[float, float]:
    """-> (pixels to the nearest other mark, how far right of this one it lies)."""
    others = [spot - at[row.name] for name, spot in at.items() if name != row.name]
    return min(((float(np.hypot(*gap)), float(gap[0])) for gap in others), default=(float("inf"), 0.0))
