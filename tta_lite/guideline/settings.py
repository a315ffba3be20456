"""What each step of the ladder tries, and what it must know beside the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tta_lite.boards.profile import BoardProfile
from tta_lite.compat import keras
from tta_lite.guideline.bench import START, Teaching
from tta_lite.guideline.reasons import Reason, reason
from tta_lite.models.backbones import LIGHT_BACKBONES, Normalisation, get_backbone
from tta_lite.training.precision import AUTO, choose_policy
from tta_lite.transforms.channels.criteria import get_criterion
from tta_lite.types import InputError

# Step -> clause, in the guideline's order.
CLAUSES: Mapping[str, str] = {
    "G1": "6.1.1",
    "G2": "6.1.2",
    # It changes the form of a costly Deconv and nothing of what it computes.
    "subpixel": "6.1.2",
    # What the clause on pruning names as that which keeps the speed.
    "channels": "6.2.3",
    "G5": "6.2.3",
    "G3": "6.2.1",
    "G4": "6.2.2",
}

# The report then shows what the teacher brought.
BY_UNMODIFIED = Teaching(START, control=True)


def _none(count: int) -> Sequence[tuple[np.ndarray, np.ndarray]]:
    return ()


def _no_loss() -> None:
    return None


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is tried, and how long what needs it is trained.

    Attributes:
      backbones: of G1.
      weights: light backbone -> what it starts from, ``"imagenet"`` or a file; random weights for one not in it.
      macs: of G2: shares of the network's MACs that are left.
      channels: of the step of that name: shares of the network's MACs that are left.
      criterion: by which channels are chosen, a key of `tta_lite.transforms.channels.criteria.CRITERIA`.
      teaching: from whom a network that G1, G2 or the loss of channels has changed also learns; None: from nobody.
      sparsities: of G5.
      calibration_images: of G3.
      epochs: of training after G1, which starts anew.
      finetune_epochs: of training after G2, channels and G5, which do not.
      finetune_rate: its learning rate, as a share of that of the training after G1.
      left_out: names of steps that are not taken.
      precision: in which G4 trains, one of `tta_lite.training.precision.CHOICES`.
    """

    backbones: tuple[str, ...] = LIGHT_BACKBONES
    weights: Mapping[str, str] = dataclasses.field(default_factory=dict)
    macs: tuple[float, ...] = (0.7, 0.5, 0.35)
    channels: tuple[float, ...] = (0.7, 0.5)
    criterion: str = "taylor"
    teaching: Teaching | None = BY_UNMODIFIED
    sparsities: tuple[float, ...] = (0.5, 0.8)
    calibration_images: int = 100
    epochs: int = 10
    finetune_epochs: int = 2
    finetune_rate: float = 0.3
    left_out: tuple[str, ...] = ()
    precision: str = AUTO

    def __post_init__(self) -> None:
        choose_policy(self.precision)
        for name in ("epochs", "finetune_epochs", "calibration_images"):
            if getattr(self, name) < 1:
                raise InputError(f"Argument `{name}` must be 1 or more. Received: {getattr(self, name)}")
        if not 0 < self.finetune_rate <= 1:
            raise InputError(f"Argument `finetune_rate` must be above 0 and at most 1. Received: {self.finetune_rate}")
        for name in ("macs", "channels", "sparsities"):
            if any(not 0 < share < 1 for share in getattr(self, name)):
                raise InputError(f"Argument `{name}` must hold shares between 0 and 1. Received: {getattr(self, name)}")
        get_criterion(self.criterion)
        unknown = sorted(set(self.left_out) - set(CLAUSES))
        if unknown:
            raise InputError(f"Argument `left_out` must name some of {', '.join(CLAUSES)}. Received: {unknown}")
        for name in self.backbones:
            get_backbone(name)
        stray = sorted(set(self.weights) - set(self.backbones))
        if stray:
            raise InputError(f"Argument `weights` must name some of {', '.join(self.backbones)}. Received: {stray}")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a step needs to know beside the network.

    Attributes:
      settings: what is tried.
      board: the target.
      runtime: one of the board's; its first if None.
      trains: whether the task has training data.
      calibration: number of images -> training images, each [1, H, W, C]; empty if the task has none.
      normalised: how the task's images are normalised, if it says so.
      rules: of the timing.
      batches: number of batches -> training batches (x, y), for what asks the loss which weights matter.
      loss: -> that of the task.
      seed: of the run.
    """

    settings: Settings
    board: BoardProfile
    runtime: str | None
    trains: bool
    calibration: Callable[[int], Sequence[np.ndarray]]
    normalised: Normalisation | None = None
    rules: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    batches: Callable[[int], Sequence[tuple[np.ndarray, np.ndarray]]] = _none
    loss: Callable[[], keras.losses.Loss | None] = _no_loss
    seed: int = 0

    @property
    def presets(self) -> tuple[str, ...]:
        """The exports that the board's runtime runs."""
        return self.board.runtime(self.runtime).presets

    def runs_only(self, code: str) -> Reason:
        """-> that the runtime does not run such files."""
        runtime = self.board.runtime(self.runtime)
        return reason(code, runtime=runtime.title, board=self.board.title, presets=", ".join(self.presets))
