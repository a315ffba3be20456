"""Discrimination-aware channel selection: what both the next layer's output and the task's loss ask for."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.transforms.channels.criteria_gradients import Batch, Loss, gradients_of
from tta_lite.transforms.channels.groups import ChannelGroup, Part
from tta_lite.transforms.channels.readers import Reader, as_kernel, matrices, readers_of
from tta_lite.transforms.channels.units import free, parts, rows, summed
from tta_lite.transforms.graph import Call, Graph, trace
from tta_lite.transforms.rewrite import rewrite
from tta_lite.types import InputError

L = keras.layers
STAGES = 4
"""In so many stages the units of a group are chosen; the paper chooses one by one."""
LOSSES = 2
"""Losses at intermediate features, besides the one at the end."""


def discrimination(
    model: keras.Model,
    groups: Sequence[ChannelGroup],
    batches: Sequence[Batch],
    loss: Loss,
    *,
    losses: int = LOSSES,
    balance: float = 1.0,
    stages: int = STAGES,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """How much a unit is asked for, by the reconstruction error of what reads it and by a discrimination-aware loss.

    Zhuang et al., *Discrimination-aware Channel Pruning for Deep Neural Networks*, NeurIPS 2018, sections 3.2 to 3.4,
    algorithm 2, https://arxiv.org/abs/1810.11809. The layers that read a group start without any of its units. The
    gradient of both losses by their weights is taken; the units whose weights have the largest squared gradient come in
    first. What is in is fitted to the reconstruction, and the next ones are chosen.

    A classifier (outputs [B, K]) has losses at intermediate features: batch norm, the mean over the picture and a dense
    layer that learns on the given batches; each group answers to the next of them, as in the paper. Heat maps and
    other outputs that keep their places have no such head: there the gradient is that of the task's loss itself, at the
    end. Other than in the paper: units come in `stages` at a time, what is in is fitted by least squares and not by
    steps of SGD, the mean output stays as it was where a bias or a batch norm can give it, the heads have no ReLU, the
    two gradients are brought to the same size before they are added, and the network is not trained with the losses.

    Args:
      model: functional, with one input and without nested models.
      groups: of `channel_groups`. Those that are read by separable or one- or three-dimensional convolutions only get
        no score.
      batches: pairs (x, y).
      loss: (y, prediction) -> the loss.
      losses: at intermediate features, evenly along the network.
      balance: weight of the discrimination-aware loss against the reconstruction error.
      stages: in which the units of a group come in.
      seed: of the heads' first weights.
    """
    if stages < 1 or losses < 0 or balance < 0:
        raise InputError(
            "Expected: `stages` 1 or more, `losses` and `balance` 0 or more. "
            f"Received: stages={stages}, losses={losses}, balance={balance}"
        )
    copy = rewrite(model, {})
    graph = trace(copy)
    images = np.concatenate([np.asarray(x) for x, _ in batches])
    readers = readers_of(copy, groups, images)
    points = _points(copy, graph, batches, loss, losses, seed)
    place = {call.name: number for number, call in enumerate(graph.calls)}
    gradients: dict[int, _Gradients] = {}
    scores = {}
    for group in free(groups):
        read = [(readers[part.layer], part) for part in parts(group, "in") if part.layer in readers]
        if not read:
            continue
        last = max(place[part.layer] for _, part in read)
        number = next(number for number, point in enumerate(points) if point.place >= last)
        if number not in gradients:
            gradients[number] = _Gradients(points[number], readers, loss, batches)
        scores[group.name] = _in_stages(group, read, gradients[number], balance, stages)
    return scores


@dataclasses.dataclass(frozen=True, eq=False)
class _Point:
    """Where a loss is taken: behind the call at that place in the order of running."""

    place: float
    model: keras.Model


class _Gradients:
    """The mean gradient of one point's loss by the kernels of all readers."""

    def __init__(self, point: _Point, readers: Mapping[str, Reader], loss: Loss, batches: Sequence[Batch]) -> None:
        self.readers, self.batches = readers, batches
        self.run = gradients_of(point.model, [one for reader in readers.values() for one in _changed(reader)], loss)

    def all(self) -> dict[str, np.ndarray]:
        """-> reader -> [IC, the rest]; what a bias can give as well is not in it."""
        mean = iter([np.mean(one, axis=0) for one in zip(*(self.run(x, y) for x, y in self.batches), strict=True)])
        found = {}
        for name, reader in self.readers.items():
            kernels = matrices(reader.layer, next(mean))
            if len(_changed(reader)) > 1:
                # The mean of batch norm is taken away, a bias is added.
                bias = next(mean) if reader.layer.use_bias else -next(mean)
                each = np.split(bias, len(kernels))
                kernels = tuple(
                    own - np.outer(patch, shift) for own, patch, shift in zip(kernels, reader.means, each, strict=True)
                )
            found[name] = rows(reader.layer, "in", as_kernel(reader.layer, kernels))
        return found


def _in_stages(
    group: ChannelGroup, read: Sequence[tuple[Reader, Part]], gradients: _Gradients, balance: float, stages: int
) -> np.ndarray:
    """-> [size]: the squared gradient of each unit when it came in, and less than those before it had."""
    scores, chosen = np.zeros(group.size), np.zeros(group.size, bool)
    highest = np.inf
    whole = [(variable, variable.numpy()) for reader, _ in read for variable in _changed(reader)]
    # The size of each gradient when nothing is in: neither a large layer nor a steep loss shall speak for all.
    sizes: list[tuple[float, float]] = []
    try:
        for stage in range(stages):
            for reader, part in read:
                _become(reader, _fitted(reader, ~_channels(part, ~chosen)))
            asked = gradients.all() if balance else {}
            squares = np.zeros(group.size)
            for number, (reader, part) in enumerate(read):
                towards = _reconstruction(reader)
                own = asked[part.layer] if balance else np.zeros_like(towards)
                if stage == 0:
                    sizes.append(tuple(max(float(np.linalg.norm(one)), 1e-30) for one in (towards, own)))  # type: ignore[arg-type]
                both = towards / sizes[number][0] + balance * own / sizes[number][1]
                squares += summed((both**2).sum(axis=1), part, group.size)
            left = np.flatnonzero(~chosen)
            best = left[np.argsort(-squares[left], kind="stable")]
            best = best[: len(left) if stage == stages - 1 else -(-group.size // stages)]
            scores[best] = np.minimum(squares[best], highest)
            chosen[best] = True
            # A little less, so that what came in later is worth less.
            highest = float(scores[best].min(initial=highest)) * (1 - 1e-6)
            if chosen.all():
                break
    finally:
        for variable, value in whole:
            variable.assign(value)
    return scores


def _changed(reader: Reader) -> list[tf.Variable]:
    """-> the kernel, and what keeps the mean output."""
    if reader.layer.use_bias:
        return [reader.layer.kernel, reader.layer.bias]
    return [reader.layer.kernel, *([reader.norm.moving_mean] if reader.norm is not None else [])]


def _become(reader: Reader, kernel: np.ndarray) -> None:
    """Gives a reader another kernel, and the mean output that it has now."""
    before, after = (matrices(reader.layer, values) for values in (reader.layer.kernel.numpy(), kernel))
    less = np.concatenate([
        mean @ (old - new) for mean, old, new in zip(reader.means, before, after, strict=True)
    ])  # fmt: skip
    reader.layer.kernel.assign(kernel)
    if reader.layer.use_bias:
        reader.layer.bias.assign_add(tf.cast(less, reader.layer.bias.dtype))
    elif reader.norm is not None:
        reader.norm.moving_mean.assign_sub(tf.cast(less, reader.norm.moving_mean.dtype))


def _channels(part: Part, units: np.ndarray) -> np.ndarray:
    """-> which channels of a side belong to the marked units, [channels] bool."""
    return np.where(part.units >= 0, units[part.units], False)


def _fitted(reader: Reader, there: np.ndarray) -> np.ndarray:
    """-> the kernel that gives the most of the reader's output with some of its channels only."""
    found = []
    for kernel, moments in zip(reader.kernels, reader.moments, strict=True):
        own = np.flatnonzero(np.tile(there, len(kernel) // reader.channels))
        fitted = np.zeros_like(kernel)
        if len(own) == len(kernel):
            fitted = kernel
        elif len(own):
            gram = moments[np.ix_(own, own)]
            hold = 1e-3 * max(float(np.trace(gram)) / len(gram), 1e-30) * np.eye(len(gram))
            fitted[own] = np.linalg.solve(gram + hold, moments[own] @ kernel + hold @ kernel[own])
        found.append(fitted)
    return as_kernel(reader.layer, found)


def _reconstruction(reader: Reader) -> np.ndarray:
    """-> [IC, the rest]: the gradient of half the squared error of the output, by the kernel that the layer has now."""
    now = matrices(reader.layer, reader.layer.kernel.numpy())
    found = [moments @ (own - kernel) for own, kernel, moments in zip(now, reader.kernels, reader.moments, strict=True)]
    return rows(reader.layer, "in", as_kernel(reader.layer, found))


def _points(
    model: keras.Model, graph: Graph, batches: Sequence[Batch], loss: Loss, losses: int, seed: int
) -> list[_Point]:
    """-> the losses in the order of running; the last is the network's own."""
    end = _Point(np.inf, model)
    if not losses or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        return [end]
    cuts = _cuts(graph)
    wanted = {round(k * len(cuts) / (losses + 1)) for k in range(1, losses + 1)}
    found = []
    for at in sorted(wanted & set(range(len(cuts)))):
        place, call = cuts[at]
        feature = model.get_layer(call.name).output
        found.append(_Point(place, _with_head(model, feature, batches, loss, seed)))
    return [*found, end]


def _cuts(graph: Graph) -> list[tuple[int, Call]]:
    """-> the calls that give a feature map through which all goes that comes after."""
    last = {number: place for place, call in enumerate(graph.calls) for number in call.reads}
    live: set[int] = set(graph.inputs)
    found = []
    for place, call in enumerate(graph.calls):
        live = {number for number in live | set(call.writes) if last.get(number, -1) > place}
        if live == set(call.writes) and len(live) == 1 and len(graph.shapes[call.writes[0]]) == 4:
            found.append((place, call))
    return found


def _with_head(model: keras.Model, feature: Any, batches: Sequence[Batch], loss: Loss, seed: int) -> keras.Model:
    """-> the network up to a feature map, with batch norm, mean and a dense layer that has learnt the labels."""
    body = keras.Model(model.inputs, feature)
    features = [body(np.asarray(x), training=False) for x, _ in batches]
    mean, variance = tf.nn.moments(tf.concat(features, 0), (0, 1, 2))
    pooled = [tf.reduce_mean((one - mean) * tf.math.rsqrt(variance + 1e-3), (1, 2)) for one in features]
    outputs = model(np.asarray(batches[0][0]), training=False).numpy()
    is_softmax = bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3))
    start = keras.initializers.GlorotUniform(seed)
    head = L.Dense(model.output_shape[-1], activation="softmax" if is_softmax else "linear", kernel_initializer=start)
    optimizer = keras.optimizers.Adam(0.05)
    head.build((None, int(feature.shape[-1])))
    labels = np.concatenate([np.asarray(y) for _, y in batches])
    step = functools.partial(_learn, head, optimizer, loss, tf.concat(pooled, 0), labels)
    for _ in range(HEAD_STEPS):
        step()
    norm = L.BatchNormalization(center=False, scale=False)
    x = L.GlobalAveragePooling2D()(norm(feature))
    norm.set_weights([mean.numpy(), variance.numpy()])
    return keras.Model(model.inputs, head(x))


HEAD_STEPS = 40
"""Of Adam, on all batches at once, with which a head learns; it has one layer and learns fast."""


def _learn(head: keras.layers.Layer, optimizer: Any, loss: Loss, x: Any, y: Any) -> None:
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(loss(y, head(x)))
    optimizer.apply_gradients(zip(tape.gradient(value, head.variables), head.variables, strict=True))
