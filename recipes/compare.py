"""Runs side by side: what each chose, its rows, the flags that differ, and the artifacts timed together.

  tta-lite compare runs/flowers runs/flowers_small
  tta-lite compare runs/a runs/b runs/c --notiming --out=comparison.md

A latency of one run is never put beside that of another: machines and moments differ. The artifacts are timed in turn,
now, on this machine or on the board at --connect (some seconds each); --notiming leaves that out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from recipes import _app, _timing

_TIMING = flags.DEFINE_bool("timing", True, "Time the artifacts in turn.")
_BOARD = _timing.define_board()
_OUT = flags.DEFINE_string("out", None, "A Markdown file to write besides.")
flags.adopt_module_key_flags(_timing)

RUNS = 20


def main(argv: Sequence[str]) -> None:
    """Reads the run folders, prints the comparison."""
    from tta_lite.files import atomic_write
    from tta_lite.report.compare import compare_runs

    _timing.refuse_board_without_connection()
    text = compare_runs(argv[1:], _timing.rules() if _TIMING.value else None)
    if _OUT.value:
        atomic_write(Path(_OUT.value), text)
    print(text)


if __name__ == "__main__":
    _app.run(main, words=RUNS)
