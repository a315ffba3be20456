"""What is left of a trained network when channels leave by each criterion, before any fine-tuning?

    python benchmarks/bench_channel_criteria.py --model=runs/lspet/steps/02-g1-g2/model.keras --data_dir=lspet

The trained pose network of the case study (docs/case_study.md has the command) loses half of its backbone's MACs by
each criterion in turn. Of each: the seconds that scoring takes, how far the heat maps of 64 other training crops are
from what they were (squared difference over their variance), with and without a repair, and PCKh@0.5 after the repair.
No weight is trained. About 20 minutes on 2 cores; the discrimination-aware criterion takes a quarter of them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

from tta_lite.compat import keras
from tta_lite.datasets.readers import read_train_and_test
from tta_lite.measure.machine import summary
from tta_lite.models.backbones import get_backbone
from tta_lite.models.files import load_network
from tta_lite.tasks.pose import PoseTask
from tta_lite.transforms.channels.choose import choose_channels
from tta_lite.transforms.channels.criteria import CRITERIA, score_channels
from tta_lite.transforms.channels.groups import channel_groups
from tta_lite.transforms.channels.repair import repair
from tta_lite.transforms.remove_channels import remove_channels

_MODEL = flags.DEFINE_string("model", None, "The trained network, a .keras file.", required=True)
_DATASET = flags.DEFINE_string("dataset", "lspet", "That it was trained on.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Its folder.", required=True)
_BACKBONE = flags.DEFINE_string("backbone", "mobilenet_v2", "Whose normalisation the images get.")
_WITHIN = flags.DEFINE_list("within", ["Conv1*", "expanded_conv*", "block_*", "Conv_1*"], "Layers that lose channels.")
_MACS = flags.DEFINE_float("macs", 0.5, "What is left of their MACs.", 0.01, 0.99)
_CRITERIA = flags.DEFINE_list("criteria", list(CRITERIA), "Which.")
_SCOPES = flags.DEFINE_list("scopes", [], "Instead of each criterion's own: global, threshold, per_layer, sensitivity.")
_IMAGES = flags.DEFINE_integer("images", 128, "Crops for the repair and for the criteria that look at images.", 1)
_BATCHES = flags.DEFINE_integer("batches", 32, "Of 8 crops, for the criteria that look at gradients.", 1)
_INPUT_SIZE = flags.DEFINE_integer("input_size", 128, "Side of the crop.", 32)


def pckh(model: keras.Model, task: PoseTask) -> float:
    """-> PCKh@0.5 of a network."""
    predict = tf.function(lambda images: model(images, training=False), reduce_retracing=True)
    return task.score(lambda images: np.asarray(predict(images))).value


def main(argv: Sequence[str]) -> None:
    """Scores, removes, repairs, compares."""
    del argv
    train, test = read_train_and_test(_DATASET.value, _DATA_DIR.value, on_bad_example="skip")
    task = PoseTask(
        train, test, get_backbone(_BACKBONE.value).normalisation, input_size=_INPUT_SIZE.value, batch_size=8,
        flip_test=True,
    )  # fmt: skip
    net = load_network(_MODEL.value)
    images = np.concatenate(task.calibration(_IMAGES.value, seed=0))
    others = np.concatenate(task.calibration(64, seed=99))
    batches: list[tuple[Any, Any]] = [
        (x.numpy(), y.numpy()) for x, y in itertools.islice(task.train_data(seed=5), _BATCHES.value)
    ]
    wanted = net.predict(others, verbose=0)
    spread = float(((wanted - wanted.mean(axis=0)) ** 2).sum())

    def change(model: keras.Model) -> float:
        return float(((model.predict(others, verbose=0) - wanted) ** 2).sum()) / spread

    print(f"{len(train)} people to train, {len(test)} to test; {summary()}")
    print(f"unmodified: PCKh@0.5 {pckh(net, task):.1f}", flush=True)
    groups = channel_groups(net)
    for name in _CRITERIA.value:
        # It asks for the gradient some hundred times.
        some = batches[:8] if name == "discrimination" else batches
        began = time.monotonic()
        scores = score_channels(net, groups, name, images=images, batches=some, loss=task.loss())
        seconds = time.monotonic() - began
        for scope in _SCOPES.value or [CRITERIA[name].scope]:
            by_curves = scope == "sensitivity"
            choice = choose_channels(
                net, groups, scores, macs=_MACS.value, within=_WITHIN.value, comparable=CRITERIA[name].comparable,
                **({"method": scope, "images": images[:48]} if by_curves else {"scope": scope}),
            )  # fmt: skip
            smaller = remove_channels(net, choice.remove)
            repaired = repair(net, smaller, choice.remove, images)
            print(
                f"{name}, {scope}: scored in {seconds:.0f} s, MACs {choice.macs / choice.macs_before:.3f}, parameters "
                f"{choice.params / choice.params_before:.3f}, change {change(smaller):.2f}, repaired "
                f"{change(repaired):.3f}, PCKh@0.5 {pckh(repaired, task):.1f}",
                flush=True,
            )


if __name__ == "__main__":
    app.run(main)
