"""Which Deconvs shall become convolutions and DEPTH_TO_SPACE? Measured one by one, in both forms."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.boards.profile import BoardProfile, Runtime
from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.guideline.case_study import say
from tta_lite.guideline.checks import as_if_trained, missing_ops
from tta_lite.guideline.timing import QUICK_RULES
from tta_lite.measure.benchmark import Speedup, benchmark_together
from tta_lite.transforms.graph import trace
from tta_lite.transforms.rewrite import rewrite
from tta_lite.transforms.subpixel import chosen_deconvs, pointwise_chain, subpixel
from tta_lite.types import ExportSpec, InputError

OLD, NEW = "TRANSPOSE_CONV", "subpixel"


@dataclasses.dataclass(frozen=True)
class Choice:
    """One Deconv, with the pointwise layers that follow it, in both forms.

    Attributes:
      layer: the Deconv.
      speedup: of the new form over the old one in this comparison.
      p50_ms: of the old form and of the new one.
      missing: ops of the new form that the board's runtime does not take.
      taken: whether the layer gets the new form.
      why: the reason.
    """

    layer: str
    speedup: Speedup
    p50_ms: tuple[float, float]
    missing: tuple[str, ...]
    taken: bool
    why: str


@dataclasses.dataclass(frozen=True)
class Choices:
    """The new model, and one entry a Deconv."""

    model: keras.Model
    choices: tuple[Choice, ...]

    def table(self) -> str:
        """-> one line a Deconv, for people."""
        lines = [f"{'Deconv':24} {OLD + ', ms':>18} {NEW + ', ms':>13} {'speed-up':>9}  form"]
        for one in self.choices:
            old, new = one.p50_ms
            form = NEW if one.taken else OLD
            lines.append(f"{one.layer:24} {old:18.2f} {new:13.2f} {one.speedup.median:9.2f}  {form}: {one.why}")
        return "\n".join(lines)


def choose_subpixel(
    model: keras.Model,
    board: BoardProfile | None = None,
    select: Sequence[str] | None = None,
    *,
    preset: str = "fp32",
    runtime: str | None = None,
    rules: Mapping[str, Any] | None = None,
    write: Callable[[str], None] = say,
) -> Choices:
    """-> the network with those Deconvs as convolutions and DEPTH_TO_SPACE that are faster so and fit the board.

    Each Deconv is cut out with the pointwise layers behind it, exported in both forms and timed in turn; the new form
    is taken where it is faster in every round. Outputs stay the same either way.

    Args:
      model: functional, input size fixed; it is not changed.
      board: a form whose ops its runtime does not take is not chosen. The latency is this machine's all the same.
      select: names of Deconvs; all with a stride above 1 if None.
      preset: of the export that is planned: what pays in float32 need not pay in int8.
      runtime: one of the board's; its first if None.
      rules: of `benchmark_together`; one thread and five rounds by default.
      write: where progress goes.

    Raises:
      InputError: see `subpixel`; or there is no such Deconv.
    """
    rules = {**QUICK_RULES, **(rules or {})}
    asked = board.runtime(runtime) if board else None
    flat = rewrite(model, {}, flatten=True)
    graph = trace(flat)
    calls = chosen_deconvs(graph, select)
    if not calls:
        raise InputError(f"A network with Deconvs of stride 2 or more was expected. Received: {model.name!r} without")
    choices = []
    for number, call in enumerate(calls, start=1):
        write(f"[{number}/{len(calls)}] {call.name}: both forms, {preset}")
        last = [call, *pointwise_chain(graph, call)][-1]
        # What the segment computes does not depend on the rest, nor does its latency.
        segment = rewrite(keras.Model(flat.get_layer(call.name).input, flat.get_layer(last.name).output), {})
        choices.append(_choice(call.name, as_if_trained(segment), preset, asked, rules))
    taken = [one.layer for one in choices if one.taken]
    return Choices(subpixel(flat, taken).model if taken else flat, tuple(choices))


def _choice(name: str, segment: keras.Model, preset: str, asked: Runtime | None, rules: Mapping[str, Any]) -> Choice:
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(1, *segment.input_shape[1:])).astype(np.float32) for _ in range(4)]
    files, missing = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for form, network in ((OLD, segment), (NEW, subpixel(segment, [name]).model)):
            tflite = export_tflite(network, ExportSpec(preset), images if preset == "int8" else ())
            files[form] = Path(folder, f"{form}.tflite")
            files[form].write_bytes(tflite)
            missing[form] = tuple(dict.fromkeys(miss.op for miss in missing_ops(tflite, asked))) if asked else ()
        comparison = benchmark_together(files, **rules)
    speedup = comparison.speedups(OLD)[NEW]
    if missing[NEW]:
        taken, why = False, f"the board does not take {', '.join(missing[NEW])}"
    elif missing[OLD]:
        taken, why = True, f"the board does not take {', '.join(missing[OLD])}"
    else:
        taken = speedup.min > 1
        why = "faster in every round" if taken else "not faster in every round"
    return Choice(name, speedup, (comparison[OLD].latency.p50, comparison[NEW].latency.p50), missing[NEW], taken, why)
