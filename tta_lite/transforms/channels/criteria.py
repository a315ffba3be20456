"""What is a channel worth? A table: name -> criterion. A new one is a function and an entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.channels.criteria_discrimination import discrimination
from tta_lite.transforms.channels.criteria_gradients import Batch, Loss, taylor
from tta_lite.transforms.channels.criteria_images import hrank, reconstruction
from tta_lite.transforms.channels.criteria_weights import l1_norm, l2_norm, network_slimming, random
from tta_lite.transforms.channels.groups import ChannelGroup
from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True)
class Criterion:
    """One way to score channels.

    Attributes:
      function: model, groups, and what it needs -> `Scores`.
      needs: ``weights``, ``images`` (pictures without labels) or ``batches`` (pictures with labels, and the loss).
      paper: who, where, and the address.
      scope: how `choose_channels` compares its scores over the layers by default.
      seeded: whether chance has a part in it.
    """

    function: Callable[..., dict[str, np.ndarray]]
    needs: str
    paper: str
    scope: str = "global"
    seeded: bool = False

    @property
    def comparable(self) -> bool:
        """Whether scores of different groups can be compared: where not, each gives the same share by default."""
        return self.scope != "per_layer"


_ADDRESS = "https://arxiv.org/abs"
CRITERIA: Mapping[str, Criterion] = {
    "l1_norm": Criterion(l1_norm, "weights", f"Li et al., ICLR 2017, {_ADDRESS}/1608.08710", "per_layer"),
    "l2_norm": Criterion(l2_norm, "weights", f"He et al., IJCAI 2018, {_ADDRESS}/1808.06866", "per_layer"),
    "network_slimming": Criterion(
        network_slimming, "weights", f"Liu et al., ICCV 2017, {_ADDRESS}/1708.06519", "threshold"
    ),
    "hrank": Criterion(hrank, "images", f"Lin et al., CVPR 2020, {_ADDRESS}/2002.10179", "per_layer"),
    "reconstruction": Criterion(reconstruction, "images", f"Luo et al. (ThiNet), ICCV 2017, {_ADDRESS}/1707.06342"),
    "taylor": Criterion(taylor, "batches", f"Molchanov et al., CVPR 2019, {_ADDRESS}/1906.10771"),
    "discrimination": Criterion(
        discrimination, "batches", f"Zhuang et al. (DCP), NeurIPS 2018, {_ADDRESS}/1810.11809", "per_layer", seeded=True
    ),
    "random": Criterion(random, "weights", "the control", "per_layer", seeded=True),
}


def get_criterion(name: str) -> Criterion:
    """-> a criterion by its name.

    Raises:
      InputError: there is none of that name.
    """
    if name not in CRITERIA:
        raise InputError(f"Argument `criterion` must be one of {', '.join(CRITERIA)}. Received: {name!r}")
    return CRITERIA[name]


def check_needs(name: str, *, images: object, batches: object, loss: object) -> None:
    """Refuses a criterion that lacks what it looks at.

    Raises:
      InputError: says what it needs.
    """
    check_given(name, get_criterion(name).needs, images=images, batches=batches, loss=loss)


def check_given(name: str, needs: str, *, images: object, batches: object, loss: object) -> None:
    """Refuses a criterion of channels or of blocks that lacks what it looks at; `needs` as in `Criterion`.

    Raises:
      InputError: says what it needs.
    """
    if needs == "images" and images is None:
        raise InputError(f"Criterion {name!r} looks at feature maps and needs `images`. Received: none")
    if needs == "batches" and (batches is None or loss is None):
        what = " and ".join(key for key, value in (("batches", batches), ("loss", loss)) if value is None)
        raise InputError(
            f"Criterion {name!r} looks at gradients and needs `batches`, pairs (x, y), and `loss`, a function of "
            f"(y, prediction). Received: no {what}"
        )


def score_channels(
    model: keras.Model,
    groups: Sequence[ChannelGroup],
    criterion: str,
    *,
    images: np.ndarray | None = None,
    batches: Sequence[Batch] | None = None,
    loss: Loss | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """-> group -> [size] scores, by the name of a criterion: 0 or more, the higher, the more worth keeping.

    Args:
      model: functional, without nested models (see `rewrite`, ``flatten``).
      groups: of `channel_groups`.
      criterion: a key of `CRITERIA`.
      images: [N, H, W, C], for those that need them.
      batches: pairs (x, y), for those that need them;
      loss: with them, (y, prediction) -> the loss, as Keras has it.
      seed: of what is left to chance.

    Raises:
      InputError: no such criterion, or it lacks what it needs.
    """
    check_needs(criterion, images=images, batches=batches, loss=loss)
    found = get_criterion(criterion)
    given = {"weights": (), "images": (images,), "batches": (batches, loss)}[found.needs]
    options = {"seed": seed} if found.seeded else {}
    return found.function(model, groups, *given, **options)
