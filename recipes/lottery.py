"""Lottery tickets: iterative magnitude pruning with rewinding, its controls, and the plots, over several seeds.

  tta-lite lottery --task=digits --out=runs/lottery
  tta-lite lottery --task=mnist:/data/mnist --network=lenet_300_100 --steps=10000 --seeds=3 --out=runs/mnist
  tta-lite lottery --task=image_folder:/data/flowers --model=net.keras --pixels=-1..1 --rewind_step=200 --out=runs/own

Each seed draws the network anew and trains it; then rounds of pruning take 20 % of the weights that are left, and the
rest goes on from what it was at --rewind_step (weights), from what it is with the learning rates from there (rate), or
at the last learning rate (fine_tune): the same steps for each. Controls: the ticket's mask on another draw (reinit),
and its weights under a mask of as many at random places (random_mask). Writes tickets.md, tickets.csv, plots/ and the
masks of every round. With --connect_steps two runs part at each of these steps by the order of their examples, and the
loss on the straight line between them is written and plotted (connectivity.md); --supermasks scores networks that were
masked and never trained (supermasks.md). The same command goes on where a killed one stopped.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags, logging

from recipes import _app, _lottery, _model, _run, _task
from tta_lite.datasets.small_pictures import CLASSES, SHAPES
from tta_lite.types import InputError

_MODEL = flags.DEFINE_string("model", None, "A network of tf_keras whose layers are drawn anew; instead of --network.")
_NETWORK = flags.DEFINE_string("network", "lenet_100_50", "Of tta_lite.models.lenet.")
_SEEDS = flags.DEFINE_integer("seeds", 5, "How many, from --seed on.", 1)
_STEPS = flags.DEFINE_integer("steps", 2000, "Of the dense training.", 1)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "It falls to a tenth at 9/14 and 12/14 of the steps.")
_WARMUP_STEPS = flags.DEFINE_integer("warmup_steps", 0, "In which the learning rate rises.", 0)
_OPTIMIZER = flags.DEFINE_enum("optimizer", "adam", ("adam", "sgd", "momentum"), "What learns.")
_SPARSITY = flags.DEFINE_float("sparsity", 0.97, "Share of zeros after the last round.")
_ROUND_SHARE = flags.DEFINE_float("round_share", 0.2, "Of the weights left, what a round takes.")
_REWIND = flags.DEFINE_list("rewind", ["weights", "rate", "fine_tune"], "What the rounds go on from; one or more.")
_REWIND_STEP = flags.DEFINE_integer("rewind_step", 0, "Of the dense training: the step to go back to.", 0)
_SCOPE = flags.DEFINE_enum(
    "scope", "global", ("global", "per_layer"), "One threshold for all kernels, or a share of each."
)
_LAYERS = flags.DEFINE_list("layers", None, "Names or patterns of the layers to prune; all but depthwise ones.")
_CONTROLS = flags.DEFINE_list("controls", ["reinit", "random_mask"], "What the tickets are held against; may be empty.")
_CRITERIA = flags.DEFINE_list("criteria", [], "More criteria than large_final, each with weights rewound.")
_CONNECT_STEPS = flags.DEFINE_list(
    "connect_steps", [], "Steps at which two runs part, for the loss on the line between."
)
_CONNECT_LEFT = flags.DEFINE_float("connect_left", 0.2, "Share of weights left in the ticket that is looked at so too.")
_SUPERMASKS = flags.DEFINE_bool("supermasks", False, "Score masked networks that were never trained, too.")
_JIT = flags.DEFINE_bool("jit", True, "Compile with XLA; a network that it cannot compile needs --nojit.")

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
for _module in (_model, _run, _task):
    _FLAGS += _module.FLAGS
    flags.adopt_module_key_flags(_module)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, searches, writes the table and the plots."""
    del argv
    if not _task.TASK.value:
        raise InputError(f"--task must be given: {', '.join(SHAPES)}, or one of your own. Received: nothing")
    from tta_lite.compat import keras
    from tta_lite.models.lenet import LENETS
    from tta_lite.report import lottery as reports
    from tta_lite.report import lottery_plots
    from tta_lite.training.lottery import RANDOM_MASK, REWINDS, Lottery, LotterySearch
    from tta_lite.training.lottery_criteria import CRITERIA, STARTS
    from tta_lite.training.masked_training import MaskedTraining, Schedule

    logging.set_verbosity(logging.WARNING)
    for flag, known in ((_REWIND, REWINDS), (_CONTROLS, (*STARTS, RANDOM_MASK)), (_CRITERIA, tuple(CRITERIA))):
        if wrong := [name for name in flag.value if name not in known]:
            raise InputError(f"--{flag.name} must be of {', '.join(known)}. Received: {wrong[0]!r}")
    if not _REWIND.value:
        raise InputError(f"--rewind must name one or more of {', '.join(REWINDS)}. Received: nothing")
    if wrong := [one for one in _CONNECT_STEPS.value if not one.isdecimal() or int(one) >= _STEPS.value]:
        raise InputError(
            f"--connect_steps must be steps of the training, 0 to {_STEPS.value - 1}. Received: {wrong[0]!r}"
        )
    if not 0 < _CONNECT_LEFT.value < 1:
        raise InputError(f"--connect_left must be between 0 and 1. Received: {_CONNECT_LEFT.value}")
    if _CONNECT_STEPS.value and "weights" not in _REWIND.value:
        raise InputError(
            f"--connect_steps looks at a ticket of --rewind=weights. Received: --rewind={_REWIND.value[0]}"
        )
    schedule = Schedule(
        _STEPS.value, _LEARNING_RATE.value, warmup_steps=_WARMUP_STEPS.value, optimizer=_OPTIMIZER.value
    )
    lottery = Lottery(schedule, _SPARSITY.value, _ROUND_SHARE.value, _REWIND_STEP.value, _SCOPE.value)
    kind = _task.TASK.value.partition(":")[0]
    if _MODEL.value:
        model = _model.read(_MODEL.value)
    elif kind in SHAPES:
        if _NETWORK.value not in LENETS:
            raise InputError(f"--network must be one of {', '.join(LENETS)}. Received: {_NETWORK.value!r}")
        model = LENETS[_NETWORK.value](SHAPES[kind], CLASSES)
    else:
        raise InputError(f"--model must be given with a task other than {', '.join(SHAPES)}. Received: {kind}")
    task = _task.find(model, pixels=None if _MODEL.value else "-1..1")
    if not task.steps_per_epoch:
        raise InputError("Lottery tickets need training data. Received: a task without")
    training = MaskedTraining(model, task.loss(), schedule.optimizer, layers=_LAYERS.value, jit=_JIT.value)
    predict = training.predictor()
    correct = getattr(task, "correct", None)

    def score() -> float:
        # The interval of a single test set is not needed a thousand times.
        return 100.0 * float(correct(predict).mean()) if correct is not None else task.score(predict).value

    def draw(seed: int) -> list:
        keras.utils.set_random_seed(seed)
        return keras.models.clone_model(model).get_weights()

    folder = _run.open_folder(
        "lottery",
        _FLAGS,
        seed=_task.SEED.value,
        # More of these may be asked for later: each has a folder of its own.
        display_flags=("seeds", "rewind", "controls", "criteria", "connect_steps", "connect_left", "supermasks"),
    )
    searches: list[LotterySearch] = []
    seeds = range(_task.SEED.value, _task.SEED.value + _SEEDS.value)
    dense: list[float] = []
    found: dict[str, list[list[float]]] = {}
    left: list[float] = []
    for seed in seeds:
        place = folder.path / f"seed-{seed:03d}"
        search = LotterySearch(
            training, lottery, draw, task.train_data, score, place, seed, lambda line: print(line, flush=True)
        )
        searches.append(search)
        dense.append(search.dense().score)
        rounds = {rewind: list(search.tickets(rewind)) for rewind in _REWIND.value}
        rounds |= {how: list(search.controls(how, _REWIND.value[0])) for how in _CONTROLS.value}
        rounds |= {one: list(search.tickets("weights", one)) for one in _CRITERIA.value}
        for name, of_it in rounds.items():
            found.setdefault(name, []).append([one.score for one in of_it])
            left = [one.left for one in of_it]
    import numpy as np

    curves = [
        reports.Curve(name, np.asarray(left), np.asarray(scores), np.asarray(dense)) for name, scores in found.items()
    ]
    metric = getattr(task, "metric", "top-1 accuracy")
    folder.write_text("tickets.csv", reports.table_csv(curves, list(seeds)))
    text = reports.table_markdown(curves, metric)
    folder.write_text("tickets.md", text)
    folder.write_bytes("plots/tickets.png", lottery_plots.tickets_plot(curves, metric))
    print(text)
    for line in reports.sentences({curve.name: curve for curve in curves}):
        print(line)
    if _CONNECT_STEPS.value:
        steps = sorted({int(one) for one in _CONNECT_STEPS.value})
        print(_lottery.connectivity(searches, task, steps, _CONNECT_LEFT.value, folder))
    if _SUPERMASKS.value:
        print(_lottery.supermasks(searches, task, folder, jit=_JIT.value))


if __name__ == "__main__":
    _app.run(main)
