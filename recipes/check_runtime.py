"""Ask a board's runtime about a .tflite file, op by op: does it take it, and does it compute what LiteRT does?

  tta-lite check-runtime --board=rk3399 --runtime=armnn model.tflite
  tta-lite check-runtime --board=rk3399 --runtime=armnn --rewritten=for_armnn.tflite model.tflite
  tta-lite check-runtime --board=rk3399 --runtime=armnn --connect=ssh://firefly@192.168.1.7 model.tflite

Prints what the runtime says of each op, by the Keras layer it comes from, then of the whole file, and ends with exit
code 0 if it runs wholly on the runtime's fast kernels and gives LiteRT's outputs, 1 if not, 2 for a mistake.
With --rewritten, the file is first written again in ops that the runtime takes, as its profile lists them, and that file
is asked about; its outputs in LiteRT are those of the given file.

Arm NN is asked itself, on the board or under emulation (`tta-lite setup-emulator --runtime=armnn`, once). LiteRT and
TensorFlow Lite Micro are asked on this machine.

Cost: emulated, 10 s and ten times what an inference takes on this machine, thirty times for float32; a minute for a
MobileNetV2 with a pose head at 256 x 256.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from recipes import _app
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


def main(argv: Sequence[str]) -> int:
    """Reads, asks, prints, writes -> 0 if it runs wholly, 1 if not."""
    from tta_lite.boards.profile import get_board
    from tta_lite.export.for_runtime import for_runtime
    from tta_lite.files import atomic_write, to_json_text
    from tta_lite.report.runtime_answers import answer_lines

    given = [*argv[1:], *([_MODEL.value] if _MODEL.value else [])]
    if len(given) != 1:
        raise InputError(f"Expected one .tflite file. Received: {', '.join(given) or 'none'}")
    runtime = get_board(_BOARD.value).runtime(_RUNTIME.value)
    for flag in (_REWRITTEN, _OUT):
        if flag.value and not Path(flag.value).parent.is_dir():
            raise InputError(f"Flag --{flag.name} must name a file in a folder that exists. Received: {flag.value}")
    tflite = _read(given[0])
    if _REWRITTEN.value:
        tflite = for_runtime(tflite, runtime)
        atomic_write(_REWRITTEN.value, tflite)
    answer = _ask(runtime.name, tflite)
    for line in answer_lines(answer):
        print(line)
    if _OUT.value:
        asked = {"file": _REWRITTEN.value or given[0], "board": _BOARD.value, "asked_for": runtime.title}
        atomic_write(_OUT.value, to_json_text({**asked, **answer.to_json()}, indent=2) + "\n")
        print(f"Written: {_OUT.value}")
    return 0 if answer.runs else 1
