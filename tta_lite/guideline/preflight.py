"""Before anything is trained: does the network convert, what does the board take of it, what can each step bring?"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence

from tta_lite.boards.checks import int8_pays
from tta_lite.boards.profile import BoardProfile
from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.options import Options
from tta_lite.export.quantize.presets import make
from tta_lite.guideline.checks import Miss, as_if_trained, missing_ops, no_fp16
from tta_lite.guideline.quantisable import Quantisable, check_quantisable
from tta_lite.guideline.reasons import Reason, Said, reason, spoken
from tta_lite.measure.counting import count
from tta_lite.transforms.backbone import find_cuts
from tta_lite.transforms.channels.groups import channel_groups
from tta_lite.transforms.factorize import COSTLY
from tta_lite.transforms.graph import trace
from tta_lite.transforms.rewrite import rewrite
from tta_lite.types import InputError

PRESETS = ("fp32", "fp16", "int8")


@dataclasses.dataclass(frozen=True)
class Support:
    """What one runtime of the board takes of the network's file in one precision.

    Attributes:
      runtime: its name and version.
      preset: of the export.
      fault: why there is no such file, or why it is not run; empty: there is.
      ops: op -> how often it is in the file.
      misses: what the runtime does not take.
      runs_anyway: whether it runs them all the same, in slower kernels.
    """

    runtime: str
    preset: str
    fault: Said = ""
    ops: Mapping[str, int] = dataclasses.field(default_factory=dict)
    misses: tuple[Miss, ...] = ()
    runs_anyway: bool = False


@dataclasses.dataclass(frozen=True)
class Preflight:
    """What is known before the first measurement.

    Attributes:
      supports: one a runtime and precision.
      outlook: step -> what it can bring here.
      convert_s: seconds of the float32 conversion on this machine.
    """

    supports: tuple[Support, ...]
    outlook: tuple[tuple[str, Reason], ...]
    convert_s: float

    def table(self) -> str:
        """-> GitHub Markdown: a line an op, a column a runtime and precision."""
        columns = [f"{one.runtime}, {one.preset}" for one in self.supports]
        lines = ["| op | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
        names = sorted({op for one in self.supports for op in one.ops})
        lines += [f"| {name} | " + " | ".join(map(spoken, self.cells(name))) + " |" for name in names]
        faults = [f"- {one.runtime}, {one.preset}: {one.fault}" for one in self.supports if one.fault]
        return "\n".join([*lines, *([""] * bool(faults)), *faults]) + "\n"

    def cells(self, op: str) -> list[Said]:
        """-> whether it is taken, one text a runtime and precision."""
        return [_cell(one, op) for one in self.supports]


def _cell(support: Support, op: str) -> Said:
    if support.fault:
        return "-"
    if op not in support.ops:
        return ""
    missed = [miss for miss in support.misses if miss.op == op]
    if not missed:
        return reason("takes", count=support.ops[op])
    layers = ", ".join(dict.fromkeys(miss.layer for miss in missed[:3])) + (", ..." if len(missed) > 3 else "")
    code = "takes_slower" if support.runs_anyway else "takes_not"
    return reason(code, missed=len(missed), count=support.ops[op], layers=layers)


def fixed_size(model: keras.Model, side: int | None) -> keras.Model:
    """-> the model with the size of its pictures fixed.

    Args:
      model: one picture in.
      side: in pixels; None: the size that it has.

    Raises:
      InputError: the size is open and no side is given, or the model cannot take that size.
    """
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        raise InputError(
            "The network must take one picture, [B, H, W, C]. Received: inputs "
            f"{[list(tensor.shape) for tensor in model.inputs]}"
        )
    height, width, channels = model.inputs[0].shape[1:]
    if side is None:
        if None in (height, width):
            raise InputError(
                f"The size of the network's pictures is open and must be given (--input_size). Received: "
                f"{list(model.inputs[0].shape)}"
            )
        return model
    if (height, width) == (side, side):
        return model
    return rewrite(model, {}, input_shapes={model.input_names[0]: (side, side, channels)})


def preflight(model: keras.Model, board: BoardProfile) -> Preflight:
    """Converts the network as if it were trained, in every precision, and asks every runtime of the board for every op.

    Args:
      model: functional, one picture of a fixed size in, one tensor out.
      board: the target.

    Raises:
      InputError: the network is no graph of layers, or does not convert to float32.
    """
    graph_model = as_if_trained(model)
    names = [layer.name for layer in graph_model.layers]
    began = time.monotonic()
    source = FloatFile.of_model(graph_model)
    convert_s = time.monotonic() - began
    files = {"fp32": source.tflite}
    faults: dict[str, Said] = {}
    try:
        files["fp16"] = make(source, {}, "fp16", Options())
    except InputError as error:
        faults["fp16"] = " ".join(str(error).split())
    integers = _integers(source)
    files["int8"] = integers.tflite
    if integers.float_ops:
        faults["int8"] = integers.said()
    supports = []
    for runtime in board.runtimes:
        for preset in PRESETS:
            name = runtime.title
            if preset not in runtime.presets:
                supports.append(Support(name, preset, reason("runs_only", presets=", ".join(runtime.presets))))
            elif preset in faults:
                supports.append(Support(name, preset, faults[preset]))
            else:
                ops = {one.name: one.count for one in read_contents(files[preset]).op_counts()}
                missed = tuple(missing_ops(files[preset], runtime, names))
                supports.append(Support(name, preset, "", ops, missed, bool(runtime.ask)))
    return Preflight(tuple(supports), tuple(_outlook(graph_model, board, supports, integers)), convert_s)


def _integers(source: FloatFile) -> Quantisable:
    """-> what would become of the network as integers (6.2.1); costs are measured where there is one to tell."""
    found = check_quantisable(source, timed=False)
    return check_quantisable(source) if found.left or found.crossings else found


def _outlook(
    model: keras.Model, board: BoardProfile, supports: Sequence[Support], quantisable: Quantisable
) -> list[tuple[str, Reason]]:
    counts = count(model)
    macs = {layer.name: layer.macs or 0 for layer in counts.layers}
    ops = {layer.name: layer.op for layer in counts.layers}
    total = max(sum(macs.values()), 1)
    found: list[tuple[str, Reason]] = []
    try:
        cuts = [call.name for call in find_cuts(trace(model))]
        order = list(macs)
        last = max(order.index(name) for name in cuts)
        share = sum(macs[name] for name in order[: last + 1]) / total
        found.append(("G1", reason("outlook_g1", cut=", ".join(cuts), share=f"{share:.0%}")))
    except InputError as error:
        found.append(("G1", reason("outlook_no_cut", fault=" ".join(str(error).split()))))
    costly = {name: cost for name, cost in macs.items() if cost >= COSTLY * total}
    first = max(macs, key=lambda name: macs[name])
    found.append((
        "G2",
        reason(
            "outlook_g2",
            count=len(costly),
            share=f"{sum(costly.values()) / total:.0%}",
            layer=first,
            most=f"{macs[first] / total:.0%}",
        ),
    ))  # fmt: skip
    deconvs = sum(macs[name] for name, op in ops.items() if "Transpose" in op)
    if deconvs:
        found.append(("subpixel", reason("outlook_subpixel", share=f"{deconvs / total:.0%}")))
    found.append(("channels", _channels(model)))
    found.append(("G5", reason("outlook_g5")))
    integers = [one for one in supports if one.preset == "int8" and one.runtime.startswith(board.runtimes[0].name)]
    left = next(iter(integers), None)
    if left is None or left.fault:
        found.append(("G3", reason("outlook_no_int8", fault=left.fault if left else "")))
    else:
        dot = int8_pays(board).code == "int8"
        said = quantisable.said()
        found.append(("G3", reason("outlook_g3" if dot else "outlook_g3_no_dot", integers=said)))
    found.append(("G4", no_fp16(board) or reason("outlook_g4")))
    return found


def _channels(model: keras.Model) -> Reason:
    try:
        groups = channel_groups(rewrite(model, {}, flatten=True))
    except InputError as error:
        return reason("outlook_no_channels", fault=" ".join(str(error).split()))
    return reason("outlook_channels", count=sum(not one.why_fixed for one in groups), total=len(groups))
