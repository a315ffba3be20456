"""The networks by which the model of latency is fitted and judged: made once, kept as files.

    python benchmarks/predict_networks.py --folder=zoo [--presets=fp32,int8,dynamic] [--only=mobilenet_v2]

The weights are from chance, the biases as if trained: latency does not depend on their values. No family that is held
out is in the fit; probes hold ops that the zoo has seldom. What is there already is not made again, so that a killed
run goes on. About six minutes for fp32 and int8 on one core, and 1.5 GB.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from tta_lite.types import PRESETS, ExportSpec


@dataclasses.dataclass(frozen=True)
class Network:
    """One network of the zoo.

    Attributes:
      name: of its backbone, with its width if it has one; or a key of `PROBES`.
      size: side of its pictures in pixels.
      pose: with the three Deconvs and the heat maps of PoseResNet, and no classifier.
      bottleneck: channels before each Deconv, if they are cut.
    """

    name: str
    size: int
    pose: bool = False
    bottleneck: int | None = None

    @property
    def label(self) -> str:
        """Names its files.

        >>> Network("mobilenet_v2_0.5", 160, pose=True, bottleneck=64).label
        'pose_mobilenet_v2_0.5_pconv64-160'
        """
        cut = f"_pconv{self.bottleneck}" if self.bottleneck else ""
        return f"{'pose_' if self.pose else ''}{self.name}{cut}-{self.size}"


FIT = (
    Network("resnet18", 224), Network("resnet18", 96), Network("resnet34", 160), Network("resnet50", 128),
    Network("mobilenet_v1", 224), Network("mobilenet_v1_0.5", 160), Network("mobilenet_v1_0.25", 128),
    Network("mobilenet_v3_small", 224), Network("mobilenet_v3_small_0.75", 128), Network("mobilenet_v3_large", 192),
    Network("mobilenet_v3_large_0.75", 128),
    Network("shufflenet_v1_g1", 160), Network("shufflenet_v1_g3", 224), Network("shufflenet_v1_g3_0.5", 128),
    Network("shufflenet_v1_g8", 160),
    Network("densenet121", 128), Network("effnet", 32), Network("effnet_2.0", 96),
    Network("resnet18", 128, pose=True), Network("mobilenet_v1", 192, pose=True, bottleneck=64),
    Network("mobilenet_v3_small", 256, pose=True), Network("mobilenet_v3_large", 160, pose=True, bottleneck=48),
)  # fmt: skip
HELD_OUT = (
    Network("mobilenet_v2", 224), Network("mobilenet_v2", 128), Network("mobilenet_v2_0.35", 160),
    Network("mobilenet_v2_0.5", 224), Network("mobilenet_v2_0.75", 192), Network("mobilenet_v2_1.4", 160),
    Network("mnasnet_a1", 224), Network("mnasnet_a1", 128), Network("mnasnet_a1_0.5", 192),
    Network("mnasnet_b1", 224), Network("mnasnet_b1", 160), Network("mnasnet_b1_0.5", 128),
    Network("shufflenet_v2_0.5", 224), Network("shufflenet_v2_1.0", 224), Network("shufflenet_v2_1.0", 128),
    Network("shufflenet_v2_1.5", 160), Network("shufflenet_v2_2.0", 192),
    Network("squeezenet_1.0", 224), Network("squeezenet_1.1", 224), Network("squeezenet_1.1", 128),
    Network("mobilenet_v2", 256, pose=True), Network("mobilenet_v2", 256, pose=True, bottleneck=64),
    Network("mnasnet_b1", 192, pose=True), Network("shufflenet_v2_1.0", 192, pose=True, bottleneck=64),
)  # fmt: skip

PROBES: dict[str, Callable[[Any], Any]] = {}
PROBE_SIZES = (32, 96)


def _probe(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
    PROBES[build.__name__] = build
    return build


@_probe
def probe_gates(x: Any) -> Any:
    """Activations that cost more than a clamp."""
    from tta_lite.compat import keras

    layers = keras.layers
    for place, act in enumerate(("sigmoid", "tanh", "hard_sigmoid", "swish", "softmax", "gelu")):
        x = layers.Conv2D(16 * (1 + place % 3), 3, padding="same", strides=1 + (place == 2))(x)
        x = layers.Activation(act)(x)
    x = layers.PReLU(shared_axes=(1, 2))(layers.Conv2D(32, 1)(x))
    return layers.LeakyReLU(0.1)(layers.Conv2D(24, 1)(x))


@_probe
def probe_resizes(x: Any) -> Any:
    """Up- and down-sampling, paddings, slices, several inputs."""
    from tta_lite.compat import keras

    layers = keras.layers
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(x)
    up = layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2D(16, 1)(x))
    near = layers.UpSampling2D(2)(layers.Conv2D(24, 1)(x))
    y = layers.Concatenate()([up, near, layers.Cropping2D(((1, 1), (1, 1)))(layers.ZeroPadding2D(1)(up))])
    y = layers.Maximum()([layers.Conv2D(48, 1)(y), layers.Conv2D(48, 3, padding="same")(y)])
    y = layers.Subtract()([layers.AveragePooling2D(2)(y), layers.MaxPooling2D(2)(y)])
    y = layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2D(64, 1)(y))
    return layers.Conv2D(8, 1)(y)


@_probe
def probe_deconvs(x: Any) -> Any:
    """Deconvs of other kernels, strides and widths than PoseResNet's."""
    from tta_lite.compat import keras

    layers = keras.layers
    x = layers.Conv2D(32, 3, strides=4, padding="same", activation="relu")(x)
    for filters, kernel, stride in ((48, 2, 2), (40, 3, 1), (64, 3, 2), (16, 4, 1)):
        x = layers.Conv2DTranspose(filters, kernel, strides=stride, padding="same", activation="relu")(x)
    return layers.Conv2DTranspose(20, 4, strides=2, padding="same")(layers.Conv2D(24, 1, strides=2)(x))


@_probe
def probe_kernels(x: Any) -> Any:
    """Convolutions of other kernels, strides and widths than the zoo's, and a dense layer."""
    from tta_lite.compat import keras

    layers = keras.layers
    x = layers.Conv2D(20, 5, padding="same", activation="relu")(x)
    x = layers.Conv2D(36, (1, 7), padding="same", activation="relu")(x)
    x = layers.Conv2D(36, (7, 1), padding="same", strides=2, activation="relu")(x)
    x = layers.DepthwiseConv2D(7, padding="same", activation="relu")(x)
    x = layers.Conv2D(100, 1, strides=2, activation="relu")(x)
    x = layers.DepthwiseConv2D(5, padding="same", strides=2, activation="relu")(x)
    x = layers.Conv2D(64, 3, padding="same", dilation_rate=2, activation="relu")(x)
    x = layers.Conv2D(96, 3, padding="same", groups=4, activation="relu")(x)
    x = layers.Dense(200, activation="relu")(layers.Flatten()(layers.AveragePooling2D(2)(x)))
    return layers.Dense(10, activation="softmax")(x)


FIT += tuple(Network(name, size) for name in PROBES for size in PROBE_SIZES)


def file_of(folder: str | Path, network: Network, preset: str) -> Path:
    """-> where the file is kept."""
    return Path(folder) / f"{network.label}.{preset}.tflite"


def make(network: Network, presets: Sequence[str], folder: str | Path) -> None:
    """Builds the network and exports what is not there yet."""
    missing = [preset for preset in presets if not file_of(folder, network, preset).is_file()]
    if not missing:
        return
    from tta_lite.compat import keras
    from tta_lite.export.tflite import export_tflite
    from tta_lite.files import atomic_write
    from tta_lite.guideline.checks import as_if_trained
    from tta_lite.models.classifier import classifier
    from tta_lite.models.pose import pose_resnet

    keras.utils.set_random_seed(0)
    if network.name in PROBES:
        image = keras.Input((network.size, network.size, 3), name="image")
        model = keras.Model(image, PROBES[network.name](image), name=network.name)
    elif network.pose:
        model = pose_resnet(network.name, input_size=network.size, bottleneck=network.bottleneck)
    else:
        model = classifier(network.name, input_size=network.size)
    model = as_if_trained(model)
    noise = np.random.default_rng(0).normal(size=(2, 1, network.size, network.size, 3)).astype(np.float32)
    for preset in missing:
        tflite = export_tflite(model, ExportSpec(preset), list(noise) if preset == "int8" else ())
        atomic_write(file_of(folder, network, preset), tflite)
        print(f"{file_of(folder, network, preset).name}: {len(tflite) / 1e6:.1f} MB", flush=True)
    keras.backend.clear_session()
    gc.collect()


def main(argv: Sequence[str]) -> None:
    """Makes all that is missing."""
    del argv
    for network in (*FIT, *HELD_OUT):
        if flags.FLAGS.only in network.label:
            make(network, flags.FLAGS.presets, flags.FLAGS.folder)


if __name__ == "__main__":
    # Here, as others import this file who have a flag of that name.
    flags.DEFINE_string("folder", None, "Where the files are kept.", required=True)
    flags.DEFINE_list("presets", ["fp32", "int8"], f"Of {', '.join(PRESETS)}.")
    flags.DEFINE_string("only", "", "Networks whose label holds this.")
    app.run(main)
