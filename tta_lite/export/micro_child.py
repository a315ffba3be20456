"""Runs a file in TensorFlow Lite Micro's interpreter: the process that `tta_lite.export.micro` starts.

That interpreter ends the process on some errors, and writes its memory plan to stderr only.
"""

from __future__ import annotations

import sys
from pathlib import Path

# The exit code where the package is there and cannot be loaded: it says nothing about the network.
CANNOT_LOAD = 3


def main(folder: str, arena_bytes: int) -> None:
    """Writes the memory plan to stderr, then ``output.npy`` into the folder, which holds the file and ``input.npy``."""
    import numpy as np

    try:
        from tflite_micro.python.tflite_micro import runtime
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(CANNOT_LOAD)

    place = Path(folder)
    tflite = (place / "model.tflite").read_bytes()
    try:
        interpreter = runtime.Interpreter.from_bytes(tflite, arena_size=arena_bytes)
    except RuntimeError as error:
        # What was wrong is above it on stderr, without a stack trace below.
        sys.exit(str(error))
    # Before the run: the plan is made, and a run may take too long.
    interpreter.print_allocations()
    interpreter.set_input(np.load(place / "input.npy"), 0)
    try:
        interpreter.invoke()
    except RuntimeError as error:
        sys.exit(str(error))
    # The name appears when the content is there.
    np.save(place / "half.npy", interpreter.get_output(0))
    (place / "half.npy").rename(place / "output.npy")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
