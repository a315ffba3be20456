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
from typing import TYPE_CHECKING

from absl import flags, logging

from recipes import _app
from tta_lite.types import InputError

if TYPE_CHECKING:
    from tta_lite.datasets.pose_set import PoseSet
    from tta_lite.guideline.case_study import TaskFor
    from tta_lite.models.backbones import Normalisation

DATASETS = ("synthetic", "lsp", "lspet", "mpii", "coco")
# What may differ between a run and its resumption.
DISPLAY_FLAGS = ("out", "rows", "rounds", "num_runs", "min_secs", "num_threads", "max_drop", "strips", "strategy")

_DATASET = flags.DEFINE_enum("dataset", "synthetic", DATASETS, "Where people come from.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "The data set's folder, as data/README.md lays it out.")
_UPRIGHT = flags.DEFINE_bool("upright", False, "lspet with an index.csv: only the upright people.")
_ON_BAD = flags.DEFINE_enum(
    "on_bad_example", "error", ("error", "skip"), "Stop at a bad example, or count and skip it."
)
_TRAIN_PEOPLE = flags.DEFINE_integer("train_people", None, "Train on the first so many (synthetic: 768).", 1)
_TEST_PEOPLE = flags.DEFINE_integer("test_people", None, "Score the first so many (synthetic: 200).", 1)
_JOINTS = flags.DEFINE_list("joints", None, "Names of the joints to learn and score; all by default.")
_INPUT_SIZE = flags.DEFINE_integer("input_size", 64, "Side of the crop in pixels, a multiple of 32.", 32)
_SIGMA = flags.DEFINE_float("sigma", 2.0, "Of the heat maps' Gaussians, in heat-map pixels.")
_FLIP_TEST = flags.DEFINE_bool("flip_test", False, "Score the mean of a picture and its mirror image.")
_BACKBONE = flags.DEFINE_string("backbone", "resnet50", "Of the unmodified network.")
_LIGHT = flags.DEFINE_string("light_backbone", "mobilenet_v2", "Of all other rows (G1).")
_LIGHT_WEIGHTS = flags.DEFINE_string("light_weights", None, "What it starts from: imagenet, a file, or nothing.")
_BOTTLENECK = flags.DEFINE_integer("bottleneck", 64, "Channels of the PConv before each Deconv (G2).", 1)
_SPARSITY = flags.DEFINE_float("sparsity", 0.5, "Share of zero weights (G5).")
_ROWS = flags.DEFINE_list("rows", None, "Rows of the table; more can be added to a run later. All six by default.")
_EPOCHS = flags.DEFINE_integer("epochs", 1, "Passes over the training set; the reference takes 140.", 1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Examples a step; the reference takes 32 a GPU.", 1)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam; it falls to a tenth at 9/14 and 12/14.")
_SEED = flags.DEFINE_integer("seed", 0, "Of weights, order and augmentation.", 0, 2**32 - 1)
_DATA_SEED = flags.DEFINE_integer("data_seed", 0, "Of the synthetic people.", 0)
_STRATEGY = flags.DEFINE_enum("strategy", "none", ("none", "mirrored", "multi_worker"), "tf.distribute's.")
_NUM_THREADS = flags.DEFINE_integer("num_threads", 1, "Of the interpreter, when it is timed.", 1)
_NUM_RUNS = flags.DEFINE_integer("num_runs", 50, "Timed inferences a row, at least.", 1)
_MIN_SECS = flags.DEFINE_float("min_secs", 1.0, "Timed seconds a row, at least.", 0)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "The rows are timed in turn, so many times.", 1)
_MAX_DROP = flags.DEFINE_float("max_drop", 2.0, "The artifact is the fastest row within so many points of the best.", 0)
_STRIPS = flags.DEFINE_integer("strips", 6, "People whose predicted skeletons the report shows.", 1)
_OUT = flags.DEFINE_string("out", None, "The run folder; runs/case_study/<UTC time> by default.")


_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]


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
        num_threads=_NUM_THREADS.value,
        rounds=_ROUNDS.value,
        num_runs=_NUM_RUNS.value,
        min_secs=_MIN_SECS.value,
    )
    out = _OUT.value or f"runs/case_study/{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%SZ}"
    task_for = _tasks()
    values = {holder.name: holder.value for holder in _FLAGS}
    recipe = describe_run(values, recipe="case_study", seed=_SEED.value)
    # A folder keeps its flags for good: a mistake must not get into a new one.
    if not Path(out, RECIPE).exists():
        case_study.check(study, task_for)
    if not chief:
        worker = f"worker_{get_strategy(_STRATEGY.value).cluster_resolver.task_id}"
        case_study.train_only(study, task_for, RunFolder.open(f"{out}/{worker}", recipe, display_flags=DISPLAY_FLAGS))
        return
    folder = RunFolder.open(out, recipe, display_flags=DISPLAY_FLAGS)
    print(f"run folder: {out}", flush=True)
    for notice in folder.notices:
        print(notice, flush=True)
    entries = case_study.run(study, task_for, folder)
    page = report.write_report(
        folder,
        entries,
        study,
        task_for,
        max_drop=_MAX_DROP.value,
        strips=_STRIPS.value,
        command=shlex.join(["tta-lite", "case_study", *_given()]),
        notes=_notes(),
    )
    table.print_table(entries)
    print(f"report: {page}")


def _tasks() -> TaskFor:
    """-> normalisation -> the task that the flags describe; people are read once."""
    from tta_lite.datasets.readers import read_train_and_test
    from tta_lite.datasets.synthetic import synthetic_pose
    from tta_lite.tasks.pose import PoseTask

    for flag, places in ((_DATA_DIR, DATASETS[1:]), (_DATA_SEED, DATASETS[:1]), (_UPRIGHT, ("lspet",))):
        if flag.value and _DATASET.value not in places:
            raise InputError(
                f"--{flag.name} means something only with --dataset={' or '.join(places)}. "
                f"Received: --dataset={_DATASET.value} and --{flag.name}={flag.value}"
            )
    if _DATASET.value == "synthetic":
        # No smaller than the crop, which would only be a blown-up picture.
        side = max(96, _INPUT_SIZE.value)
        train = synthetic_pose(_TRAIN_PEOPLE.value or 768, seed=2 * _DATA_SEED.value, picture_size=side)
        test = synthetic_pose(_TEST_PEOPLE.value or 200, seed=2 * _DATA_SEED.value + 1, picture_size=side)
    else:
        options: dict[str, object] = {"on_bad_example": _ON_BAD.value}
        if _DATASET.value == "lspet":
            options["upright"] = _UPRIGHT.value
        train, test = read_train_and_test(_DATASET.value, _DATA_DIR.value, **options)
        train, test = _first(train, _TRAIN_PEOPLE.value), _first(test, _TEST_PEOPLE.value)
    if _JOINTS.value:
        train, test = train.select_joints(_JOINTS.value), test.select_joints(_JOINTS.value)
    for people in (train, test):
        if people.skipped:
            print(f"{people.name}: {len(people.skipped)} bad examples left out; the first: {people.skipped[0]}")

    @functools.cache
    def task_for(normalisation: Normalisation) -> PoseTask:
        return PoseTask(
            train,
            test,
            normalisation,
            input_size=_INPUT_SIZE.value,
            sigma=_SIGMA.value,
            batch_size=_BATCH_SIZE.value,
            flip_test=_FLIP_TEST.value,
        )

    return task_for


def _first(people: PoseSet, count: int | None) -> PoseSet:
    return people if count is None else people.subset(range(min(count, len(people))))


def _given() -> list[str]:
    """-> the flags that differ from their defaults, as they are typed."""
    return [flags.FLAGS[holder.name].serialize() for holder in _FLAGS if flags.FLAGS[holder.name].present]


def _notes() -> list[str]:
    """What a reader should know of these figures before comparing them."""
    notes = []
    if _DATASET.value == "synthetic":
        notes.append(
            "The people are synthetic: the scores compare the rows with each other and nothing else. Whoever always "
            "answers with the mean pose scores about 14 here, and a training of some minutes comes hardly further."
        )
    if _LIGHT_WEIGHTS.value:
        notes.append(
            "The unmodified network starts from random weights, the light ones (but for the rows from scratch) from "
            f"{Path(_LIGHT_WEIGHTS.value).name}: what they differ by in accuracy is not what G1 and G2 cost."
        )
    if _EPOCHS.value < 100:
        notes.append(
            f"Every row was trained for {_EPOCHS.value} epoch{'s' if _EPOCHS.value > 1 else ''}; the reference trains "
            "for 140. A network that starts from random weights is far from its best after so few, a pretrained one "
            "less so."
        )
    if _DATASET.value in ("lsp", "lspet"):
        notes.append(
            "PCKh here measures in the distance from neck to head top, not in MPII's head box: it is not to be put "
            "beside MPII figures, nor beside the report's."
        )
    if _DATASET.value == "coco":
        notes.append(
            "PCKh here measures in the distance from the nose to the middle of the shoulders: it is to be put beside "
            "neither MPII figures nor the report's, and it is not COCO's own metric."
        )
    return notes


if __name__ == "__main__":
    _app.run(main)
