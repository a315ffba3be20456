"""How sure is a classifier of its answer? NumPy alone: the runner asks on the board, the tuning at the desk."""

from __future__ import annotations

import numpy as np

from tta_lite.types import InputError

MAX_SOFTMAX, ENTROPY = "max_softmax", "entropy"
# max_softmax: the probability of the class that is answered. entropy: that of the probabilities, in nats, as in
# BranchyNet, section III.C, https://arxiv.org/abs/1709.01686.
SIGNALS = (MAX_SOFTMAX, ENTROPY)


def probabilities(scores: np.ndarray, *, logits: bool) -> np.ndarray:
    """-> [..., classes] float64: what scores say of each class.

    >>> probabilities(np.array([0.0, np.log(3.0)]), logits=True).round(3).tolist()
    [0.25, 0.75]
    """
    scores = np.asarray(scores, np.float64)
    if not logits:
        return scores
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def signal_of(scores: np.ndarray, signal: str, *, logits: bool) -> np.ndarray:
    """-> [...] the signal of scores [..., classes]: high max_softmax is sure, and so is low entropy.

    >>> even = np.array([0.5, 0.5])
    >>> [round(float(signal_of(even, name, logits=False)), 3) for name in SIGNALS]
    [0.5, 0.693]

    Raises:
      InputError: no such signal.
    """
    check_signal(signal)
    shares = probabilities(scores, logits=logits)
    if signal == MAX_SOFTMAX:
        return shares.max(axis=-1)
    # 0 log 0 is 0.
    safe = np.where(shares > 0, shares, 1.0)
    return -(safe * np.log(safe)).sum(axis=-1)


def is_sure(value: np.ndarray | float, threshold: float | None, signal: str) -> np.ndarray | bool:
    """-> whether an answer is sure enough to stop; a threshold of None never is.

    >>> is_sure(0.9, 0.8, MAX_SOFTMAX), is_sure(0.9, 0.8, ENTROPY), is_sure(1.0, None, MAX_SOFTMAX)
    (True, False, False)
    """
    if threshold is None:
        return np.zeros(np.shape(value), bool) if np.ndim(value) else False
    return value >= threshold if signal == MAX_SOFTMAX else value <= threshold


def check_signal(signal: str) -> None:
    """Raises an `InputError` for a signal that is not known."""
    if signal not in SIGNALS:
        raise InputError(f"Argument `signal` must be one of {', '.join(SIGNALS)}. Received: {signal!r}")
