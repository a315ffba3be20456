"""What does a heavier teacher bring a light pose network?

  python benchmarks/bench_distillation_pose.py --network=mobilenet_v2 --weights=imagenet --bottleneck=64 \
    --input_size=128 --task=pose:lspet:/data/lspet --flip_test --batch_size=16 --epochs=10 \
    --teacher=runs/teacher/steps/01-train/model.keras --ways="answers=0.5;answers=0.9" --out=runs/distilled

One student without a teacher, and one for each of --ways (what `tta-lite distill` takes as --losses, with ";" between
the ways): the same start, examples, augmentation, steps and rates. PCKh@0.5 of each with its 95 % interval, and the
points above the student without a teacher, with an interval of their own: the same people are drawn for both. With
several --seeds a person counts by the mean over the students of a way, and the points of each seed stand beside it. A
student is a folder in --out: a run that was stopped goes on, and more ways or seeds can be asked for. An epoch of 5,000
people at 128 x 128 takes one to two minutes on two cores.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from recipes import _app, _network, _task
from tta_lite.types import InputError

if TYPE_CHECKING:
    from tta_lite.compat import keras
    from tta_lite.tasks.pose import PoseTask
    from tta_lite.training.distillation import Distillation

NONE = "none"

_TEACHER = flags.DEFINE_string("teacher", None, "A trained pose network, .keras.", required=True)
_WAYS = flags.DEFINE_string("ways", "answers=0.5", "What is learnt from it; ';' between the ways.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Of the start, the order and the augmentation.")
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Of a student.", 1)
_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam; it falls to a tenth at 9/14 and 12/14.")
_OUT = flags.DEFINE_string("out", None, "The folder.", required=True)


def lessons(way: str, teacher: keras.Model) -> Distillation | None:
    """-> what a student learns from the teacher; None: nothing."""
    from tta_lite.guideline.bench import losses_of
    from tta_lite.training.distillation import Distillation
    from tta_lite.training.distillation_terms import TERMS

    if way == NONE:
        return None
    answers, terms = losses_of(way.split(","))
    return Distillation(teacher, answers, terms=tuple(TERMS[name](weight) for name, weight in terms))


def student(way: str, seed: int, teacher: keras.Model, task: PoseTask) -> dict[str, np.ndarray]:
    """-> which joints counted and were right, [N, J] bool, and the seconds of training; read if it is there."""
    from pose_pairs import scored

    from tta_lite.compat import keras
    from tta_lite.files import atomic_path
    from tta_lite.tasks.networks import Wanted, network_for
    from tta_lite.training.fit import FitSettings, fit, training_seconds
    from tta_lite.types import Candidate

    place = Path(_OUT.value) / f"{seed}-{way.replace('=', '_').replace(',', '+')}"
    file = place / "right.npz"
    if not file.is_file():
        wanted = [holder.value for holder in (_network.INPUT_SIZE, _network.WEIGHTS, _network.BOTTLENECK)]
        keras.utils.set_random_seed(seed)
        model = network_for(_task.TASK.value, Wanted(_network.NETWORK.value, *wanted))
        settings = FitSettings(
            _EPOCHS.value, _RATE.value, seed=seed, tensorboard=False, distillation=lessons(way, teacher)
        )
        trained = fit(Candidate(model), task, settings, place / "training", label=f"{way}, seed {seed}").model
        counted, right, _ = scored(task, lambda batch: trained(batch, training=False).numpy())
        with atomic_path(place / "model.keras") as temporary:
            trained.save(temporary)
        with atomic_path(file) as temporary, open(temporary, "wb") as handle:
            np.savez(handle, counted=counted, right=right, seconds=training_seconds(place / "training"))
    return dict(np.load(file))


def main(argv: Sequence[str]) -> None:
    """Trains what is not there yet, prints the table."""
    from pose_pairs import difference, scored

    from tta_lite.files import atomic_write
    from tta_lite.measure.counting import count
    from tta_lite.measure.machine import summary
    from tta_lite.models.files import load_network
    from tta_lite.tasks.pose import PoseTask

    _network.check()
    if not _network.NETWORK.value:
        raise InputError("--network must be given: each seed has a start of its own. Received: --model")
    model, task = _network.build_with_task()
    if not isinstance(task, PoseTask):
        raise InputError(f"--task must be pose:<data set>:PATH. Received: {_task.TASK.value}")
    teacher = load_network(_TEACHER.value)
    ways = [NONE, *(way for way in _WAYS.value.split(";") if way)]
    for way in ways:
        if (learnt := lessons(way, teacher)) is not None:
            learnt.check(model, task.loss())
    rules = [_network.NETWORK.value, _network.INPUT_SIZE.value, _network.BOTTLENECK.value, _task.TASK.value]
    rules += [_task.BATCH_SIZE.value, _task.FLIP_TEST.value, _EPOCHS.value, _RATE.value, _TEACHER.value]
    note = Path(_OUT.value) / "rules.txt"
    if note.is_file() and note.read_text(encoding="utf-8") != str(rules):
        raise InputError(f"--out must be of the same flags. Received: {note} of others")
    note.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(note, str(rules))

    seeds = [int(seed) for seed in _SEEDS.value]
    found = {}
    for seed in seeds:
        for way in ways:
            began = time.monotonic()
            found[way, seed] = student(way, seed, teacher, task)
            print(f"# seed {seed}, {way}: {time.monotonic() - began:.0f} s", flush=True)
    _, _, of_teacher = scored(task, lambda batch: teacher(batch, training=False).numpy())
    print(f"\n{summary()}")
    print(f"Teacher: {of_teacher}, {count(teacher).macs / 1e9:.2f} G MACs; students {count(model).macs / 1e9:.2f}.\n")
    print(
        "| learns from its teacher | PCKh@0.5 | points above none (95 % interval) | of each seed | training, relative |"
    )
    print("|---|---:|---:|---:|---:|")
    counted = found[NONE, seeds[0]]["counted"]
    for way in ways:
        rights = np.stack([found[way, seed]["right"] for seed in seeds])
        base = np.stack([found[NONE, seed]["right"] for seed in seeds])
        value = 100 * (rights & counted).sum() / (len(seeds) * counted.sum())
        points, each = "0", ""
        if way != NONE:
            mean, low, high = mean_difference(base, rights, counted)
            points = f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"
            each = ", ".join(f"{difference(*pair, counted)[0]:+.2f}" for pair in zip(base, rights, strict=True))
        spent = [np.sum([found[one, seed]["seconds"] for seed in seeds]) for one in (way, NONE)]
        print(f"| {way} | {value:.1f} | {points} | {each} | {spent[0] / spent[1]:.2f} |")


def mean_difference(base: np.ndarray, rights: np.ndarray, counted: np.ndarray) -> tuple[float, float, float]:
    """-> points and 95 % interval, people drawn for all students at once.

    Args:
      base, rights: [seeds, N, J] bool.
      counted: [N, J] bool.
    """
    from tta_lite.tasks.paired import gain

    gained = ((rights & counted).astype(int) - (base & counted)).mean(axis=0).sum(axis=1)
    found = gain(gained, counted.sum(axis=1))
    assert found.interval is not None
    return found.points, *found.interval


if __name__ == "__main__":
    _app.run(main)
