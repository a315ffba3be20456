"""The case study: PoseResNet made light step by step, and measured after every step (guideline, chapter 7).

Without flags it trains every row for some minutes on synthetic people, which shows the tool and not the networks' best:

  tta-lite case_study

On real photos (5,000 people; hours on a CPU):

  tta-lite case_study --dataset=lspet --data_dir=/data/lspet --input_size=128 --epochs=10 --light_weights=imagenet

Writes the run folder `--out`: table.md, table.csv, report.html, plots/, steps/ and artifact/. The same command with the
same `--out` goes on where a killed run stopped.
"""

from __future__ import annotations

import datetime
import functools
import shlex
from collections.abc import Sequence
from pathlib import Path

from absl import flags, logging

from recipes import _app, _pose_data, _precision, _timing
from tta_lite.report.language import ENGLISH, LANGUAGES, Language

# What may differ between a run and its resumption.
DISPLAY_FLAGS = (
    "out", "rows", "rounds", "num_runs", "min_secs", "num_threads", "max_drop", "strips", "strategy", "language",
)  # fmt: skip

_INPUT_SIZE = flags.DEFINE_integer("input_size", 64, "Side of the crop in pixels, a multiple of 32.", 32)
_BACKBONE = flags.DEFINE_string("backbone", "resnet50", "Of the unmodified network.")
_LIGHT = flags.DEFINE_string("light_backbone", "mobilenet_v2", "Of all other rows (G1).")
_LIGHT_WEIGHTS = flags.DEFINE_string("light_weights", None, "What it starts from: imagenet, a file, or nothing.")
_BOTTLENECK = flags.DEFINE_integer("bottleneck", 64, "Channels of the PConv before each Deconv (G2).", 1)
_SPARSITY = flags.DEFINE_float("sparsity", 0.5, "Share of zero weights (G5).")
_ROWS = flags.DEFINE_list("rows", None, "Rows of the table; more can be added to a run later. All six by default.")
_EPOCHS = flags.DEFINE_integer("epochs", 1, "Passes over the training set; the reference takes 140.", 1)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam; it falls to a tenth at 9/14 and 12/14.")
_SEED = flags.DEFINE_integer("seed", 0, "Of weights, order and augmentation.", 0, 2**32 - 1)
_STRATEGY = flags.DEFINE_enum("strategy", "none", ("none", "mirrored", "multi_worker"), "tf.distribute's.")
_MAX_DROP = flags.DEFINE_float("max_drop", 2.0, "The artifact is the fastest row within so many points of the best.", 0)
_STRIPS = flags.DEFINE_integer("strips", 6, "People whose predicted skeletons the report shows.", 1)
_LANGUAGE = flags.DEFINE_enum("language", "en", tuple(LANGUAGES), "Of report.html.")
_OUT = flags.DEFINE_string("out", None, "The run folder; runs/case_study/<UTC time> by default.")


_BOARD = _timing.define_board()

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
_FLAGS += [*_pose_data.FLAGS, *_precision.FLAGS, *_timing.FLAGS]
for _module in (_pose_data, _precision, _timing):
    flags.adopt_module_key_flags(_module)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, runs the case study, prints the table and names the report."""
    # TensorFlow takes seconds to load; --help and a mistyped flag should not.
    from tta_lite.guideline import case_study
    from tta_lite.guideline.rows import DEFAULT_ROWS, choose_rows
    from tta_lite.report import case_study as report
    from tta_lite.report import table
    from tta_lite.report.environment import describe_run
    from tta_lite.report.run_folder import RECIPE, RunFolder
    from tta_lite.training.fit import FitSettings
    from tta_lite.training.pruning import Pruning
    from tta_lite.training.strategy import get_strategy, is_chief

    logging.set_verbosity(logging.WARNING)
    _timing.refuse_board_without_connection()
    # A cluster must be joined before anything else runs in TensorFlow.
    chief = is_chief(get_strategy(_STRATEGY.value))
    study = case_study.CaseStudy(
        rows=tuple(row.name for row in choose_rows(_ROWS.value or DEFAULT_ROWS)),
        backbone=_BACKBONE.value,
        light_backbone=_LIGHT.value,
        light_weights=_LIGHT_WEIGHTS.value,
        bottleneck=_BOTTLENECK.value,
        pruning=Pruning(_SPARSITY.value),
        fit=FitSettings(_EPOCHS.value, _LEARNING_RATE.value, seed=_SEED.value, strategy=_STRATEGY.value),
        num_threads=_timing.NUM_THREADS.value,
        rounds=_timing.ROUNDS.value,
        num_runs=_timing.NUM_RUNS.value,
        min_secs=_timing.MIN_SECS.value,
        precision=_precision.PRECISION.value,
        place=_timing.board_rules(counted=True),
    )
    out = _OUT.value or f"runs/case_study/{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%SZ}"
    task_for = _pose_data.tasks(_INPUT_SIZE.value)
    values = {holder.name: holder.value for holder in _FLAGS}
    recipe = describe_run(values, recipe="case_study", seed=_SEED.value)
    # A folder keeps its flags for good: a mistake must not get into a new one.
    if not Path(out, RECIPE).exists():
        case_study.check(study, task_for)
    open_folder = functools.partial(RunFolder.open, display_flags=DISPLAY_FLAGS, defaults=_app.defaults(_FLAGS))
    if not chief:
        worker = f"worker_{get_strategy(_STRATEGY.value).cluster_resolver.task_id}"
        case_study.train_only(study, task_for, open_folder(f"{out}/{worker}", recipe))
        return
    folder = open_folder(out, recipe)
    print(f"run folder: {out}", flush=True)
    for notice in folder.notices:
        print(notice, flush=True)
    entries = case_study.run(study, task_for, folder)
    _timing.count_rows(folder.path, case_study.row_files(study, folder))
    page = report.write_report(
        folder,
        entries,
        study,
        task_for,
        max_drop=_MAX_DROP.value,
        strips=_STRIPS.value,
        command=shlex.join(["tta-lite", "case_study", *_given()]),
        notes=_notes(LANGUAGES[_LANGUAGE.value]),
        say=LANGUAGES[_LANGUAGE.value],
    )
    table.print_table(entries)
    print(f"report: {page}")


def _given() -> list[str]:
    """-> the flags that differ from their defaults, as they are typed."""
    return [flags.FLAGS[holder.name].serialize() for holder in _FLAGS if flags.FLAGS[holder.name].present]


def _notes(say: Language = ENGLISH) -> list[str]:
    """What a reader should know of these figures before comparing them."""
    notes = []
    if _pose_data.DATASET.value == "synthetic":
        notes.append(
            say(
                "The people are synthetic: the scores compare the rows with each other and nothing else. Whoever "
                "always answers with the mean pose scores about 14 here, and a training of some minutes comes hardly "
                "further."
            )
        )
    if _LIGHT_WEIGHTS.value:
        notes.append(
            say(
                "The unmodified network starts from random weights, the light ones (but for the rows from scratch) "
                "from {weights}: what they differ by in accuracy is not what G1 and G2 cost.",
                weights=Path(_LIGHT_WEIGHTS.value).name,
            )
        )
    if _EPOCHS.value < 100:
        few = say("1 epoch") if _EPOCHS.value == 1 else say("{count} epochs", count=_EPOCHS.value)
        notes.append(
            say(
                "Every row was trained for {epochs}; the reference trains for 140. A network that starts from random "
                "weights is far from its best after so few, a pretrained one less so.",
                epochs=few,
            )
        )
    if _pose_data.DATASET.value in ("lsp", "lspet"):
        notes.append(
            say(
                "PCKh here measures in the distance from neck to head top, not in MPII's head box: it is not to be put "
                "beside MPII figures, nor beside the report's."
            )
        )
    if _pose_data.DATASET.value == "coco":
        notes.append(
            say(
                "PCKh here measures in the distance from the nose to the middle of the shoulders: it is to be put "
                "beside neither MPII figures nor the report's, and it is not COCO's own metric."
            )
        )
    return notes


if __name__ == "__main__":
    _app.run(main)
