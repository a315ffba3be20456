"""Where the time goes, layer by layer: measured once, kept in the run folder, shown as two charts with one scale."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.files import digest, to_json_text
from tta_lite.measure.layer_latency import HERE, RULES, LayerCosts, LayerTime, StageCost, layer_costs
from tta_lite.report import columns as cols
from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.run_folder import RunFolder

KEPT = "layers.json"
# Layers of a table; the rest is one line.
MOST_LAYERS = 30


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
      rules: of the run's comparisons; their threads and their board are taken, and no more rounds, runs and seconds
        than they ask for.
      write: where progress goes.
      measure: as `layer_costs`.

    Raises:
      InputError: see `layer_costs`.
    """
    rules = {name: min(most, rules.get(name, most)) for name, most in RULES.items()} | {
        "num_threads": rules.get("num_threads", 1),
        **{name: rules.get(name, usual) for name, usual in HERE.items()},
    }
    key = {"files": {row: digest(file) for row, file in files.items()}, "rules": rules}
    try:
        kept = json.loads((folder.path / KEPT).read_text(encoding="utf-8"))
        if {name: kept[name] for name in key} == json.loads(to_json_text(key)):
            return {row: LayerCosts.from_json(kept["costs"][row]) for row in files}
    except (OSError, ValueError, KeyError, TypeError):
        # Not there, or of another version: it is measured again.
        pass
    write(f"profiling the layers of {' and '.join(files)}, {rules['rounds']} rounds")
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
            "layers": _layers(found, say),
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


def _threads(found: LayerCosts, say: Language) -> str:
    return say("1 thread") if found.threads == 1 else say("{count} threads", count=found.threads)


def _layers(found: LayerCosts, say: Language) -> list[dict[str, str]]:
    """-> one line a layer, the slowest first."""
    slowest = sorted(found.layers, key=lambda one: -one.latency_ms)
    lines = [_layer(one.layer, one.op, [one], found.profiled_ms) for one in slowest[:MOST_LAYERS]]
    if rest := slowest[MOST_LAYERS:]:
        lines.append(_layer(say("{count} more", count=len(rest)), "", rest, found.profiled_ms))
    return lines


def _layer(name: str, op: str, layers: Sequence[LayerTime], whole_ms: float) -> dict[str, str]:
    latency_ms = sum(one.latency_ms for one in layers)
    return {
        "layer": name,
        "op": op,
        "macs": cols.number(sum(one.macs for one in layers) / 1e6, 2),
        "latency": cols.number(latency_ms, 3),
        "share": _share(latency_ms, whole_ms),
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
            "The times are those of the runtime's own profiler, in profiled runs beside the timed ones, on {where}; "
            "what it merges into another layer is counted there. Beside each, in grey, the least and the most that one "
            "of {rounds} rounds said.",
            where=", ".join(dict.fromkeys(f"{found.where} ({_threads(found, say)})" for found in costs.values())),
            rounds=rounds,
        ),
    ]  # fmt: skip
    for row, found in costs.items():
        notes.append(
            say(
                "{row}: the layers sum to {sum} ms; the whole file takes {whole} ms when it is not profiled.",
                row=row, sum=cols.number(found.profiled_ms, of_ms), whole=cols.number(found.latency_ms, of_ms),
            )
        )  # fmt: skip
    return notes
