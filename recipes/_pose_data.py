"""The flags that say which people a recipe learns from and is scored on, and the task that they give."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from absl import flags

from tta_lite.types import InputError

if TYPE_CHECKING:
    from tta_lite.datasets.pose_set import PoseSet
    from tta_lite.guideline.case_study import TaskFor
    from tta_lite.models.backbones import Normalisation
    from tta_lite.tasks.pose import PoseTask

DATASETS = ("synthetic", "lsp", "lspet", "mpii", "coco")

DATASET = flags.DEFINE_enum("dataset", "synthetic", DATASETS, "Where people come from.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "The data set's folder, as data/README.md lays it out.")
UPRIGHT = flags.DEFINE_bool("upright", False, "lspet with an index.csv: only the upright people.")
ON_BAD = flags.DEFINE_enum("on_bad_example", "error", ("error", "skip"), "Stop at a bad example, or count and skip it.")
TRAIN_PEOPLE = flags.DEFINE_integer("train_people", None, "Train on the first so many (synthetic: 768).", 1)
TEST_PEOPLE = flags.DEFINE_integer("test_people", None, "Score the first so many (synthetic: 200).", 1)
JOINTS = flags.DEFINE_list("joints", None, "Names of the joints to learn and score; all by default.")
SIGMA = flags.DEFINE_float("sigma", 2.0, "Of the heat maps' Gaussians, in heat-map pixels.")
FLIP_TEST = flags.DEFINE_bool("flip_test", False, "Score the mean of a picture and its mirror image.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Examples a step; the reference takes 32 a GPU.", 1)
DATA_SEED = flags.DEFINE_integer("data_seed", 0, "Of the synthetic people.", 0)

FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]


def tasks(input_size: int) -> TaskFor:
    """-> normalisation -> the task that the flags describe, with crops of that size; people are read once."""
    from tta_lite.datasets.readers import read_train_and_test
    from tta_lite.datasets.synthetic import synthetic_pose
    from tta_lite.tasks.pose import PoseTask

    for flag, places in ((DATA_DIR, DATASETS[1:]), (DATA_SEED, DATASETS[:1]), (UPRIGHT, ("lspet",))):
        if flag.value and DATASET.value not in places:
            raise InputError(
                f"--{flag.name} means something only with --dataset={' or '.join(places)}. "
                f"Received: --dataset={DATASET.value} and --{flag.name}={flag.value}"
            )
    if DATASET.value == "synthetic":
        # No smaller than the crop, which would only be a blown-up picture.
        side = max(96, input_size)
        train = synthetic_pose(TRAIN_PEOPLE.value or 768, seed=2 * DATA_SEED.value, picture_size=side)
        test = synthetic_pose(TEST_PEOPLE.value or 200, seed=2 * DATA_SEED.value + 1, picture_size=side)
    else:
        options: dict[str, object] = {"on_bad_example": ON_BAD.value}
        if DATASET.value == "lspet":
            options["upright"] = UPRIGHT.value
        train, test = read_train_and_test(DATASET.value, DATA_DIR.value, **options)
        train, test = _first(train, TRAIN_PEOPLE.value), _first(test, TEST_PEOPLE.value)
    if JOINTS.value:
        train, test = train.select_joints(JOINTS.value), test.select_joints(JOINTS.value)
    for people in (train, test):
        if people.skipped:
            print(f"{people.name}: {len(people.skipped)} bad examples left out; the first: {people.skipped[0]}")

    @functools.cache
    def task_for(normalisation: Normalisation) -> PoseTask:
        return PoseTask(
            train,
            test,
            normalisation,
            input_size=input_size,
            sigma=SIGMA.value,
            batch_size=BATCH_SIZE.value,
            flip_test=FLIP_TEST.value,
        )

    return task_for


def _first(people: PoseSet, count: int | None) -> PoseSet:
    return people if count is None else people.subset(range(min(count, len(people))))
