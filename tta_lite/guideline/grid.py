"""What does a smaller picture, a narrower or a shallower network buy? A grid of them, costed and measured."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.guideline.case_study import say
from tta_lite.guideline.timing import QUICK_RULES
from tta_lite.measure.benchmark import Speedup, benchmark_together
from tta_lite.measure.counting import count
from tta_lite.transforms.scaling import Builder, scale
from tta_lite.types import FP32, Accuracy, InputError


@dataclasses.dataclass(frozen=True)
class Size:
    """One place of the grid; None: as the network is."""

    width: float | None = None
    depth: float | None = None
    resolution: int | None = None

    def __str__(self) -> str:
        parts = [
            f"{name} {value:g}"
            for name, value in (("width", self.width), ("depth", self.depth), ("resolution", self.resolution))
            if value is not None
        ]
        return ", ".join(parts) or "as it is"


@dataclasses.dataclass(frozen=True)
class Cell:
    """A network of one size.

    Attributes:
      size: where in the grid.
      macs: of one inference.
      params: of the network.
      size_bytes: of the float32 file.
      p50_ms: on this machine.
      speedup: over the first cell, round by round.
      accuracy: None if it was not asked for.
    """

    size: Size
    macs: int
    params: int
    size_bytes: int
    p50_ms: float
    speedup: Speedup
    accuracy: Accuracy | None


def scaling_grid(
    network: keras.Model | Builder | str,
    *,
    widths: Sequence[float | None] = (None,),
    depths: Sequence[float | None] = (None,),
    resolutions: Sequence[int | None] = (None,),
    accuracy: Callable[[keras.Model, Size], tuple[keras.Model, Accuracy]] | None = None,
    rules: Mapping[str, Any] | None = None,
    write: Callable[[str], None] = say,
) -> list[Cell]:
    """-> MACs, accuracy and measured latency of a network in every size of a grid, all timed in turn.

    Args:
      network: what `scale` takes.
      widths: to multiply the channels with.
      depths: to multiply the blocks with.
      resolutions: of the pictures, in pixels.
      accuracy: trains a network (or leaves it as it is) and scores it -> the network and its score.
      rules: of `benchmark_together`; one thread and five rounds by default.
      write: where progress goes.

    Returns:
      one cell a size, in the order in which they were given, resolutions first; speed-ups are over the first one.

    Raises:
      InputError: a size that the network cannot have, before anything is trained; or an empty grid.

    Example:
      >>> cells = scaling_grid("effnet", resolutions=[32, 16], rules={"rounds": 1, "num_runs": 1, "min_secs": 0.0},
      ...                      write=lambda line: None)
      >>> [str(cell.size) for cell in cells], cells[0].macs > cells[1].macs
      (['resolution 32', 'resolution 16'], True)
    """
    rules = {**QUICK_RULES, **(rules or {})}
    sizes = [Size(*place) for place in itertools.product(widths, depths, resolutions)]
    if not sizes or len(set(sizes)) < len(sizes):
        raise InputError(f"A grid must have one size or more, each once. Received: {[str(size) for size in sizes]}")
    # All are built first: one that cannot be should not cost the training of those before it.
    networks = {size: scale(network, **dataclasses.asdict(size)) for size in sizes}
    scores: dict[Size, Accuracy | None] = {}
    files, counts = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (size, model) in enumerate(networks.items(), start=1):
            write(f"[{number}/{len(sizes)}] {size}")
            scores[size] = None
            if accuracy is not None:
                model, scores[size] = accuracy(model, size)
            counts[size] = count(model)
            files[str(size)] = Path(folder, f"{number:02d}.tflite")
            files[str(size)].write_bytes(export_tflite(model, FP32))
        write(f"timing {len(files)} files in turn, {rules['rounds']} rounds, {rules['num_threads']} thread(s)")
        comparison = benchmark_together(files, **rules)
        speedups = comparison.speedups(str(sizes[0]))
        return [
            Cell(
                size, counts[size].macs, counts[size].params, files[str(size)].stat().st_size,
                comparison[str(size)].latency.p50, speedups[str(size)], scores[size],
            )
            for size in sizes
        ]  # fmt: skip


def grid_table(cells: Sequence[Cell]) -> str:
    """-> GitHub Markdown, one line a size."""
    metric = next((cell.accuracy.metric for cell in cells if cell.accuracy), None)
    head = ["size", "MACs, M", "parameters, M", "file, MB", "p50, ms", "speed-up", *([metric] if metric else [])]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for cell in cells:
        values = [
            str(cell.size), f"{cell.macs / 1e6:.1f}", f"{cell.params / 1e6:.2f}", f"{cell.size_bytes / 1e6:.1f}",
            f"{cell.p50_ms:.1f}", f"{cell.speedup.median:.1f}",
        ]  # fmt: skip
        if cell.accuracy:
            low, high = cell.accuracy.interval
            values.append(f"{cell.accuracy.value:.1f} ({low:.1f} to {high:.1f})")
        lines.append(f"| {' | '.join(values)} |")
    return "\n".join(lines) + "\n"
