"""Channels off a network of your own: smaller layers that run faster, fine-tuned with the old network as a teacher.

  tta-lite remove-channels --model=net.keras --macs=0.5 --out=runs/half
  tta-lite remove-channels --model=net.keras --task=image_folder:/data/flowers --pixels=-1..1 --macs=0.5 --out=runs/half
  tta-lite remove-channels --model=pose.keras --task=pose:lspet:/data/lspet --pixels=-1..1 --flip_test \
    --within='Conv1,expanded_conv*,block_*,Conv_1' --macs=0.5 --finetune_epochs=4 --out=runs/taylor
  tta-lite remove-channels --model=net.keras --task=my_package.my_task:make_task --latency_ms=12 --out=runs/fast

Which channels must leave together is found from the network's graph; which are worth the least, by --criterion. What is
left has its weights from the old network, and with pictures (--task, or --images) the layers behind are fitted to their
old outputs. With --task the network is then fine-tuned, by distillation from the old one unless --nodistil, and both
are scored: it is the step `channels` of `tta-lite guideline`, and the same flags and the same seed give the same files.
Without --task only the structure changes and is timed. --macs and --params are of the layers --within. Writes the new
network (steps/01-channels/model.keras), both as .tflite, what became of each layer (changes.txt), and the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from recipes import _app, _removal, _task

if TYPE_CHECKING:
    import numpy as np

    from tta_lite.boards.profile import BoardProfile
    from tta_lite.compat import keras
    from tta_lite.types import Task

STEP = "channels"
METHODS = ("greedy", "sensitivity")

_CRITERION = flags.DEFINE_string(
    "criterion", None,
    "What a channel is worth: l1_norm, l2_norm, network_slimming, hrank, taylor, ...; if not given, taylor with --task "
    "and l1_norm without.",
)  # fmt: skip
_SCOPE = flags.DEFINE_string("scope", None, "How layers are compared: global, per_layer; what suits the criterion.")
_METHOD = flags.DEFINE_enum("method", "greedy", METHODS, "How much each layer loses.")
_ROUND_TO = flags.DEFINE_integer("round_to", None, "Channels are a multiple of it; what suits --board, or 8.", 1)
_FLOOR = flags.DEFINE_integer("floor", 8, "The fewest channels of a layer.", 1)

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
flags.adopt_module_key_flags(_removal)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, removes channels, prints what became of each layer and the table."""
    _removal.targets()
    what = f"channels by {_criterion()}, {_removal.target_text()}"
    _removal.run(STEP, "remove_channels", _FLAGS, _shrunk, what, _check)


def _check() -> None:
    from tta_lite.transforms.channels.criteria import get_criterion

    get_criterion(_criterion())


def _criterion() -> str:
    """-> what was asked for, or what keeps the most, see docs/pruning.md: to ask the loss takes examples."""
    return _CRITERION.value or ("taylor" if _task.TASK.value else "l1_norm")


def _shrunk(
    model: keras.Model, board: BoardProfile | None, images: np.ndarray | None, task: Task | None
) -> tuple[keras.Model, str]:
    """-> the smaller network, and what became of each layer."""
    from tta_lite.boards.features import channel_multiple
    from tta_lite.transforms.channels.criteria import get_criterion
    from tta_lite.transforms.shrink import shrink

    batches, loss = _removal.examples(task, get_criterion(_criterion()).needs)
    features = [feature for cores in board.cores for feature in cores.features] if board else []
    found = shrink(
        model,
        _criterion(),
        **_removal.targets(),
        within=_removal.WITHIN.value or None,
        protected=_removal.PROTECTED.value,
        scope=_SCOPE.value,
        method=_METHOD.value,
        round_to=_ROUND_TO.value or channel_multiple(features),
        floor=_FLOOR.value,
        images=images,
        batches=batches,
        loss=loss,
        repair=_removal.REPAIR.value,
        seed=_task.SEED.value,
    )
    return found.model, found.table()


if __name__ == "__main__":
    _app.run(main)
