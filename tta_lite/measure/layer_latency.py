"""Which layers of a ``.tflite`` file take the time? LiteRT's interpreter does not say: the file is cut and timed.

The file is cut after each of its stages (`tta_lite.measure.stages`), every cut file is timed in turn with the others by
`benchmark_together`, and a stage took what its cut file takes longer than the one before it. The kernels of a cut file
are those of the whole: XNNPACK runs it as well. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ai_edge_litert.tools import flatbuffer_utils

from tta_lite.export.contents import Contents, read_contents
from tta_lite.export.signature import set_signature
from tta_lite.measure.benchmark import Comparison, PathLike, benchmark_together
from tta_lite.measure.stages import MOST, Stage, crossing, stages
from tta_lite.types import InputError

# Less than a minute for 14 stages of a network that takes 70 ms: most of it is the start of 42 processes.
RULES: Mapping[str, Any] = {"rounds": 3, "num_runs": 15, "min_secs": 0.3, "warmup_runs": 2}


@dataclasses.dataclass(frozen=True)
class StageCost:
    """What one stage costs.

    Attributes:
      stage: its ops and their MACs.
      latency_ms: from the fastest rounds, which other programs disturbed least; never below 0.
      low_ms: the least that a round said; below 0, noise is larger than the stage.
      high_ms: the most that a round said.
    """

    stage: Stage
    latency_ms: float
    low_ms: float
    high_ms: float


@dataclasses.dataclass(frozen=True)
class LayerCosts:
    """Where a file's time goes.

    Attributes:
      stages: in order; they hold all ops of the file.
      latency_ms: of the whole file, in the fastest of the same rounds.
      rounds: how often each cut file was timed.
    """

    stages: tuple[StageCost, ...]
    latency_ms: float
    rounds: int

    @property
    def macs(self) -> int:
        """Of the whole file."""
        return sum(one.stage.macs for one in self.stages)

    @property
    def hidden(self) -> int:
        """Stages that took less than the noise: the cut file without them was not faster."""
        return sum(one.latency_ms == 0 for one in self.stages)

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> LayerCosts:
        """The inverse of `to_json`."""
        costs = (StageCost(**{**one, "stage": Stage(**one["stage"])}) for one in record["stages"])
        return cls(tuple(costs), record["latency_ms"], record["rounds"])


def layer_costs(
    files: Mapping[str, PathLike],
    *,
    most: int = MOST,
    compare: Callable[..., Comparison] = benchmark_together,
    **rules: Any,
) -> dict[str, LayerCosts]:
    """-> name -> where its time goes; all files are timed in one comparison, so that they compare with each other.

    Args:
      files: name -> ``.tflite`` file.
      most: stages a file.
      compare: times files in turn, as `benchmark_together` does.
      rules: of the comparison, such as ``num_threads``; what is not given is that of `RULES`.

    Raises:
      InputError: a file is none, has an open shape or cannot be run.
    """
    cut: dict[str, list[Stage]] = {}
    with tempfile.TemporaryDirectory(prefix="tta_lite_layers_") as folder:
        paths: dict[str, PathLike] = {}
        for place, (name, path) in enumerate(files.items()):
            tflite = Path(path).read_bytes()
            cut[name] = stages(tflite, most)
            for stage in cut[name][:-1]:
                file = Path(folder) / f"{place}-{stage.end}.tflite"
                file.write_bytes(cut_after(tflite, stage.end))
                paths[_key(name, stage)] = file
            paths[_key(name, cut[name][-1])] = path
        timed = compare(paths, **{**RULES, **rules}).round_p50
    return {name: differences(found, [timed[_key(name, one)] for one in found]) for name, found in cut.items()}


def differences(cut: Sequence[Stage], round_p50: Sequence[Sequence[float]]) -> LayerCosts:
    """-> what each stage takes longer than the stages before it.

    Args:
      cut: the stages of a file.
      round_p50: [stages][rounds]: milliseconds of the file up to the end of that stage.

    >>> found = differences([Stage(0, 1, "a", "a", 1, 5), Stage(1, 2, "b", "b", 1, 5)], [(1.0, 1.2), (3.5, 3.0)])
    >>> [one.latency_ms for one in found.stages], found.latency_ms
    ([1.0, 2.0], 3.0)
    """
    costs = []
    before: Sequence[float] = [0.0] * len(round_p50[0])
    for stage, until in zip(cut, round_p50, strict=True):
        took = [b - a for a, b in zip(before, until, strict=True)]
        costs.append(StageCost(stage, max(0.0, min(until) - min(before)), min(took), max(took)))
        before = until
    return LayerCosts(tuple(costs), min(before), len(before))


def cut_after(tflite: bytes, end: int) -> bytes:
    """-> the file without the ops from `end` on; what those need of the ops before is its output.

    Raises:
      InputError: no op before `end` computes what a later one needs.
    """
    contents = read_contents(tflite)
    outputs = crossing(contents, end)
    if not outputs:
        raise InputError(
            f"A file can be cut after an op whose output is needed. Received: {end} of {len(contents.ops)} ops"
        )
    model = flatbuffer_utils.read_model_from_bytearray(tflite)
    graph = model.subgraphs[0]
    kept = _needed(contents, end, outputs)
    graph.operators = [op for place, op in enumerate(graph.operators) if place in kept]
    graph.outputs = outputs
    # The weights that are left would make each of the files as large as the whole one.
    used = {int(tensor) for op in graph.operators for tensor in op.inputs if tensor >= 0}
    buffers = {graph.tensors[tensor].buffer for tensor in used}
    buffers |= {tensor.buffer for other in model.subgraphs[1:] for tensor in other.tensors}
    for place, buffer in enumerate(model.buffers):
        if place not in buffers:
            buffer.data = None
    # They speak of the whole file, and may name buffers that are empty now.
    model.metadata, model.metadataBuffer = [], []
    data = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    inputs = [f"input_{place}" for place in range(len(graph.inputs))]
    return set_signature(data, inputs, [f"output_{place}" for place in range(len(outputs))])


def _needed(contents: Contents, end: int, outputs: Sequence[int]) -> set[int]:
    """-> the ops before `end` that compute `outputs`, without those that unpack the weights of later ones."""
    wanted, kept = set(outputs), set()
    for op in reversed(contents.ops[:end]):
        if wanted.intersection(op.outputs):
            kept.add(op.index)
            wanted.update(op.inputs)
    return kept


def _key(name: str, stage: Stage) -> str:
    return f"{name} up to op {stage.end}"
