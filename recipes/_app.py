"""What all recipes share: how they start, and how they end when the user made a mistake."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from absl import app

from tta_lite.types import InputError

USER_MISTAKE = 2


def run(main: Callable[[Sequence[str]], None]) -> None:
    """``app.run``; an `InputError` becomes one line on stderr and exit code 2, never a stack trace."""
    app.run(lambda argv: guarded(main, argv))


def guarded(main: Callable[[Sequence[str]], None], argv: Sequence[str]) -> int:
    """Call a recipe's `main` -> its exit code.

    >>> guarded(lambda argv: None, ["recipe"])
    0
    """
    try:
        if len(argv) > 1:
            raise InputError(f"A recipe takes flags only, as --name=value. Received: {' '.join(argv[1:])}")
        main(argv)
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_MISTAKE
    return 0
