"""Check an artifact folder: its sums, its network, its golden outputs, its C++ sources.

  tta-lite verify runs/case_study/artifact
  tta-lite verify --artifact=runs/case_study/artifact

Prints one line a check and ends with exit code 0 if all are right, 2 if not. A changed byte, a missing and an extra
file are each a line that names the file; nothing is run then. The golden outputs are computed again by LiteRT. Where a
C++ compiler is installed (c++, g++ or clang++; CXX names another), the sources are compiled and the self-test is run;
aarch64-linux-gnu-g++ and arm-none-eabi-g++ compile them too where they are installed. Of an adaptive network, a folder
with policy.json, each mode must answer its golden images as it did. It needs no TensorFlow and no data.

Cost: a second, and as much as the compiler takes, seconds for a network of 1 MB.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags

from recipes import _app
from tta_lite.types import InputError

_ARTIFACT = flags.DEFINE_string("artifact", None, "The folder; it may also be given without the flag.")


def main(argv: Sequence[str]) -> None:
    """Checks, prints, and counts what failed."""
    from tta_lite.adaptive.folder import is_adaptive, verify_adaptive
    from tta_lite.export.verify import verify_artifact

    given = [*argv[1:], *([_ARTIFACT.value] if _ARTIFACT.value else [])]
    if len(given) != 1:
        raise InputError(f"Expected one artifact folder. Received: {', '.join(given) or 'none'}")
    checks = []
    verify = verify_adaptive if is_adaptive(given[0]) else verify_artifact
    for check in verify(given[0]):
        print(check, flush=True)
        checks.append(check)
    failed = sum(check.passed is False for check in checks)
    if failed:
        raise InputError(
            f"The artifact is not right: {failed} of {len(checks)} checks failed, as printed. Received: {given[0]}"
        )
    skipped = sum(check.passed is None for check in checks)
    told = f"; {skipped} could not be made here" if skipped else ""
    print(f"{given[0]} is right: {len(checks) - skipped} checks passed{told}.")
    sys.stdout.flush()


if __name__ == "__main__":
    _app.run(main, words=1)
