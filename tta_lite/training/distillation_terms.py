"""What is added to the loss of a task: one record for each way to learn from a teacher, with its weight.

A weight is a number or a schedule, a function of the step (tensor -> tensor): `LinearWeight`, or any
``keras.optimizers.schedules.LearningRateSchedule``. The distances are those of `tta_lite.training.distillation_losses`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.models.outputs import ends_in_softmax
from tta_lite.training import distillation_losses as losses
from tta_lite.training.distillation_features import Pair, Pairs, feature_pairs, feature_shapes
from tta_lite.training.teachers import Answer, Shape, Teacher
from tta_lite.types import InputError

Weight = float | Callable[[tf.Tensor], tf.Tensor]
# (what the teacher says, what the student says) -> [B], how far apart they are.
Distance = Callable[[Answer, Answer], tf.Tensor]
# (a feature of the teacher, one of the student) -> [B].
FeatureDistance = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class LinearWeight:
    """A weight that goes from `start` to `end` in a straight line, and stays there.

    Attributes:
      start: until the step `begin`.
      end: from the step ``begin + steps`` on.
      steps: 1 or more.
      begin: a step of the optimizer, from 0.

    >>> ramp = LinearWeight(0.0, 2.0, steps=4, begin=10)
    >>> [float(ramp(step)) for step in (0, 10, 11, 14, 99)]
    [0.0, 0.0, 0.5, 2.0, 2.0]
    """

    start: float
    end: float
    steps: int
    begin: int = 0

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            check_weight(name, getattr(self, name))
        if self.steps < 1 or self.begin < 0:
            raise InputError(
                f"A weight needs `steps` of 1 or more and a `begin` of 0 or more. Received: {self.steps}, {self.begin}"
            )

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """-> the weight, float32."""
        way = tf.clip_by_value((tf.cast(step, tf.float32) - self.begin) / self.steps, 0.0, 1.0)
        return self.start + (self.end - self.start) * way


def check_weight(name: str, weight: Weight) -> None:
    """Raises an `InputError` for a weight that is neither a number from 0 on nor a schedule."""
    if callable(weight):
        return
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
        raise InputError(f"Argument `{name}` must be a number of 0 or more, or a schedule. Received: {weight!r}")


def weight_at(weight: Weight, step: tf.Tensor) -> tf.Tensor | float:
    """-> the weight of a step."""
    return tf.cast(weight(step), tf.float32) if callable(weight) else float(weight)


@dataclasses.dataclass(frozen=True, eq=False)
class Bound:
    """A term between two networks.

    Attributes:
      name: under which its distance is logged.
      weight: of its distance.
      distance: how far apart the answers are.
      pairs: (layer of the student, layer of the teacher), whose features `distance` needs.
      regressors: layers that learn with the student and are dropped with the term.
    """

    name: str
    weight: Weight
    distance: Distance
    pairs: tuple[Pair, ...] = ()
    regressors: tuple[keras.layers.Layer, ...] = ()


@dataclasses.dataclass(frozen=True)
class Term:
    """A way to learn from a teacher; its subclasses are in `TERMS`.

    Attributes:
      weight: of the distance, which is a mean over the examples: a number of 0 or more, or a schedule of the step.
    """

    weight: Weight = 1.0
    name: ClassVar[str] = "term"

    def __post_init__(self) -> None:
        check_weight("weight", self.weight)

    def bind(self, student: keras.Model, teacher: Teacher) -> Bound:
        """-> the term between two networks.

        Raises:
          InputError: they do not fit each other.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class KnowledgeDistillation(Term):
    """Softened classes (`losses.softened_divergence`); Hinton, Vinyals and Dean, 2015.

    Attributes:
      temperature: by which the logits of both are divided.
      from_logits: whether the student's outputs are logits; None: seen from its last layer.
    """

    temperature: float = 4.0
    from_logits: bool | None = None
    name: ClassVar[str] = "kd"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature < math.inf:
            raise InputError(f"Argument `temperature` must be a number above 0. Received: {self.temperature}")

    def bind(self, student: keras.Model, teacher: Teacher) -> Bound:
        """-> the term between the outputs."""
        check_outputs(student, teacher)
        theirs, mine = not teacher.probabilities, self.from_logits
        if mine is None:
            mine = not ends_in_softmax(student)
        temperature = self.temperature

        def distance(taught: Answer, found: Answer) -> tf.Tensor:
            logits = losses.as_logits(taught.outputs, theirs), losses.as_logits(found.outputs, mine)
            return losses.softened_divergence(*logits, temperature)

        return Bound(self.name, self.weight, distance)


@dataclasses.dataclass(frozen=True)
class HeatMaps(Term):
    """Heat maps, or any other numbers (`losses.heat_map_distance`); Zhang, Zhu and Ye, CVPR 2019."""

    name: ClassVar[str] = "heat_maps"

    def bind(self, student: keras.Model, teacher: Teacher) -> Bound:
        """-> the term between the outputs."""
        check_outputs(student, teacher)
        return Bound(self.name, self.weight, lambda taught, found: losses.heat_map_distance(taught[0], found[0]))


@dataclasses.dataclass(frozen=True)
class AttentionTransfer(Term):
    """Where layers look (`losses.attention_transfer`), summed over the pairs; Zagoruyko and Komodakis, ICLR 2017.

    Attributes:
      weight: the authors' beta, 1,000.
      pairs: of layers [B, H, W, C], see `feature_pairs`; None: the last layers of each H x W that both have.
    """

    weight: Weight = 1000.0
    pairs: Pairs | None = None
    name: ClassVar[str] = "at"

    def bind(self, student: keras.Model, teacher: Teacher) -> Bound:
        """-> the term between pairs of features."""
        pairs = _pairs(student, teacher, self.pairs)
        _check_maps(self.name, pairs, feature_shapes(student), teacher.layers)
        return Bound(self.name, self.weight, _summed(pairs, [losses.attention_transfer] * len(pairs)), pairs)


@dataclasses.dataclass(frozen=True)
class SimilarityPreserving(Term):
    """Who is like whom in a batch (`losses.similarity_preserving`), summed over the pairs; Tung and Mori, ICCV 2019.

    Attributes:
      weight: the authors' gamma, 3,000.
      pairs: of layers, of any sizes; None: the last layers of each H x W that both have.
    """

    weight: Weight = 3000.0
    pairs: Pairs | None = None
    name: ClassVar[str] = "sp"

    def bind(self, student: keras.Model, teacher: Teacher) -> Bound:
        """-> the term between pairs of features."""
        pairs = _pairs(student, teacher, self.pairs)
        return Bound(self.name, self.weight, _summed(pairs, [losses.similarity_preserving] * len(pairs)), pairs)


@dataclasses.dataclass(frozen=True)
class Hint(Term):
    """A layer that learns to be read as one of the teacher (`losses.hint_distance`); FitNets, Romero et al., ICLR 2015.

    The reader is a regressor that learns too and is no part of the student. It is a Conv of k x k with stride k where
    the student's layer is a whole k times as high and wide, and a Conv of 1 x 1 elsewhere, before which the larger of
    the two is average-pooled. Layers without height and width count as 1 x 1.

    Attributes:
      pairs: of layers; None: the middle one of the sizes that both have, as the paper takes the middle layer.
    """

    pairs: Pairs | None = None
    name: ClassVar[str] = "hint"

    def bind(self, student: keras.Model, teacher: Teacher) -> Bound:
        """-> the term between pairs of features, with a regressor for each pair."""
        pairs = _pairs(student, teacher, self.pairs)
        if self.pairs is None:
            pairs = (pairs[len(pairs) // 2],)
        mine, distances, regressors = feature_shapes(student), [], []
        for one, other in pairs:
            regressor, distance = _regressed(mine[one], teacher.layers[other], f"regressor_{one}")
            regressors.append(regressor)
            distances.append(distance)
        return Bound(self.name, self.weight, _summed(pairs, distances), pairs, tuple(regressors))


TERMS: dict[str, type[Term]] = {
    kind.name: kind for kind in (KnowledgeDistillation, HeatMaps, AttentionTransfer, SimilarityPreserving, Hint)
}
"""By the names under which they are logged."""


def check_outputs(student: keras.Model, teacher: Teacher) -> None:
    """Raises an `InputError` unless both give outputs of one shape."""
    mine = student.output_shape
    if not isinstance(mine, tuple) or mine[1:] != teacher.output_shape[1:]:
        raise InputError(
            f"A teacher must have the outputs of the network that learns, one tensor {mine}. "
            f"Received: {teacher.output_shape}"
        )


def _pairs(student: keras.Model, teacher: Teacher, pairs: Pairs | None) -> tuple[Pair, ...]:
    ends = (*student.output_names, *teacher.ends)
    return feature_pairs(feature_shapes(student), teacher.layers, pairs, ends=ends, taught_by=repr(teacher.name))


def _check_maps(name: str, pairs: Sequence[Pair], *layers: object) -> None:
    for pair in pairs:
        for layer, shapes in zip(pair, layers, strict=True):
            shape = shapes[layer]  # type: ignore[index]
            if len(shape) != 4 or None in shape[1:3]:
                raise InputError(
                    f"The term {name!r} needs layers that give maps [B, H, W, C] of a fixed size. "
                    f"Received: {layer!r}, which gives {shape}"
                )


def _summed(pairs: Sequence[Pair], distances: Sequence[FeatureDistance]) -> Distance:
    def distance(taught: Answer, found: Answer) -> tf.Tensor:
        return tf.add_n(
            [
                of_pair(taught.features[theirs], found.features[mine])
                for (mine, theirs), of_pair in zip(pairs, distances, strict=True)
            ]
        )

    return distance


def _regressed(found: Shape, taught: Shape, name: str) -> tuple[keras.layers.Layer, FeatureDistance]:
    """-> the regressor for two layers, built in this strategy's scope, and the distance through it."""
    mine, theirs = _as_map(found), _as_map(taught)
    pairs = list(zip(mine[:2], theirs[:2], strict=True))
    height, width = (min(pair) for pair in pairs)
    strides = [1, 1]
    if all(one % other == 0 for one, other in pairs):
        strides = [one // other for one, other in pairs]
    # float32, whatever precision the student learns in: it is small, and dropped.
    regressor = keras.layers.Conv2D(theirs[2], strides, strides, dtype="float32", name=name)
    with tf.name_scope(name):
        regressor.build((None, *mine))

    def distance(taught: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        found = tf.reshape(found, [-1, *mine])
        if strides == [1, 1]:
            found = losses.pooled(found, height, width)
        wanted = losses.pooled(tf.reshape(taught, [-1, *theirs]), height, width)
        return losses.hint_distance(wanted, regressor(found))

    return regressor, distance


def _as_map(shape: Shape) -> tuple[int, int, int]:
    """-> height, width and channels of a layer; 1 x 1 of one that gives vectors."""
    sizes = [size for size in shape[1:] if size is not None]
    if len(shape) not in (2, 4) or len(sizes) != len(shape) - 1:
        raise InputError(f"A hint needs layers that give [B, C] or [B, H, W, C] of a fixed size. Received: {shape}")
    return (sizes[0], sizes[1], sizes[2]) if len(sizes) == 3 else (1, 1, sizes[0])
