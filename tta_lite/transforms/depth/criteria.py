"""What is a residual block worth? A table: name -> criterion. A new one is a function and an entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.transforms.channels.criteria import check_given
from tta_lite.transforms.channels.criteria_gradients import Batch, Loss
from tta_lite.transforms.depth.blocks import Residuals, analyse
from tta_lite.transforms.remove_layers import remove_blocks
from tta_lite.transforms.walk import Walk
from tta_lite.types import InputError

BlockScores = dict[str, float]


def block_scores(
    model: keras.Model,
    criterion: str = "block_influence",
    *,
    images: np.ndarray | None = None,
    batches: Sequence[Batch] | None = None,
    loss: Loss | None = None,
    seed: int = 0,
) -> BlockScores:
    """-> what each block is worth that may leave: 0 or more, the higher, the more worth keeping.

    Args:
      model: functional, with one input and without nested models (see `rewrite`, ``flatten``). It is not changed.
      criterion: a key of `CRITERIA`.
      images: [N, H, W, C], as the network takes them, for the criteria that need them.
      batches: pairs (x, y), for those that need them;
      loss: with them, (y, prediction) -> the loss.
      seed: of what is left to chance.

    Raises:
      InputError: no such criterion, or it lacks what it needs.

    Example: a block that changes nothing.

      >>> image = keras.Input((8, 8, 4))
      >>> x = keras.layers.Conv2D(4, 3, padding="same", kernel_initializer="zeros")(image)
      >>> net = keras.Model(image, keras.layers.Add(name="add")([image, x]))
      >>> block_scores(net, "relative_change", images=np.ones((2, 8, 8, 4), np.float32))
      {'add': 0.0}
    """
    found = get_block_criterion(criterion)
    check_given(criterion, found.needs, images=images, batches=batches, loss=loss)
    given = {"nothing": (), "images": (images,), "batches": (batches, loss)}[found.needs]
    options = {"seed": seed} if found.seeded else {}
    return found.function(model, analyse(model), *given, **options)


def _free(found: Residuals) -> list[str]:
    return [one.name for one in found.sums.values() if not one.why_fixed]


def _changes(model: keras.Model, found: Residuals, images: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yields, for each run of a block, its name, what came in and what goes out; ReLUs that leave with it are done."""
    names = set(_free(found))
    walk = Walk(model, images)
    for call in walk:
        one = found.sums.get(call.name)
        if one is not None and one.name in names:
            came, gives = walk.read(call)[one.place or 0], walk.write(call)
            yield call.name, came, np.asarray(one.activations[0].layer(gives)) if one.activations else gives


def block_influence(model: keras.Model, found: Residuals, images: np.ndarray) -> BlockScores:
    """How far a block turns the vector of channels at a place: 1 - cosine, the mean over places and images.

    Men et al., *ShortGPT: Layers in Large Language Models are More Redundant Than You Expect*, 2024, "Block Influence",
    https://arxiv.org/abs/2403.03853. A token there is a place here.
    """
    scores = dict.fromkeys(_free(found), 0.0)
    for name, came, gives in _changes(model, found, images):
        x, y = (value.reshape(-1, value.shape[-1]).astype(np.float64) for value in (came, gives))
        lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        # Where one of them is all zeros there is no angle: both are the same, or have nothing in common.
        alike = np.where(lengths > 0, (x * y).sum(axis=1) / np.where(lengths > 0, lengths, 1), (x == y).all(axis=1))
        # Rounding must not make a score negative.
        scores[name] += max(0.0, float(1 - alike.mean()))
    return scores


def relative_change(model: keras.Model, found: Residuals, images: np.ndarray) -> BlockScores:
    """The length of what a block adds, as a share of what came in; the mean over images.

    Jastrzebski et al., *Residual Connections Encourage Iterative Inference*, ICLR 2018, who saw that this is small in
    the upper layers of trained networks, which only refine, https://arxiv.org/abs/1710.04773.
    """
    scores = dict.fromkeys(_free(found), 0.0)
    for name, came, gives in _changes(model, found, images):
        axes = tuple(range(1, came.ndim))
        change = np.sqrt(((gives - came) ** 2).sum(axis=axes)) / np.maximum(np.sqrt((came**2).sum(axis=axes)), 1e-30)
        scores[name] += float(change.mean())
    return scores


def output_change(model: keras.Model, found: Residuals, images: np.ndarray) -> BlockScores:
    """The squared change of the network's outputs when this block alone is gone, as a share of their square.

    Veit et al., *Residual Networks Behave Like Ensembles of Relatively Shallow Networks*, NeurIPS 2016, section 4.1,
    https://arxiv.org/abs/1605.06431, took blocks out one by one and looked at the error; here nobody needs labels. Each
    block costs a network and a run of it.
    """
    wanted = _outputs(model, images)
    scores = {}
    for name in _free(found):
        pairs = zip(wanted, _outputs(remove_blocks(model, [name]), images), strict=True)
        scores[name] = sum(float(((one - other) ** 2).sum() / max((one**2).sum(), 1e-30)) for one, other in pairs)
    return scores


def _outputs(model: keras.Model, images: np.ndarray, batch: int = 32) -> list[np.ndarray]:
    parts = [tf.nest.flatten(model(images[at : at + batch], training=False)) for at in range(0, len(images), batch)]
    return [np.concatenate(own).astype(np.float64) for own in zip(*parts, strict=True)]


def taylor(model: keras.Model, found: Residuals, batches: Sequence[Batch], loss: Loss) -> BlockScores:
    """The squared change of the loss when a block's branch becomes 0, to first order.

    Molchanov et al., *Importance Estimation for Neural Network Pruning*, CVPR 2019, section 3, equation 8, with a
    gate of 1 at the branch: the square of the gate's gradient, averaged over batches; https://arxiv.org/abs/1906.10771.
    Elkerdawy et al., *To Filter Prune, or to Layer Prune, That Is The Question*, ACCV 2020,
    https://arxiv.org/abs/2007.05667, rank whole layers by criteria of filters, this one among them.

    Args:
      model: functional, without nested models.
      found: its blocks.
      batches: pairs (x, y). A batch counts as one example.
      loss: (y, prediction) -> the loss.
    """
    names = _free(found)
    pairs = []
    for name in names:
        one = found.sums[name]
        layer = one.calls[0].layer
        for at in range(len(one.calls)):
            tensors = layer.get_input_at(at)
            pairs.append((name, tensors[one.place or 0], layer.get_output_at(at)))
    inner = keras.Model(model.inputs, ([came for _, came, _ in pairs], [gives for *_, gives in pairs], model.outputs))

    @tf.function(reduce_retracing=True)
    def slopes(x: Any, y: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            # Without this, nothing is on the tape where all weights are frozen.
            tape.watch(x)
            came, gives, outputs = inner(x, training=False)
            value = tf.reduce_mean(loss(y, outputs[0] if len(outputs) == 1 else outputs))
        gradients = tape.gradient(value, gives, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        # The branch is what the sum has more than what came in.
        return [tf.reduce_sum(one * (y - x)) for one, x, y in zip(gradients, came, gives, strict=True)]

    scores = dict.fromkeys(names, 0.0)
    for x, y in batches:
        change = dict.fromkeys(names, 0.0)
        for (name, *_), slope in zip(pairs, slopes(*tf.nest.map_structure(tf.convert_to_tensor, (x, y))), strict=True):
            change[name] += float(slope)
        for name in names:
            scores[name] += change[name] ** 2 / len(batches)
    return scores


def random(model: keras.Model, found: Residuals, seed: int = 0) -> BlockScores:
    """Chance: the control."""
    rng = np.random.default_rng(seed)
    return {name: float(rng.random()) for name in _free(found)}


@dataclasses.dataclass(frozen=True)
class BlockCriterion:
    """One way to score blocks.

    Attributes:
      function: model, its blocks, and what it needs -> scores.
      needs: ``nothing``, ``images`` (pictures without labels) or ``batches`` (pictures with labels, and the loss).
      paper: who, where, and the address.
      per_cost: whether scores say what is lost, so that a block is weighed by its score a MAC (or parameter) that it
        frees; else the blocks with the lowest scores leave, whatever they cost, as in the paper.
      seeded: whether chance has a part in it.
    """

    function: Callable[..., BlockScores]
    needs: str
    paper: str
    per_cost: bool = False
    seeded: bool = False


_ADDRESS = "https://arxiv.org/abs"
CRITERIA: Mapping[str, BlockCriterion] = {
    "block_influence": BlockCriterion(block_influence, "images", f"Men et al. (ShortGPT), 2024, {_ADDRESS}/2403.03853"),
    "relative_change": BlockCriterion(
        relative_change, "images", f"Jastrzebski et al., ICLR 2018, {_ADDRESS}/1710.04773"
    ),
    "output_change": BlockCriterion(
        output_change, "images", f"Veit et al., NeurIPS 2016, {_ADDRESS}/1605.06431", per_cost=True
    ),
    "taylor": BlockCriterion(taylor, "batches", f"Molchanov et al., CVPR 2019, {_ADDRESS}/1906.10771", per_cost=True),
    "random": BlockCriterion(random, "nothing", "the control", seeded=True),
}


def get_block_criterion(name: str) -> BlockCriterion:
    """-> a criterion by its name.

    Raises:
      InputError: there is none of that name.
    """
    if name not in CRITERIA:
        raise InputError(f"Argument `criterion` must be one of {', '.join(CRITERIA)}. Received: {name!r}")
    return CRITERIA[name]
