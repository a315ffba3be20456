"""The two questions before reduced precision (G4, clause 6.2.2): does the board compute FP16, and is it faster?

The profile answers both before anything is made; a comparison of the two files answers the second for good.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tta_lite.boards.checks import fp16_pays
from tta_lite.boards.profile import BoardProfile
from tta_lite.measure.benchmark import Comparison, PathLike, Speedup, benchmark_together
from tta_lite.types import InputError, LedgerEntry, MeasuredOn

# Faster in every round, and by so much at the median: two equal files come out first by turns, and by a few percent.
FASTER = 1.05


@dataclasses.dataclass(frozen=True)
class HalfPrecision:
    """What the profile says of FP16 on a board, and what was measured.

    Attributes:
      board: its title.
      profile: whether it would run faster than FP32, by the profile.
      why: the profile's reason.
      measured_on: where the two files were timed in turn.
      on_target: whether that was the board.
      speedup: of the FP16 file over the FP32 file.
      size: of the FP16 file, as a share of the FP32 file's.
    """

    board: str
    profile: bool
    why: str
    measured_on: MeasuredOn
    on_target: bool
    speedup: Speedup
    size: float

    @property
    def faster(self) -> bool:
        """Whether FP16 was faster, where it was measured."""
        return self.speedup.min > 1 and self.speedup.median >= FASTER

    @property
    def confirmed(self) -> bool | None:
        """Whether the measurement says what the profile says; None: it was not made on the board."""
        return self.faster == self.profile if self.on_target and self.speedup.rounds else None

    def __str__(self) -> str:
        times = f"{self.speedup.median:.2f} times as fast ({self.speedup.min:.2f} to {self.speedup.max:.2f})"
        expected = "faster" if self.profile else "size and not speed"
        found = f"the FP16 file is {times} and {self.size:.2f} of the size"
        if not self.speedup.rounds:
            end = f"Predicted: {found}. Open until both files are timed on the board (--connect)."
        elif self.confirmed is None:
            end = f"On {self.measured_on.board}: {found}. Open for {self.board} until it is timed there (--connect)."
        elif self.confirmed:
            end = f"Measured there: {found}. Confirmed."
        else:
            end = f"Measured there: {found}. The profile is contradicted, and what was measured counts."
        return f"FP16 on {self.board}, by its profile: {expected}, for {self.why}. {end}"

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values."""
        return {**dataclasses.asdict(self), "faster": self.faster, "confirmed": self.confirmed}


def measure_half_precision(
    fp32_file: PathLike, fp16_file: PathLike, board: BoardProfile, *, runtime: str | None = None, **rules: Any
) -> HalfPrecision:
    """Times the FP16 file against the FP32 file in one run, and sets that beside what the board's profile says.

    Args:
      fp32_file: a network's ``.tflite`` file.
      fp16_file: the same network's, of preset ``fp16``.
      board: the target.
      runtime: one of the board's; its first if None.
      rules: of `benchmark_together`; with ``connect`` and ``board`` the target itself is timed, else this machine.

    Raises:
      InputError: as `benchmark_together`, or the board has no such runtime.
    """
    fp16_pays(board, runtime)
    files = {"fp32": fp32_file, "fp16": fp16_file}
    comparison: Comparison = benchmark_together(files, **rules)
    sizes = {name: _size(path) for name, path in files.items()}
    return _judged(
        board, runtime, comparison["fp16"].measured_on, comparison.speedups("fp32")["fp16"],
        sizes["fp16"] / sizes["fp32"], rules,
    )  # fmt: skip


def confirmed_by_rows(
    before: LedgerEntry, after: LedgerEntry, board: BoardProfile, *, runtime: str | None = None
) -> HalfPrecision:
    """-> the same from two rows of a run that were timed together, as `take_alone` gives them.

    Args:
      before: the row of the FP32 file.
      after: that of G4, whose speed-up is over `before`.
      board: the target.
      runtime: one of the board's; its first if None.

    Raises:
      InputError: the rows were not timed together.
    """
    speedup = after.details.get("speedup")
    place, sizes = after.report.measured_on, (before.report.size_bytes, after.report.size_bytes)
    if not isinstance(speedup, Mapping) or speedup.get("over") != before.name or place is None or None in sizes:
        raise InputError(
            f"FP16 is judged by two rows that were timed together. Received: {before.name!r} and {after.name!r}, "
            f"with {'no speed-up' if not speedup else 'a speed-up over ' + repr(speedup.get('over'))}"
        )
    ratio = Speedup(**{name: speedup[name] for name in ("median", "min", "max", "rounds")})
    return _judged(board, runtime, place, ratio, float(sizes[1] or 0) / float(sizes[0] or 1), after.details["timing"])


def _judged(
    board: BoardProfile,
    runtime: str | None,
    place: MeasuredOn,
    speedup: Speedup,
    size: float,
    rules: Mapping[str, Any],
) -> HalfPrecision:
    # The cores that were timed are the cores that are asked about.
    answer = fp16_pays(board, runtime, str(rules.get("cores") or "all"))
    here = not rules.get("connect") or rules["connect"] == "local"
    on_target = not place.emulated and (board.name == "host" if here else rules.get("board") == board.name)
    return HalfPrecision(board.title, bool(answer.yes), answer.why, place, on_target, speedup, size)


def _size(path: PathLike) -> int:
    with open(path, "rb") as file:
        return file.seek(0, 2)
