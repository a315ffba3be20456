"""Residual blocks off a network of your own: fewer layers, fine-tuned with the old network as a teacher.

  tta-lite remove-layers --model=resnet.keras --images=photos.npy --blocks=4 --out=runs/shallow
  tta-lite remove-layers --model=net.keras --task=image_folder:/data/flowers --pixels=-1..1 --macs=0.7 --out=runs/less
  tta-lite remove-layers --model=pose.keras --task=pose:lspet:/data/lspet --pixels=-1..1 --flip_test \
    --criterion=output_change --latency_ms=5 --finetune_epochs=4 --out=runs/shallow

A block can leave where a sum adds what came in to what a branch made of it: what came in then goes on alone. Which can
is found from the network's graph, and which are worth the least by --criterion; one of --blocks, --macs, --params and
--latency_ms says when it is enough. All else is as in `tta-lite remove-channels`: pictures repair what is left, --task
trains and scores it. A share of --macs is of the layers --within, and a block leaves only if all its layers are. Writes
the new network (steps/01-layers/model.keras), both as .tflite, every block with its score (changes.txt), and the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from recipes import _app, _removal, _task

if TYPE_CHECKING:
    import numpy as np

    from tta_lite.boards.profile import BoardProfile
    from tta_lite.compat import keras
    from tta_lite.types import Task

STEP = "layers"

_CRITERION = flags.DEFINE_string(
    "criterion",
    "block_influence",
    "What a block is worth: block_influence, relative_change, output_change (pictures), taylor (--task), random.",
)
_BLOCKS = flags.DEFINE_integer("blocks", None, "Or: how many blocks leave.", 1)

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
flags.adopt_module_key_flags(_removal)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, removes blocks, prints what became of each and the table."""
    _targets()
    how_far = _removal.target_text() if _BLOCKS.value is None else f"{_BLOCKS.value} blocks less"
    _removal.run(STEP, "remove_layers", _FLAGS, _shallower, f"layers by {_CRITERION.value}, {how_far}", _check)


def _targets() -> dict[str, Any]:
    found = _removal.targets(blocks=_BLOCKS.value)
    return found if any(value is not None for value in found.values()) else {"macs": 0.5}


def _check() -> None:
    from tta_lite.transforms.depth.criteria import get_block_criterion

    get_block_criterion(_CRITERION.value)


def _shallower(
    model: keras.Model, board: BoardProfile | None, images: np.ndarray | None, task: Task | None
) -> tuple[keras.Model, str]:
    """-> the network with fewer blocks, and what became of each."""
    from tta_lite.transforms.depth.criteria import get_block_criterion
    from tta_lite.transforms.drop_blocks import drop_blocks

    batches, loss = _removal.examples(task, get_block_criterion(_CRITERION.value).needs)
    found = drop_blocks(
        model,
        _CRITERION.value,
        **_targets(),
        within=_removal.WITHIN.value or None,
        protected=_removal.PROTECTED.value,
        images=images,
        batches=batches,
        loss=loss,
        repair=_removal.REPAIR.value,
        seed=_task.SEED.value,
    )
    return found.model, found.table()


if __name__ == "__main__":
    _app.run(main)
