"""Keeps known noise of the converter off the terminal, and nothing else."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

# Lines that TensorFlow's C++ code writes on every conversion, whatever the network is.
NOISE = (
    b"fully_quantize: ",
    b"Ignored output_format",
    b"Ignored drop_control_dependency",
    b"All log messages before absl::InitializeLog()",
    b"MLIR V1 optimization pass is not enabled",
    b"Created TensorFlow Lite XNNPACK delegate for CPU",
    b"Could not find cuda drivers",
    b"failed call to cuInit",
    b"This TensorFlow binary is optimized",
    # litert-quantizer's progress bar cannot be turned off.
    b"Applying Transformations to tensors",
)


@contextlib.contextmanager
def quiet_converter() -> Iterator[None]:
    """Within it, lines of standard error that hold one of `NOISE` are dropped; all others appear when it ends.

    C++ writes past `sys.stderr`, so the file descriptor itself is turned aside: what other threads write to it in the
    meantime is held back too.
    """
    sys.stderr.flush()
    keep = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            with warnings.catch_warnings():
                # Said of every int8 export: the input's range comes from the calibration, not from the caller.
                warnings.filterwarnings("ignore", message="Statistics for quantized inputs were expected")
                yield
        finally:
            sys.stderr.flush()
            os.dup2(keep, 2)
            os.close(keep)
            aside.seek(0)
            for line in aside:
                if not any(noise in line for noise in NOISE):
                    os.write(2, line)
