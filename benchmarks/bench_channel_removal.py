"""Channels removed by this project, by torch-pruning and by Sony's model-compression-toolkit, side by side.

    python benchmarks/bench_channel_removal.py --out=DIR [--torch_python=torch_env/bin/python] \
        [--mct_python=mct_env/bin/python]

A residual network for the 1,797 handwritten digits of UCI (8 x 8 pixels; scikit-learn has them; `removal_network.py`)
is trained on one half of them and tested on the other, once for each seed. Each tool gets these same weights, the same
256 training pictures to look at and the same number of MACs to reach; channels may leave one by one. How the other
tools' environments are made is said in `torch_pruning_child.py` and `mct_pruning_child.py`; without one its rows are
left out. They write what is left under Keras's names, and one trainer fine-tunes every row: the same steps, optimizer,
rates and order of the pictures. MACs and parameters are counted by one function. Networks that came over must answer
as they did there, the dense one to 1e-5.

A table for each target: accuracy of the test half before and after fine-tuning, the mean over the seeds; points above
torch-pruning's best row with the 95 % interval of the paired differences (Student's t over the seeds); MACs and
parameters left; the median of the processor seconds of pruning alone, one thread, without what the first call loads. A
run that was stopped goes on with what is in --out. A quarter of an hour on 2 idle cores.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import json
import math
import multiprocessing
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import removal_network as network
import scipy.stats
import tensorflow as tf
from absl import app, flags
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedShuffleSplit

from tta_lite.compat import keras
from tta_lite.measure import machine
from tta_lite.measure.counting import count
from tta_lite.training.distillation import Distillation
from tta_lite.transforms.channels.criteria import CRITERIA
from tta_lite.transforms.shrink import shrink
from tta_lite.types import InputError

_OUT = flags.DEFINE_string("out", None, "A folder.", required=True)
_SEEDS = flags.DEFINE_integer("seeds", 5, "Networks that are trained, and halves of the digits.", 2)
_LEFT = flags.DEFINE_list("left", ["0.5", "0.25"], "Shares of the MACs that are left.")
_EPOCHS = flags.DEFINE_integer("epochs", 5, "Of fine-tuning.", 1)
_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam in fine-tuning; it falls to 0 by a cosine.", 0)
_TORCH = flags.DEFINE_string("torch_python", None, "Of the environment that holds torch-pruning.")
_MCT = flags.DEFINE_string("mct_python", None, "Of the environment that holds MCT.")
_MCT_SAMPLES = flags.DEFINE_integer(
    "mct_samples", 4, "Pictures from which MCT draws scores; it takes 32 unless told.", 1
)
_WORKERS = flags.DEFINE_integer("workers", os.cpu_count(), "Processes that train, a thread each.", 1)

START_EPOCHS, START_RATE, BATCH, CALIBRATION = 40, 2e-3, 32, 256
# Of 16 channels 2 stay at least; the child of torch-pruning has the same bound, as a share.
FLOOR = 2
DENSE, SENSITIVITY = "dense", "sensitivity"
# Of this process: what TensorFlow loads at the first call is no part of a time.
_WARM: list[bool] = []


@dataclasses.dataclass(frozen=True)
class Row:
    """One way to prune."""

    tool: str
    criterion: str
    scope: str
    repair: bool = False
    distil: bool = False

    def __str__(self) -> str:
        extras = ["repaired"] * self.repair + ["distilled"] * self.distil
        return ", ".join([self.tool, self.criterion, self.scope, *extras])

    def pruned(self, share: float) -> str:
        """-> the name of its files; distillation is no part of pruning."""
        return f"{dataclasses.replace(self, distil=False)}".replace(", ", "_").replace(" ", "_") + f"@{share:g}"


OURS = (
    *(Row("tta_lite", name, found.scope, repair=True) for name, found in CRITERIA.items()),
    Row("tta_lite", "l1_norm", CRITERIA["l1_norm"].scope),
    Row("tta_lite", "taylor", CRITERIA["taylor"].scope),
    Row("tta_lite", "l1_norm", "per_layer", repair=True),
    Row("tta_lite", "taylor", "per_layer", repair=True),
    Row("tta_lite", "l1_norm", SENSITIVITY, repair=True),
    Row("tta_lite", "l1_norm", CRITERIA["l1_norm"].scope, repair=True, distil=True),
    Row("tta_lite", "taylor", CRITERIA["taylor"].scope, repair=True, distil=True),
)
TORCH_PRUNING = (
    *(
        Row("torch-pruning", criterion, scope)
        for criterion in ("l1", "l2", "taylor", "taylor_once", "bn_scale", "lamp")
        for scope in ("layer", "global")
    ),
    Row("torch-pruning", "random", "layer"),
)
MCT = (Row("mct", "lfh", "by 1"), Row("mct", "lfh", "by 4"))


def loss() -> keras.losses.Loss:
    """-> of logits and the numbers of classes."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def one_thread() -> None:
    """Of this process: the workers share the cores, and times are those of one."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def train(
    model: keras.Model, data: Mapping[str, np.ndarray], seed: int, epochs: int, rate: float, teacher: Any = None
) -> None:
    """Trains in place, on the pictures in an order that the seed alone decides."""
    images, labels = data["train"], data["train_labels"]
    steps = len(images) // BATCH
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(images))[: steps * BATCH] for _ in range(epochs)])
    schedule = keras.optimizers.schedules.CosineDecay(rate, epochs * steps)
    model.compile(keras.optimizers.Adam(schedule), loss())
    lessons = [Distillation(teacher).teach(model, loss())] if teacher is not None else []
    model.fit(images[order], labels[order], batch_size=BATCH, shuffle=False, verbose=0, callbacks=lessons)


def accuracy(model: keras.Model, data: Mapping[str, np.ndarray]) -> float:
    """-> percent of the test half."""
    return 100 * float((answers(model, data).argmax(-1) == data["test_labels"]).mean())


def answers(model: keras.Model, data: Mapping[str, np.ndarray]) -> np.ndarray:
    """-> logits of the test half."""
    return model(data["test"], training=False).numpy()


def start(folder: Path, seed: int) -> None:
    """Divides the digits and trains the network that every tool begins with."""
    if (folder / "dense.npy").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    images = (digits.images[..., None] / 8 - 1).astype(np.float32)
    halves = StratifiedShuffleSplit(1, test_size=0.5, random_state=seed).split(images, digits.target)
    mine, test = next(iter(halves))
    labels = digits.target.astype(np.int64)
    data = {"train": images[mine], "train_labels": labels[mine], "test": images[test], "test_labels": labels[test]}
    data |= {"calibration": images[mine[:CALIBRATION]], "calibration_labels": labels[mine[:CALIBRATION]]}
    np.savez(folder / "data.npz", **data)
    keras.utils.set_random_seed(seed)
    model = network.build(keras)
    train(model, data, seed, START_EPOCHS, START_RATE)
    np.savez(folder / "start.npz", **network.weights_of(model))
    np.save(folder / "dense.npy", answers(model, data))


def prune(folder: Path, row: Row, share: float, seed: int) -> None:
    """This project's side: what a child does for the others."""
    data = network.load(folder / "data.npz")
    model = network.build(keras, network.load(folder / "start.npz"))
    images, labels = data["calibration"], data["calibration_labels"]
    batches = [(images[first : first + BATCH], labels[first : first + BATCH]) for first in range(0, len(images), BATCH)]
    settings = dict(
        criterion=row.criterion,
        macs=share,
        **({"method": SENSITIVITY} if row.scope == SENSITIVITY else {"scope": row.scope}),
        round_to=1,
        floor=FLOOR,
        images=images,
        batches=batches,
        loss=loss(),
        repair=row.repair,
        seed=seed,
    )
    if not _WARM:
        shrink(model, **settings)
        _WARM.append(True)
    started = time.process_time()
    found = shrink(model, **settings)
    seconds = time.process_time() - started
    weights = network.weights_of(found.model)
    network.keep(folder, row.pruned(share), weights, answers(found.model, data), seconds=seconds)


def child(script: str, python: str, folder: Path, jobs: list[dict[str, Any]], *options: str) -> None:
    """Runs another tool's side on what it has not yet done."""
    left = [job for job in jobs if not (folder / f"seed{job['seed']}" / f"{job['row']}.json").is_file()]
    if not left:
        return
    todo = folder / f"{script}.jobs.json"
    todo.write_text(json.dumps(left), encoding="utf-8")
    command = [python, str(Path(__file__).with_name(script)), f"--jobs={todo}", *options]
    # Its framework is another one, with settings of its own.
    kept = {key: value for key, value in os.environ.items() if key not in ("TF_USE_LEGACY_KERAS", "PYTHONPATH")}
    with (folder / f"{script}.log").open("w", encoding="utf-8") as log:
        done = subprocess.run(command, stdout=log, stderr=log, check=False, env=kept)
    if done.returncode:
        raise InputError(f"{script} must run to its end, see its log in {folder}. Received: {done.returncode}")


def finetune(folder: Path, source: str, result: str, seed: int, epochs: int, rate: float, distil: bool) -> None:
    """Trains what a tool left, by the one recipe, and writes its figures."""
    data = network.load(folder / "data.npz")
    model = network.build(keras, network.load(folder / f"{source}.npz"))
    teacher = network.build(keras, network.load(folder / "start.npz")) if distil else None
    # What came over answers as it did there.
    came = "dense.npy" if source == "start" else f"{source}.outputs.npy"
    np.testing.assert_allclose(answers(model, data), np.load(folder / came), rtol=1e-4, atol=1e-4)
    counts, before = count(model), accuracy(model, data)
    keras.utils.set_random_seed(seed)
    train(model, data, seed, epochs, rate, teacher)
    figures = {"macs": counts.macs, "params": counts.params, "before": before, "after": accuracy(model, data)}
    (folder / f"{result}.tuned.json").write_text(json.dumps(figures), encoding="utf-8")
    keras.backend.clear_session()


def interval(values: Sequence[float]) -> tuple[float, float]:
    """-> mean and half of its 95 % interval, by Student's t."""
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return float(np.mean(values)), float(half)


def table(folder: Path, rows: Sequence[Row], share: float, seeds: Sequence[int]) -> list[str]:
    """-> lines of Markdown, the most accurate row of a tool first."""

    def read(name: str) -> list[dict[str, float]]:
        return [json.loads((folder / f"seed{seed}" / name).read_text(encoding="utf-8")) for seed in seeds]

    tuned = {row: read(f"{_result(row, share)}.tuned.json") for row in rows}
    after = {row: [one["after"] for one in found] for row, found in tuned.items()}
    dense = read(f"{DENSE}.tuned.json")
    rivals = [row for row in rows if row.tool == "torch-pruning"] or [row for row in rows if not row.distil]
    best = max(rivals, key=lambda row: np.mean(after[row]))
    lines = [
        f"\n{100 * share:g} % of {dense[0]['macs']:,.0f} MACs; reference: {best}; the dense network has "
        f"{np.mean([one['before'] for one in dense]):.2f} %, and {np.mean([one['after'] for one in dense]):.2f} % "
        "after as many steps\n",
        "| way | not tuned, % | fine-tuned, % | points above the reference (95 % interval) | MACs left, % "
        "| parameters left, % | seconds |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in sorted(rows, key=lambda row: (-_ORDER.index(row.tool), np.mean(after[row])), reverse=True):
        mean, half = interval([mine - other for mine, other in zip(after[row], after[best], strict=True)])
        points = f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})" if row != best else "0"
        left = [100 * np.mean([one[key] / dense[0][key] for one in tuned[row]]) for key in ("macs", "params")]
        seconds = np.median([one["seconds"] for one in read(f"{row.pruned(share)}.json")])
        lines.append(
            f"| {row} | {np.mean([one['before'] for one in tuned[row]]):.1f} | {np.mean(after[row]):.2f} | {points} "
            f"| {left[0]:.1f} | {left[1]:.1f} | {seconds:.2f} |"
        )
    return lines


_ORDER = ("tta_lite", "torch-pruning", "mct")


def _result(row: Row, share: float) -> str:
    return row.pruned(share) + ("_distilled" if row.distil else "")


def main(argv: Sequence[str]) -> None:
    """Trains, prunes, fine-tunes, prints."""
    del argv
    one_thread()
    folder, seeds, shares = Path(_OUT.value), range(_SEEDS.value), [float(share) for share in _LEFT.value]
    print(f"{machine.summary()}, load {os.getloadavg()[0]:.1f} before; {_EPOCHS.value} epochs", flush=True)
    rows = [*OURS, *(TORCH_PRUNING if _TORCH.value else ()), *(MCT if _MCT.value else ())]
    places = {seed: folder / f"seed{seed}" for seed in seeds}
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(_WORKERS.value, context, initializer=one_thread) as pool:
        list(pool.map(start, places.values(), seeds))
        for name, given in (("torch-pruning", _TORCH.value), ("MCT", _MCT.value)):
            print(f"# {name}: {given or 'no environment given, its rows are left out'}", flush=True)
        prune_all(pool, folder, rows, shares, seeds)
        print("# pruned; fine-tuning begins", flush=True)
        waiting = []
        for seed, place in places.items():
            wanted = {DENSE: ("start", False)}
            wanted |= {_result(row, share): (row.pruned(share), row.distil) for share in shares for row in rows}
            for result, (source, distil) in wanted.items():
                if not (place / f"{result}.tuned.json").is_file():
                    given = (place, source, result, seed, _EPOCHS.value, _RATE.value, distil)
                    waiting.append(pool.submit(finetune, *given))
        for one in waiting:
            one.result()
    for share in shares:
        print("\n".join(table(folder, rows, share, seeds)), flush=True)
    print(f"\nload {os.getloadavg()[0]:.1f} after")


def prune_all(
    pool: concurrent.futures.Executor, folder: Path, rows: Sequence[Row], shares: Sequence[float], seeds: Sequence[int]
) -> None:
    """This project's side in the workers, the others each in a process of its own."""
    macs = network.macs(network.load(folder / f"seed{seeds[0]}" / "start.npz"))
    jobs = {tool: list[dict[str, Any]]() for tool in _ORDER}
    waiting = []
    for row, share, seed in itertools.product((row for row in rows if not row.distil), shares, seeds):
        name = row.pruned(share)
        if row.tool != "tta_lite":
            job = {"seed": seed, "row": name, "criterion": row.criterion, "scope": row.scope, "macs": int(share * macs)}
            jobs[row.tool].append(job)
        elif not (folder / f"seed{seed}" / f"{name}.json").is_file():
            waiting.append(pool.submit(prune, folder / f"seed{seed}", row, share, seed))
    with concurrent.futures.ThreadPoolExecutor() as children:
        if jobs["torch-pruning"]:
            given = ("torch_pruning_child.py", _TORCH.value, folder, jobs["torch-pruning"])
            waiting.append(children.submit(child, *given))
        if jobs["mct"]:
            given = ("mct_pruning_child.py", _MCT.value, folder, jobs["mct"], f"--samples={_MCT_SAMPLES.value}")
            waiting.append(children.submit(child, *given))
        for one in waiting:
            one.result()
    for place, (tool, name) in itertools.product(
        (folder / f"seed{seed}" for seed in seeds), (("torch-pruning", "torch"), ("mct", "mct"))
    ):
        if jobs[tool]:
            there = np.load(place / f"{name}.dense.npy")
            np.testing.assert_allclose(there, np.load(place / "dense.npy"), rtol=1e-5, atol=1e-5)


if __name__ == "__main__":
    app.run(main)
