"""The precision of each layer under a limit: it holds, the score grows, and the file is what it is said to be."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from tests import networks
from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.quantize.debug import debug_export
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.mixed import search_mixed_precision
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.export.runner import TFLitePredictor
from tta_lite.files import to_json_text
from tta_lite.types import ExportSpec, InputError

L = keras.layers
INT8 = ExportSpec("int8", 4, per_tensor=True)


@pytest.fixture(scope="module")
def post() -> PostTraining:
    """Two layers with one channel that is much larger than the rest: a small one, and one that costs 14 kB in float."""
    net = networks.net(
        L.Conv2D(16, 3, padding="same", activation="relu", name="small"),
        L.Conv2D(32, 3, padding="same", activation="relu", name="large"),
        L.Conv2D(4, 1, name="last"),
        shape=(8, 8, 3),
    )
    for name in ("small", "large"):
        kernel, bias = net.get_layer(name).get_weights()
        kernel[..., 0] *= 60
        net.get_layer(name).set_weights([kernel, bias])
    images = list(np.random.default_rng(0).uniform(-1, 1, (4, 1, 8, 8, 3)).astype(np.float32))
    return PostTraining(FloatFile.of_model(net), images)


@pytest.fixture(scope="module")
def found(post):
    return debug_export(post, INT8, post.images)


def dtypes(tflite: bytes) -> dict[str, int]:
    """-> how many of the file's tensors between ops are of each type."""
    contents = read_contents(tflite)
    written = [contents.tensors[place].dtype for op in contents.ops for place in op.outputs]
    return {dtype: written.count(dtype) for dtype in written}


def test_a_size_keeps_the_large_layer_out_of_float(post, found):
    room = len(found.tflite) + 6000
    mixed = search_mixed_precision(
        post, post.images, spec=INT8, max_size_bytes=room, found=found, precisions=("float",)
    )
    assert len(mixed.tflite) == mixed.size_bytes <= room
    assert mixed.raised.get("small") == "float" and "large" not in mixed.raised
    assert any(one.layer == "large" and "more than" in one.why for one in mixed.tried if one.phase == "together")
    assert mixed.score > found.score + 0.5
    # What the file is said to be.
    assert post.quantize(mixed.spec) == mixed.tflite
    true = np.stack([TFLitePredictor(post.source.tflite)(image) for image in post.images])
    ours = np.stack([TFLitePredictor(mixed.tflite)(image) for image in post.images])
    assert 10 * np.log10((true**2).sum() / ((ours - true) ** 2).sum()) == pytest.approx(mixed.score, abs=0.01)
    wide = search_mixed_precision(post, post.images, spec=INT8, max_size_bytes=10**6, found=found)
    assert wide.score > mixed.score and {"small", "large"} <= set(wide.raised)
    record = json.loads(to_json_text(mixed.to_json()))
    assert "tflite" not in record and record["raised"] == mixed.raised and len(record["tried"]) == len(mixed.tried)


def test_a_latency_that_makes_16_bits_dear_leaves_float(post, found):
    def latency(tflite: bytes) -> float:
        # As with XNNPACK: an op of 16 bits is not delegated.
        counted = dtypes(tflite)
        return 1.0 + 40.0 * counted.get("int16", 0) + 0.3 * counted.get("float32", 0)

    mixed = search_mixed_precision(
        post, post.images, spec=INT8, max_latency_ms=3.0, latency=latency, found=found
    )  # fmt: skip
    assert mixed.latency_ms == latency(mixed.tflite) <= 3.0
    assert set(mixed.raised.values()) == {"float"} and not mixed.spec.keep_16x8
    assert mixed.score > found.score + 1
    dear = [one for one in mixed.tried if one.precision == "int16x8" and one.phase == "together"]
    assert all("more than 3" in one.why for one in dear)


def test_a_latency_that_was_luck_is_measured_again(post, found):
    asked: dict[bytes, int] = {}

    def latency(tflite: bytes) -> float:
        asked[tflite] = asked.get(tflite, 0) + 1
        return 1.0 if asked[tflite] < 3 else 9.0

    mixed = search_mixed_precision(
        post, post.images, spec=INT8, max_latency_ms=3.0, latency=latency, found=found, most=1, precisions=("float",)
    )  # fmt: skip
    # Alone, together, and once more at the end.
    assert max(asked.values()) == 3
    assert mixed.raised == {} and mixed.spec == INT8 and mixed.tflite == post.quantize(INT8)
    assert any(one.why.startswith("measured again: 9.000 ms") for one in mixed.tried)


def test_the_callers_metric_decides(post, found):
    # The fewer negative outputs the better: nonsense, and so nothing else can be what decided.
    def metric(predict) -> float:
        return -float(np.mean([np.mean(predict(image) < 0) for image in post.images])) * 1000

    mixed = search_mixed_precision(
        post, post.images, spec=INT8, max_size_bytes=10**6, metric=metric, found=found, most=2
    )
    assert mixed.score == metric(TFLitePredictor(mixed.tflite))
    assert mixed.tried[0].score == metric(TFLitePredictor(found.tflite))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Received: neither"),
        ({"max_latency_ms": 3.0}, "needs a function `latency`"),
        ({"max_size_bytes": 100}, r"room for the file with every layer in int8\. Received: it has [\d,]+ bytes, more"),
        ({"max_size_bytes": 10**6, "precisions": ("int4",)}, "Received: .*int4"),
        ({"max_size_bytes": 10**6, "precisions": ()}, "`precisions` must hold"),
        ({"max_size_bytes": 10**6, "spec": ExportSpec("int16x8", 4)}, "begins with the preset int8"),
    ],
)
def test_mistakes_are_told(post, found, options, said):
    with pytest.raises(InputError, match=said):
        search_mixed_precision(post, post.images, **{"spec": INT8, "found": found, **options})


def test_ops_that_are_kept_anyway_stay_kept(post):
    spec = dataclasses.replace(INT8, keep_float=(debug_export(post, INT8, post.images[:1]).ops[0].tensor,))
    mixed = search_mixed_precision(post, post.images, spec=spec, max_size_bytes=10**6, most=1)
    assert set(spec.keep_float) <= set(mixed.spec.keep_float)
