"""What AdderNet is worth on a CPU: trained on real digits, exported, and timed beside the same network of convolutions.

    python benchmarks/bench_adder.py [--width=1] [--epochs=20]

ResNet-20 of L1 distances (Chen et al., CVPR 2020) and of convolutions, by the same rules: 1,347 of the 1,797
handwritten digits of UCI (8 x 8 pixels; scikit-learn has them) to train on, 450 to test, with Wilson's interval. Then
the ops of both files, what XNNPACK leaves, and the latencies in turn. About ten minutes on 2 cores.
"""

from __future__ import annotations

import collections
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.delegation import undelegated_ops
from tta_lite.export.runner import TFLitePredictor
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.measure.machine import summary
from tta_lite.models.adder import Adder2D
from tta_lite.models.backbones import get_backbone
from tta_lite.transforms.rewrite import Builder, rewrite
from tta_lite.types import ExportSpec, InputError

_WIDTH = flags.DEFINE_float("width", 1.0, "Multiplies all channels.", 0.1)
_EPOCHS = flags.DEFINE_integer("epochs", 20, "Times over the training pictures.", 1)
_BATCH = flags.DEFINE_integer("batch_size", 32, "Pictures a step.", 1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "The files are timed in turn, so many times.", 1)
_THREADS = flags.DEFINE_integer("num_threads", 1, "Of the interpreter.", 1)

Z95 = 1.959964


def interval(right: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, in percent."""
    share, spread = right / total, Z95**2 / total
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    return 100 * (middle - half), 100 * (middle + half)


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """-> training and test pictures [N, 8, 8, 3] in -1..1, training and test labels."""
    found = load_digits()
    images = np.repeat(found.images[..., None].astype(np.float32) / 8 - 1, 3, axis=-1)
    return tuple(train_test_split(images, found.target, test_size=450, stratify=found.target, random_state=0))


def of_adders(width: float) -> keras.Model:
    """-> AdderNet's ResNet-20 for ten classes."""
    image = keras.Input((8, 8, 3), name="image")
    backbone = get_backbone(f"adder_resnet20_{width}")
    return keras.Model(image, backbone.head(backbone.build(image, None), 10), name="adders")


def of_convolutions(model: keras.Model) -> keras.Model:
    """-> the same network with a convolution in the place of every Adder2D."""

    def rule(layer: keras.layers.Layer, name: str) -> Builder | None:
        if not isinstance(layer, Adder2D):
            return None
        return lambda x, keep: keras.layers.Conv2D(
            layer.filters, layer.kernel_size, strides=layer.strides, padding=layer.padding, use_bias=False, name=name
        )(x)

    return rewrite(model, rule, name="convolutions")


def main(argv: Sequence[str]) -> None:
    """Trains, exports, times, prints."""
    del argv
    train_x, test_x, train_y, test_y = digits()
    print(f"{len(train_x)} digits to train, {len(test_x)} to test; chance is 10 %; {summary()}")
    keras.utils.set_random_seed(0)
    adders = of_adders(_WIDTH.value)
    files: dict[str, Path] = {}
    with tempfile.TemporaryDirectory() as folder:
        for model in (adders, of_convolutions(adders)):
            steps = _EPOCHS.value * math.ceil(len(train_x) / _BATCH.value)
            # As the paper trains: SGD with momentum, cosine decay from 0.1.
            rate = keras.optimizers.schedules.CosineDecay(0.1, steps)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss, metrics=["accuracy"])
            before = model.evaluate(test_x, test_y, verbose=0)[1]
            history = model.fit(train_x, train_y, batch_size=_BATCH.value, epochs=_EPOCHS.value, verbose=0).history
            print(
                f"{model.name}: {model.count_params()} parameters; untrained {100 * before:.1f} %; training loss "
                f"{history['loss'][0]:.3f} -> {history['loss'][-1]:.3f}"
            )
            for preset in ("fp32", "int8"):
                name = f"{model.name} {preset}"
                calibration = [image[None] for image in train_x[:100]]
                try:
                    tflite = export_tflite(model, ExportSpec(preset), calibration if preset == "int8" else ())
                except InputError as error:
                    print(f"{name}: {error}")
                    continue
                right = int((TFLitePredictor(tflite)(test_x).argmax(-1) == test_y).sum())
                low, high = interval(right, len(test_y))
                ops = collections.Counter(op.name for op in read_contents(tflite).ops)
                left = collections.Counter(op.op for op in undelegated_ops(tflite))
                print(
                    f"{name}: {100 * right / len(test_y):.1f} % ({low:.1f} to {high:.1f}), {len(tflite)} bytes, "
                    f"{sum(ops.values())} ops: {', '.join(f'{n} {op}' for op, n in ops.most_common())}; "
                    f"not taken by XNNPACK: {', '.join(f'{n} {op}' for op, n in left.items()) or 'none'}",
                    flush=True,
                )
                files[name] = Path(folder, f"{len(files)}.tflite")
                files[name].write_bytes(tflite)
        comparison = benchmark_together(files, rounds=_ROUNDS.value, num_threads=_THREADS.value, min_secs=0.2)
        place = next(iter(comparison.values())).measured_on
        print(f"{place.runtime}, {place.delegate}, {place.threads} thread(s)")
        for name, ratio in comparison.speedups("convolutions fp32").items():
            print(
                f"{name}: p50 {comparison[name].latency.p50:.3f} ms, {1 / ratio.median:.1f} times the latency of the "
                f"convolutions in fp32 ({1 / ratio.max:.1f} to {1 / ratio.min:.1f})"
            )


if __name__ == "__main__":
    app.run(main)
