"""What a search makes large or small: MnasNet's reward, or accuracy and latency as two objectives."""

from __future__ import annotations

import dataclasses
import math

from tta_lite.search.reward import reward
from tta_lite.types import InputError

KINDS = ("hard", "soft", "front")
# A network this many times above the target is not trained.
GIVE_UP = 2.0


@dataclasses.dataclass(frozen=True)
class Goal:
    """What is wanted.

    Attributes:
      kind: ``hard`` or ``soft``: one objective, see `tta_lite.search.reward.reward`; ``front``: two.
      target_ms: the latency that is wanted; ``front`` can do without.
      give_up: a trial whose latency is more than so many times the target is given up before it is trained.

    Raises:
      InputError: an unknown kind, or no target where one is needed.

    Example:
      >>> Goal("hard", 10.0).values(70.0, 20.0), Goal("front").values(70.0, 20.0)
      ((35.0,), (70.0, 20.0))
    """

    kind: str
    target_ms: float | None = None
    give_up: float = GIVE_UP

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"A reward is one of {', '.join(KINDS)}. Received: {self.kind!r}")
        if self.target_ms is None:
            if self.kind != "front":
                raise InputError(f"The reward {self.kind} needs a target, in ms. Received: none")
        elif not 0 < self.target_ms < math.inf:
            raise InputError(f"The target must be a number of ms above 0. Received: {self.target_ms!r}")
        if not self.give_up >= 1:
            raise InputError(f"Argument `give_up` must be 1 or more. Received: {self.give_up!r}")

    @property
    def directions(self) -> tuple[str, ...]:
        """Of each objective, in Optuna's words."""
        return ("maximize", "minimize") if self.kind == "front" else ("maximize",)

    def values(self, accuracy: float, latency_ms: float) -> tuple[float, ...]:
        """-> what each objective is worth."""
        if self.kind == "front":
            return accuracy, latency_ms
        assert self.target_ms is not None
        return (reward(accuracy, latency_ms, self.target_ms, hard=self.kind == "hard"),)

    def too_slow(self, latency_ms: float, best: float | None) -> str:
        """-> why a network need not be trained, whatever it would learn; empty if it should be.

        Args:
          latency_ms: of the network.
          best: the best reward so far; None: there is none, or there are two objectives.

        Example:
          >>> Goal("hard", 10.0).too_slow(15.0, best=70.0)
          'at 15 ms even 100 % would be worth 66.67, and 70 is reached'
        """
        if self.target_ms is not None and latency_ms > self.give_up * self.target_ms:
            return f"{latency_ms:.4g} ms is more than {self.give_up:g} times the target of {self.target_ms:g} ms"
        if best is not None and len(self.directions) == 1 and self.values(100.0, latency_ms)[0] <= best:
            most = self.values(100.0, latency_ms)[0]
            return f"at {latency_ms:.4g} ms even 100 % would be worth {most:.4g}, and {best:.4g} is reached"
        return ""
