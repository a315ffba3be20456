"""The rules of XNNPACK's sparse path; the kernels themselves are asked in measure/device/test_sparse_kernels.py."""

from __future__ import annotations

import numpy as np
import pytest

from tests import sparse_networks
from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.runner import KERNELS, TFLitePredictor
from tta_lite.export.sparse_check import check_stored_sparse
from tta_lite.export.sparse_encoding import dense_twin, encode_sparse, stored_sparse
from tta_lite.export.sparse_path import AVX, NONE_STORED, has_avx, sparse_path
from tta_lite.export.sparse_rewrite import onto_sparse_path, with_zeros
from tta_lite.types import InputError


@pytest.fixture(scope="module")
def plain():
    return sparse_networks.network(["depthwise3"], zeros=0)


def test_the_share_of_zeros_must_be_above_two_thirds(plain):
    # Kernels of 64 weights: 42 of 64 are 65.6 %, 43 of 64 are 67.2 %.
    below, above = (encode_sparse(with_zeros(plain, share)) for share in (42 / 64, 43 / 64))
    assert sparse_path(above).taken
    found = sparse_path(below)
    assert not found.taken
    assert any("65.6% of the weights of its 2 1 x 1 convolutions" in one for one in found.why)
    assert [conv.zeros for conv in found.convs] == [42 / 64, 42 / 64]


def test_zeros_of_dense_kernels_are_not_looked_for(plain):
    found = sparse_path(with_zeros(plain, 0.9))
    assert not found.taken
    assert found.why == (NONE_STORED,)


def test_an_x86_processor_with_avx_never_takes_it(plain):
    encoded = encode_sparse(with_zeros(plain, 0.9))
    assert sparse_path(encoded).taken
    found = sparse_path(encoded, avx=True)
    assert (found.taken, found.why, found.wrong) == (False, (AVX,), ())


def test_avx_is_read_from_the_system(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    (tmp_path / "proc").mkdir()
    info = tmp_path / "proc" / "cpuinfo"
    info.write_text("processor : 0\nflags : sse2 ssse3 sse4_1\n", encoding="utf-8")
    assert not has_avx(tmp_path)
    info.write_text("processor : 0\nflags : sse2 avx avx2\n", encoding="utf-8")
    assert has_avx(tmp_path)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert not has_avx(tmp_path)


def test_an_op_that_is_not_delegated_ends_a_cluster(plain):
    encoded = encode_sparse(with_zeros(plain, 0.9))
    place = next(place for place, op in enumerate(GraphEdit(encoded).ops) if GraphEdit(encoded).name(op) == "MEAN")
    found = sparse_path(encoded, left=[place])
    assert not found.taken
    assert any("XNNPACK does not take it" in one for one in found.why)


def test_encoded_kernels_are_restored_bit_by_bit(plain):
    sparse = with_zeros(plain, 0.8)
    encoded = encode_sparse(sparse)
    assert len(stored_sparse(encoded)) == 2
    twin = GraphEdit(dense_twin(encoded))
    # TFLite's own DENSIFY gave the twin its kernels.
    kernels = [edit.value(int(op.inputs[1])) for edit in (GraphEdit(sparse), twin) for op in edit.ops
               if edit.name(op) == "CONV_2D"]  # fmt: skip
    for before, after in zip(kernels[:3], kernels[3:], strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_file_that_is_worse_than_its_twin_is_named(plain):
    encoded = encode_sparse(with_zeros(plain, 0.8))
    found = check_stored_sparse(encoded)
    assert found.differences == dict.fromkeys(KERNELS, 0)
    assert check_stored_sparse(plain) is None
    # A kernel of 64 weights, one in ten zero: 57 values of 4 bytes and as many places, and the records of both.
    larger = check_stored_sparse(encode_sparse(with_zeros(plain, 0.1), least=0.05))
    assert any("larger than the same network stored dense" in one for one in larger.faults)


def test_what_cannot_be_stored_sparse_is_refused(plain):
    with pytest.raises(InputError, match="Received: none"):
        encode_sparse(plain)
    wrong = sparse_networks.network(["pooled"])
    with pytest.raises(InputError, match=r"takes planes for pixels .* Received: .* pooled_a"):
        encode_sparse(wrong)


def test_a_network_is_brought_onto_the_path_with_its_outputs():
    # TensorFlow's own paddings: neither the stem nor the strided depthwise layer keeps the rules, and no end does.
    layers = sparse_networks.layers
    image = x = layers.Input((16, 24, 3), batch_size=1)
    x = sparse_networks.stem(x, "stem", padding="same")
    x = sparse_networks.pointwise(x, "a", 16)
    x = sparse_networks.depthwise(x, "dw_below", strides=2)
    x = sparse_networks.pointwise(x, "b", 60)
    x = sparse_networks.depthwise(x, "dw_keras", strides=2, padding=((0, 1), (0, 1)))
    x = sparse_networks.pointwise(x, "c", 12)
    x = layers.Conv2DTranspose(4, 4, 2, "same", name="deconv")(x)
    tflite = sparse_networks.exported(sparse_networks.keras.Model(image, x), zeros=0.8)
    found = onto_sparse_path(tflite)
    assert found.enlarged == ("dw_below", "dw_keras")
    assert (found.begin, found.end) == ("dw_below", "c")
    images = np.random.default_rng(1).uniform(-1, 1, (3, 16, 24, 3)).astype(np.float32)
    expected, received = TFLitePredictor(tflite)(images), TFLitePredictor(found.tflite)(images)
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)
    path = sparse_path(encode_sparse(found.tflite))
    assert [conv.layer for conv in path.convs if conv.is_sparse] == ["b", "c"]
    assert path.wrong == ()
    # 16 taps more of each depthwise output, and two stems of 27 taps for the 16 channels of 4 x 6 pixels: behind a,
    # at 8 x 12 pixels, they cost more than sparse kernels save there.
    assert found.extra_macs == 16 * (4 * 6 * 16 + 2 * 3 * 60) + 2 * 27 * 16 * 4 * 6


def test_an_odd_size_needs_no_larger_kernel():
    tflite = sparse_networks.network(["stem_same"], side=17)
    found = onto_sparse_path(tflite)
    assert (found.begin, found.end, found.padded, found.enlarged) == ("", "", ("stem_same_stem",), ())
    images = np.random.default_rng(1).uniform(-1, 1, (2, 17, 17, 3)).astype(np.float32)
    np.testing.assert_array_equal(TFLitePredictor(found.tflite)(images), TFLitePredictor(tflite)(images))
    assert sparse_path(encode_sparse(found.tflite)).taken
