"""ONNX for runtimes beside TFLite: float, or with Q/DQ nodes for an integer network; and SavedModel.

  tta-lite export_onnx --model=runs/drone/artifact/model.tflite --out=runs/drone/onnx
  tta-lite export_onnx --model=net.keras --saved_model --images=calibration.npy --out=runs/onnx

Takes a .tflite file (of any preset) or a .keras network, which is exported in float32. Writes model.onnx and onnx.json:
the ops, how many transposes are left, how far ONNX Runtime (if it is installed: pip install 'tta_lite[onnx]') lies from
LiteRT, and the trtexec line for TensorRT with what it needs. --saved_model writes saved_model/ besides, from a .keras
network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags, logging

from recipes import _app, _images, _model
from tta_lite.types import InputError

IMAGES = 8

_MODEL = flags.DEFINE_string(
    "model", None, "A .tflite file, or a .keras (of Keras 2 or 3) or .h5 network.", required=True
)
_OPSET = flags.DEFINE_integer("opset", 17, "Of ONNX, 13 to 18.", 13, 18)
_CHANNELS_FIRST = flags.DEFINE_bool("channels_first", True, "[B, C, H, W] at the edges: no transposes are left there.")
_IMAGES = flags.DEFINE_string("images", None, "Pictures to compare on, a .npy file [N, H, W, C]; noise if not given.")
_SAVED_MODEL = flags.DEFINE_bool("saved_model", False, "Write a SavedModel besides.")
_OUT = flags.DEFINE_string("out", None, "The folder.", required=True)

flags.adopt_module_key_flags(_model)


def main(argv: Sequence[str]) -> None:
    """Converts, compares, writes and says what came of it."""
    import numpy as np

    from tta_lite.export.onnx import compare_onnx, describe_onnx, export_onnx
    from tta_lite.export.open_safely import open_safely
    from tta_lite.export.runner import TFLitePredictor
    from tta_lite.files import atomic_write, to_json_text

    logging.set_verbosity(logging.WARNING)
    path, out = Path(_MODEL.value), Path(_OUT.value)
    if path.suffix == ".tflite":
        if _SAVED_MODEL.value:
            raise InputError(f"--saved_model needs a .keras network; a .tflite file holds none. Received: {path}")
        if not path.is_file():
            raise InputError(f"--model must be a file that exists. Received: {path}")
        tflite = open_safely(path).tflite
    else:
        from tta_lite.export.saved_model import export_saved_model
        from tta_lite.export.tflite import export_tflite
        from tta_lite.types import FP32

        model = _model.read(path)
        tflite = export_tflite(model, FP32)
        if _SAVED_MODEL.value:
            print(f"SavedModel: {export_saved_model(model, out / 'saved_model')}")
    exported = export_onnx(tflite, opset=_OPSET.value, channels_first=_CHANNELS_FIRST.value)
    shape = TFLitePredictor(tflite).input.shape[1:]
    if _IMAGES.value:
        images = _images.read_images(_IMAGES.value)[:IMAGES]
        if images.shape[1:] != tuple(shape):
            raise InputError(f"--images must hold [N, {', '.join(map(str, shape))}]. Received: {list(images.shape)}")
    else:
        images = np.random.default_rng(0).normal(size=(IMAGES, *shape)).astype(np.float32)
    parity = compare_onnx(exported, tflite, images)
    record = describe_onnx(exported, parity)
    atomic_write(out / "model.onnx", exported.data)
    atomic_write(out / "onnx.json", to_json_text(record, indent=2) + "\n")
    for line in record["says"]:
        print(line)
    print(f"{out}/model.onnx")


if __name__ == "__main__":
    _app.run(main)
