from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tta_lite.export.contents import plan_arena, read_contents
from tta_lite.export.convert import CONVERSIONS, convert_function


def test_ops_of_the_net(files):
    counts = [(op.name, op.count, op.input_dtypes) for op in read_contents(files["int8"]).op_counts()]
    assert counts == [
        ("CONV_2D", 4, ("int8", "int8", "int32")),
        ("DEPTHWISE_CONV_2D", 2, ("int8", "int8", "int32")),
        ("ADD", 1, ("int8", "int8")),
        ("TRANSPOSE_CONV", 2, ("int32", "int8", "int8", "int32")),
    ]


@pytest.mark.parametrize(("preset", "width"), [("fp32", 4), ("int8", 1)])
def test_memory_of_the_net_by_hand(files, preset, width):
    memory = read_contents(files[preset]).memory()
    assert memory.file_bytes == len(files[preset])
    assert memory.input_bytes == 64 * 64 * 3 * width
    assert memory.output_bytes == 64 * 64 * 4 * width
    # The last Deconv: [32, 32, 32] in, [64, 64, 32] out; nothing else is alive.
    assert memory.peak_live_bytes == (32 * 32 * 32 + 64 * 64 * 32) * width
    assert memory.arena_bytes == memory.peak_live_bytes
    kernels = 3 * 3 * 3 * 16 + 9 * 16 + 16 * 32 + 9 * 32 + 32 * 32 + 2 * 4 * 4 * 32 * 32 + 32 * 4
    biases = 16 + 16 + 32 + 32 + 32 + 32 + 32 + 4
    # The two output shapes of the Deconvs, [4] int32 each.
    assert memory.constant_bytes == kernels * width + biases * 4 + 2 * 16


def test_a_residual_is_kept_alive():
    def graph(x):
        y = tf.nn.relu(x)
        return tf.nn.relu6(tf.cumsum(y, axis=1)) + y

    function = tf.function(graph).get_concrete_function(tf.TensorSpec((1, 8), tf.float32))
    contents = read_contents(convert_function(function, CONVERSIONS["fp32"]))
    assert [op.name for op in contents.ops] == ["RELU", "CUMSUM", "RELU6", "ADD"]
    # x: op 0. y: 0 to 3. cumsum: 1 to 2. relu6: 2 to 3. The sum: 3.
    assert sorted(contents.lifetimes().values()) == [(0, 0), (0, 3), (1, 2), (2, 3), (3, 3)]
    # Three of 32 bytes at op 2.
    assert contents.memory().peak_live_bytes == 96


def test_plan_by_hand():
    # 100 -> 112 at 0; 64 lives with it, at 112; 48 lives with 64 alone and fits in the 100's place.
    assert plan_arena([(100, 0, 1), (64, 1, 2), (48, 2, 3)]) == 112 + 64
    assert plan_arena([]) == 0


lives = st.tuples(st.integers(1, 500), st.integers(0, 9), st.integers(0, 9)).map(
    lambda t: (t[0], min(t[1:]), max(t[1:]))
)


@given(st.lists(lives, min_size=1, max_size=12))
def test_the_plan_holds_all_and_wastes_less_than_no_plan(tensors):
    padded = [(-(-size // 16) * 16, first, last) for size, first, last in tensors]
    live = [sum(size for size, first, last in padded if first <= op <= last) for op in range(10)]
    assert max(live) <= plan_arena(tensors) <= sum(size for size, _, _ in padded)
    if np.all([(first, last) == (0, 9) for _, first, last in tensors]):
        assert plan_arena(tensors) == max(live)
