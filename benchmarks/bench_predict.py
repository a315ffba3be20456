"""How far is a predicted latency from the measured one, on networks whose families the fit has not seen?

    python benchmarks/predict_networks.py --folder=zoo --presets=fp32,int8,dynamic
    python benchmarks/bench_predict.py --folder=zoo --out=host.json [--rounds=4]

Profiles all networks in turn on this machine with the C runner, those to fit and those to judge alike, so that its
drift hits both; fits a model to the former and predicts the latter. What was profiled already is not profiled again.
Prints a table in Markdown; four rounds of 162 files take 25 minutes, the fit one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags
from predict_networks import FIT, HELD_OUT, file_of

from tta_lite.measure import machine
from tta_lite.measure.device.library import version
from tta_lite.measure.device.local import Local
from tta_lite.measure.latency_fit import Profiled, fit_model
from tta_lite.measure.latency_model import LatencyModel, Place
from tta_lite.measure.predict import predict
from tta_lite.measure.profiles import collect, read_profiles

_FOLDER = flags.DEFINE_string("folder", None, "Of predict_networks.py.", required=True)
_OUT = flags.DEFINE_string("out", None, "Where the model is written.", required=True)
_ROUNDS = flags.DEFINE_integer("rounds", 4, "The files are profiled in turn, so many times.", 1)


def main(argv: Sequence[str]) -> None:
    """Profiles, fits, predicts, prints."""
    del argv
    folder = Path(_FOLDER.value)
    files = {
        role: [
            file_of(folder, network, preset)
            for network in networks
            for preset in ("fp32", "int8", "dynamic")
            if file_of(folder, network, preset).is_file()
        ]
        for role, networks in (("fit", FIT), ("held_out", HELD_OUT))
    }
    # Fit and held-out ones alternate, so that a slow minute hits both.
    order = sorted((file for found in files.values() for file in found), key=lambda file: file.name[::-1])
    collect(Local(), order, folder, rounds=_ROUNDS.value, progress=_tell)
    profiles = read_profiles(folder)
    names = {role: {file.name.removesuffix(".tflite") for file in found} for role, found in files.items()}
    model = fit_model(
        [one for one in profiles.networks if one.name in names["fit"]],
        Place(
            f"this machine: {machine.summary()}",
            f"LiteRT {version()}, XNNPACK",
            profiles.threads,
            machine.describe_machine(),
        ),
        write=lambda line: print(line, flush=True),
    )
    model.save(_OUT.value)
    judged = [one for one in profiles.networks if one.name in names["held_out"]]
    for dtype in model.networks:
        _table(model, [one for one in judged if one.dtype == dtype], folder)


def _table(model: LatencyModel, networks: Sequence[Profiled], folder: Path) -> None:
    print("\n| network | measured p50, ms | predicted, ms | error | interval, ms |\n|---|---:|---:|---:|---:|")
    errors, inside = [], 0
    for one in networks:
        found = predict((folder / f"{one.name}.tflite").read_bytes(), model)
        measured = one.latency_us / 1e3
        errors.append(found.latency_ms / measured - 1)
        inside += found.low_ms <= measured <= found.high_ms
        print(
            f"| {one.name} | {measured:.2f} | {found.latency_ms:.2f} | {errors[-1]:+.1%} | {found.low_ms:.2f} to "
            f"{found.high_ms:.2f} |"
        )
        for warning in found.warnings:
            print(f"  {warning}")
    sizes = sorted(abs(error) for error in errors)
    families = len({one.family for one in networks})
    print(
        f"\n{networks[0].dtype}: {len(networks)} held-out networks of {families} families, "
        f"|error| median {statistics.median(sizes):.1%}, 90th percentile {sizes[math.ceil(0.9 * len(sizes)) - 1]:.1%}, "
        f"largest {sizes[-1]:.1%}; {inside} of {len(networks)} in their interval of "
        f"{model.networks[networks[0].dtype].coverage:.0%}"
    )


def _tell(done: int, count: int, name: str) -> None:
    if done % 20 == 0 or done == count:
        print(f"{done} of {count}: {name}", flush=True)


if __name__ == "__main__":
    app.run(main)
