"""Where the time goes, layer by layer: measured once, kept in the run folder, shown as two charts with one scale."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.files import digest, to_json_text
from tta_lite.measure.layer_latency import RULES, LayerCosts, StageCost, layer_costs
from tta_lite.report import columns as cols
from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.run_folder import RunFolder

KEPT = "layers.json"


def measured_layers(
    folder: RunFolder,
    files: Mapping[str, Path],
    rules: Mapping[str, Any],
    *,
    write: Callable[[str], Any] = print,
    measure: Callable[..., dict[str, LayerCosts]] = layer_costs,
) -> dict[str, LayerCosts]:
    """-> row -> where its time goes; read from ``layers.json`` if the same files were measured by the same rules.

    Args:
      folder: of the run.
      files: row -> ``.tflite`` file.
      rules: of the run's comparisons; their threads are taken, and no more rounds, runs and seconds than they ask for.
      write: where progress goes.
      measure: as `layer_costs`.

    Raises:
      InputError: see `layer_costs`.
    """
    rules = {name: min(most, rules.get(name, most)) for name, most in RULES.items()} | {
        "num_threads": rules.get("num_threads", 1)
    }
    key = {"files": {row: digest(file) for row, file in files.items()}, "rules": rules}
    try:
        kept = json.loads((folder.path / KEPT).read_text(encoding="utf-8"))
        if {name: kept[name] for name in key} == json.loads(to_json_text(key)):
            return {row: LayerCosts.from_json(kept["costs"][row]) for row in files}
    except (OSError, ValueError, KeyError, TypeError):
        # Not there, or of another version: it is measured again.
        pass
    write(f"measuring the layers of {' and '.join(files)} stage by stage, {rules['rounds']} rounds")
    found = measure(files, **rules)
    folder.write_json(KEPT, {**key, "costs": {row: costs.to_json() for row, costs in found.items()}})
    return found


def layers_view(
    costs: Mapping[str, LayerCosts], colours: Mapping[str, str] | None = None, say: Language = ENGLISH
) -> dict[str, Any]:
    """-> what the page shows of them: one chart a row, all bars of one kind on one scale, and what to know of them."""
    every = [one for found in costs.values() for one in found.stages]
    most_ms = max((one.latency_ms for one in every), default=0.0)
    most_macs = max((one.stage.macs for one in every), default=0)
    # Two digits of the usual bar: the noise is larger than what a third one says.
    of_ms = cols.decimals_for([statistics.median([one.latency_ms for one in every] or [1.0])], 1)
    of_macs = cols.decimals_for([most_macs / 1e6], 1)
    charts = [
        {
            "row": row,
            "colour": (colours or {}).get(row, ""),
            "latency": cols.number(found.latency_ms, of_ms),
            "macs": cols.number(found.macs / 1e6, of_macs),
            "lines": [_line(one, most_ms, most_macs, of_ms, of_macs) for one in found.stages],
        }
        for row, found in costs.items()
    ]
    return {"charts": charts, "notes": _notes(costs, of_ms, say)}


def _line(one: StageCost, most_ms: float, most_macs: int, of_ms: int, of_macs: int) -> dict[str, Any]:
    return {
        "first": one.stage.first,
        "last": "" if one.stage.last == one.stage.first else one.stage.last,
        "macs": cols.number(one.stage.macs / 1e6, of_macs),
        "macs_share": _share(one.stage.macs, most_macs),
        "latency": cols.number(one.latency_ms, of_ms),
        "latency_share": _share(one.latency_ms, most_ms),
        "range": f" {cols.DASH} ".join(
            cols.number(round(end, of_ms) + 0.0, of_ms) for end in (one.low_ms, one.high_ms)
        ),
    }


def _share(value: float, most: float) -> str:
    """-> percent of the longest bar."""
    return f"{100.0 * value / most:.1f}" if most > 0 else "0"


def _notes(costs: Mapping[str, LayerCosts], of_ms: int, say: Language) -> Sequence[str]:
    rounds = max((found.rounds for found in costs.values()), default=0)
    notes = [
        say(
            "A stage is consecutive layers; all stages of a network hold about the same MACs, and a layer with more "
            "stands alone. MACs share one scale in all charts, and so do latencies."
        ),
        say(
            "LiteRT does not time layers: the file is cut after each stage, the cut files are timed in turn on this "
            "machine, and a stage took what its file takes longer than the one before, each in its fastest of {rounds} "
            "rounds. Beside it, in grey, the least and the most that a single round said: that is the noise.",
            rounds=rounds,
        ),
    ]
    for row, found in costs.items():
        total = cols.number(sum(one.latency_ms for one in found.stages), of_ms)
        notes.append(
            say(
                "{row}: the stages sum to {sum} ms, and the whole file takes {whole} ms in the same comparison.",
                row=row, sum=total, whole=cols.number(found.latency_ms, of_ms),
            )
        )  # fmt: skip
        if found.hidden:
            notes[-1] += say(" Stages that took less than the noise and are shown as 0: {count}.", count=found.hidden)
    return notes
