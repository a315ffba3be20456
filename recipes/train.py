"""Trains a network, one of the zoo or a file, on any task; scores and times it before and after.

  tta-lite train --network=lenet_300_100 --task=digits --epochs=20 --out=runs/digits
  tta-lite train --network=mobilenet_v2 --weights=imagenet --task=image_folder:/data/flowers --epochs=10 --out=runs/net
  tta-lite train --network=mobilenet_v2 --weights=imagenet --bottleneck=64 --input_size=128 --out=runs/pose \
    --task=pose:lspet:/data/lspet --flip_test --batch_size=16 --epochs=10
  tta-lite train --model=net.keras --task=my_package.my_task:make_task --epochs=5 --out=runs/more

A network of the zoo gets as many outputs as the data has classes or joints, and its pixels as it expects them. While it
learns, a line every few seconds says the epoch, the step, the loss and the time left; history.csv and TensorBoard logs
lie in the run folder. Writes the network (steps/01-train/model.keras), its file (model.tflite) and the table. The same
command goes on where a killed one stopped, to the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags, logging

from recipes import _app, _network, _run, _target, _task, _timing

POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")

_EPOCHS = flags.DEFINE_integer("epochs", 10, "Of training.", 1)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam; it falls to a tenth at 9/14 and 12/14.")
_PRECISION = flags.DEFINE_enum("precision", "float32", POLICIES, "In which it trains; the file is float32.")

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
for _module in (_network, _target, _run, _timing, _task):
    _FLAGS += _module.FLAGS
    flags.adopt_module_key_flags(_module)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, trains, prints the table."""
    _network.check()
    from tta_lite.guideline.bench import Trial
    from tta_lite.types import Candidate

    logging.set_verbosity(logging.WARNING)
    runtime = _target.runtime()
    model, task = _network.build_with_task()
    folder = _run.open_folder("train", _FLAGS, seed=_task.SEED.value)
    what = f"{model.name}, trained for {_EPOCHS.value} epoch{'s' if _EPOCHS.value > 1 else ''}"
    candidate = Candidate(model, trail=("train",))
    trial = Trial("train", what, lambda: candidate, _EPOCHS.value, precision=_PRECISION.value)
    _task.take(
        "train", model, task, trial, folder, _timing.rules(), learning_rate=_LEARNING_RATE.value, runtime=runtime,
        clause="",
    )  # fmt: skip


if __name__ == "__main__":
    _app.run(main)
