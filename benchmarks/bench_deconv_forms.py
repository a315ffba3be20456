"""Is there a faster exact form of a Deconv than four convolutions and DEPTH_TO_SPACE, and how near is it to the limit?

    python benchmarks/bench_deconv_forms.py [--size=32] [--channels=64] [--filters=256] [--after=64]

One 4 x 4 Deconv of stride 2 with the ReLU and the PConv that follow it in the case study, in every form that gives the
same outputs, and two that give others and bound what any form can reach: the same convolutions with nothing put
together, and plain convolutions of as many MACs. fp32 and int8, timed in turn; MACs a second tell how busy the
arithmetic units are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from tta_lite.compat import keras
from tta_lite.export.delegation import undelegated_ops
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.measure.counting import count
from tta_lite.measure.machine import summary
from tta_lite.models.layers import DepthToSpace
from tta_lite.transforms.cleanup import fold_batch_norm
from tta_lite.transforms.subpixel import subpixel
from tta_lite.types import ExportSpec

_SIZE = flags.DEFINE_integer("size", 32, "Height and width of the input.", 2)
_CHANNELS = flags.DEFINE_integer("channels", 64, "Of the input.", 1)
_FILTERS = flags.DEFINE_integer("filters", 256, "Of the Deconv.", 1)
_AFTER = flags.DEFINE_integer("after", 64, "Channels of the PConv behind it.", 1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "The files are timed in turn, so many times.", 1)
_THREADS = flags.DEFINE_integer("num_threads", 1, "Of the interpreter.", 1)

L = keras.layers


def image() -> keras.KerasTensor:
    """-> the input of every form."""
    return keras.Input((_SIZE.value, _SIZE.value, _CHANNELS.value), name="features")


def as_deconv() -> keras.Model:
    """-> the Deconv itself."""
    given = image()
    x = L.Conv2DTranspose(_FILTERS.value, 4, strides=2, padding="same", use_bias=False, name="deconv")(given)
    # With batch norm, as in the case study: the converter fuses a ReLU only behind the addition that this becomes.
    x = L.ReLU(name="act")(L.BatchNormalization(name="bn")(x))
    model = keras.Model(given, L.Conv2D(_AFTER.value, 1, name="pconv")(x))
    rng = np.random.default_rng(0)
    model.get_layer("bn").set_weights([rng.uniform(0.5, 1.5, _FILTERS.value) for _ in range(4)])
    return model


def unmoved(deconv: keras.Model) -> keras.Model:
    """-> four convolutions, DEPTH_TO_SPACE of all channels, and the PConv behind it."""
    return subpixel(deconv, move=False).model


def one_convolution(deconv: keras.Model) -> keras.Model:
    """-> one 2 x 2 convolution to four times the channels, of which each phase is a slice."""
    given = image()
    kernel, bias = (weight.numpy() for weight in fold_batch_norm(deconv).get_layer("deconv").weights)
    taps = ((3, 1), (2, 0))
    conv = L.Conv2D(4 * _FILTERS.value, 2, activation="relu", name="phases")
    y = conv(L.ZeroPadding2D(1)(given))
    parts = [kernel[np.ix_(taps[p], taps[q])].transpose(0, 1, 3, 2) for p in (0, 1) for q in (0, 1)]
    conv.set_weights([np.concatenate(parts, axis=-1), np.tile(bias, 4)])
    pconv = L.Conv2D(_AFTER.value, 1, name="pconv")
    size, filters = _SIZE.value, _FILTERS.value
    phases = []
    for place, (p, q) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        phases.append(pconv(y[:, p : p + size, q : q + size, place * filters : (place + 1) * filters]))
    pconv.set_weights(deconv.get_layer("pconv").get_weights())
    return keras.Model(given, DepthToSpace(2)(L.Concatenate()(phases)))


def convolutions_alone() -> keras.Model:
    """-> the four convolutions and PConvs, added up: not the same outputs."""
    given = image()
    phases = []
    for _ in range(4):
        y = L.Conv2D(_FILTERS.value, 2, padding="same", activation="relu")(given)
        phases.append(L.Conv2D(_AFTER.value, 1)(y))
    return keras.Model(given, L.Add()(phases))


def plain() -> keras.Model:
    """-> a PConv of as many MACs as the Deconv: what the arithmetic units can do at best. Not the same outputs."""
    given = image()
    return keras.Model(given, L.Conv2D(16 * _FILTERS.value, 1, name="plain")(given))


def main(argv: Sequence[str]) -> None:
    """Builds, checks, exports, times, prints."""
    del argv
    deconv = as_deconv()
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(1, *deconv.input_shape[1:])).astype(np.float32) for _ in range(4)]
    exact = {
        "TRANSPOSE_CONV": deconv,
        "four convolutions, shuffled last (subpixel)": subpixel(deconv).model,
        "four convolutions, shuffled before the PConv": unmoved(deconv),
        "one convolution and slices": one_convolution(deconv),
    }
    for name, model in exact.items():
        np.testing.assert_allclose(model(images[0]), deconv(images[0]), rtol=1e-3, atol=1e-4, err_msg=name)
    forms = {**exact, "bound: the four convolutions alone": convolutions_alone(), "bound: plain PConv": plain()}
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        for preset in ("fp32", "int8"):
            for name, model in forms.items():
                files[f"{preset} {name}"] = Path(folder, f"{len(files)}.tflite")
                tflite = export_tflite(model, ExportSpec(preset), images if preset == "int8" else ())
                files[f"{preset} {name}"].write_bytes(tflite)
                if left := undelegated_ops(tflite):
                    print(f"{preset} {name}: XNNPACK left {', '.join(op.op for op in left)}")
        found = benchmark_together(
            files, rounds=_ROUNDS.value, num_threads=_THREADS.value, num_runs=20, min_secs=0.3
        )  # fmt: skip
    place = next(iter(found.values())).measured_on
    print(f"{place.runtime}, {place.delegate}, {place.threads} thread(s), {summary()}")
    for preset in ("fp32", "int8"):
        speedups = found.speedups(f"{preset} TRANSPOSE_CONV")
        for name, model in forms.items():
            p50, ratio = found[f"{preset} {name}"].latency.p50, speedups[f"{preset} {name}"]
            print(
                f"{preset} {name:45} {p50:7.2f} ms  {ratio.median:5.2f} times TRANSPOSE_CONV's speed "
                f"({ratio.min:.2f} to {ratio.max:.2f})  {count(model).macs / p50 / 1e6:6.1f} G MACs a second"
            )


if __name__ == "__main__":
    app.run(main)
