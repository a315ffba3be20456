"""Would a network become integers throughout, before anything is trained or calibrated? (Clause 6.2.1.)

  tta-lite check-quantization --model=net.keras
  tta-lite check-quantization --model=net.keras --board=rk3399 --runtime=armnn-20.08 --out=quantisable.json
  tta-lite check-quantization --model=float32.tflite --latency_model=rk3399.json

Converts the network as it is, trained or not, with ranges of random images. Prints every op that stays in float32 or
that the runtime leaves to slower kernels or does not take, every boundary of FP32 and integers with the bytes that
cross it, and what they cost: measured on this machine, or predicted by --latency_model. Ends with 1 if ops stay in
float32.

Cost: a conversion to float32 (1 to 10 s), then 0.1 s, and 3 s for the measurement.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags, logging
from rich.console import Console
from rich.table import Table

from recipes import _app, _model
from tta_lite.types import InputError

if TYPE_CHECKING:
    from tta_lite.compat import keras
    from tta_lite.export.quantize.float_file import FloatFile
    from tta_lite.guideline.quantisable import Quantisable

_MODEL = flags.DEFINE_string("model", None, "A .keras (of Keras 2 or 3) or .h5 file, or a float32 .tflite.")
_INPUT_SIZE = flags.DEFINE_integer("input_size", None, "Side of the pictures, where the network leaves it open.", 1)
_BOARD = flags.DEFINE_string("board", None, "The target, e.g. rk3399; LiteRT with XNNPACK here if not given.")
_RUNTIME = flags.DEFINE_string("runtime", None, "Of the board; its usual one if not given.")
_PRESET = flags.DEFINE_enum("preset", "int8", ("int8", "int16x8"), "Of the integer file.")
_LATENCY_MODEL = flags.DEFINE_string("latency_model", None, "Predict costs by it (tta-lite predict --fit); no timing.")
_TIMED = flags.DEFINE_bool("timed", True, "Measure on this machine what the boundaries cost.")
_OUT = flags.DEFINE_string("out", None, "A JSON file to write: all that was found.")

flags.adopt_module_key_flags(_model)


def main(argv: Sequence[str]) -> None:
    """Converts, asks, prints, writes; ends the process with 1 if ops stay in float32."""
    del argv
    if not _MODEL.value:
        raise InputError("--model must be given: the network to check. Received: nothing")
    if _RUNTIME.value and not _BOARD.value:
        raise InputError(f"--runtime is one of a board's and needs --board. Received: --runtime={_RUNTIME.value}")
    if _OUT.value and not Path(_OUT.value).resolve().parent.is_dir():
        raise InputError(f"Flag --out must name a file in a folder that exists. Received: {_OUT.value}")
    from tta_lite.boards.profile import get_board
    from tta_lite.files import atomic_write, to_json_text
    from tta_lite.guideline.quantisable import check_quantisable
    from tta_lite.measure.latency_model import load_model

    logging.set_verbosity(logging.WARNING)
    board = get_board(_BOARD.value) if _BOARD.value else None
    model = load_model(_LATENCY_MODEL.value) if _LATENCY_MODEL.value else None
    found = check_quantisable(
        _network(_MODEL.value), board, runtime=_RUNTIME.value, preset=_PRESET.value, latency_model=model,
        timed=_TIMED.value,
    )  # fmt: skip
    show(found, Console())
    if _OUT.value:
        atomic_write(_OUT.value, to_json_text({"file": _MODEL.value, **found.to_json()}, indent=2) + "\n")
        print(f"Written: {_OUT.value}")
    if found.float_ops:
        sys.exit(1)


def _network(path: str) -> keras.Model | FloatFile:
    from tta_lite.export.float_check import check_finite_weights, check_float_tflite
    from tta_lite.export.open_safely import open_safely
    from tta_lite.export.quantize.float_file import FloatFile
    from tta_lite.guideline.preflight import fixed_size

    if path.endswith(".tflite"):
        if _INPUT_SIZE.value:
            raise InputError(
                f"--input_size is for a Keras model. Received: --input_size={_INPUT_SIZE.value} with {path}"
            )
        tflite = open_safely(path).tflite
        check_float_tflite(tflite)
        return FloatFile.of_tflite(tflite, path)
    model = fixed_size(_model.read(path), _INPUT_SIZE.value)
    check_finite_weights(model)
    return model


def show(found: Quantisable, console: Console) -> None:
    """Prints the ops, the boundaries, the answer."""
    from tta_lite.guideline.reasons import spoken

    table = Table(box=None, pad_edge=False)
    table.add_column("op or boundary", no_wrap=True)
    table.add_column("layer", overflow="fold", min_width=12)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for op in found.left:
        why = "; ".join(filter(None, ("stays in float32" * op.stays_float, spoken(op.why))))
        table.add_row(op.op, op.layer, "", _ms(op.cost_ms), why)
    for one in found.boundaries:
        crossing = f"{one.source} -> {', '.join(one.targets)}"
        sizes = str(one.read_bytes + one.written_bytes)
        table.add_row(one.op, crossing, sizes, _ms(one.cost_ms), f"{one.dtypes[0]} -> {one.dtypes[1]}")
    if found.left or found.boundaries:
        console.print(table)
    took = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in found.seconds.items())
    lines = [_sentence(spoken(found.said())), f"Costs: {found.how}."]
    if found.file_ms is not None and found.float_ms is not None:
        lines[-1] += f" One inference: {found.file_ms:.3g} ms in {found.preset}, {found.float_ms:.3g} ms in float32."
    for line in (*lines, f"The check took: {took}."):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _ms(cost_ms: float | None) -> str:
    return "-" if cost_ms is None else f"{cost_ms:.4f}"


if __name__ == "__main__":
    _app.run(main)
