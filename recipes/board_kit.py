"""Make a folder to copy to a board by hand: runner, LiteRT, network, golden vectors, one script.

  tta-lite board-kit --board=rk3399 runs/case_study/artifact
  tta-lite board-kit --board=my_board.toml --out=kit runs/case_study/artifact

Says before anything is copied which C library the board needs, and brings one along where the board's is too old
(LiteRT 2.3 needs glibc 2.34 on ARM, Ubuntu 18.04 has 2.27). On the board `./run.sh` writes results.json, which
`tta-lite import-results` brings into the report; the README.txt of the kit has the steps. Nothing is installed there.

Cost: seconds, and once some 15 MB of downloads for LiteRT's library. Needs the package ziglang (pip install
"tta_lite[board]") or Debian's gcc-aarch64-linux-gnu, to compile the runner.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from recipes import _app
from tta_lite.types import InputError

_BOARD = flags.DEFINE_string("board", "rk3399", "The target: a name (tta-lite boards), or the path of a .toml profile.")
_OUT = flags.DEFINE_string("out", None, "The folder to write; kit-<board> if not given.")
_OWN_LIBC = flags.DEFINE_bool("own_libc", None, "Bring a C library along; if not given, where the board's is too old.")


def main(argv: Sequence[str]) -> None:
    """Writes the kit, and says what the board needs."""
    from tta_lite.boards.profile import get_board
    from tta_lite.measure.device.kit import fit, write_kit

    if len(argv) != 2:
        raise InputError(f"Expected one artifact folder. Received: {', '.join(argv[1:]) or 'none'}")
    board = get_board(_BOARD.value)
    print(f"{fit(board, own_libc=_OWN_LIBC.value)}.", flush=True)
    out = _OUT.value or f"kit-{board.name}"
    write_kit(argv[1], board, out, own_libc=_OWN_LIBC.value)
    print(f"kit: {out} (its README.txt says how to go on)")


if __name__ == "__main__":
    _app.run(main, words=1)
