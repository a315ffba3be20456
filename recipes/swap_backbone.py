"""G1 on a network of your own: another backbone in front of its head, measured before and after.

  tta-lite swap_backbone --model=net.keras --backbone=mobilenet_v2 --out=runs/swap
  tta-lite swap_backbone --model=net.keras --backbone=mobilenet_v3_small --board=rk3399 --runtime=armnn --out=runs/swap
  tta-lite swap_backbone --model=net.keras --compare --board=rk3399 --out=runs/compare

The first writes the new network (steps/01-g1/model.keras, to be fine-tuned), both as .tflite, and the table. With
--board every op of the backbone is checked against the board's runtime first: what it lacks ends the recipe with the
op, the layer and the light networks that would pass. --compare puts every light backbone in front of the head and
times them all, for "test several light networks" (clause 6.1.1); it takes about half a minute a backbone at 224 x 224.
Nothing is trained: latency does not depend on the weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags, logging

from recipes import _app, _timing
from tta_lite.types import PRESETS

_MODEL = flags.DEFINE_string("model", None, "The network, a .keras or .h5 file of tf_keras.", required=True)
_BACKBONE = flags.DEFINE_string("backbone", "mobilenet_v2", "Name of the new backbone; a width may follow it.")
_WEIGHTS = flags.DEFINE_string("weights", None, "What it starts from: imagenet, a file, or nothing.")
_CUT = flags.DEFINE_list("cut", None, "The layers after which the head begins; found by itself if not given.")
_COMPARE = flags.DEFINE_bool("compare", False, "Compare all light backbones (or those of --candidates).")
_CANDIDATES = flags.DEFINE_list("candidates", None, "Backbones to compare.")
_BOARD = flags.DEFINE_string("board", None, "The target, e.g. rk3399: ops that it lacks are told before any training.")
_RUNTIME = flags.DEFINE_string("runtime", None, "Of the board, e.g. armnn; its usual one if not given.")
_PRESET = flags.DEFINE_enum("preset", "fp32", PRESETS, "Of the export that is planned: what the board is asked for.")
_OUT = flags.DEFINE_string("out", None, "The run folder.", required=True)

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
_FLAGS += _timing.FLAGS
flags.adopt_module_key_flags(_timing)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, swaps or compares, prints the table."""
    # TensorFlow takes seconds to load; --help and a mistyped flag should not.
    from tta_lite.boards.profile import get_board
    from tta_lite.guideline import structure
    from tta_lite.guideline.checks import ops_check
    from tta_lite.models.backbones import LIGHT_BACKBONES
    from tta_lite.models.files import load_network
    from tta_lite.report import table
    from tta_lite.report.environment import describe_run
    from tta_lite.report.run_folder import RunFolder
    from tta_lite.transforms.backbone import swap_backbone

    logging.set_verbosity(logging.WARNING)
    board = get_board(_BOARD.value) if _BOARD.value else None
    model = load_network(_MODEL.value)
    rules = _timing.rules()
    recipe = describe_run({holder.name: holder.value for holder in _FLAGS}, recipe="swap_backbone")
    if _COMPARE.value:
        contenders = structure.compare_backbones(
            model, board, _CANDIDATES.value or LIGHT_BACKBONES, runtime=_RUNTIME.value, cut=_CUT.value, rules=rules
        )
        folder = RunFolder.open(_OUT.value, recipe)
        text = structure.contenders_table(contenders)
        folder.write_text("table.md", text)
        print(text)
        return
    check = ops_check(board, runtime=_RUNTIME.value, preset=_PRESET.value) if board else None
    swap = swap_backbone(model, _BACKBONE.value, _CUT.value, weights=_WEIGHTS.value, check=check)
    folder = RunFolder.open(_OUT.value, recipe)
    print(f"cut after {', '.join(swap.cut)}; in their place {', '.join(swap.features)} of {_BACKBONE.value}")
    for added in swap.added:
        print(f"added {added.layer}: {added.why}")
    why = f"backbone {_BACKBONE.value} instead of what led to {', '.join(swap.cut)}"
    entries = structure.measure_networks(
        {"none": (model, "", "the unmodified network"), "G1": (swap.model, "6.1.1", why)}, folder, rules
    )
    table.write_tables(folder, entries)
    table.print_table(entries)
    print(f"the new network, to be fine-tuned: {folder.path}/steps/01-g1/model.keras")
    print("read it with tta_lite.models.files.load_network, which knows its layers")


if __name__ == "__main__":
    _app.run(main)
