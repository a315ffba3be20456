"""The flags that name a network to be trained: a file, or one of the zoo for the task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from recipes import _model, _task
from tta_lite.types import InputError

if TYPE_CHECKING:
    from tta_lite.compat import keras
    from tta_lite.types import Task

MODEL = flags.DEFINE_string("model", None, "The network, a .keras (of Keras 2 or 3) or .h5 file.")
NETWORK = flags.DEFINE_string(
    "network", None, "Or one of the zoo: a backbone (docs/networks.md), or lenet_300_100, conv_2 and others for digits."
)
INPUT_SIZE = flags.DEFINE_integer("input_size", None, "--network: side of its pictures; what is usual if not given.", 1)
WEIGHTS = flags.DEFINE_string("weights", None, "--network: what its backbone starts from: imagenet, or a file.")
BOTTLENECK = flags.DEFINE_integer("bottleneck", None, "--network of a pose task: channels before each Deconv (G2).", 1)

FLAGS = [MODEL, NETWORK, INPUT_SIZE, WEIGHTS, BOTTLENECK, *_model.FLAGS]
flags.adopt_module_key_flags(_model)
_OF_ZOO = (INPUT_SIZE, WEIGHTS, BOTTLENECK)


def check() -> None:
    """Refuses none or both of the ways to name a network, and flags of the other way.

    Raises:
      InputError: that, or no task.
    """
    if not _task.TASK.value:
        raise InputError("--task must be given: what is to be learnt. Received: nothing")
    if bool(MODEL.value) == bool(NETWORK.value):
        raise InputError(
            "--model (a file) or --network (of the zoo) must be given. Received: " + ("both" if MODEL.value else "none")
        )
    if MODEL.value:
        _task.refuse("with --network", *_OF_ZOO)


def build() -> keras.Model:
    """-> the network; one of the zoo is drawn from --seed.

    Raises:
      InputError: it cannot be read or built.
    """
    from tta_lite.compat import keras

    if MODEL.value:
        return _model.read(MODEL.value)
    from tta_lite.tasks.networks import Wanted, network_for

    keras.utils.set_random_seed(_task.SEED.value)
    return network_for(_task.TASK.value, Wanted(NETWORK.value, INPUT_SIZE.value, WEIGHTS.value, BOTTLENECK.value))


def pixels() -> str | None:
    """-> what a network of the zoo expects of its pixels, if --pixels does not say it; None for a file."""
    if MODEL.value:
        return None
    from tta_lite.tasks.networks import pixels_for

    return pixels_for(NETWORK.value)


def build_with_task() -> tuple[keras.Model, Task]:
    """-> the network, and what it is to learn.

    Raises:
      InputError: see `build`; or the task cannot be found, or has nothing to learn from.
    """
    model = build()
    task = _task.find(model, pixels=pixels())
    if not task.steps_per_epoch:
        raise InputError(f"A training needs training data. Received: --task={_task.TASK.value}, which has none")
    return model, task
