"""G1 on a network of your own: another backbone in front of its head, measured before and after.

  tta-lite swap_backbone --model=net.keras --backbone=mobilenet_v2 --out=runs/swap
  tta-lite swap_backbone --model=net.keras --backbone=mobilenet_v3_small --board=rk3399 --runtime=armnn --out=runs/swap
  tta-lite swap_backbone --model=net.keras --compare --board=rk3399 --out=runs/compare
  tta-lite swap_backbone --model=net.keras --task=image_folder:/data/flowers --pixels=-1..1 --epochs=10 --out=runs/swap

The first writes the new network (steps/01-g1/model.keras, to be fine-tuned), both as .tflite, and the table. With
--board every op of the backbone is checked against the board's runtime first: what it lacks ends the recipe with the
op, the layer and the light networks that would pass. --compare puts every light backbone in front of the head and
times them all, for "test several light networks" (clause 6.1.1); it takes about half a minute a backbone at 224 x 224.
Nothing is trained so: latency does not depend on the weights. With --task the new network is trained and both are
scored, as step G1 of `tta-lite guideline` does it: the same flags and the same seed give the same network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags, logging

from recipes import _app, _distil, _model, _run, _task, _timing
from tta_lite.types import PRESETS, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tta_lite.boards.profile import BoardProfile
    from tta_lite.compat import keras

_MODEL = flags.DEFINE_string("model", None, "The network, a .keras (of Keras 2 or 3) or .h5 file.", required=True)
_BACKBONE = flags.DEFINE_string("backbone", "mobilenet_v2", "Name of the new backbone; a width may follow it.")
_WEIGHTS = flags.DEFINE_string("weights", None, "What it starts from: imagenet, a file, or nothing.")
_CUT = flags.DEFINE_list("cut", None, "The layers after which the head begins; found by itself if not given.")
_COMPARE = flags.DEFINE_bool("compare", False, "Compare all light backbones (or those of --candidates).")
_CANDIDATES = flags.DEFINE_list("candidates", None, "Backbones to compare.")
_BOARD = flags.DEFINE_string("board", None, "The target, e.g. rk3399: ops that it lacks are told before any training.")
_RUNTIME = flags.DEFINE_string("runtime", None, "Of the board, e.g. armnn; its usual one if not given.")
_PRESET = flags.DEFINE_enum("preset", "fp32", PRESETS, "Of the export that is planned: what the board is asked for.")
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Of training, with --task.", 1)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam; it falls to a tenth at 9/14 and 12/14.")

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
for _module in (_model, _distil, _run, _timing, _task):
    _FLAGS += _module.FLAGS
    flags.adopt_module_key_flags(_module)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, swaps or compares, prints the table."""
    # TensorFlow takes seconds to load; --help and a mistyped flag should not.
    from tta_lite.boards.profile import get_board
    from tta_lite.guideline import structure
    from tta_lite.guideline.checks import ops_check
    from tta_lite.models.backbones import LIGHT_BACKBONES
    from tta_lite.report import table
    from tta_lite.transforms.backbone import swap_backbone

    if _task.TASK.value and (_COMPARE.value or _PRESET.value != "fp32"):
        raise InputError("--task trains one network and exports it in float32. Received: it and --compare or --preset")
    if not _task.TASK.value:
        _task.refuse_without_task(_EPOCHS, _LEARNING_RATE, *_distil.FLAGS)
    else:
        _distil.check(True)
    logging.set_verbosity(logging.WARNING)
    board = get_board(_BOARD.value) if _BOARD.value else None
    model = _model.read(_MODEL.value)
    rules = _timing.rules()
    if _COMPARE.value:
        contenders = structure.compare_backbones(
            model, board, _CANDIDATES.value or LIGHT_BACKBONES, runtime=_RUNTIME.value, cut=_CUT.value, rules=rules
        )
        folder = _run.open_folder("swap_backbone", _FLAGS)
        text = structure.contenders_table(contenders)
        folder.write_text("table.md", text)
        print(text)
        return
    check = ops_check(board, runtime=_RUNTIME.value, preset=_PRESET.value) if board else None
    if _task.TASK.value:
        _train(model, board, check)
        return
    swap = swap_backbone(model, _BACKBONE.value, _CUT.value, weights=_WEIGHTS.value, check=check)
    folder = _run.open_folder("swap_backbone", _FLAGS)
    print(f"cut after {', '.join(swap.cut)}; in their place {', '.join(swap.features)} of {_BACKBONE.value}")
    for added in swap.added:
        print(f"added {added.layer}: {added.why}")
    why = f"backbone {_BACKBONE.value} instead of what led to {', '.join(swap.cut)}"
    entries = structure.measure_networks(
        {"none": (model, "", "the unmodified network"), "G1": (swap.model, "6.1.1", why)}, folder, rules,
        runtime=board.runtime(_RUNTIME.value) if board else None,
    )  # fmt: skip
    table.write_tables(folder, entries)
    table.print_table(entries)
    print(f"the new network, to be fine-tuned: {folder.path}/steps/01-g1/model.keras")
    print("read it with tta_lite.load_model, which knows its layers")


def _train(
    model: keras.Model,
    board: BoardProfile | None,
    check: Callable[[keras.Model, str], None] | None,
) -> None:
    from tta_lite.guideline.bench import Trial
    from tta_lite.guideline.reasons import reason
    from tta_lite.tasks.find import normalisation_of
    from tta_lite.transforms.backbone import swap_backbone
    from tta_lite.types import Candidate

    task = _task.find(model)
    _distil.try_teacher(model, task)
    told: list[str] = []

    def make() -> Candidate:
        swap = swap_backbone(
            model, _BACKBONE.value, _CUT.value, weights=_WEIGHTS.value,
            normalised=normalisation_of(task), check=check,
        )  # fmt: skip
        told.append(f"cut after {', '.join(swap.cut)}; in their place {', '.join(swap.features)} of {_BACKBONE.value}")
        told.extend(f"added {added.layer}: {added.why}" for added in swap.added)
        return Candidate(swap.model, trail=(f"G1 {_BACKBONE.value}",))

    label = reason("label_pretrained" if _WEIGHTS.value else "label_random", name=_BACKBONE.value)
    teaching = _distil.teaching(_EPOCHS.value)
    trial = Trial(_BACKBONE.value, label, make, _EPOCHS.value, teaching=teaching)
    folder = _run.open_folder("swap_backbone", _FLAGS)
    runtime = board.runtime(_RUNTIME.value) if board else None
    _task.take(
        "G1", model, task, trial, folder, _timing.rules(), learning_rate=_LEARNING_RATE.value, runtime=runtime,
        note=lambda: "\n".join(told),
    )  # fmt: skip


if __name__ == "__main__":
    _app.run(main)
