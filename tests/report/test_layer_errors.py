"""What the guideline's page says of each layer of an integer file."""

from __future__ import annotations

import numpy as np

from tests import networks
from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.report.layer_errors import errors_view, found_errors
from tta_lite.report.run_folder import RunFolder
from tta_lite.types import FP16, Candidate, ExportSpec

L = keras.layers
IMAGES = [np.random.default_rng(seed).uniform(-1, 1, (1, 12, 12, 3)).astype(np.float32) for seed in range(4)]


def images(count):
    return IMAGES[:count]


def test_the_layer_that_spoils_the_output_comes_out_worst_and_is_found_once(tmp_path):
    net = networks.net(
        L.Conv2D(8, 3, padding="same", activation="relu", name="fine"),
        L.Conv2D(8, 3, padding="same", activation="relu", name="spoilt"),
        L.Conv2D(4, 1, name="last"),
        shape=(12, 12, 3),
    )
    # One channel is 3,000 times larger than the others, and the next layer takes that back.
    kernel, bias = net.get_layer("spoilt").get_weights()
    net.get_layer("spoilt").set_weights([kernel * ([3000] + [1] * 7), bias])
    kernel, bias = net.get_layer("last").get_weights()
    kernel[:, :, 0] /= 3000
    net.get_layer("last").set_weights([kernel, bias])
    spec = ExportSpec("int8", 4)
    file = tmp_path / "net.tflite"
    file.write_bytes(export_tflite(net, spec, IMAGES))
    folder, written = RunFolder(tmp_path), []
    found = found_errors(folder, Candidate(net, spec), file, images, write=written.append)
    assert [one.layer for one in found.ops] == ["fine", "spoilt", "last"]
    assert found.worst(1)[0].layer == "spoilt" and len(written) == 1
    view = errors_view("G3", found)
    assert view["title"] == "What the worst layers of G3 lose in integers"
    assert [line["layer"] for line in view["bars"]] == ["fine", "spoilt", "last"]
    # From the folder, with what is infinite as it was.
    again = found_errors(folder, Candidate(net, spec), file, images, write=written.append)
    assert again.ops == found.ops and len(written) == 1
    file.write_bytes(export_tflite(net, ExportSpec("int8", 3), IMAGES))
    found_errors(folder, Candidate(net, spec), file, images, write=written.append)
    assert len(written) == 2, "another file"


def test_a_file_that_computes_in_float_loses_nothing_between_its_layers(tmp_path):
    assert found_errors(RunFolder(tmp_path), Candidate(None, FP16), tmp_path / "none", images) is None  # type: ignore[arg-type]
