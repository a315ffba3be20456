"""Are the pose nets that searches found as good as a given one, and how much faster?

  python benchmarks/bench_search_pose.py --baseline=runs/search/baseline --task=pose:lspet:/data/lspet --flip_test \
    --pixels=-1..1 "--searches=runs/search/tpe-0;runs/search/random-0;runs/search/tpe-1;runs/search/random-1"

--baseline and --searches are run folders of `tta-lite search`; of each the finalists that are in ``steps/`` count. All
files are scored by the interpreter on the same test people, and timed in turn. Columns: how many networks the search
tried and gave up, and the minutes of those that it trained to the end; PCKh@0.5 of the file with its interval; points
above the baseline's file with an interval (the same people are drawn for both); the ratio of the two latencies, the
median over the rounds.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from recipes import _app, _task, _timing
from tta_lite.types import InputError

_BASELINE = flags.DEFINE_string(
    "baseline", None, "The run folder with the network that is to be beaten.", required=True
)
_SEARCHES = flags.DEFINE_string("searches", None, "Run folders; ';' between them.", required=True)
_BASE = "baseline"


def finals(place: Path) -> dict[str, Path]:
    """-> the files of the networks that a search trained in full."""
    found = {file.parent.name: file for file in sorted(place.glob("steps/*/model.tflite"))}
    if not found:
        raise InputError(f"{place} must have a finalist, steps/*/model.tflite. Received: none")
    return found


def told(place: Path) -> list[str]:
    """-> trials, given up, minutes, of ``search.json``."""
    trials = json.loads((place / "search.json").read_text(encoding="utf-8"))["trials"]
    states = [one["state"] for one in trials]
    minutes = sum(one["seconds"] or 0.0 for one in trials) / 60
    return [str(len(trials)), str(states.count("pruned")), f"{minutes:.0f}"]


def score(file: Path, spec: str) -> Any:
    """-> see `pose_pairs.scored`."""
    from pose_pairs import scored

    from tta_lite.export.runner import TFLitePredictor
    from tta_lite.guideline.quantize_file import edges_of

    tflite = file.read_bytes()
    task = _task.find(edges_of(tflite), pixels=spec)
    return scored(task, TFLitePredictor(tflite))  # type: ignore[arg-type]


def main(argv: Sequence[str]) -> None:
    """Scores and times all files, prints the table."""
    del argv
    from pose_pairs import difference

    from tta_lite.measure.benchmark import benchmark_together
    from tta_lite.measure.machine import summary

    places = [Path(word) for word in _SEARCHES.value.split(";")]
    base = Path(_BASELINE.value)
    files = {_BASE: next(iter(finals(base).values()))}
    for place in places:
        files |= {f"{place.name} {name}": file for name, file in finals(place).items()}
    known = {name: score(file, _task.PIXELS.value) for name, file in files.items()}
    timed = benchmark_together(files, **_timing.rules())
    counted, right, said = known[_BASE]
    print(f"{summary()}; {timed[_BASE].measured_on}\n")
    heads = ["search", "trials", "given up", "minutes", "finalist", "PCKh@0.5", "points above it (95 % interval)"]
    print(f"| {' | '.join(heads)} | times as fast |\n|---{'|---:' * 3}|---{'|---:' * 3}|")
    print(f"| {_BASE} | | | | | {said} | 0 | 1 |")
    for place in places:
        for name in finals(place):
            key = f"{place.name} {name}"
            points, low, high = difference(right, known[key][1], counted)
            pairs = zip(timed.round_p50[_BASE], timed.round_p50[key], strict=True)
            faster = statistics.median(its / mine for its, mine in pairs)
            cells = [place.name, *told(place), name, known[key][2], f"{points:+.2f} ({low:+.2f} to {high:+.2f})"]
            print(f"| {' | '.join(cells)} | {faster:.2f} |", flush=True)
    for place in places:
        for name in finals(place):
            point = json.loads((place / "steps" / name / "point.json").read_text(encoding="utf-8"))["point"]
            print(f"\n{place.name} {name}: " + ", ".join(f"{choice} {value}" for choice, value in point.items()))


if __name__ == "__main__":
    _app.run(main)
