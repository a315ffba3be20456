"""What all recipes share: how they start, and how they end when the user made a mistake."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO

from absl import app, flags, logging

from tta_lite.types import InputError

USER_MISTAKE = 2
# A full disk, a full quota, a limit on the size of a file; and what libraries make of them that keep no number.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_TEXTS = ("No space left on device", "File too large", "Disk quota exceeded")


def run(main: Callable[[Sequence[str]], None], *, words: int = 0) -> None:
    """``app.run``; an `InputError` becomes one line on stderr and exit code 2, never a stack trace.

    Args:
      main: the recipe's.
      words: how many words that are no flags it takes.
    """
    app.run(lambda argv: guarded(main, argv, words=words))


def guarded(main: Callable[[Sequence[str]], None], argv: Sequence[str], *, words: int = 0) -> int:
    """Call a recipe's `main` -> its exit code.

    >>> guarded(lambda argv: None, ["recipe"])
    0
    """
    try:
        if len(argv) > 1 + words:
            raise InputError(f"A recipe takes flags only, as --name=value. Received: {' '.join(argv[1:])}")
        main(argv)
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_MISTAKE
    except Exception as error:
        if not (what := _disk_is_full(error)):
            raise
        print(
            f"error: A file cannot be written; what was finished before is whole. Expected: room on the disk, then the "
            f"same command, which goes on from there. Received: {what}",
            file=sys.stderr,
        )
        return USER_MISTAKE
    return 0


def defaults(holders: Iterable[flags.FlagHolder[Any]]) -> dict[str, Any]:
    """-> what each flag is if it is not given, see `RunFolder.open`."""
    return {holder.name: holder.default for holder in holders}


@contextlib.contextmanager
def log_to(stream: TextIO) -> Iterator[None]:
    """Within it, log lines go to `stream` and not past the panel to what standard error was at the start."""
    handler = logging.get_absl_handler().python_handler
    old = handler.setStream(stream)
    try:
        yield
    finally:
        if old is not None:
            handler.setStream(old)


def _disk_is_full(error: BaseException | None) -> str:
    """-> what the system said if a full disk is behind an error; empty if not.

    >>> _disk_is_full(OSError(errno.ENOSPC, "No space left on device"))
    '[Errno 28] No space left on device'
    >>> _disk_is_full(ValueError("a mistake of ours"))
    ''
    """
    while error is not None:
        texts = [text for text in FULL_TEXTS if text in str(error)]
        if texts or (isinstance(error, OSError) and error.errno in FULL):
            return texts[0] if len(str(error)) > 200 and texts else str(error)
        error = error.__cause__ or error.__context__
    return ""
