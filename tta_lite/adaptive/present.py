"""How long do stages take at present? One that was timed tells of the others. Imports nothing but types."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tta_lite.types import InputError


class PresentLatency:
    """A moving estimate of each stage's latency: the policy's figure x one factor for all x a small one of its own.

    What slows a device down, another program or a lower clock, slows all stages alike. So a stage that took k times its
    figure moves the factor of all towards k, quickly; what one stage always has more or less than the others moves its
    own, slowly. Both move in logarithms: twice as slow and twice as fast are equally far.

    Args:
      figures_ms: stage -> latency of the policy.
      weight: of a new time in the factor of all, above 0 and at most 1.
      own_weight: of it in the stage's own; 0: stages keep the policy's proportions.

    Example: a stage that takes twice as long tells of the one that did not run.

      >>> present = PresentLatency({"light": 2.0, "heavy": 10.0}, weight=1.0, own_weight=0.0)
      >>> present.add("light", 4.0)
      >>> round(present.of(["light", "heavy"]), 6)
      24.0
    """

    def __init__(self, figures_ms: Mapping[str, float], *, weight: float = 0.2, own_weight: float = 0.02) -> None:
        for name, value in (("weight", weight), ("own_weight", own_weight)):
            if not 0 <= value <= 1 or (name == "weight" and not value):
                raise InputError(f"Argument `{name}` must be a share, 0..1. Received: {value!r}")
        if weight + own_weight > 1:
            raise InputError(f"The weights must be 1 or less together. Received: {weight} + {own_weight}")
        self._figures = dict(figures_ms)
        self._weight, self._own_weight = weight, own_weight
        self._common = 0.0
        self._own = dict.fromkeys(self._figures, 0.0)

    @property
    def factor(self) -> float:
        """How many times as long as in the policy everything takes at present."""
        return math.exp(self._common)

    def add(self, stage: str, latency_ms: float) -> None:
        """Learns from a run of a stage."""
        if not latency_ms > 0:
            # A clock that stood still tells nothing.
            return
        off = math.log(latency_ms / self._figures[stage]) - self._common - self._own[stage]
        self._common += self._weight * off
        self._own[stage] += self._own_weight * off

    def of(self, stages: Sequence[str], shares: Sequence[float] | None = None) -> float:
        """-> milliseconds that stages take one after the other at present.

        Args:
          stages: their names.
          shares: how often each of them runs, 0..1; always, if not given.
        """
        shares = [1.0] * len(stages) if shares is None else shares
        return sum(
            share * self._figures[stage] * math.exp(self._common + self._own[stage])
            for stage, share in zip(stages, shares, strict=True)
        )
