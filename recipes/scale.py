"""What smaller pictures and fewer channels buy: a grid of sizes with MACs, latency and, if trained, accuracy.

  tta-lite scale --model=net.keras --resolutions=224,192,160,128 --out=runs/scale
  tta-lite scale --network=mnasnet_b1 --widths=1.0,0.75,0.5 --depths=1.0,0.5 --resolutions=224,160 --out=runs/scale
  tta-lite scale --pose=mobilenet_v2 --widths=1.0,0.5 --resolutions=128,96 --epochs=5 --dataset=lspet \
    --data_dir=/data/lspet --out=runs/scale

The first takes a network of your own (its resolution alone can change), the second a classifier of the zoo; neither is
trained. The third trains PoseResNet with that backbone in each size by the same rules and scores it: minutes a cell on
2 cores for 5,000 people and 5 epochs. A run that was killed goes on with the same command. Writes table.md.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags, logging

from recipes import _app, _model, _pose_data, _run, _timing
from tta_lite.types import InputError

if TYPE_CHECKING:
    from tta_lite.compat import keras
    from tta_lite.guideline.grid import Size
    from tta_lite.report.run_folder import RunFolder
    from tta_lite.tasks.pose import PoseTask
    from tta_lite.types import Accuracy

_MODEL = flags.DEFINE_string("model", None, "A network of your own, a .keras (of Keras 2 or 3) or .h5 file.")
_NETWORK = flags.DEFINE_string("network", None, "Or a classifier of the zoo.")
_POSE = flags.DEFINE_string("pose", None, "Or PoseResNet with that backbone, trained in every size.")
_WIDTHS = flags.DEFINE_list("widths", None, "Multipliers of the channels.")
_DEPTHS = flags.DEFINE_list("depths", None, "Multipliers of the blocks.")
_RESOLUTIONS = flags.DEFINE_list("resolutions", None, "Sides of the pictures in pixels.")
_WEIGHTS = flags.DEFINE_string("weights", None, "--pose: what the backbone starts from: imagenet, a file, or nothing.")
_BOTTLENECK = flags.DEFINE_integer("bottleneck", 64, "--pose: channels of the PConv before each Deconv (G2).", 1)
_EPOCHS = flags.DEFINE_integer("epochs", 1, "--pose: passes over the training set.", 1)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "--pose: of Adam; it falls at 9/14 and 12/14.")
_SEED = flags.DEFINE_integer("seed", 0, "--pose: of weights, order and augmentation.", 0, 2**32 - 1)
_BOARD = _timing.define_board()

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
for _module in (_model, _run, _pose_data, _timing):
    _FLAGS += _module.FLAGS
    flags.adopt_module_key_flags(_module)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, builds the grid, prints the table."""
    from tta_lite.guideline.grid import grid_table, scaling_grid

    logging.set_verbosity(logging.WARNING)
    _timing.refuse_board_without_connection()
    given = [holder.name for holder in (_MODEL, _NETWORK, _POSE) if holder.value]
    if len(given) != 1:
        raise InputError(f"Expected one of --model, --network and --pose. Received: {', '.join(given) or 'none'}")
    widths, depths, resolutions = _numbers(_WIDTHS, float), _numbers(_DEPTHS, float), _numbers(_RESOLUTIONS, int)
    network: Any = _model.read(_MODEL.value) if _MODEL.value else _NETWORK.value or _pose_net

    @functools.cache
    def folder() -> RunFolder:
        # Opened when all sizes are known to be possible: a mistake must not get into a new one.
        return _run.open_folder("scale", _FLAGS, seed=_SEED.value)

    accuracy = _training(folder) if _POSE.value else None
    cells = scaling_grid(
        network, widths=widths, depths=depths, resolutions=resolutions, accuracy=accuracy, rules=_timing.rules()
    )
    text = grid_table(cells)
    folder().write_text("table.md", text)
    print(text)


def _numbers(holder: Any, kind: type) -> list[Any]:
    """-> what a flag lists; ``[None]``, one place as the network is, if it is not given."""
    try:
        return [kind(value) for value in holder.value] if holder.value else [None]
    except ValueError as error:
        raise InputError(f"--{holder.name} must list numbers. Received: {','.join(holder.value)}") from error


@functools.cache
def _task(resolution: int) -> PoseTask:
    from tta_lite.models.backbones import get_backbone

    return _pose_data.tasks(resolution)(get_backbone(_POSE.value).normalisation)


def _pose_net(*, width: float | None = None, depth: float | None = None, resolution: int = 128) -> keras.Model:
    from tta_lite.models.backbones import get_backbone
    from tta_lite.models.pose import pose_resnet

    return pose_resnet(
        get_backbone(_POSE.value, width=width, depth=depth),
        input_size=resolution,
        joints=len(_task(resolution).train.joint_set.names),
        weights=_WEIGHTS.value,
        bottleneck=_BOTTLENECK.value,
    )


def _training(folder: Callable[[], RunFolder]) -> Any:
    """-> a function that trains a network of one size and scores it."""
    from tta_lite.training.fit import FitSettings, fit
    from tta_lite.types import Candidate

    settings = FitSettings(_EPOCHS.value, _LEARNING_RATE.value, seed=_SEED.value)

    def train(model: keras.Model, size: Size) -> tuple[keras.Model, Accuracy]:
        import numpy as np
        import tensorflow as tf

        task = _task(model.input_shape[1])
        place = folder().path / "steps" / str(size).replace(", ", "-").replace(" ", "")
        trained = fit(Candidate(model), task, settings, place, label=str(size)).model
        predict = tf.function(lambda images: trained(images, training=False), reduce_retracing=True)
        return trained, task.score(lambda images: np.asarray(predict(images)))

    return train


if __name__ == "__main__":
    _app.run(main)
