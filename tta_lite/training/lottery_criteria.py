"""What decides which weights stay, and what the ones that stay begin with.

Zhou, Lan, Liu and Yosinski, Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask, NeurIPS 2019,
https://arxiv.org/abs/1905.01067: its mask criteria (section 2, figure 3) and its ways to begin anew (section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tta_lite.training.lottery_masks import Masks
from tta_lite.types import InputError

# (weights at the start, weights after training) -> scores; weights of high scores stay.
Criterion = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _balanced(weights: np.ndarray, other: np.ndarray) -> float:
    """The paper's alpha: it gives both terms about the same say."""
    deviation = float(np.abs(other).std())
    return float(np.abs(weights).std()) / deviation if deviation > 0 else 1.0


CRITERIA: Mapping[str, Criterion] = {
    # |w_f|: magnitude pruning.
    "large_final": lambda start, final: np.abs(final),
    "small_final": lambda start, final: -np.abs(final),
    "large_init": lambda start, final: np.abs(start),
    "small_init": lambda start, final: -np.abs(start),
    "large_init_large_final": lambda start, final: np.minimum(_balanced(start, final) * np.abs(final), np.abs(start)),
    "small_init_small_final": lambda start, final: -np.maximum(_balanced(start, final) * np.abs(final), np.abs(start)),
    "magnitude_increase": lambda start, final: np.abs(final) - np.abs(start),
    "movement": lambda start, final: np.abs(final - start),
    # Below 0 where the sign has changed; they leave first, those that went farthest before the others.
    "large_final_same_sign": lambda start, final: final * np.sign(start),
    "large_final_diff_sign": lambda start, final: -final * np.sign(start),
}
# What the weights that are left begin with.
STARTS = ("rewind", "reinit", "reinit_signs", "reshuffle", "reshuffle_signs", "constant", "constant_signs")


def scores(criterion: str, start: Mapping[str, np.ndarray], final: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """-> the scores of each kernel.

    Args:
      criterion: one of `CRITERIA`.
      start: kernels before the training.
      final: kernels after it.

    Raises:
      InputError: an unknown criterion.

    Example:
      >>> start, final = {"a": np.array([1.0, -2.0])}, {"a": np.array([-3.0, -2.5])}
      >>> scores("magnitude_increase", start, final)["a"].tolist(), scores("movement", start, final)["a"].tolist()
      ([2.0, 0.5], [4.0, 0.5])
    """
    if criterion not in CRITERIA:
        raise InputError(f"The criterion must be one of {', '.join(CRITERIA)}. Received: {criterion!r}")
    return {name: CRITERIA[criterion](start[name], final[name]) for name in final}


def begin(
    how: str,
    start: Mapping[str, np.ndarray],
    masks: Masks,
    drawn: Mapping[str, np.ndarray],
    seed: int | Sequence[int] = 0,
) -> dict[str, np.ndarray]:
    """-> what the kernels of a ticket begin with; the rest is 0.

    Args:
      how: ``rewind``, the weights at the start; ``reinit``, new ones; ``reshuffle``, those at the start that are left,
        in another order within their kernel; ``constant``, plus or minus the kernel's standard deviation at the start.
        With ``_signs`` each weight has the sign that it had at the start, without it the sign is by chance.
      start: kernels at the start.
      masks: of the ticket.
      drawn: kernels of another draw of the network.
      seed: of orders and signs.

    Raises:
      InputError: an unknown way.

    Example:
      >>> start, drawn = {"a": np.array([1.0, -2.0, 3.0])}, {"a": np.array([5.0, 6.0, -7.0])}
      >>> begin("reinit_signs", start, {"a": np.array([True, True, False])}, drawn)["a"].tolist()
      [5.0, -6.0, 0.0]
    """
    if how not in STARTS:
        raise InputError(f"The start must be one of {', '.join(STARTS)}. Received: {how!r}")
    rng = np.random.default_rng(seed)
    kind, _, signs = how.partition("_")
    begun = {}
    for name, kernel in start.items():
        mask = masks[name]
        values = kernel.copy()
        if kind == "reinit":
            values = drawn[name].copy()
        elif kind == "reshuffle":
            values[mask] = rng.permutation(values[mask])
        elif kind == "constant":
            values = np.full_like(kernel, kernel.std()) * rng.choice(np.array([-1, 1], kernel.dtype), kernel.shape)
        if signs:
            values = np.copysign(values, kernel)
        begun[name] = np.where(mask, values, np.zeros((), kernel.dtype))
    return begun
