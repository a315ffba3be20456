"""Makes a network adaptive: widths, sizes, elastic depth, early exits or a cascade, as an artifact with a policy.

  tta-lite adapt --kind=slimmable --widths=0.75,0.5,0.25 --model=net.keras --task=digits --pixels=-1..1 --epochs=40 \
    --round_to=4 --out=runs/slim
  tta-lite adapt --kind=resolution --sizes=160,128,96 --network=mobilenet_v2 --weights=imagenet --input_size=192 \
    --task=pose:lspet:/data/lspet --epochs=20 --out=runs/sizes
  tta-lite adapt --kind=elastic --phases=40,20,20,40 --modes=5 --network=mobilenet_v3_small --weights=imagenet \
    --task=image_folder:/data/flowers --out=runs/elastic
  tta-lite adapt --kind=early_exits --exits=relu0,relu1 --model=net.keras --task=digits --pixels=-1..1 --out=runs/exits
  tta-lite adapt --kind=cascade --light=light.keras --model=heavy.keras --task=digits --pixels=-1..1 --out=runs/cascade

All but a cascade train: widths, sizes, elastic networks or exits together, from the weights that the network has. What
shares batch norms gets their statistics afterwards, from training pictures. An elastic network learns in four phases:
as a whole, then with smaller kernels, with fewer blocks and with fewer channels too (docs/once_for_all.md). A cascade
is of two networks that are trained already. Every mode is scored and timed as the file that it becomes, through LiteRT
on this machine. Thresholds are tuned on examples that no network has learnt from (--tune_share).

Writes table.md, table.csv, networks/ (Keras) and artifact/ (see docs/adaptive.md), which `tta-lite verify` checks and
`tta-lite adaptive-simulate` takes. The same command goes on where a killed one stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags, logging

from recipes import _app, _model, _network, _run, _task
from tta_lite.types import PRESETS, ExportSpec, InputError

if TYPE_CHECKING:
    from tta_lite.adaptive.policy import Policy
    from tta_lite.compat import keras
    from tta_lite.training.progressive_shrinking import ProgressiveShrinking
    from tta_lite.types import Task

KINDS = ("slimmable", "resolution", "elastic", "early_exits", "cascade")

_KIND = flags.DEFINE_enum("kind", None, KINDS, "What a mode is.", required=True)
_WIDTHS = flags.DEFINE_list("widths", [], "slimmable: shares of the channels, beside all of them.")
_HOW = flags.DEFINE_enum("how", "switchable", ("switchable", "universal"), "slimmable: docs/adaptive.md.")
_ROUND_TO = flags.DEFINE_integer("round_to", 8, "slimmable, elastic: channels are a multiple of this, and no fewer.", 1)
_SIZES = flags.DEFINE_list("sizes", [], "resolution: sides of the pictures, beside the network's own.")
_DISTIL = flags.DEFINE_bool(
    "distil", None, "slimmable, resolution, elastic: smaller modes learn the largest's answers."
)
_PHASES = flags.DEFINE_list("phases", [], "elastic: epochs as a whole, then with smaller kernels, depths, widths too.")
_KERNELS = flags.DEFINE_list("kernels", ["7", "5", "3"], "elastic: sides of depthwise kernels, beside their own.")
_SHARES = flags.DEFINE_list("shares", ["0.75", "0.5"], "elastic: of the channels, beside all of them.")
_LEAST_DEPTH = flags.DEFINE_integer("least_depth", 0, "elastic: residual blocks of a stage that stay.", 0)
_MODES = flags.DEFINE_integer("modes", 5, "elastic: that are written, from the largest to the smallest.", 2)
_EXITS = flags.DEFINE_list("exits", [], "early_exits: layers that get a head, in the order in which they run.")
_HEAD = flags.DEFINE_enum("head", "conv", ("conv", "pooled"), "early_exits: of which form.")
_EXIT_WEIGHTS = flags.DEFINE_list("exit_weights", [], "early_exits: of their losses, the network's own last; 1 each.")
_LIGHT = flags.DEFINE_string("light", None, "cascade: the light network, a .keras or .h5 file; --model is the heavy.")
_SIGNAL = flags.DEFINE_enum("signal", "max_softmax", ("max_softmax", "entropy"), "How sure an answer is.")
_TUNE_SHARE = flags.DEFINE_float(
    "tune_share", 0.25, "For thresholds: of the training examples, held out; for a cascade, or a task of your own, of "
    "the test examples, whose others score.", 0, 1,
)  # fmt: skip
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Of training.", 1)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam; it falls to a tenth at 9/14 and 12/14.")
_PRESET = flags.DEFINE_enum("preset", "fp32", PRESETS, "Of the files; int8: one a mode or stage.")
_CALIBRATION = flags.DEFINE_integer("calibration_images", 100, "Of an integer preset.", 1)
_RUNS = flags.DEFINE_integer("runs", 200, "Timed ones of each mode.", 1)
_NUM_THREADS = flags.DEFINE_integer("num_threads", 1, "Of the interpreter.", 1)
_ALONE = flags.DEFINE_list("alone", [], "TFLite files of networks trained alone: scored, timed in turn with the modes.")
_LANGUAGE = flags.DEFINE_enum("language", "en", ("en", "ko"), "Of table.md.")

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
for _module in (_network, _run, _task):
    _FLAGS += _module.FLAGS
    flags.adopt_module_key_flags(_module)

_OF_KINDS = (
    (("slimmable",), (_WIDTHS, _HOW)),
    (("slimmable", "elastic"), (_ROUND_TO,)),
    (("resolution",), (_SIZES,)),
    (("elastic",), (_PHASES, _KERNELS, _SHARES, _LEAST_DEPTH, _MODES)),
    (("slimmable", "resolution", "elastic"), (_DISTIL,)),
    (("early_exits",), (_EXITS, _HEAD, _EXIT_WEIGHTS)),
    (("cascade",), (_LIGHT,)),
    (("early_exits", "cascade"), (_SIGNAL, _TUNE_SHARE)),
    (("slimmable", "resolution", "early_exits"), (_EPOCHS,)),
    (KINDS[:4], (_LEARNING_RATE,)),
)
# What a kind cannot do without.
_NEEDED = {
    "slimmable": _WIDTHS, "resolution": _SIZES, "elastic": _PHASES, "early_exits": _EXITS, "cascade": _LIGHT,
}  # fmt: skip
# Batches that give batch norms their statistics.
_BATCHES = 50
TABLE = "table.md"


def main(argv: Sequence[str]) -> None:
    """Reads the flags, trains, writes the folder, prints the table."""
    del argv
    _check()
    from tta_lite.adaptive.beside import alone_policy, check_pictures, timed_in_turn
    from tta_lite.export.manifest import file_sums
    from tta_lite.report.adaptive import modes_csv, modes_markdown
    from tta_lite.report.adaptive_curve import modes_plot
    from tta_lite.report.language import LANGUAGES

    logging.set_verbosity(logging.WARNING)
    model, task, adapt = {"early_exits": _exits, "cascade": _cascade}.get(_KIND.value, _together)()
    others = _alone()
    done = (Path(_run.OUT.value) / TABLE).is_file()
    # Refused before there is a folder, and before the training.
    alone = alone_policy(others, task) if others and not done else None
    if alone is not None:
        check_pictures(alone, model.input_shape[1:])
    folder = _run.open_folder("adapt", _FLAGS, seed=_task.SEED.value, display_flags=("language",))
    artifact = folder.path / "artifact"
    if not done:
        policy, whole = adapt(folder.path, artifact)
        sizes = {name: size for name, (_, size) in file_sums(artifact).items()}
        if alone is not None:
            policy, alone = timed_in_turn(artifact, alone, others, runs=_RUNS.value, num_threads=_NUM_THREADS.value)
            sizes |= {stage.file: len(tflite) for stage, tflite in zip(alone.stages, others.values(), strict=True)}
        say = LANGUAGES[_LANGUAGE.value]
        folder.write_text("table.csv", modes_csv(policy, sizes, alone))
        folder.write_bytes("curve.png", modes_plot(policy, alone, say))
        # The last one: where it is, all is.
        folder.write_text(TABLE, modes_markdown(policy, sizes, whole, say, alone))
    print((folder.path / TABLE).read_text(encoding="utf-8"))
    print(f"{artifact}/ has policy.json and the files")


# The network, the task, and (run folder, artifact folder) -> the policy, and bytes of one file and of several.
Prepared = tuple[Any, Any, Callable[[Path, Path], "tuple[Policy, tuple[int, int] | None]"]]


def _alone() -> dict[str, bytes]:
    """-> the files of --alone, by their names; of the same name, by their paths."""
    paths = [Path(word) for word in _ALONE.value]
    for path in paths:
        if not path.is_file():
            raise InputError(f"--alone must be TFLite files. Received: {path}, which is none")
    stems = [path.stem for path in paths]
    names = stems if len(set(stems)) == len(stems) else [str(path.with_suffix("")).replace("/", "-") for path in paths]
    return dict(zip(names, (path.read_bytes() for path in paths), strict=True))


def _together() -> Prepared:
    """-> trains widths, sizes or an elastic network."""
    from tta_lite.adaptive.many_in_one import write_many_in_one
    from tta_lite.tasks.stream import read_batches
    from tta_lite.training.progressive_shrinking import ProgressiveShrinking, phases
    from tta_lite.transforms.rewrite import rewrite

    _network.check()
    plan = None
    if _KIND.value == "elastic":
        epochs = _numbers(_PHASES, int)
        if len(epochs) != 4 or min(epochs) < 0 or not any(epochs):
            raise InputError(f"--phases must be 4 numbers of epochs. Received: {','.join(_PHASES.value)}")
        plan = ProgressiveShrinking(phases(*epochs))
    model, task = _network.build_with_task()
    # A wrong width or size should not leave a folder behind.
    _several(rewrite(model, {}))

    def run(place: Path, artifact: Path) -> tuple[Policy, tuple[int, int] | None]:
        many: Any = _trained(model, task, place, _several, plan)
        data = task.train_data(seed=_task.SEED.value).take(min(_BATCHES, task.steps_per_epoch))
        many.recalibrate([batch[0] for batch in read_batches(data)])
        for key in many.keys:
            name = f"{key:g}" if isinstance(key, (int, float)) else str(key)
            _save(many.network(key), place / "networks" / f"{name}.keras")
        found = write_many_in_one(
            artifact, many, task, _spec(), kind=_KIND.value, name=model.name, runs=_RUNS.value,
            num_threads=_NUM_THREADS.value,
        )  # fmt: skip
        one = found.one_file_bytes
        return found.policy, None if one is None else (one, found.separate_bytes)

    return model, task, run


def _several(model: keras.Model) -> Any:
    """-> the network and others within it."""
    from tta_lite.training.once_for_all import OnceForAll
    from tta_lite.training.resolutions import MultiResolution
    from tta_lite.training.slimmable import Slimmable
    from tta_lite.transforms.elastic.find import elastic_space

    options: dict[str, Any] = {} if _DISTIL.value is None else {"distil": _DISTIL.value}
    options["seed"] = _task.SEED.value
    if _KIND.value == "resolution":
        return MultiResolution(model, _numbers(_SIZES, int), **options)
    channels = {"round_to": _ROUND_TO.value, "floor": _ROUND_TO.value}
    if _KIND.value == "slimmable":
        return Slimmable(model, _numbers(_WIDTHS, float), how=_HOW.value, **channels, **options)
    space = elastic_space(
        model, kernels=_numbers(_KERNELS, int), shares=(1.0, *_numbers(_SHARES, float)), least_depth=_LEAST_DEPTH.value,
        **channels,
    )  # fmt: skip
    keys = [space.between(place / (_MODES.value - 1)) for place in range(_MODES.value)]
    return OnceForAll(model, space, keys=keys, **options)


def _exits() -> Prepared:
    """-> trains a network with early exits."""
    from tta_lite.adaptive.staged import early_exit_file, early_exit_int8
    from tta_lite.export.signatures import PRESETS as JOINED
    from tta_lite.models.outputs import ends_in_softmax
    from tta_lite.tasks.early_exits import ExitsTask
    from tta_lite.tasks.held_out import can_be_parted, held_out
    from tta_lite.transforms.early_exits import add_exits

    if _PRESET.value not in (*JOINED, "int8"):
        raise InputError(
            f"--preset must be one of {', '.join(JOINED)} (one file) and int8 (a file a stage) for early exits. "
            f"Received: {_PRESET.value}"
        )
    _network.check()
    model, task = _network.build_with_task()
    net = add_exits(model, _EXITS.value, head=_HEAD.value)
    weights = _numbers(_EXIT_WEIGHTS, float) or (1.0,) * len(net.outputs)
    if len(weights) != len(net.outputs):
        raise InputError(f"--exit_weights must be {len(net.outputs)}. Received: {','.join(_EXIT_WEIGHTS.value)}")
    tuning: Any = None
    if can_be_parted(task):
        known: Any = task
        tuning = held_out(task, round(_TUNE_SHARE.value * len(known.train)))
    joint = ExitsTask(tuning or task, weights)

    def run(place: Path, artifact: Path) -> tuple[Policy, None]:
        trained = _trained(net, joint, place)
        _save(trained, place / "networks" / "exits.keras")
        if _PRESET.value == "int8":
            stages, files = early_exit_int8(trained, task.calibration(_CALIBRATION.value))
        else:
            stages, content = early_exit_file(trained, _PRESET.value)
            files = {stages[0].file: content}
        logits = not ends_in_softmax(model)
        return _staged(artifact, "early_exit", stages, files, task, model.name, tuning=tuning, logits=logits), None

    return model, task, run


def _cascade() -> Prepared:
    """-> a cascade of two networks."""
    from tta_lite.adaptive.staged import cascade_stages
    from tta_lite.export.tflite import export_tflite
    from tta_lite.models.outputs import ends_in_softmax

    if not _task.TASK.value or not _network.MODEL.value or _network.NETWORK.value:
        raise InputError(
            "A cascade needs --task, --model (the heavy network) and --light, trained both. Received: "
            f"--task={_task.TASK.value} --model={_network.MODEL.value} --network={_network.NETWORK.value}"
        )
    heavy, light = _model.read(_network.MODEL.value), _model.read(_LIGHT.value)
    if heavy.input_shape != light.input_shape or heavy.output_shape != light.output_shape:
        raise InputError(
            f"--light must take and give what --model does, {heavy.input_shape} -> {heavy.output_shape}. "
            f"Received: {light.input_shape} -> {light.output_shape}"
        )
    if ends_in_softmax(heavy) != ends_in_softmax(light):
        raise InputError("--light and --model must both give probabilities, or both logits. Received: one of each")
    task = _task.find(heavy)

    def run(place: Path, artifact: Path) -> tuple[Policy, None]:
        spec = _spec()
        images = task.calibration(spec.calibration_images) if spec.needs_images else ()
        parts = {name: export_tflite(net, spec, images) for name, net in (("light", light), ("heavy", heavy))}
        files = {f"{name}.tflite": content for name, content in parts.items()}
        stages = cascade_stages(parts)
        logits = not ends_in_softmax(heavy)
        return _staged(artifact, "cascade", stages, files, task, heavy.name, tuning=None, logits=logits), None

    return heavy, task, run


def _staged(
    artifact: Path, kind: str, stages: Any, files: Any, task: Task, name: str, *, tuning: Task | None, logits: bool
) -> Policy:
    from tta_lite.adaptive.staged_folder import write_staged

    return write_staged(
        artifact, kind, stages, files, task, name=name, signal=_SIGNAL.value, logits=logits, tuning=tuning,
        tune_share=_TUNE_SHARE.value, seed=_task.SEED.value, runs=_RUNS.value, num_threads=_NUM_THREADS.value,
    )  # fmt: skip


def _trained(
    model: keras.Model,
    task: Task,
    place: Path,
    together: Callable[[keras.Model], Any] | None = None,
    plan: ProgressiveShrinking | None = None,
) -> Any:
    from tta_lite.training.fit import FitSettings, fit
    from tta_lite.types import Candidate

    epochs = _EPOCHS.value if plan is None else plan.epochs
    settings = FitSettings(epochs, _LEARNING_RATE.value, seed=_task.SEED.value, together=together)
    watchers = [] if plan is None else [plan]
    return fit(Candidate(model), task, settings, place / "training", label=_KIND.value, callbacks=watchers).model


def _save(model: keras.Model, path: Path) -> None:
    from tta_lite.files import atomic_path

    with atomic_path(path) as temporary:
        model.save(temporary)


def _spec() -> ExportSpec:
    return ExportSpec(_PRESET.value, _CALIBRATION.value)


def _check() -> None:
    """Refuses flags of other kinds, and a kind without what it needs."""
    for kinds, holders in _OF_KINDS:
        if _KIND.value not in kinds:
            _task.refuse(f"with --kind={' or '.join(kinds)}", *holders)
    needed = _NEEDED[_KIND.value]
    if not needed.value:
        raise InputError(f"--{needed.name} must be given with --kind={_KIND.value}. Received: nothing")


def _numbers(holder: flags.FlagHolder[Any], kind: type) -> tuple[Any, ...]:
    try:
        return tuple(kind(one) for one in holder.value)
    except ValueError as error:
        raise InputError(f"--{holder.name} must be numbers. Received: {','.join(holder.value)}") from error


if __name__ == "__main__":
    _app.run(main)
