"""The two back ends against each other, and the table of presets against what really runs."""

from __future__ import annotations

import numpy as np
import pytest

from tta_lite.export.contents import read_contents
from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.options import Options
from tta_lite.export.quantize.presets import MAKERS, MEANINGS, make
from tta_lite.export.quantize.ranges import RANGES, choose_ranges
from tta_lite.export.quantize.statistics import collect
from tta_lite.export.runner import TFLitePredictor
from tta_lite.types import BACKENDS, CALIBRATED_PRESETS, PRESETS, InputError

NAMED = [name for name in BACKENDS if name != "auto"]
PAIRS = [(preset, backend) for preset in PRESETS for backend in NAMED]


@pytest.fixture(scope="module")
def source(net):
    return FloatFile.of_model(net)


@pytest.fixture(scope="module")
def statistics(source, calibration):
    return collect(source.tflite, calibration)


@pytest.fixture(scope="module")
def ranges(source, statistics):
    return choose_ranges(statistics, "min_max", source.outputs)


@pytest.fixture(scope="module")
def twins(source, ranges):
    """-> int8 by each back end from the same ranges."""
    return {backend: make(source, ranges, "int8", Options(), backend) for backend in NAMED}


def weights(tflite: bytes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Shape and kind of an op, in order -> its int8 weights and their scales."""
    edit, found = GraphEdit(tflite), {}
    for op in edit.ops:
        for tensor in op.inputs:
            value = edit.value(int(tensor)) if tensor >= 0 else None
            if value is not None and value.dtype == np.int8 and value.ndim == 4:
                found[f"{len(found)} {edit.name(op)} {value.shape}"] = (value, edit.quantisation(int(tensor))[0])
    return found


def test_both_give_the_edges_the_same_scales(twins):
    ours, theirs = (TFLitePredictor(twins[backend]) for backend in NAMED)
    for one, other in ((ours.input, theirs.input), (ours.output, theirs.output)):
        assert one.dtype == other.dtype == np.int8
        assert one.scale == pytest.approx(other.scale, rel=1e-6)
        assert one.zero_point == other.zero_point


def test_both_round_the_weights_alike(twins):
    one, other = (weights(twins[backend]) for backend in NAMED)
    assert list(one) == list(other) and len(one) == 8
    for key, (value, scales) in one.items():
        np.testing.assert_allclose(scales, other[key][1], rtol=1e-6)
        np.testing.assert_array_equal(value, other[key][0], err_msg=key)


@pytest.mark.parametrize("rule", RANGES)
def test_outputs_differ_by_few_steps(source, statistics, images, rule):
    found = choose_ranges(statistics, rule, source.outputs)
    made = [TFLitePredictor(make(source, found, "int8", Options(), backend)) for backend in NAMED]
    stored = [np.stack([one.run(one.input.quantise(image[None])) for image in images]).astype(int) for one in made]
    apart = np.abs(stored[0] - stored[1])
    assert apart.max() <= 4 and apart.mean() < 0.5


def test_per_tensor_weights_have_one_scale(source, ranges):
    for backend in NAMED:
        found = weights(make(source, ranges, "int8", Options(per_tensor=True), backend))
        assert {len(scales) for _, scales in found.values()} == {1}, backend


@pytest.mark.parametrize(("preset", "backend"), PAIRS)
def test_the_table_of_presets_is_what_runs(source, ranges, images, net, preset, backend):
    """What it lists runs, stores weights and activations in the types it says, and is near the float network."""
    if backend not in MAKERS[preset]:
        with pytest.raises(InputError, match=f"can be made by the back end {next(iter(MAKERS[preset]))}"):
            make(source, ranges, preset, Options(), backend)
        return
    tflite = make(source, ranges, preset, Options(), backend)
    contents = read_contents(tflite)
    types = {tensor.dtype for tensor in contents.tensors}
    meaning = MEANINGS[preset]
    for dtype in meaning.weights.replace(" (Conv, Dense)", "").split(", "):
        assert dtype in types, (dtype, types)
    edge = meaning.activations if preset in CALIBRATED_PRESETS else "float32"
    predictor = TFLitePredictor(tflite)
    assert predictor.input.dtype == predictor.output.dtype == edge
    wanted = np.asarray(net(images[:4], training=False))
    off = np.sqrt(np.mean((predictor(images[:4]) - wanted) ** 2)) / wanted.std()
    assert off < {"fp32": 1e-5, "fp16": 2e-3, "int16x8": 0.03, "weight_only_int4": 0.4}.get(preset, 0.12)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_flatbuffer_alone_serves_every_preset(source, ranges, preset):
    alone = FloatFile.of_tflite(source.tflite)
    assert TFLitePredictor(make(alone, ranges, preset, Options())).input.shape == (1, 64, 64, 3)


@pytest.mark.parametrize("preset", ["fp16", "dynamic"])
def test_the_converter_says_that_it_reads_no_flatbuffer_for_these(source, preset):
    alone = FloatFile.of_tflite(source.tflite)
    with pytest.raises(InputError, match="can be made by the back end litert_quantizer"):
        make(alone, {}, preset, Options(), "converter")
