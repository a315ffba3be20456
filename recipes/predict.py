"""Predict how long .tflite files take on a machine that is not at hand, by a model of latency that was fitted there.

  tta-lite predict --profile=a.tflite,b.tflite,... --connect=ssh://user@host --profiles=profiles
  tta-lite predict --fit --profiles=profiles --board="RK3399, big cores" --out=rk3399.json
  tta-lite predict --latency_model=rk3399.json model.tflite
  tta-lite predict --fit --counts=counts.json --out=a72.json

The first command runs networks on a board and keeps the time of each of their ops; take 15 or more of several families,
with the kinds of ops that matter to you. The second fits a model to them, with its error on families left out. The
third prints what each layer would take, and the whole with an interval; nothing is run, and no board is needed.
Where only whole networks could be timed, --fit with --latency_model starts from another machine's model and finds what
all its figures must be multiplied by. The last fits to what an emulated core executes (tta-lite counts --ops --out):
busy cycles, which say how the costs of networks compare there, and are no latency.

Cost: profiling takes 1 to 3 s a network and round; fitting 40 networks 20 s; predicting a blink. A predicted figure is
no measured one and is marked as predicted wherever it goes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags
from rich.console import Console
from rich.table import Table

from recipes import _app
from tta_lite.types import InputError

if TYPE_CHECKING:
    from tta_lite.measure.latency_model import LatencyModel
    from tta_lite.measure.predict import Prediction

_PROFILE = flags.DEFINE_list("profile", [], "Networks to run with --connect; results go into the folder --profiles.")
_CONNECT = flags.DEFINE_string("connect", "local", "Where they run: local, ssh://user@host or adb:SERIAL.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "They are run in turn, so many times.", 1)
_NUM_THREADS = flags.DEFINE_integer("num_threads", 1, "Of the runtime there.", 1)
_FIT = flags.DEFINE_bool("fit", False, "Fit a model to --profiles and write it to --out.")
_PROFILES = flags.DEFINE_string("profiles", None, "A folder of <name>.tflite and <name>.<round>.json of tta_runner.")
_COUNTS = flags.DEFINE_string("counts", None, "Or fit to a file that `tta-lite counts --ops --out` wrote.")
_BOARD = flags.DEFINE_string("board", None, "What the model calls the machine; what its cores are called if not given.")
_MODEL = flags.DEFINE_string("latency_model", None, "A model that --fit wrote.")
_OUT = flags.DEFINE_string("out", None, "The model to write; or, of predictions, a JSON file.")
_TOP = flags.DEFINE_integer("top", 20, "Layers to show, those that take most; 0: all, in order.", 0)


def main(argv: Sequence[str]) -> None:
    """Profiles, fits or predicts, whatever was asked for."""
    files = argv[1:]
    if _PROFILE.value:
        _collect(_given(_PROFILES))
    if _FIT.value:
        if _COUNTS.value and _PROFILES.value:
            raise InputError("--fit is to --profiles or to --counts. Received: both")
        _fit_counts(_COUNTS.value, _given(_OUT)) if _COUNTS.value else _fit(_given(_PROFILES), _given(_OUT))
    if files:
        _predict(files, _given(_MODEL))
    if not (files or _FIT.value or _PROFILE.value):
        raise InputError("Expected --profile, --fit, or .tflite files to predict. Received: none of them")


def _given(holder: flags.FlagHolder[str | None]) -> str:
    if not holder.value:
        raise InputError(f"--{holder.name} must be given with it. Received: nothing")
    return holder.value


def _collect(folder: str) -> None:
    from tta_lite.measure.device.connect import open_transport
    from tta_lite.measure.profiles import collect

    def tell(done: int, count: int, name: str) -> None:
        print(f"{done} of {count}: {name}", flush=True)

    transport = open_transport(_CONNECT.value)
    if transport.emulated:
        raise InputError("A profile needs times of a real machine. Received: an emulated one")
    collect(
        transport, _PROFILE.value, folder, rounds=_ROUNDS.value, num_threads=_NUM_THREADS.value, progress=tell
    )  # fmt: skip


def _fit(folder: str, out: str) -> None:
    from tta_lite.measure.device.library import version
    from tta_lite.measure.latency_fit import fit_model, rescaled
    from tta_lite.measure.latency_model import Place, load_model
    from tta_lite.measure.profiles import read_profiles

    found = read_profiles(folder)
    place = Place(
        board=_BOARD.value or found.processor or "a machine that does not say what it is",
        runtime=f"LiteRT {version()}, {found.kernels} kernels",
        threads=found.threads,
        machine={"cpu": found.processor, **found.machine},
    )
    if any(one.times_us for one in found.networks):
        model = fit_model(found.networks, place, write=print)
    elif _MODEL.value:
        model = rescaled(load_model(_MODEL.value), found.networks, place)
    else:
        raise InputError(
            "Times of whole networks say nothing of their ops. Expected: results with a profile, or --latency_model "
            f"of another machine to begin with. Received: {folder} alone"
        )
    model.save(out)
    print(_about(model))
    print(f"written: {out}")


def _fit_counts(counts: str, out: str) -> None:
    from tta_lite.measure.counted_profiles import read_counts
    from tta_lite.measure.latency_fit import fit_model

    networks, place = read_counts(counts, write=print)
    model = fit_model(networks, place, write=print)
    model.save(out)
    print(_about(model))
    print(f"written: {out}")


def _about(model: LatencyModel) -> str:
    lines = [f"{_where(model)}; fitted to {len(model.fitted_to)} networks"]
    for dtype, cost in model.networks.items():
        kinds = ", ".join(f"{kind} {one.ops}" for kind, one in model.kinds[dtype].items())
        lines.append(
            f"  {dtype}: median error {cost.median_error:.1%} on {cost.judged} networks of families left out; "
            f"{cost.coverage:.0%} of them within a factor of {cost.factor:.2f}. Ops: {kinds}"
        )
    return "\n".join(lines)


def _where(model: LatencyModel) -> str:
    return f"{model.place.board}; {model.place.runtime}, threads: {model.place.threads}"


def _predict(files: Sequence[str], path: str) -> None:
    from tta_lite.export.open_safely import open_safely
    from tta_lite.files import atomic_write, to_json_text
    from tta_lite.measure.latency_model import load_model
    from tta_lite.measure.predict import predict

    model = load_model(path)
    records = []
    for file in files:
        tflite = open_safely(file).tflite
        found = predict(tflite, model)
        _show(file, found, model)
        records.append({"file": file, **json.loads(to_json_text(found.to_json()))})
    if _OUT.value and not _FIT.value:
        atomic_write(_OUT.value, to_json_text({"latency_model": path, "predictions": records}, indent=1) + "\n")
        print(f"written: {_OUT.value}")


def _show(file: str, found: Prediction, model: LatencyModel) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False)
    table.add_column("layer", overflow="fold", min_width=16)
    for column in ("op", "type"):
        table.add_column(column, no_wrap=True)
    unit = "ms" if model.place.is_time else "M cycles"
    for column in ("MACs, M", f"predicted {unit}", "share"):
        table.add_column(column, justify="right", no_wrap=True)
    ops = [one for one in found.ops if one.time_ms > 0]
    shown = sorted(ops, key=lambda one: -one.time_ms)[: _TOP.value] if _TOP.value else ops
    for one in shown:
        table.add_row(
            one.op.layer,
            one.op.op,
            one.op.dtype,
            f"{one.op.macs / 1e6:.2f}",
            f"{one.time_ms:.3f}",
            f"{one.share:.1%}",
        )
    if len(shown) < len(ops):
        rest = sum(one.time_ms for one in ops) - sum(one.time_ms for one in shown)
        table.add_row(f"{len(ops) - len(shown)} others", "", "", "", f"{rest:.3f}", f"{rest / found.latency_ms:.1%}")
    console.print(table)
    lines = [
        f"{file}: predicted {found.latency_ms:.3g} {unit} an inference, {found.coverage:.0%} interval "
        f"{found.low_ms:.3g} to {found.high_ms:.3g} {unit}",
        f"Predicted, not measured, for {_where(model)}",
        *(f"Warning: {warning}" for warning in found.warnings),
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    _app.run(main, words=1000)
