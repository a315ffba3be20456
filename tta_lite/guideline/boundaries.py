"""Where a file goes from float32 to integers and back, what crosses there, and what that costs (clause 6.2.1)."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tta_lite.export.contents import Contents, Op, read_contents
from tta_lite.measure.counts import NotCountedWarning
from tta_lite.measure.device.runner import profiled_ops
from tta_lite.measure.latency_model import LatencyModel
from tta_lite.measure.layer_latency import HERE, RULES, profile_in_turn
from tta_lite.measure.op_profile import match_ops
from tta_lite.measure.predict import PREDICTED, predict
from tta_lite.measure.stages import layer_names, unpacked

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
MEASURED = "measured on this machine"
# Seconds for a large network too: a ResNet-50 at 256 x 256 runs 200 ms an inference.
QUICK: Mapping[str, Any] = {**RULES, "num_runs": 5, "warmup_runs": 1}


@dataclasses.dataclass(frozen=True)
class Boundary:
    """One conversion between two types.

    Attributes:
      index: its place among the file's ops.
      op: ``QUANTIZE`` or ``DEQUANTIZE``.
      source: the layer whose output is converted; ``input`` for the network's.
      targets: the layers that read it then; ``output`` for the network's.
      tensor: the name of what is converted.
      dtypes: before and after. Both are integers where only the scale changes.
      shape: of what crosses.
      read_bytes: an inference.
      written_bytes: an inference.
      cost_ms: milliseconds an inference; None: not known.
    """

    index: int
    op: str
    source: str
    targets: tuple[str, ...]
    tensor: str
    dtypes: tuple[str, str]
    shape: tuple[int, ...]
    read_bytes: int
    written_bytes: int
    cost_ms: float | None = None

    @property
    def is_of_floats(self) -> bool:
        """Whether one side is float, and not only the scale changes."""
        return any(dtype.startswith("float") for dtype in self.dtypes)


@dataclasses.dataclass(frozen=True)
class Costs:
    """What the ops of two files take an inference.

    Attributes:
      op_ms: of each op of the file, milliseconds.
      file_ms: the whole file.
      float_ms: the float32 file, timed in turn with it.
      slower: whether the file took longer than the float32 one in every round.
      how: `MEASURED`, or for whom it is predicted.
    """

    op_ms: tuple[float, ...]
    file_ms: float
    float_ms: float
    slower: bool
    how: str


def boundaries(tflite: bytes, costs: Costs | None = None) -> tuple[Boundary, ...]:
    """-> the conversions between types in a file, in order; those of weights, done when it is loaded, are left out."""
    contents = read_contents(tflite)
    names, known = layer_names(tflite, contents), unpacked(contents)
    made_by = {tensor: op.index for op in contents.ops for tensor in op.outputs}
    return tuple(
        _boundary(op, contents, names, made_by, None if costs is None else costs.op_ms[op.index])
        for op in contents.ops
        if op.name in CONVERSIONS and not known.issuperset(op.inputs)
    )


def _boundary(
    op: Op, contents: Contents, names: list[str], made_by: Mapping[int, int], cost_ms: float | None
) -> Boundary:
    before, after = contents.tensors[op.inputs[0]], contents.tensors[op.outputs[0]]
    maker = made_by.get(before.index)
    readers = [names[other.index] for other in contents.ops if after.index in other.inputs]
    readers += ["output"] * (after.index in contents.outputs)
    return Boundary(
        index=op.index,
        op=op.name,
        source="input" if maker is None else names[maker],
        targets=tuple(dict.fromkeys(readers)),
        tensor=before.name,
        dtypes=(before.dtype, after.dtype),
        shape=before.shape,
        read_bytes=before.bytes,
        written_bytes=after.bytes,
        cost_ms=cost_ms,
    )


def measured_costs(tflite: bytes, float_tflite: bytes, **rules: Any) -> Costs:
    """-> what the ops take here, by LiteRT's profiler; both files are timed in turn.

    Args:
      tflite: the file with the boundaries.
      float_tflite: the float32 file.
      rules: of `tta_lite.measure.layer_latency.profile_in_turn`, where not those of this machine.

    Raises:
      InputError: there is no C compiler for the runner, or a file cannot be run.
    """
    files = {"integer": tflite, "float": float_tflite}
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.tflite" for name in files}
        for name, path in paths.items():
            path.write_bytes(files[name])
        runs = profile_in_turn(paths, **{**QUICK, **HERE, **rules})
    with _counts_do_not_matter():
        times = match_ops(tflite, profiled_ops(runs["integer"]))
    rounds = {name: [statistics.median(run.samples_ms) for run in found] for name, found in runs.items()}
    slower = all(one > other for one, other in zip(rounds["integer"], rounds["float"], strict=True))
    whole = {name: statistics.median(medians) for name, medians in rounds.items()}
    return Costs(tuple(op.time_us / 1e3 for op in times), whole["integer"], whole["float"], slower, MEASURED)


def predicted_costs(tflite: bytes, float_tflite: bytes, model: LatencyModel) -> Costs:
    """-> what the ops would take on a model's machine; no measurement.

    Raises:
      InputError: the model says nothing of these ops or types.
    """
    with _counts_do_not_matter():
        found, whole = predict(tflite, model), predict(float_tflite, model)
    op_ms = tuple(one.time_ms for one in found.ops)
    slower = found.latency_ms > whole.latency_ms
    return Costs(op_ms, found.latency_ms, whole.latency_ms, slower, f"{PREDICTED} for {model.place.board}")


@contextlib.contextmanager
def _counts_do_not_matter() -> Iterator[None]:
    with warnings.catch_warnings():
        # Ops that no table knows are what is looked for here.
        warnings.simplefilter("ignore", NotCountedWarning)
        yield
