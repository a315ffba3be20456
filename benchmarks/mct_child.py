"""Sony's model-compression-toolkit on one network, in its own environment (TensorFlow 2.15): for bench_quantizers.py.

    python3.11 -m venv mct && mct/bin/pip install "tensorflow==2.15.*" "numpy<2" model-compression-toolkit==2.6.1
    mct/bin/python benchmarks/mct_child.py --model=net.h5 --calibration=images.npy --out=DIR [--gptq_epochs=5]

Imports nothing of tta_lite, which is not installed there.  Writes
<out>/int8.tflite and prints one line of JSON: seconds of each part, and what failed. With --pictures it also writes
<out>/predictions.npy, what the quantised Keras model makes of them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import model_compression_toolkit as mct
import numpy as np
import tensorflow as tf
from model_compression_toolkit.target_platform_capabilities.schema import mct_current_schema as schema

BATCH = 20


def load(path: Path) -> Any:
    """-> the model of a .h5 file that a newer Keras wrote."""
    with h5py.File(path) as file:
        config = json.loads(file.attrs["model_config"])
    for layer in config["config"]["layers"]:
        # What 2.15 does not know; a class that did would be a custom layer, which MCT refuses.
        layer["config"].pop("optional", None)
    model = tf.keras.models.model_from_json(json.dumps(config))
    model.load_weights(path)
    return model


def tflite_platform() -> Any:
    """-> MCT's description of TFLite, mended: 2.6.1 refuses its own, and that leaves DWConv and Deconv in float.

    Weights of Conv, DWConv, Deconv and Dense get a scale for each channel, every activation 8 bits and a zero point of
    its own; ops that only move values pass on what they are given.
    """
    own = mct.get_target_platform_capabilities("1.0", "tflite")
    name = schema.OperatorSetNames
    by_name = {one.name: one for one in own.operator_set}
    weighted = [
        schema.OperatorsSet(name=kind, qc_options=by_name[name.CONV].qc_options)
        for kind in (name.CONV, name.DEPTHWISE_CONV, name.CONV_TRANSPOSE, name.FULLY_CONNECTED)
    ]
    usual = own.default_qco.clone_and_edit(
        activation_quantization_method=mct.target_platform_capabilities.QuantizationMethod.UNIFORM
    )
    moving = usual.clone_and_edit(quantization_preserving=True, enable_activation_quantization=False)
    movers = [
        schema.OperatorsSet(name=kind, qc_options=moving)
        for kind in (name.ZERO_PADDING2D, name.PAD, name.RESHAPE, name.TRANSPOSE, name.MAXPOOL, name.STRIDED_SLICE)
    ]
    bounds = [schema.OperatorsSet(name=kind) for kind in (name.RELU, name.RELU6)]
    add = schema.OperatorsSet(name=name.ADD)
    ends = schema.OperatorSetGroup(operators_set=bounds)
    fusings = [schema.Fusing(operator_groups=(one, ends)) for one in (*weighted, add)]
    return own.model_copy(
        update={
            "default_qco": usual,
            "operator_set": (*weighted, *movers, *bounds, add),
            "fusing_patterns": tuple(fusings),
        }
    )


def quantise(model: Any, batches: Callable[[], Iterator[list[np.ndarray]]], platform: Any, gptq_epochs: int) -> Any:
    """-> MCT's quantised model: post-training, with gradient descent on the roundings if epochs are given."""
    if not gptq_epochs:
        made, _ = mct.ptq.keras_post_training_quantization(model, batches, target_platform_capabilities=platform)
        return made
    made, _ = mct.gptq.keras_gradient_post_training_quantization(
        model,
        batches,
        gptq_config=mct.gptq.get_keras_gptq_config(n_epochs=gptq_epochs),
        gptq_representative_data_gen=batches,
        target_platform_capabilities=platform,
    )
    return made


def main() -> None:
    """Loads, quantises, exports, predicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a .h5 file that Keras 2.15 reads")
    parser.add_argument("--calibration", type=Path, required=True, help="[N, H, W, C] float32, a .npy file")
    parser.add_argument("--pictures", type=Path, help="[N, H, W, C] float32, a .npy file: what is predicted")
    parser.add_argument(
        "--platform", choices=("tflite", "imx500"), default="tflite", help="tflite: mended; imx500: MCT's own"
    )
    parser.add_argument("--gptq_epochs", type=int, default=0, help="above 0: gradient PTQ, so many times through")
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    calibration = np.load(arguments.calibration)

    def batches() -> Iterator[list[np.ndarray]]:
        for start in range(0, len(calibration), BATCH):
            yield [calibration[start : start + BATCH]]

    model = load(arguments.model)
    found: dict[str, Any] = {"mct": mct.__version__, "tensorflow": tf.__version__}
    platform = tflite_platform() if arguments.platform == "tflite" else mct.get_target_platform_capabilities()
    started, used = time.perf_counter(), time.process_time()
    quantised = quantise(model, batches, platform, arguments.gptq_epochs)
    found["quantise_s"] = time.perf_counter() - started
    found["quantise_cpu_s"] = time.process_time() - used
    if arguments.pictures:
        started = time.perf_counter()
        outputs = [quantised(part, training=False) for part in np.array_split(np.load(arguments.pictures), 64)]
        np.save(arguments.out / "predictions.npy", np.concatenate([np.asarray(part) for part in outputs]))
        found["predict_s"] = time.perf_counter() - started
    started = time.perf_counter()
    try:
        mct.exporter.keras_export_model(
            quantised,
            str(arguments.out / "int8.tflite"),
            serialization_format=mct.exporter.KerasExportSerializationFormat.TFLITE,
            quantization_format=mct.exporter.QuantizationFormat.INT8,
        )
        found["export_s"] = time.perf_counter() - started
    except Exception as error:  # Whatever it is, the predictions are still worth a row.
        found["export_error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    print(json.dumps(found))


if __name__ == "__main__":
    main()
