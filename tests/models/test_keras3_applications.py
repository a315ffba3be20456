"""Every architecture of Keras 3's applications, read and given back; `make test` has two small ones, `test-all` all.

    python -m pytest tests/models/test_keras3_applications.py -v -s

prints a line an architecture: parameters, in which precision, the largest difference of the outputs when it was read
and when it was given back, that with one layer's weights in another order, and the seconds.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator
from typing import Any

import keras as keras3
import numpy as np
import pytest

import tta_lite
from tests.models.keras3_nets import difference, outputs
from tta_lite.compat import keras
from tta_lite.export.keras3.write import to_keras3

A = keras3.applications
# What a network needs at least; 32 pixels do for the others.
LEAST = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}
# Quick ones; what the others have besides is in test_keras3_reading.py, layer by layer.
SMALL: dict[str, dict[str, float]] = {"MobileNet": {"alpha": 0.25}}
# By the time and the memory that they take; a sweep that is stopped has seen the others.
HEAVY = (
    "NASNetMobile", "EfficientNetB5", "EfficientNetB6", "EfficientNetV2M", "EfficientNetB7", "EfficientNetV2L",
    "NASNetLarge", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge",
)  # fmt: skip
ALL = sorted((name for name, value in vars(A).items() if name[0].isupper() and callable(value)), key=lambda name: (
    HEAVY.index(name) + 1 if name in HEAVY else 0, name
))  # fmt: skip


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Keras 3 makes its layers in it."""
    before = keras3.config.floatx(), keras3.config.dtype_policy().name
    keras3.config.set_floatx(name)
    keras3.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras3.config.set_floatx(before[0])
        keras3.config.set_dtype_policy(before[1])


def application(name: str, size: int, small: bool) -> tuple[Any, np.ndarray]:
    """-> a network whose output depends on the picture through all of its layers, and pictures.

    See tests/transforms/test_remove_channels_applications.py: with weights from chance alone the output of a deep
    network is the same for all pictures, and a wrong weight changes nothing. The blocks of ConvNeXt begin with a scale
    of 1e-6, which changes too.
    """
    options = {"weights": None, "include_top": False, "input_shape": (size, size, 3), "pooling": "avg"}
    net = getattr(A, name)(**options, **(SMALL[name] if small else {}))
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (8, size, size, 3))
    layers = [layer for layer in net._flatten_layers() if not isinstance(layer, keras3.Model)]
    for owner, weight in ((layer, weight) for layer in layers for weight in layer.weights):
        # The scale of ConvNeXt has no name.
        kind = "gamma" if type(owner).__name__ == "LayerScale" else weight.name
        low, high = {"gamma": (0.3, 0.7), "beta": (0.8, 1.2), "bias": (-0.1, 0.1)}.get(kind, (None, None))
        if low is not None:
            weight.assign(rng.uniform(low, high, tuple(weight.shape)))
    norms = [layer for layer in layers if isinstance(layer, keras3.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    net(x, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return net, x[:4]


def check(name: str, folder: Any, *, small: bool = False) -> None:
    """Reads, gives back and compares, and prints what was found."""
    began = time.perf_counter()
    # In float32 each Keras is up to 1e-4 away from its own outputs in float64 with weights such as these, and the two
    # round in another order: float64 tells a wrong translation from that. ConvNeXt has no batch norm, and is large.
    dtype = "float32" if name.startswith("ConvNeXt") else "float64"
    with precision(dtype):
        net, x = application(name, LEAST.get(name, 32), small)
        wanted = outputs(net, [x])
        weights = {layer.name: layer.get_weights() for layer in net.layers} if small else {}
        params = net.count_params()
        net.save(folder / "net.keras")
        del net
    gc.collect()
    read = tta_lite.load_model(folder / "net.keras")
    (folder / "net.keras").unlink()
    found = difference(wanted, outputs(read, [x]))
    for layer, arrays in weights.items():
        if arrays:
            assert all(map(np.array_equal, read.get_layer(layer).get_weights(), arrays))
    to_keras3(read, folder / "back.keras")
    # The control: a wrong order of the channels of one layer in the middle must be seen.
    kernels = [weight for weight in read.trainable_weights if "kernel" in weight.name and weight.shape[-1] > 1]
    middle = kernels[len(kernels) // 2]
    middle.assign(middle.numpy()[..., ::-1])
    control = difference(wanted, outputs(read, [x]))
    del read, middle, kernels
    keras.backend.clear_session()
    gc.collect()
    with precision(dtype):
        back = keras3.saving.load_model(folder / "back.keras", safe_mode=True)
        (folder / "back.keras").unlink()
        returned = difference(wanted, outputs(back, [x]))
        del back
    keras3.backend.clear_session()
    gc.collect()
    cells = (name, f"{params:,}", dtype, f"{found:.1e}", f"{returned:.1e}", f"{control:.1e}")
    print("|", " | ".join(cells), f"| {time.perf_counter() - began:.0f} |", flush=True)
    # In float64 all that is left is that Rescaling of tf_keras rounds its scale to float32.
    assert max(found, returned) < 1e-5
    assert control > 1e-3


@pytest.mark.parametrize("name", SMALL)
def test_a_small_application_is_read_and_given_back(name, tmp_path):
    check(name, tmp_path, small=True)


# The largest have a thousand layers and more.
@pytest.mark.timeout(3600)
@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_an_application_is_read_and_given_back(name, tmp_path):
    check(name, tmp_path)
