"""Each op alone computes what it does within the file: LiteRT runs both."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests import single_op_files as one
from tta_lite.export.contents import read_contents
from tta_lite.export.quantize.names import layer_names
from tta_lite.measure.single_ops import single_ops


def network(*, int8: bool) -> bytes:
    """Two like convolutions, one with another kernel, a sum of an early and a late tensor, a shuffle."""
    rng, file = np.random.default_rng(0), one.File()
    kind, scales = ("int8", ([0.05], 4)) if int8 else ("float32", None)
    image = x = early = file.tensor((1, 6, 5, 4), kind, scales)
    for size in (3, 3, 1):
        weights = rng.normal(0, 0.3, (4, size, size, 4)).astype(np.float32)
        biases = rng.normal(0, 1, 4).astype(np.float32)
        if int8:
            w = file.constant((weights * 100).clip(-127, 127).astype(np.int8), ([0.01] * 4, 0))
            b = file.constant((biases * 2000).astype(np.int32), ([0.0005] * 4, 0))
        else:
            w, b = file.constant(weights), file.constant(biases)
        y = file.tensor((1, 6, 5, 4), kind, scales)
        settings = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
        file.op("CONV_2D", [x, w, b], [y], 3 if int8 else 1, kind="Conv2DOptions", **settings)
        early, x = (y, y) if early == image else (early, y)
    both = file.tensor((1, 6, 5, 4), kind, scales)
    file.op("ADD", [early, x], [both], 2 if int8 else 1, kind="AddOptions")
    out = file.tensor((1, 12, 10, 1), kind, scales)
    file.op("DEPTH_TO_SPACE", [both], [out], 2 if int8 else 1, kind="DepthToSpaceOptions", blockSize=2)
    return file.to_bytes([image], [out])


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
def test_an_op_alone_computes_what_it_does_within_the_file(int8):
    tflite = network(int8=int8)
    contents = read_contents(tflite)
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    whole = Interpreter(
        model_content=tflite, experimental_preserve_all_tensors=True, experimental_op_resolver_type=plain
    )
    whole.allocate_tensors()
    rng = np.random.default_rng(1)
    image = rng.integers(-128, 128, (1, 6, 5, 4)).astype(np.int8) if int8 else rng.normal(size=(1, 6, 5, 4))
    whole.set_tensor(contents.inputs[0], image.astype(np.int8 if int8 else np.float32))
    whole.invoke()
    found = single_ops(tflite)
    for single in found:
        op = contents.ops[single.places[0]]
        alone = Interpreter(model_content=single.tflite, experimental_op_resolver_type=plain)
        alone.allocate_tensors()
        read = [tensor for tensor in op.inputs if not contents.tensors[tensor].is_constant]
        details = alone.get_input_details()
        assert [one["name"] for one in details] == [f"input_{place}" for place in range(len(read))]
        for entry, tensor in zip(details, read, strict=True):
            alone.set_tensor(entry["index"], whole.get_tensor(tensor))
        alone.invoke()
        assert np.array_equal(alone.get_tensor(alone.get_output_details()[0]["index"]), whole.get_tensor(op.outputs[0]))
    assert [single.name for single in found] == ["CONV_2D", "CONV_2D", "ADD", "DEPTH_TO_SPACE"]
    # The second of the two like ones is not asked about again.
    assert [single.places for single in found] == [(0, 1), (2,), (3,), (4,)]
    layers = layer_names(tflite, contents)
    assert [single.layers for single in found] == [tuple(layers[place] for place in s.places) for s in found]


def test_zero_points_tell_ops_apart():
    file = one.File()
    x, y, z = (file.tensor((1, 4, 4, 1), "int8", ([0.1], point)) for point in (0, 0, 5))
    a, b = (file.tensor((1, 6, 4, 1), "int8", ([0.1], point)) for point in (0, 5))
    pads = file.constant(np.array([(0, 0), (1, 1), (0, 0), (0, 0)], np.int32))
    c = file.tensor((1, 6, 4, 1), "int8", ([0.1], 0))
    for source, target in ((x, a), (y, c), (z, b)):
        file.op("PAD", [source, pads], [target], 2, kind="PadOptions")
    assert [single.places for single in single_ops(file.to_bytes([x, y, z], [a, b, c]))] == [(0, 1), (2,)]
