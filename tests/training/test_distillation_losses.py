"""The distances to a teacher against float64 by hand and against PyTorch; and that they need no Keras."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_lite.training import distillation_losses as losses
from tta_lite.types import InputError

RNG = np.random.default_rng(0)


def features(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def test_attention_by_the_authors_code():
    """utils.py of their repository, in float64: the mean of squares of differences of normalised maps."""
    taught, found = features(3, 4, 5, 6), features(3, 4, 5, 2)
    units = []
    for one in (taught, found):
        flat = (one.astype(np.float64) ** 2).mean(axis=-1).reshape(3, -1)
        units.append(flat / np.linalg.norm(flat, axis=1, keepdims=True))
    distance = losses.attention_transfer(tf.constant(taught), tf.constant(found))
    assert distance.shape == (3,)
    np.testing.assert_allclose(distance, ((units[0] - units[1]) ** 2).mean(axis=1), rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(factor=st.floats(0.01, 100), channels=st.permutations(range(4)))
def test_attention_does_not_see_scale_or_order_of_channels(factor, channels):
    maps = np.random.default_rng(3).normal(size=(2, 3, 3, 4)).astype(np.float32)
    other = np.float32(factor) * maps[..., list(channels)]
    assert float(tf.reduce_max(losses.attention_transfer(tf.constant(maps), tf.constant(other)))) < 1e-10


def test_similarity_by_the_paper():
    taught, found = features(5, 2, 2, 3), features(5, 7)
    rows = []
    for one in (taught, found):
        q = one.reshape(5, -1).astype(np.float64)
        gram = q @ q.T
        rows.append(gram / np.linalg.norm(gram, axis=1, keepdims=True))
    distance = losses.similarity_preserving(tf.constant(taught), tf.constant(found))
    assert distance.shape == (5,)
    assert float(tf.reduce_mean(distance)) == pytest.approx(((rows[0] - rows[1]) ** 2).sum() / 25, rel=1e-4)
    alone = losses.similarity_preserving(tf.constant(taught[:1]), tf.constant(found[:1]))
    assert float(alone[0]) == pytest.approx(0, abs=1e-12)


def test_hints_and_heat_maps_by_the_papers():
    u, v = features(2, 3, 4, 5), features(2, 3, 4, 5)
    half = 0.5 * ((u.astype(np.float64) - v) ** 2).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(losses.hint_distance(tf.constant(u), tf.constant(v)), half / 60, rtol=1e-5)
    np.testing.assert_allclose(losses.heat_map_distance(tf.constant(u), tf.constant(v)), half / 60, rtol=1e-5)


def test_heat_maps_are_those_of_the_task():
    """`tasks` cannot import this room: the two are written down twice."""
    from tta_lite.tasks.heatmaps import JointsMSE

    taught, found = features(2, 4, 4, 3), features(2, 4, 4, 3)
    np.testing.assert_array_equal(JointsMSE().to_teacher(taught, found), losses.heat_map_distance(taught, found))


def test_gradients_are_pytorch_s():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    taught, found = features(4, 6, 6, 3), features(4, 3, 3, 2)

    def at(one):
        return functional.normalize(one.pow(2).sum(1).flatten(1))

    def unit_gram(one):
        return functional.normalize(one.flatten(1) @ one.flatten(1).T)

    def as_torch(array):
        return torch.tensor(array.transpose(0, 3, 1, 2).copy(), requires_grad=True)

    u, v = as_torch(taught), as_torch(found)
    pooled = functional.adaptive_avg_pool2d(u.pow(2).sum(1, keepdim=True), 3)
    ours = {
        losses.attention_transfer: (functional.normalize(pooled.flatten(1)) - at(v)).pow(2).mean(),
        losses.similarity_preserving: (unit_gram(u) - unit_gram(v)).pow(2).sum() / 16,
    }
    for distance, theirs in ours.items():
        with tf.GradientTape() as tape:
            z = tf.constant(found)
            tape.watch(z)
            value = tf.reduce_mean(distance(tf.constant(taught), z))
        (gradient,) = torch.autograd.grad(theirs, v, retain_graph=True)
        assert float(value) == pytest.approx(theirs.item(), rel=1e-4)
        np.testing.assert_allclose(
            tape.gradient(value, z), gradient.numpy().transpose(0, 2, 3, 1), rtol=1e-3, atol=1e-7
        )


def test_a_layer_of_zeros_gives_numbers():
    """A dead ReLU: neither the distance nor its gradient is NaN."""
    for distance in (losses.attention_transfer, losses.similarity_preserving):
        with tf.GradientTape() as tape:
            z = tf.zeros([2, 3, 3, 2])
            tape.watch(z)
            value = distance(tf.constant(features(2, 3, 3, 4)), z)
        assert np.isfinite(value).all() and np.isfinite(tape.gradient(value, z)).all()


@settings(max_examples=15, deadline=None)
@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)), share=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_cells_are_those_of_adaptive_pooling(size, share):
    height, width = (1 + round(part * (whole - 1)) for part, whole in zip(share, size, strict=True))
    maps = np.random.default_rng(5).normal(size=(1, *size, 2)).astype(np.float32)
    found = losses.pooled(tf.constant(maps), height, width).numpy()
    for row in range(height):
        for column in range(width):
            cell = maps[
                0,
                row * size[0] // height : -(-(row + 1) * size[0] // height),
                column * size[1] // width : -(-(column + 1) * size[1] // width),
            ]
            np.testing.assert_allclose(found[0, row, column], cell.mean(axis=(0, 1)), rtol=1e-4, atol=1e-5)


def test_maps_cannot_be_pooled_to_more():
    with pytest.raises(InputError, match=r"H 4 or more.*Received: \(1, 2, 4, 1\)"):
        losses.pooled(tf.zeros([1, 2, 4, 1]), 4, 4)


def test_the_losses_need_no_keras():
    """In a process of its own: who has loaded Keras 3 (here TensorFlow does it) never gets `tf_keras`."""
    code = """
import sys
import tensorflow as tf
def of_keras():
    return {name for name in sys.modules if name.partition(".")[0] in ("tf_keras", "keras")}
before = of_keras()
from tta_lite.training import distillation_losses as losses
maps = tf.random.normal([2, 4, 4, 3])
with tf.GradientTape() as tape:
    tape.watch(maps)
    total = sum(
        tf.reduce_sum(one(tf.ones([2, 4, 4, 3]), maps))
        for one in (losses.attention_transfer, losses.similarity_preserving, losses.hint_distance,
                    losses.heat_map_distance, lambda u, v: losses.softened_divergence(u, v, 4.0))
    )
tape.gradient(total, maps).numpy()
sys.exit("tf_keras" in sys.modules or of_keras() != before)
"""
    # Of this process: the house has chosen `tf_keras` for it.
    others = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], env=others, check=False)
    assert done.returncode == 0
