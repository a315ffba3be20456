"""Every architecture of keras.applications loses channels; `make test` has two small ones, `test-all` all."""

from __future__ import annotations

import pytest

from tests.networks import randomised
from tests.transforms.removal import check_outputs, check_useful
from tta_lite.compat import keras

A = keras.applications
ALL = tuple(sorted(name for name, value in vars(A).items() if name[0].isupper() and callable(value)))
# What a network needs at least; 32 pixels do for the others.
LEAST = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}
SMALL = {"MobileNetV2": {"alpha": 0.35}, "MobileNetV3Small": {"alpha": 0.75, "minimalistic": True}}


def application(name: str) -> keras.Model:
    size = LEAST.get(name, 32)
    options = SMALL.get(name, {})
    return getattr(A, name)(weights=None, include_top=False, input_shape=(size, size, 3), pooling="avg", **options)


@pytest.mark.parametrize("name", SMALL)
def test_a_small_application_loses_channels(name, tmp_path):
    # Weights this small keep the activations of deep networks in range.
    smaller, _ = check_outputs(randomised(application(name), std=0.05))
    check_useful(smaller, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL if name not in SMALL])
def test_an_application_loses_channels(name, tmp_path):
    smaller, _ = check_outputs(randomised(application(name), std=0.05))
    check_useful(smaller, tmp_path)
