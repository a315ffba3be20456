"""Ask a board's runtime about a .tflite file, op by op: does it take it, and does it compute what LiteRT does?

  tta-lite check-runtime --board=rk3399 --runtime=armnn model.tflite
  tta-lite check-runtime --board=rk3399 --runtime=armnn --rewritten=for_armnn.tflite model.tflite
  tta-lite check-runtime --board=rk3399 --runtime=armnn --connect=ssh://firefly@192.168.1.7 model.tflite

Prints what the runtime says of each op, by the Keras layer it comes from, then of the whole file, and ends with exit
code 0 if it runs wholly on the runtime's fast kernels and gives LiteRT's outputs, 1 if not, 2 for a mistake.
With --rewritten, the file is first written again in ops that the runtime takes, and that file is asked about; LiteRT
gives the same outputs for both.

Arm NN is asked itself, on the board or under emulation (`tta-lite setup-emulator --runtime=armnn`, once). LiteRT and
TensorFlow Lite Micro are asked on this machine.

Cost: emulated, 10 s and two inferences of the emulated processor: 45 s in all for a MobileNetV2 with a pose head at
256 x 256 in float32, 25 s in int8. 75 s for a PoseResNet-50 at 128 x 128.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from recipes import _app
from tta_lite.measure.runtime_answers import TAKEN, Answer, RuntimeAnswer
from tta_lite.types import InputError

EMULATED = "emulated"
_BOARD = flags.DEFINE_string("board", "rk3399", "A profile's name, or the path of a .toml file.")
_RUNTIME = flags.DEFINE_string("runtime", None, "One of the board's runtimes; its first one if not given.")
_MODEL = flags.DEFINE_string("model", None, "The .tflite file; it may also be given without the flag.")
_CONNECT = flags.DEFINE_string(
    "connect", EMULATED, "Where Arm NN is asked: emulated, local, ssh://[user@]host[:port], adb:SERIAL."
)
_REWRITTEN = flags.DEFINE_string("rewritten", None, "A file to write: the network in ops that the runtime takes.")
_OUT = flags.DEFINE_string("out", None, "A JSON file to write: all that is printed.")
_OP_LIMIT_S = flags.DEFINE_float("op_limit_s", 120, "Seconds that one op may take in Arm NN.", lower_bound=1)
_WHOLE_LIMIT_S = flags.DEFINE_float(
    "whole_limit_s", 1800, "Seconds that the whole file may take in Arm NN.", lower_bound=1
)


def main(argv: Sequence[str]) -> None:
    """Reads, asks, prints, writes; ends the process with 1 if the file does not run wholly."""
    from tta_lite.boards.profile import get_board
    from tta_lite.export.for_runtime import for_runtime
    from tta_lite.export.open_safely import open_safely
    from tta_lite.files import atomic_write, to_json_text

    given = [*argv[1:], *([_MODEL.value] if _MODEL.value else [])]
    if len(given) != 1:
        raise InputError(f"Expected one .tflite file. Received: {', '.join(given) or 'none'}")
    runtime = get_board(_BOARD.value).runtime(_RUNTIME.value)
    for flag in (_REWRITTEN, _OUT):
        if flag.value and not Path(flag.value).parent.is_dir():
            raise InputError(f"Flag --{flag.name} must name a file in a folder that exists. Received: {flag.value}")
    # Bytes that are no network are found here, and not half way; and in another process than this one.
    tflite = open_safely(given[0]).tflite
    if _REWRITTEN.value:
        tflite = for_runtime(tflite, runtime)
        atomic_write(_REWRITTEN.value, tflite)
    answer = _ask(runtime.name, tflite)
    print("\n".join(lines(answer)))
    if not answer.runs and not _REWRITTEN.value and for_runtime(tflite, runtime) != tflite:
        print(f"--rewritten=FILE writes it in ops that {runtime.name} takes, as far as that is known, and asks again.")
    if _OUT.value:
        asked = {"file": _REWRITTEN.value or given[0], "board": _BOARD.value, "profile": runtime.title}
        atomic_write(_OUT.value, to_json_text({**asked, **answer.to_json()}, indent=2) + "\n")
        print(f"Written: {_OUT.value}")
    if not answer.runs:
        sys.exit(1)


def lines(answer: RuntimeAnswer) -> list[str]:
    """-> what is printed of an answer: a line an op, one for the whole file, the verdict."""
    rows = [
        (str(op.index), op.op, "" if op.layer == op.op else op.layer, op.answer.answer, _difference(op.answer))
        for op in answer.ops
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    found = [f"{answer.runtime}, asked on {answer.device}:"]
    for (place, *texts, difference), op in zip(rows, answer.ops, strict=True):
        cells = [place.rjust(widths[0]), *(text.ljust(width) for text, width in zip(texts, widths[1:4], strict=True))]
        found.append("  ".join([*cells, difference.rjust(widths[4]), op.answer.words]).rstrip())
    if answer.whole:
        difference = _difference(answer.whole)
        apart = f"; largest difference from LiteRT: {difference} {answer.whole.unit}" if difference else ""
        found.append(f"The whole file: {'; '.join(filter(None, (answer.whole.answer, answer.whole.words)))}{apart}")
    counts = Counter(op.answer.answer for op in answer.ops if op.answer.answer != TAKEN)
    if answer.runs:
        found.append(f"It runs wholly in {answer.runtime}: {len(answer.ops)} ops.")
    else:
        others = ", ".join(f"{count} {name}" for name, count in counts.items())
        found.append(
            f"It does not run wholly in {answer.runtime}{f': {others}, of {len(answer.ops)} ops' if others else ''}."
        )
    return found


def _difference(answer: Answer) -> str:
    return "" if answer.difference is None else f"{answer.difference:.3g}"


def _ask(name: str, tflite: bytes) -> RuntimeAnswer:
    from tta_lite.measure.device.armnn import ask_armnn
    from tta_lite.measure.device.armnn_setup import emulated_armnn
    from tta_lite.measure.device.connect import open_transport
    from tta_lite.measure.local_runtimes import HERE, LOCAL

    if name in LOCAL:
        if _CONNECT.present and _CONNECT.value != "local":
            raise InputError(
                f"The runtime {name} is asked on {HERE}; --connect is for armnn. Received: {_CONNECT.value}"
            )
        return LOCAL[name](tflite)
    if name != "armnn":
        raise InputError(f"A runtime that can be asked is one of armnn, {', '.join(LOCAL)}. Received: {name}")
    transport, python = (
        emulated_armnn() if _CONNECT.value == EMULATED else (open_transport(_CONNECT.value), ("python3",))
    )
    with transport:
        return ask_armnn(
            tflite,
            transport,
            python,
            op_limit_s=_OP_LIMIT_S.value,
            whole_limit_s=_WHOLE_LIMIT_S.value,
            progress=lambda said: print(f"asking about {said}", file=sys.stderr),
        )


if __name__ == "__main__":
    _app.run(main, words=1)
