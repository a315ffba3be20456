"""Networks on disk."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.models.files import load_network
from tta_lite.types import InputError

L = keras.layers


def net() -> keras.Model:
    """Nested, and with a layer that is used twice."""
    keras.utils.set_random_seed(0)
    inner_image = keras.Input((8, 8, 4))
    inner = keras.Model(inner_image, L.BatchNormalization()(L.Conv2D(4, 3, padding="same")(inner_image)), name="inner")
    image = keras.Input((8, 8, 3), name="image")
    x = inner(inner(L.Conv2D(4, 1)(image)))
    model = keras.Model(image, L.Dense(2)(L.GlobalAveragePooling2D()(x)), name="net")
    model.compile("adam", "mse")
    model.fit(np.ones((4, 8, 8, 3)), np.ones((4, 2)), verbose=0)
    return model


def test_it_is_what_keras_reads(tmp_path):
    net().save(tmp_path / "net.keras")
    found, wanted = load_network(tmp_path / "net.keras"), keras.models.load_model(tmp_path / "net.keras")
    assert [layer.name for layer in found.layers] == [layer.name for layer in wanted.layers]
    assert all(np.array_equal(a, b) for a, b in zip(found.get_weights(), wanted.get_weights(), strict=True))
    assert found.optimizer is None
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    assert np.array_equal(found.predict(images, verbose=0), wanted.predict(images, verbose=0))


def test_nothing_is_sought_in_the_archive(tmp_path, monkeypatch):
    """Each step back would read the archive from its beginning: minutes for a large network."""
    net().save(tmp_path / "net.keras")
    monkeypatch.setattr(zipfile.ZipExtFile, "seek", lambda *args: pytest.fail("sought in the archive"))
    load_network(tmp_path / "net.keras")


def test_files_that_cannot_be_read(tmp_path):
    net().save(tmp_path / "net.keras")
    whole = (tmp_path / "net.keras").read_bytes()
    (tmp_path / "torn.keras").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"torn.keras cannot be read as a model of tf_keras"):
        load_network(tmp_path / "torn.keras")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(InputError, match=r"empty.keras cannot be read"):
        load_network(tmp_path / "empty.keras")
    for wrong in ("none.keras", "net.pt"):
        with pytest.raises(InputError, match="must be a file that exists and ends with"):
            load_network(tmp_path / wrong)
