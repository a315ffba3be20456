from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_lite.export.runner import Edge, edges, load
from tta_lite.types import InputError

INT8 = np.dtype(np.int8)


def test_quantise_by_hand():
    edge = Edge("x", 0, (1, 6), INT8, scale=0.25, zero_point=10)
    # 1 / 0.25 + 10 = 14; -5 / 0.25 + 10 = -10; 0.3 / 0.25 = 1.2 -> 1; 0.4 / 0.25 = 1.6 -> 2; out of range: -128, 127.
    stored = edge.quantise(np.array([1.0, -5.0, 0.3, 0.4, -1000.0, 1000.0]))
    assert stored.dtype == INT8
    assert stored.tolist() == [14, -10, 11, 12, -128, 127]
    # (14 - 10) * 0.25 = 1; (-128 - 10) * 0.25 = -34.5; (127 - 10) * 0.25 = 29.25.
    assert edge.dequantise(stored).tolist() == [1.0, -5.0, 0.25, 0.5, -34.5, 29.25]


def test_quantise_uint8_by_hand():
    edge = Edge("x", 0, (1, 3), np.dtype(np.uint8), scale=2.0, zero_point=128)
    assert edge.quantise(np.array([0.0, -256.0, 400.0])).tolist() == [128, 0, 255]


def test_an_edge_without_scale_passes_through():
    edge = Edge("x", 0, (1, 2), np.dtype(np.float32))
    assert edge.quantise(np.array([0.1, 7e9])).tolist() == np.float32([0.1, 7e9]).tolist()


@given(st.floats(1e-4, 10), st.integers(-128, 127), st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=20))
def test_round_trip_is_within_half_a_step(scale, zero_point, values):
    scale = float(np.float32(scale))
    edge = Edge("x", 0, (1,), INT8, scale, zero_point)
    low, high = (-128 - zero_point) * scale, (127 - zero_point) * scale
    back = edge.dequantise(edge.quantise(np.array(values))).astype(np.float64)
    # A little more than half, for the arithmetic is float32.
    assert np.abs(back - np.clip(values, low, high)).max() <= 0.5001 * scale


def test_edges_carry_the_signature_names(files):
    (image,), (heatmaps,) = edges(load(files["int8"]))
    assert (image.name, image.shape, image.dtype) == ("image", (1, 64, 64, 3), INT8)
    assert (heatmaps.name, heatmaps.shape, heatmaps.dtype) == ("heatmaps", (1, 64, 64, 4), INT8)


def test_unusable_files_are_refused(files):
    with pytest.raises(InputError, match=r"cannot be run.*Received: 100 bytes"):
        load(files["fp32"][:100])
    with pytest.raises(InputError, match=r"cannot be run.*Received: 0 bytes"):
        load(b"")
    with pytest.raises(InputError, match=r"`kernels` must be one of xnnpack, builtin, reference. Received: 'gpu'"):
        load(files["fp32"], kernels="gpu")
