"""Counts of an emulated core in the place of profiles: what a model of its busy cycles is fitted to.

The unit is a thousand busy cycles and no time: what an op keeps the busiest pipeline of the core busy for, or what
moving its lines takes, whichever is more (the roofline, as in `tta_lite.measure.latency_model`). Such a model says how
the costs of networks compare on that core, without emulating each of them. Imports no TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tta_lite.measure.count_cost import CORES, CoreCosts
from tta_lite.measure.device.executed import Counts, Tally
from tta_lite.measure.latency_fit import Profiled
from tta_lite.measure.latency_model import CYCLES, Place
from tta_lite.measure.op_features import read_features
from tta_lite.measure.op_profile import match_ops
from tta_lite.measure.profiles import PROBE, family
from tta_lite.types import InputError


def kilocycles(tally: Tally, costs: CoreCosts) -> float:
    """-> thousands of cycles for which a core is busy: with its pipelines, or with moving lines.

    >>> kilocycles(Tally({"float_multiply_add": 5000}, 0, 0, 100, 10), CORES["cortex-a72"])
    5.0
    """
    least, most = costs.cycles(tally)
    return max(least, most - least) / 1e3


def read_counts(
    path: str | Path, *, write: Callable[[str], Any] = lambda line: None
) -> tuple[tuple[Profiled, ...], Place]:
    """-> one record a network, as a fit takes it, and what core it is of.

    Args:
      path: what ``tta-lite counts --ops --out`` wrote for networks that lie where they lay then.
      write: told of networks that were left out, because their ops cannot be told apart.

    Raises:
      InputError: it is no such file, of several cores, or of one whose costs are not known.
    """
    try:
        records = json.loads(Path(path).read_text(encoding="utf-8"))["counts"]
        found = [(str(record["graph"]), _counts(record)) for record in records]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"Counts must be a file that `tta-lite counts --ops --out` wrote. Received: {path}, {error}"
        ) from error
    cores = {counts.cpu for _, counts in found}
    if len(cores) != 1 or not cores <= CORES.keys():
        raise InputError(
            f"Counts must be of one of the cores {', '.join(CORES)}, whose costs are known. "
            f"Received: {', '.join(sorted(cores)) or 'none'} in {path}"
        )
    core = cores.pop()
    networks = []
    for graph, counts in found:
        if why := _unusable(counts):
            write(f"{Path(graph).stem} is left out: {why}")
        else:
            networks.append(_profiled(graph, counts, CORES[core]))
    if not networks:
        raise InputError(f"Networks must be counted op by op (--ops), all of them by XNNPACK. Received: none in {path}")
    place = Place(found[0][1].cpu, found[0][1].runtime, 1, {"cpu": core, "emulator": found[0][1].emulator}, CYCLES)
    return tuple(networks), place


def _counts(record: Mapping[str, Any]) -> Counts:
    return Counts.from_json({name: value for name, value in record.items() if name != "graph"})


def _unusable(counts: Counts) -> str:
    if not counts.ops:
        return "its ops were not counted (--ops), or cannot be told apart"
    return "some of its ops ran in other kernels than XNNPACK's" if any(o.kind != "xnnpack" for o in counts.ops) else ""


def _profiled(graph: str, counts: Counts, costs: CoreCosts) -> Profiled:
    name = Path(graph).stem
    try:
        tflite = Path(graph).read_bytes()
    except OSError as error:
        raise InputError(f"Each network must lie where it was counted. Received: {graph}, {error.strerror}") from error
    ops = [
        {"name": op.name, "kind": op.kind, "place": op.place, "samples_us": [kilocycles(op.tally, costs)]}
        for op in counts.ops
    ]
    times = tuple(op.time_us for op in match_ops(tflite, ops))
    # The whole is the sum of its ops: a roofline of the whole would let one op's lines hide behind another's work.
    return Profiled(name, family(name), read_features(tflite), times, sum(times), name.startswith(PROBE))
