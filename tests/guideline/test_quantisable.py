from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import tensorflow as tf

from tests.export.conftest import build_net
from tta_lite.boards.profile import get_board
from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.runner import TFLitePredictor
from tta_lite.export.tflite import export_tflite
from tta_lite.files import to_json_text
from tta_lite.guideline import boundaries as module
from tta_lite.guideline.boundaries import Costs, boundaries
from tta_lite.guideline.left_ops import left_ops
from tta_lite.guideline.quantisable import check_quantisable
from tta_lite.guideline.reasons import spoken
from tta_lite.measure.device.transport import DeviceError
from tta_lite.measure.latency_model import KindCost, LatencyModel, NetworkCost, Place, Sizes
from tta_lite.types import ExportSpec, InputError

layers = keras.layers


@pytest.fixture(scope="module")
def mixed():
    """Convolutions with a running sum between them, which has no integer kernel; [B, 96, 96, 3] -> [B, 48, 48, 2]."""
    keras.utils.set_random_seed(0)
    image = keras.Input((96, 96, 3), name="image")
    x = layers.ReLU(name="stem_relu")(layers.Conv2D(8, 3, 2, "same", name="stem")(image))
    x = tf.cumsum(x, axis=1)
    x = layers.Conv2D(2, 1, name="heatmaps")(x)
    return keras.Model(image, x, name="mixed")


@pytest.fixture(scope="module")
def found(mixed):
    return check_quantisable(mixed)


def test_an_op_without_an_integer_kernel_is_listed_with_its_boundaries(found):
    assert found.ops == {"CONV_2D": 2, "CUMSUM": 1}
    (op,) = found.float_ops
    assert (op.op, op.layer.split("_")[0]) == ("CUMSUM", "tf.math.cumsum") and "XNNPACK has no kernel" in op.why
    out, back = found.crossings
    assert (out.op, out.dtypes, out.source) == ("DEQUANTIZE", ("int8", "float32"), "stem")
    assert (back.op, back.dtypes, back.targets) == ("QUANTIZE", ("float32", "int8"), ("heatmaps",))
    assert out.targets == (op.layer,) and back.source == op.layer
    # 48 x 48 pixels of 8 channels, one byte and four bytes each, twice.
    assert out.shape == back.shape == (1, 48, 48, 8)
    assert (out.read_bytes, out.written_bytes) == (back.written_bytes, back.read_bytes) == (18432, 73728)
    assert found.crossing_bytes == 2 * (18432 + 73728)


def test_what_the_boundaries_cost_is_measured_here(found):
    assert found.how == "measured on this machine"
    # LiteRT's clock counts microseconds; a read of the cache in less than one is no time. On a busy machine it may be
    # any time.
    assert all(0 <= one.cost_ms < math.inf for one in found.boundaries)
    assert math.isclose(found.crossing_ms, sum(one.cost_ms for one in found.crossings))
    assert 0 < found.float_ops[0].cost_ms < math.inf and found.float_ms > 0
    said = spoken(found.said())
    assert said.startswith("1 of 3 ops stay in float32: 1 CUMSUM (tf.math.cumsum")
    assert "2 boundaries of FP32 and integers, over which 180.0 KiB pass an inference; they cost " in said
    assert f"they cost {found.crossing_ms:.3g} of {found.file_ms:.3g} ms" in said
    assert {"convert", "quantise", "cost"} == set(found.seconds)


def test_the_record_is_json_and_says_whether_it_can_be_quantised(found):
    record = json.loads(to_json_text(found.to_json()))
    assert record["quantisable"] is False and "tflite" not in record
    assert record["boundaries"][0]["read_bytes"] == 18432 and record["crossings"] == 2
    assert record["left"][0]["stays_float"] is True


def test_its_float_ops_can_be_kept_so_that_the_preset_is_no_error(mixed, found):
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(1, 96, 96, 3)).astype(np.float32) for _ in range(8)]
    with pytest.raises(InputError, match="CUMSUM"):
        export_tflite(mixed, ExportSpec("int8"), images)
    tflite = export_tflite(mixed, ExportSpec("int8", keep_float=found.keep_float), images)
    assert [op.name for op in read_contents(tflite).ops].count("CUMSUM") == 1
    wanted = mixed(images[0], training=False).numpy()
    assert np.abs(TFLitePredictor(tflite)(images[0]) - wanted).max() < 0.05 * np.ptp(wanted)


def test_a_network_of_integers_has_no_boundary():
    net = build_net()
    before = [values.copy() for values in net.get_weights()]
    found = check_quantisable(net, timed=False)
    assert found.left == () and found.boundaries == () and found.file_ms is None
    assert spoken(found.said()) == "all 9 ops become integer ops (int8), without a boundary to FP32 (6.2.1)"
    assert found.to_json()["quantisable"] is True
    assert all(np.array_equal(a, b) for a, b in zip(before, net.get_weights(), strict=True))


def test_a_dead_layer_ends_nothing():
    # It is zero for every image: a range of nothing.
    image = keras.Input((8, 8, 3))
    dead = layers.ReLU(name="dead")(layers.Conv2D(4, 1, bias_initializer=keras.initializers.Constant(-1e6))(image))
    net = keras.Model(image, layers.Conv2D(2, 1, name="last")(layers.Add()([dead, dead])))
    for network in (net, FloatFile.of_model(net)):
        assert check_quantisable(network, timed=False).float_ops == ()


def test_a_board_is_asked_for_every_op_as_integers(mixed):
    board = get_board("rk3399")
    found = check_quantisable(mixed, board, runtime="armnn", timed=False)
    (op,) = found.left
    assert op.stays_float and spoken(op.why) == "armnn 20.08 has no CUMSUM"
    assert "at a cost" not in spoken(found.said()) and "a cost that is not known" in spoken(found.said())
    with pytest.raises(InputError, match=r"runs files of .*Received: 'int8'"):
        check_quantisable(mixed, _floats_only(board), timed=False)


def _floats_only(board):
    return dataclasses.replace(board, runtimes=(dataclasses.replace(board.runtimes[0], presets=("fp32",)),))


def test_without_a_compiler_the_boundaries_are_told_all_the_same(mixed, monkeypatch):
    def refuse(*files, **rules):
        raise DeviceError("no compiler for it is here. Received: none")

    monkeypatch.setattr(module, "profile_in_turn", refuse)
    found = check_quantisable(mixed)
    assert len(found.crossings) == 2 and found.crossing_ms is None
    assert found.how == "not known: no compiler for it is here. Received: none"


def test_a_float_file_is_checked_as_it_is(mixed):
    found = check_quantisable(FloatFile.of_model(mixed), timed=False)
    assert [one.op for one in found.float_ops] == ["CUMSUM"]
    assert found.network == "mixed"


def test_where_only_the_scale_changes_nothing_crosses_to_floats(found):
    costs = Costs((1.0,) * len(read_contents(found.tflite).ops), 9.0, 1.0, True, "measured on this machine")
    conversions = boundaries(found.tflite, costs)
    assert [one.cost_ms for one in conversions] == [1.0, 1.0]
    assert [one.is_of_floats for one in conversions] == [True, True]
    (op,) = left_ops(found.tflite, None, (), costs)
    assert op.cost_ms == 1.0 and op.tensor.endswith("Cumsum")


def test_an_integer_file_that_is_slower_is_told(found):
    slower = dataclasses.replace(found, slower=True, file_ms=4.0, float_ms=2.5)
    assert spoken(slower.said()).endswith(
        "in all the integer file takes 4 ms, and one of float32 2.5: nothing is gained"
    )
    assert "nothing is gained" not in spoken(dataclasses.replace(slower, slower=False).said())


def by_values(value_us):
    """-> nothing but so many microseconds a value."""
    return KindCost(0.0, (value_us,), 0.0, 0.0, 0.0, 1.0, 5, 1e9)


def made_up_model(dtypes):
    """-> a board on which a converted value takes 0.01 us, a multiply-accumulate 0.001, any other value 0.0001."""
    macs = KindCost(0.0, (1e-3, 0.0, 0.0), 0.0, 0.0, 0.0, 1.0, 5, 1e9)
    kinds = {"conv": macs, "conv_1x1": macs, "stem": macs, "quantize": by_values(0.01), "other": by_values(1e-4)}
    return LatencyModel(
        Place("a made-up board", "LiteRT", 1, {"cpu": "a made-up core"}),
        ("net1", "net2"),
        dict.fromkeys(dtypes, Sizes(1, 1, 1 << 30)),
        dict.fromkeys(dtypes, kinds),
        dict.fromkeys(dtypes, NetworkCost(1.0, 0.0, 0.05, 1.2, 0.9, 20)),
    )


def test_costs_of_a_board_are_predicted_by_its_model(mixed):
    found = check_quantisable(mixed, latency_model=made_up_model(("fp32", "int8")))
    assert found.how == "predicted for a made-up board" and found.slower
    # 48 x 48 x 8 values at each.
    assert [one.cost_ms for one in found.crossings] == pytest.approx([0.18432, 0.18432])
    assert f"they cost 0.369 of {found.file_ms:.3g} ms as predicted" in spoken(found.said())


def test_what_a_model_says_nothing_of_is_not_known(mixed):
    found = check_quantisable(mixed, latency_model=made_up_model(("fp32",)))
    assert found.crossing_ms is None and found.how.startswith("not known: The model of a made-up board was fitted to")
