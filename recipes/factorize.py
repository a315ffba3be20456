"""G2 on a network of your own: its costly convolutions factorised, with weights from the old ones, measured.

  tta-lite factorize --model=net.keras --out=runs/factorize
  tta-lite factorize --model=net.keras --select=0.01 --macs=0.6 --out=runs/two_fifths_less
  tta-lite factorize --model=net.keras --select='deconv*' --rank=64 --images=calibration.npy --out=runs/narrow
  tta-lite factorize --model=net.keras --subpixel=measured --preset=int8 --board=rk3399 --out=runs/subpixel
  tta-lite factorize --model=net.keras --macs=0.5 --task=image_folder:/data/flowers --pixels=-1..1 --out=runs/half

Writes the new network (steps/01-g2/model.keras, to be fine-tuned), both as .tflite, what became of each layer
(changes.txt), and the table. With --images (a .npy file [N, H, W, C], as the network takes them) the new weights are
fitted to real inputs. --subpixel replaces Deconvs by convolutions and DEPTH_TO_SPACE, which gives the same outputs:
each one that is faster so on this machine (and whose ops the board takes), or all. With --task the new weights are
fitted to its pictures, fine-tuned, and both networks scored, as steps G2 and subpixel of `tta-lite guideline` do it:
the same flags and the same seed give the same network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags, logging

from recipes import _app, _distil, _finetune, _images, _model, _run, _task, _timing
from tta_lite.types import PRESETS, InputError

if TYPE_CHECKING:
    import numpy as np

    from tta_lite.compat import keras

METHODS = ("bottleneck", "bottleneck_group", "depthwise_separable", "spatial", "stacked_3x3")

_MODEL = flags.DEFINE_string("model", None, "The network, a .keras (of Keras 2 or 3) or .h5 file.", required=True)
_METHOD = flags.DEFINE_enum("method", "bottleneck", METHODS, "How convolutions are factorised.")
_SELECT = flags.DEFINE_list(
    "select", ["0.05"], "Names and patterns; or how many of the costliest; or all above a share of the MACs."
)
_RANK = flags.DEFINE_integer("rank", None, "Channels between the two new layers.", 1)
_KEPT = flags.DEFINE_float("kept", None, "Or: as few as keep this share of each kernel's energy (default 0.9).", 0, 1)
_MACS = flags.DEFINE_float("macs", None, "Or: as a target for the network allows; below 1 a share of its MACs now.", 0)
_GROUPS = flags.DEFINE_integer("groups", 2, "Of bottleneck_group.", 2)
_IMAGES = flags.DEFINE_string("images", None, "Calibration images, a .npy file [N, H, W, C].")
_SUBPIXEL = flags.DEFINE_enum(
    "subpixel",
    None,
    ("measured", "all"),
    "Instead: Deconvs as convolutions and DEPTH_TO_SPACE; those faster so, or all.",
)
_PRESET = flags.DEFINE_enum("preset", "fp32", PRESETS, "Of --subpixel=measured: in which files the Deconvs are timed.")
_BOARD = flags.DEFINE_string("board", None, "Of --subpixel=measured: the target, e.g. rk3399, must take the new ops.")
_RUNTIME = flags.DEFINE_string("runtime", None, "Of the board; its usual one if not given.")
_CALIBRATION = flags.DEFINE_integer(
    "calibration_images", 100, "With --task: that int8 would take; kernels are fitted to 32 of them at most.", 1
)
_FINETUNE_EPOCHS = flags.DEFINE_integer("finetune_epochs", 2, "Of training after the factorisation, with --task.", 0)

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
for _module in (_model, _distil, _finetune, _run, _timing, _task):
    _FLAGS += _module.FLAGS
    flags.adopt_module_key_flags(_module)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, factorises, prints what became of each layer and the table."""
    if _task.TASK.value and not _SUBPIXEL.value:
        _distil.check(bool(_FINETUNE_EPOCHS.value))
    if not _task.TASK.value:
        _task.refuse_without_task(_CALIBRATION, _FINETUNE_EPOCHS, *_finetune.FLAGS, *_distil.FLAGS)
    elif _IMAGES.value:
        raise InputError("--images are for a network without a --task, which has its own. Received: both")
    if _SUBPIXEL.value:
        _task.refuse("without --subpixel", _CALIBRATION, _FINETUNE_EPOCHS, *_finetune.FLAGS, *_distil.FLAGS)
    from tta_lite.boards.profile import get_board
    from tta_lite.guideline import structure
    from tta_lite.report import table

    logging.set_verbosity(logging.WARNING)
    model = _model.read(_MODEL.value)
    if _task.TASK.value:
        _train(model)
        return
    images = _images.read_images(_IMAGES.value) if _IMAGES.value else None
    new, text, why = _changed(model, images)
    folder = _run.open_folder("factorize", _FLAGS, seed=_task.SEED.value)
    folder.write_text("changes.txt", text + "\n")
    print(text)
    rules = _timing.rules()
    board = get_board(_BOARD.value) if _BOARD.value else None
    entries = structure.measure_networks(
        {"none": (model, "", "the unmodified network"), "G2": (new, "6.1.2", why)}, folder, rules,
        runtime=board.runtime(_RUNTIME.value) if board else None,
    )  # fmt: skip
    table.write_tables(folder, entries)
    table.print_table(entries)
    print(f"the new network, to be fine-tuned: {folder.path}/steps/01-g2/model.keras")
    print("read it with tta_lite.load_model, which knows its layers")


def _train(model: keras.Model) -> None:
    from tta_lite.boards.profile import get_board
    from tta_lite.guideline.bench import Trial
    from tta_lite.guideline.structure_steps import factor_images
    from tta_lite.types import Candidate

    task = _task.find(model)
    _distil.try_teacher(model, task)
    step = "subpixel" if _SUBPIXEL.value else "G2"
    folder = _run.open_folder("factorize", _FLAGS, seed=_task.SEED.value)

    def make() -> Candidate:
        images = factor_images(lambda count: task.calibration(count, seed=_task.SEED.value), _CALIBRATION.value)
        new, text, why = _changed(model, images)
        folder.write_text("changes.txt", text + "\n")
        print(text)
        return Candidate(new, trail=(f"{step} {why}",))

    # The outputs of subpixel are those of the network before it.
    epochs = _FINETUNE_EPOCHS.value if step == "G2" and task.steps_per_epoch else 0
    trial = Trial(step, _what(), make, epochs, _finetune.RATE.value, teaching=_distil.teaching(epochs))
    board = get_board(_BOARD.value) if _BOARD.value else None
    _task.take(
        step, model, task, trial, folder, _timing.rules(), learning_rate=_finetune.LEARNING_RATE.value,
        runtime=board.runtime(_RUNTIME.value) if board else None,
    )  # fmt: skip


def _changed(model: keras.Model, images: np.ndarray | None) -> tuple[keras.Model, str, str]:
    """-> the new network, what became of each layer, and what was done."""
    from tta_lite.boards.profile import get_board
    from tta_lite.guideline.deconvs import choose_subpixel
    from tta_lite.transforms.factorize import factorize
    from tta_lite.transforms.subpixel import subpixel

    if _SUBPIXEL.value == "measured":
        board = get_board(_BOARD.value) if _BOARD.value else None
        chosen = choose_subpixel(
            model, board, preset=_PRESET.value, runtime=_RUNTIME.value, rules=_timing.rules()
        )  # fmt: skip
        return chosen.model, chosen.table(), _what()
    if _SUBPIXEL.value == "all":
        woven = subpixel(model)
        if not woven.moved:
            raise InputError(f"--subpixel needs a network with Deconvs of stride 2 or more. Received: {_MODEL.value}")
        text = "\n".join(
            f"{one.name}: DEPTH_TO_SPACE of {one.channels} channels{f', behind {one.behind[-1]}' if one.behind else ''}"
            for one in woven.moved
        )
        return woven.model, text, _what()
    found = factorize(
        model, _METHOD.value, _select(_SELECT.value), rank=_RANK.value, kept=_KEPT.value, macs=_target(_MACS.value),
        groups=_GROUPS.value, images=images,
    )  # fmt: skip
    if not any(change.method for change in found.changes):
        reasons = "; ".join(f"{change.name}: {change.why}" for change in found.changes)
        raise InputError(
            "None of the selected convolutions becomes cheaper so. Expected: a lower --kept, a --rank, a --macs "
            f"target or other layers. Received: {reasons}"
        )
    return found.model, found.table(), _what()


def _what() -> str:
    """-> what is done, for people."""
    if _SUBPIXEL.value:
        faster = "Deconvs that are faster so" if _SUBPIXEL.value == "measured" else "Deconvs"
        return f"{faster} as convolutions and DEPTH_TO_SPACE"
    return f"{_METHOD.value} of {', '.join(_SELECT.value)}"


def _select(values: Sequence[str]) -> int | float | list[str]:
    """-> a whole number, a share, or names.

    >>> _select(["3"]), _select(["0.1"]), _select(["conv*", "deconv1"])
    (3, 0.1, ['conv*', 'deconv1'])
    """
    if len(values) == 1:
        for kind in (int, float):
            try:
                return kind(values[0])
            except ValueError:
                continue
    return list(values)


def _target(macs: float | None) -> float | None:
    """-> a share as it is, a number of MACs as a whole number.

    >>> _target(0.5), _target(2e9)
    (0.5, 2000000000)
    """
    return macs if macs is None or macs < 1 else int(macs)


if __name__ == "__main__":
    _app.run(main)
