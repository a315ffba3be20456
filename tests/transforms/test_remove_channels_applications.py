"""Every architecture of keras.applications loses channels; `make test` has two small ones, `test-all` all.

    python -m pytest tests/transforms/test_remove_channels_applications.py -v -s

prints a line an architecture: its groups, those that are fixed, what changed, the control, and the seconds.
"""

from __future__ import annotations

import collections
import gc
import re
import time

import numpy as np
import pytest

from tests.transforms.removal import check_outputs, check_useful
from tta_lite.compat import keras

A = keras.applications
L = keras.layers
# What a network needs at least; 32 pixels do for the others.
LEAST = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}
SMALL = {"MobileNetV2": {"alpha": 0.35}, "MobileNetV3Small": {"alpha": 0.75, "minimalistic": True}}
# By the time that they take; a sweep that is stopped has seen the others.
HEAVY = (
    "EfficientNetB6", "EfficientNetB7", "EfficientNetV2M", "EfficientNetV2L", "ResNetRS200", "ResNetRS270",
    "ResNetRS350", "ResNetRS420", "ConvNeXtLarge", "ConvNeXtXLarge", "RegNetX320", "RegNetY320", "NASNetLarge",
)  # fmt: skip
ALL = sorted((name for name, value in vars(A).items() if name[0].isupper() and callable(value)), key=lambda name: (
    HEAVY.index(name) + 1 if name in HEAVY else 0, name
))  # fmt: skip


@pytest.fixture(autouse=True)
def forget():
    """Gives the memory back: the largest of these networks need most of what a small machine has."""
    yield
    keras.backend.clear_session()
    gc.collect()


def pictures(size: int, count: int = 8) -> np.ndarray:
    """-> [N, size, size, 3] from chance, in 0..255: most of these networks scale their input themselves."""
    return np.random.default_rng(1).uniform(0, 255, (count, size, size, 3)).astype(np.float32)


def application(name: str, size: int) -> keras.Model:
    """-> a network with weights from chance, whose output depends on the picture through all of its layers.

    With weights from chance alone the output of a deep network is the same for all pictures, and a channel more or less
    changes nothing. So each batch norm takes its statistics from pictures, and most of what it gives is above zero, so
    that ReLUs let it through and rounding errors do not grow from layer to layer.
    """
    options = SMALL.get(name, {})
    net = getattr(A, name)(weights=None, include_top=False, input_shape=(size, size, 3), pooling="avg", **options)
    rng = np.random.default_rng(0)
    for layer in (one for one in net.submodules if isinstance(one, L.Layer) and not isinstance(one, keras.Model)):
        for weight in layer.weights:
            kind = weight.name.rpartition("/")[2].partition(":")[0]
            low, high = {"gamma": (0.3, 0.7), "beta": (0.8, 1.2), "bias": (-0.1, 0.1)}.get(kind, (None, None))
            if low is not None:
                weight.assign(rng.uniform(low, high, weight.shape))
    norms = [layer for layer in net.submodules if isinstance(layer, L.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    net(pictures(size), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return net


def check(name: str, folder) -> None:
    """Removes channels, looks at the outputs, trains, saves and converts, and prints what was found."""
    began = time.perf_counter()
    size = LEAST.get(name, 32)
    x = [pictures(size)[:4]]
    found = check_outputs(application(name, size), x=x)
    # Without the layer's own name.
    fixed = collections.Counter(re.sub(" '[^']*'", "", group.why_fixed) for group in found.groups if group.why_fixed)
    why = "; ".join(f"{count} x {reason}" for reason, count in fixed.items())
    cells = (name, len(found.groups), sum(fixed.values()), f"{found.difference:.1e}", f"{found.control:.1e}")
    print("|", " | ".join(map(str, cells)), end=" | ", flush=True)
    check_useful(found.smaller, folder, x)
    print(f"{time.perf_counter() - began:.0f} | {why} |")


@pytest.mark.parametrize("name", SMALL)
def test_a_small_application_loses_channels(name, tmp_path):
    check(name, tmp_path)


# The largest have a thousand layers and more.
@pytest.mark.timeout(3600)
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL if name not in SMALL])
def test_an_application_loses_channels(name, tmp_path):
    check(name, tmp_path)
