"""G5 on a network of your own: the smallest weights become zero while it is fine-tuned; measured before and after.

  tta-lite prune --model=net.keras --task=image_folder:/data/flowers --pixels=-1..1 --sparsity=0.5 --out=runs/pruned
  tta-lite prune --model=net.keras --task=my_package.my_task:make_task --sparsity=0.8 --finetune_epochs=5 --out=runs/few

A zero makes the compressed file smaller and nothing else: neither the .tflite file itself nor the inference (clause
6.2.3). Writes the network (steps/01-g5/model.keras), its .tflite file and the table. It is step G5 of
`tta-lite guideline`: the same flags and the same seed give the same network.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags, logging

from recipes import _app, _task, _timing
from tta_lite.types import InputError

_MODEL = flags.DEFINE_string("model", None, "The trained network, a .keras or .h5 file of tf_keras.", required=True)
_SPARSITY = flags.DEFINE_float("sparsity", 0.5, "Share of the weights of each kernel that become zero.", 0, 1)
_FINETUNE_EPOCHS = flags.DEFINE_integer("finetune_epochs", 2, "Of the training in which they do.", 1)
_FINETUNE_RATE = flags.DEFINE_float("finetune_rate", 0.3, "Its learning rate, as a share of --learning_rate.", 0)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam; it falls to a tenth at 9/14 and 12/14.")
_OUT = flags.DEFINE_string("out", None, "The run folder.", required=True)
_BOARD = _timing.define_board()

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
_FLAGS += [*_timing.FLAGS, *_task.FLAGS]
flags.adopt_module_key_flags(_timing)
flags.adopt_module_key_flags(_task)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, prunes, prints the table."""
    _timing.refuse_board_without_connection()
    if not _task.TASK.value:
        raise InputError("--task must be given: pruning needs training data (6.2.3). Received: nothing")
    from tta_lite.guideline.bench import Trial
    from tta_lite.guideline.pruning_step import sparsity_trial
    from tta_lite.models.files import load_network
    from tta_lite.report.environment import describe_run
    from tta_lite.report.run_folder import RunFolder
    from tta_lite.types import Candidate

    logging.set_verbosity(logging.WARNING)
    model = load_network(_MODEL.value)
    task = _task.find(model)
    trial: Trial = sparsity_trial(Candidate(model), _SPARSITY.value, _FINETUNE_EPOCHS.value, _FINETUNE_RATE.value)
    values = {holder.name: holder.value for holder in _FLAGS}
    folder = RunFolder.open(_OUT.value, describe_run(values, recipe="prune", seed=_task.SEED.value))
    _task.take("G5", model, task, trial, folder, _timing.rules(), learning_rate=_LEARNING_RATE.value)


if __name__ == "__main__":
    _app.run(main)
