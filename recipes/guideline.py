"""The guideline on a network of your own: a board and a budget; it decides, explains, stops and resumes.

  tta-lite guideline --model=my_net.keras --task=image_folder:/data/flowers --pixels=-1..1 --board=rk3399 \
    --max_latency_ms=20 --max_size_kib=4096 --max_accuracy_drop=3 --out=runs/flowers
  tta-lite guideline --model=pose.keras --task=pose:lspet:/data/lspet --pixels=imagenet --max_latency_ms=30 \
    --out=runs/pose
  tta-lite guideline --model=my_net.keras --task=my_package.my_task:make_task --max_size_kib=512 --out=runs/mine
  tta-lite guideline --config=drone.toml

Takes G1, G2, channels (if latency binds), G5 (if memory binds), G3 and G4 (if G3 lost too much) in the guideline's
order, tries some settings of each, trains the promising ones, measures after each step, and stops as soon as the budget
is met. --dry_run prints what
it would do and how long that takes. Every flag can stand in the TOML file of --config instead, under its own name. The
same command goes on where a killed run stopped. Latencies are those of this machine and not the board's, unless
--connect=ssh://user@host or adb:SERIAL names the board itself; --connect=emulated adds what each row gives an emulated
core of it to do (docs/boards.md). With --latency_model (tta-lite predict) they are predicted, and marked as such.

Writes the run folder --out: table.md, table.csv, report.html, plots/, steps/ and artifact/.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags, logging

from recipes import _app, _distil, _model, _task, _timing
from tta_lite.report.language import LANGUAGES
from tta_lite.types import Budget, InputError

if TYPE_CHECKING:
    from tta_lite.compat import keras
    from tta_lite.guideline.preflight import Preflight
    from tta_lite.guideline.program import PlanLine, Request, Result
    from tta_lite.report.run_folder import RunFolder
    from tta_lite.types import Task

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# What may differ between a run and its resumption.
DISPLAY_FLAGS = ("out", "dry_run", "config", "model", "language", "live")

_CONFIG = flags.DEFINE_string("config", None, "A TOML file with any of these flags; those that are typed win.")
_MODEL = flags.DEFINE_string("model", None, "The trained network, a .keras (of Keras 2 or 3) or .h5 file.")
_BOARD = flags.DEFINE_string("board", "rk3399", "The target: a name, or the path of a .toml profile.")
_RUNTIME = flags.DEFINE_string("runtime", None, "Of the board; its usual one if not given.")
_INPUT_SIZE = flags.DEFINE_integer("input_size", None, "Side of the pictures, if the network leaves it open.", 1)
_MAX_LATENCY = flags.DEFINE_float("max_latency_ms", None, "p50 of one inference, here or at --connect.")
_MAX_SIZE = flags.DEFINE_float("max_size_kib", None, "Of the .tflite file.")
_MAX_ZIP = flags.DEFINE_float("max_zip_kib", None, "Of the same file, compressed.")
_MAX_MEMORY = flags.DEFINE_float("max_peak_memory_mib", None, "By which a process grows that runs it.")
_MAX_DROP = flags.DEFINE_float("max_accuracy_drop", 3.0, "Points below the unmodified network.")
_BACKBONES = flags.DEFINE_list("backbones", None, "Light networks to try (G1); all if not given.")
_WEIGHTS = flags.DEFINE_list("light_weights", [], "What they start from, as mobilenet_v2=imagenet or =<file>.")
_MACS = flags.DEFINE_list("macs", ["0.7", "0.5", "0.35"], "Shares of the MACs to be left (G2).")
_CHANNELS = flags.DEFINE_list("channels", ["0.7", "0.5"], "Shares of the MACs to be left when channels are removed.")
_CRITERION = flags.DEFINE_string("criterion", "taylor", "By which channels are chosen, see tta-lite remove-channels.")
_SPARSITIES = flags.DEFINE_list("sparsities", ["0.5", "0.8"], "Shares of zero weights (G5).")
_PROMISING = flags.DEFINE_integer("promising", 2, "How many settings of a step are trained at most.", 1)
_LEAVE_OUT = flags.DEFINE_list("leave_out", [], "Steps that are not taken: G1, G2, subpixel, channels, G5, G3, G4.")
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Of training after G1, whose backbone is new.", 1)
_FINETUNE_EPOCHS = flags.DEFINE_integer("finetune_epochs", 2, "Of training after G2, channels and G5.", 1)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam; it falls to a tenth at 9/14 and 12/14.")
_FINETUNE_RATE = flags.DEFINE_float(
    "finetune_rate", 0.3, "Learning rate after G2, channels and G5, as a share of that one."
)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print what would be done and how long it takes, and stop.")
_LANGUAGE = flags.DEFINE_enum("language", "en", tuple(LANGUAGES), "Of report.html.")
_LIVE = flags.DEFINE_bool("live", True, "On a terminal, a panel with the step, the time left and the latest row.")
_OUT = flags.DEFINE_string("out", None, "The run folder.")

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
for _module in (_model, _distil, _timing, _task):
    _FLAGS += _module.FLAGS
    flags.adopt_module_key_flags(_module)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, goes through the guideline, prints the table and names the report."""
    if _CONFIG.value:
        _read_config(Path(_CONFIG.value))
    _distil.check(True)
    for holder in (_MODEL, _task.TASK, *([] if _DRY_RUN.value else [_OUT])):
        if not holder.value:
            raise InputError(f"--{holder.name} must be given, on the command line or in --config. Received: nothing")
    # A mistake in the budget should not wait for TensorFlow.
    budget = Budget(
        _MAX_LATENCY.value, _MAX_SIZE.value, _MAX_ZIP.value, _MAX_MEMORY.value, _MAX_DROP.value
    )  # fmt: skip
    logging.set_verbosity(logging.WARNING)
    from tta_lite.boards.profile import get_board

    board = get_board(_BOARD.value)
    board.runtime(_RUNTIME.value)

    from tta_lite.files import digest
    from tta_lite.guideline import program
    from tta_lite.guideline.preflight import fixed_size, preflight
    from tta_lite.guideline.settings import Settings
    from tta_lite.models.backbones import LIGHT_BACKBONES
    from tta_lite.report import guideline as report
    from tta_lite.report import live, table
    from tta_lite.report.environment import describe_run
    from tta_lite.report.run_folder import RunFolder
    from tta_lite.training.fit import FitSettings

    model = fixed_size(_model.read(_MODEL.value), _INPUT_SIZE.value)
    task = _task.find(model)
    _distil.try_teacher(model, task)
    request = program.Request(
        budget,
        board,
        _RUNTIME.value,
        Settings(
            backbones=tuple(_BACKBONES.value or LIGHT_BACKBONES),
            weights=_pairs(_WEIGHTS.value),
            macs=_shares(_MACS),
            channels=_shares(_CHANNELS),
            criterion=_CRITERION.value,
            teaching=_distil.teaching(),
            sparsities=_shares(_SPARSITIES),
            epochs=_EPOCHS.value,
            finetune_epochs=_FINETUNE_EPOCHS.value,
            finetune_rate=_FINETUNE_RATE.value,
            left_out=tuple(_LEAVE_OUT.value),
        ),
        FitSettings(_EPOCHS.value, _LEARNING_RATE.value, seed=_task.SEED.value),
        _timing.rules(counted=True),
        _PROMISING.value,
    )
    known = preflight(model, board)
    print(f"what {board.title} takes of {Path(_MODEL.value).name}:\n{known.table()}")
    for step, why in known.outlook:
        print(f"{step}: {why}")
    if _DRY_RUN.value:
        _print_plan(program.plan(model, task, request, known))
        if _timing.LATENCY_MODEL.value:
            _print_forecast(model, task, request)
        return
    values = {holder.name: holder.value for holder in _FLAGS}
    # The path may change, the network may not.
    values["model_sha256"] = digest(_MODEL.value)
    if _timing.LATENCY_MODEL.value:
        values["latency_model_sha256"] = digest(_timing.LATENCY_MODEL.value)
    recipe = describe_run(values, recipe="guideline", seed=_task.SEED.value)
    folder = RunFolder.open(_OUT.value, recipe, display_flags=DISPLAY_FLAGS, defaults=_app.defaults(_FLAGS))
    print(f"run folder: {_OUT.value}", flush=True)
    for notice in folder.notices:
        print(notice, flush=True)
    if _LIVE.value and live.is_shown():
        result = _run_live(model, task, request, folder, known)
    else:
        result = program.run(model, task, request, folder)
    _timing.count_rows(folder.path, report.row_files(folder, result.outcome))
    page = report.write_report(
        folder,
        result,
        request,
        known,
        task,
        command=shlex.join(["tta-lite", "guideline", *_given()]),
        say=LANGUAGES[_LANGUAGE.value],
    )
    table.print_table(result.outcome.entries)
    print(report.verdict_text(result))
    print(f"report: {page}")


def _run_live(model: keras.Model, task: Task, request: Request, folder: RunFolder, known: Preflight) -> Result:
    """Runs under a panel; what is left of the plan is its time left."""
    from tta_lite.guideline import program
    from tta_lite.guideline.bench import START
    from tta_lite.guideline.progress import RowFinished
    from tta_lite.guideline.settings import CLAUSES
    from tta_lite.report.live import LiveDisplay

    rows, finished = (START, *CLAUSES), folder.read_ledger()
    with LiveDisplay(rows, request.budget) as display, _app.log_to(sys.stderr):
        if len(finished) < len(rows):
            for entry in finished:
                display.tell(RowFinished(entry, before=True))
            display.doing("a few steps of training are timed, for the time left")
            display.plan({line.step: line.cost for line in program.plan(model, task, request, known)})
        return program.run(model, task, request, folder, write=display.write, tell=display.tell)


def _print_plan(lines: Sequence[PlanLine]) -> None:
    from tta_lite.report.page import duration

    total = sum(line.seconds for line in lines)
    for line in lines:
        what = line.why or f"at most {duration(line.seconds)}: {'; '.join(line.trials)}"
        print(f"{line.step}: {what}")
    print(f"in all at most {duration(total)} on this machine; it stops as soon as the budget is met")


def _print_forecast(model: keras.Model, task: Task, request: Request) -> None:
    from tta_lite.guideline.forecast import forecast
    from tta_lite.measure.latency_model import load_model

    latency = load_model(_timing.LATENCY_MODEL.value)
    print(f"predicted for {latency.place.board}, not measured; each step on the unmodified network alone:")
    for one in forecast(model, task, request, latency):
        print(f"  {one}", flush=True)


def _pairs(texts: Sequence[str]) -> Mapping[str, str]:
    """-> name -> what it starts from.

    >>> _pairs(["mobilenet_v2=imagenet"])
    {'mobilenet_v2': 'imagenet'}
    """
    wrong = [text for text in texts if not all(text.partition("=")[::2])]
    if wrong:
        raise InputError(f"--light_weights must list <backbone>=<imagenet or file>. Received: {', '.join(wrong)}")
    return dict(text.split("=", 1) for text in texts)


def _shares(holder: Any) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in holder.value)
    except ValueError as error:
        raise InputError(f"--{holder.name} must list shares. Received: {','.join(holder.value)}") from error


def _read_config(path: Path) -> None:
    """Sets the flags that a TOML file holds, but for those that were typed."""
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"--config must be a TOML file with flags. Received: {path}, {error}") from error
    names = {holder.name for holder in _FLAGS} - {_CONFIG.name}
    unknown = sorted(set(read) - names)
    if unknown:
        raise InputError(f"{path}: expected flags, some of {', '.join(sorted(names))}. Received: {', '.join(unknown)}")
    for name, value in read.items():
        flag = flags.FLAGS[name]
        if flag.present:
            continue
        if isinstance(value, dict) or (
            isinstance(value, list) and flag.flag_type() != "comma separated list of strings"
        ):
            raise InputError(f"{path}: {name} must be one {flag.flag_type()}. Received: {value!r}")
        text = ",".join(str(one) for one in value) if isinstance(value, list) else str(value)
        try:
            flag.parse(text.lower() if isinstance(value, bool) else text)
        except flags.IllegalFlagValueError as error:
            raise InputError(f"{path}: {error}") from error


def _given() -> list[str]:
    """-> the flags that were given, as they are typed."""
    return [flags.FLAGS[holder.name].serialize() for holder in _FLAGS if flags.FLAGS[holder.name].present]


if __name__ == "__main__":
    _app.run(main)
