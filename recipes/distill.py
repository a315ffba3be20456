"""Trains a network that also learns from a teacher, and without it by the same rules: what did the teacher bring?

  tta-lite distill --model=light.keras --teacher=heavy.keras --task=image_folder:/data/flowers --pixels=-1..1 \
    --epochs=10 --out=runs/taught
  tta-lite distill --network=conv_2 --teacher=heavy.tflite --task=digits:200 --epochs=40 --out=runs/digits
  tta-lite distill --network=mobilenet_v2 --weights=imagenet --bottleneck=64 --input_size=128 --teacher=pose.keras \
    --task=pose:lspet:/data/lspet --flip_test --batch_size=16 --losses=answers=0.5,at=1000 --out=runs/pose

The teacher is a .keras, .h5, .tflite or .onnx file or the folder of a SavedModel, with the inputs and outputs of the
network that learns. --losses names what is learnt from it, each with a weight after "=" if not the usual one: `answers`
(classes softened by --temperature, or heat maps; its share of the loss), `at` (attention), `sp` (similarities within a
batch), `hint` (FitNets; with --hint_epochs in two stages). The last three look at layers, of --pairs or of one size,
and need a Keras teacher: see docs/distillation.md. The network is trained twice, with the teacher and without
(--nocontrol: once), for --epochs each; the better one is kept, and the difference told with its 95 % interval. While
it learns, a line every few seconds says the epoch, the losses and the time left. Writes the network
(steps/01-distil/model.keras), without any trace of the teacher, its file (model.tflite) and the table. The same
command goes on where a killed one stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags, logging

from recipes import _app, _network, _run, _target, _task, _timing
from tta_lite.types import InputError

if TYPE_CHECKING:
    from tta_lite.guideline.bench import Teaching

_TEACHER = flags.DEFINE_string(
    "teacher", None, "A trained network: .keras, .h5, .tflite, .onnx, SavedModel.", required=True
)
_LOSSES = flags.DEFINE_list("losses", ["answers"], "What is learnt from it, of answers, at, sp, hint; as at=1000.")
_PAIRS = flags.DEFINE_list("pairs", [], "at, sp and hint: layers, as mine:theirs; those of one size if not given.")
_HINT_EPOCHS = flags.DEFINE_integer(
    "hint_epochs",
    0,
    "hint: so many of --epochs come first, for the hint alone (FitNets' two stages); 0: throughout.",
    0,
)
_TEMPERATURE = flags.DEFINE_float("temperature", 4.0, "Of the teacher's classes; heat maps have none.", 0)
_CONTROL = flags.DEFINE_bool("control", True, "Train without the teacher too, and keep the better one.")
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Of training.", 1)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam; it falls to a tenth at 9/14 and 12/14.")

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
for _module in (_network, _target, _run, _timing, _task):
    _FLAGS += _module.FLAGS
    flags.adopt_module_key_flags(_module)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, trains, prints the table."""
    _network.check()
    teaching = _teaching()
    from tta_lite.guideline.bench import Trial
    from tta_lite.guideline.taught import try_teacher
    from tta_lite.types import Candidate

    logging.set_verbosity(logging.WARNING)
    runtime = _target.runtime()
    model, task = _network.build_with_task()
    try_teacher(model, teaching, task)
    folder = _run.open_folder("distill", _FLAGS, seed=_task.SEED.value)
    candidate = Candidate(model, trail=("distil",))
    stages = ", in two stages" if _HINT_EPOCHS.value else ""
    what = f"{model.name}, taught by {', '.join(_LOSSES.value)}{stages}"
    trial = Trial("distil", what, lambda: candidate, _EPOCHS.value, teaching=teaching)
    entries = _task.take(
        "distil", model, task, trial, folder, _timing.rules(), learning_rate=_LEARNING_RATE.value, runtime=runtime,
        clause="",
    )  # fmt: skip
    print(entries[-1].details["note"])


def _teaching() -> Teaching:
    """-> what the flags say.

    Raises:
      InputError: a loss that is not known, a weight that is none, or pairs for losses that look at no layer.
    """
    from tta_lite.guideline.bench import START, Teaching, losses_of

    answers, terms = losses_of(_LOSSES.value)
    if not terms:
        _task.refuse("with --losses of at, sp or hint", _PAIRS)
    if not answers:
        _task.refuse("with answers among --losses", _TEMPERATURE)
    if "hint" not in dict(terms):
        _task.refuse("with hint among --losses", _HINT_EPOCHS)
    if _HINT_EPOCHS.value >= _EPOCHS.value:
        raise InputError(
            f"--hint_epochs are some of --epochs, {_EPOCHS.value}, and leave one or more for the whole network. "
            f"Received: {_HINT_EPOCHS.value}"
        )
    pairs = [tuple(text.split(":")) for text in _PAIRS.value]
    if wrong := [text for text, pair in zip(_PAIRS.value, pairs, strict=True) if len(pair) != 2 or not all(pair)]:
        raise InputError(f"--pairs must be layers as mine:theirs. Received: {wrong[0]!r}")
    return Teaching(
        START,
        answers,
        _TEMPERATURE.value,
        _CONTROL.value,
        _TEACHER.value,
        terms,
        tuple(pairs),
        _HINT_EPOCHS.value,
    )


if __name__ == "__main__":
    _app.run(main)
