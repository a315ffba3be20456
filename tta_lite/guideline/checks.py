"""May this step be taken on this board? Asked before any training (clauses 6.1.1 and 6.2.1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tta_lite.boards.checks import can_run, fp16_pays
from tta_lite.boards.profile import BoardProfile, Runtime
from tta_lite.compat import keras
from tta_lite.export.contents import Contents, Op, read_contents
from tta_lite.export.delegation import undelegated_ops
from tta_lite.export.for_runtime import exported_for
from tta_lite.export.quantize.names import op_layers
from tta_lite.export.tflite import export_tflite
from tta_lite.guideline.reasons import ENGLISH, Reason, Said, all_of, reason, spoken
from tta_lite.models.backbones import LIGHT_BACKBONES, get_backbone
from tta_lite.transforms.as_if_trained import as_if_trained
from tta_lite.types import ExportSpec, InputError

SHOWN = 3
COMPUTED = ("float32", "float16", "int8", "uint8", "int16")


@dataclasses.dataclass(frozen=True)
class Miss:
    """An op that a board's runtime does not take.

    Attributes:
      op: as ``HARD_SWISH``.
      layer: that it comes from; the tensor's name where the converter has kept no layer's.
      why: what the runtime or its list says.
      said: the same, as a reason if it is one of ours.
    """

    op: str
    layer: str
    why: str
    said: Said = ""


class UnsupportedOpsError(InputError):
    """A network holds ops that the board's runtime does not take.

    Attributes:
      said: the text as a reason.
      misses: all of them, in the order in which they run.
    """

    def __init__(self, said: Reason, misses: Sequence[Miss]):
        super().__init__(str(said))
        self.said = said
        self.misses = tuple(misses)


def unsupported_ops(
    model: keras.Model, board: BoardProfile, *, runtime: str | None = None, preset: str = "fp32"
) -> list[Miss]:
    """Converts the untrained network and asks for each op whether the board's runtime takes it.

    Nothing needs to be trained to know it: which ops a file has hangs on weights only where they are all zero, and a
    copy of the network gets others there.

    Args:
      model: one image of a fixed size in, one tensor out.
      board: the target.
      runtime: one of the board's; its first if None.
      preset: of the export.

    Returns:
      what it does not take, in the order in which the ops run; empty: it takes every one.

    Raises:
      InputError: the network does not convert, or the runtime does not run files of that preset.

    Example:
      >>> from tta_lite.boards.profile import get_board
      >>> image = keras.Input((8, 8, 4))
      >>> net = keras.Model(image, keras.layers.Conv2DTranspose(4, 4, strides=2, padding="same", name="up")(image))
      >>> unsupported_ops(net, get_board("rk3399"))
      []
    """
    chosen = board.runtime(runtime)
    if preset not in chosen.presets:
        raise InputError(
            f"{chosen.name} {chosen.version} on {board.title} runs files of {', '.join(chosen.presets)}. "
            f"Received: {preset!r}"
        )
    rng = np.random.default_rng(0)
    model = as_if_trained(model)
    images = [rng.normal(size=(1, *model.input_shape[1:])).astype(np.float32) for _ in range(2)]
    tflite = export_tflite(model, ExportSpec(preset), images if preset == "int8" else ())
    return missing_ops(tflite, chosen, [layer.name for layer in model.layers])


def no_fp16(board: BoardProfile, runtime: str | None = None) -> Reason | None:
    """-> why half precision would not run faster there; None: it may.

    >>> from tta_lite.boards.profile import get_board
    >>> str(no_fp16(get_board("raspberry_pi_4")))
    'Cortex-A72 of Raspberry Pi 4 Model B do not compute in FP16, so that half precision would not run faster (6.2.2)'

    Args:
      board: the target.
      runtime: one of the board's; its first if None.
    """
    answer = fp16_pays(board, runtime)
    if answer.yes:
        return None
    if answer.code == "no_fp16_kernels":
        return reason(answer.code, runtime=board.runtime(runtime).title, board=board.title)
    return reason(answer.code, cores=all_of([cores.name for cores in board.cores]), board=board.title)


def missing_ops(tflite: bytes, runtime: Runtime, layers: Sequence[str] = ()) -> list[Miss]:
    """-> the ops of a file that a runtime does not take, in order, after what `exported_for` does for it.

    Args:
      tflite: the file.
      runtime: of a board.
      layers: names of the network's layers in their order, by which the misses are told.
    """
    tflite = exported_for(tflite, runtime)
    contents = read_contents(tflite)
    if runtime.ask:
        whys: dict[int, Said] = {one.index: one.why for one in undelegated_ops(tflite)}
    else:
        whys = {op.index: why for op in contents.ops if (why := _why_not(op, contents, runtime))}
    named = op_layers(tflite, layers, contents)
    return [Miss(contents.ops[index].name, named[index].title, spoken(why), why) for index, why in sorted(whys.items())]


def _why_not(op: Op, contents: Contents, runtime: Runtime) -> Said:
    dtype, inputs = _dtype(op, contents), len(op.inputs)
    answer = can_run(runtime, op.name, dtype, op.version, inputs)
    if answer.yes is not False:
        return ""
    # The sentences of the answers, for every language: an answer says in its code which it is.
    values: dict[str, object] = {
        "most": runtime.max_inputs.get(op.name, inputs),
        "count": inputs,
        "newest": runtime.op_versions.get(op.name),
        "version": op.version,
        "dtype": dtype,
    }
    gaps = {gap: value for gap, value in values.items() if f"{{{gap}}}" in ENGLISH[answer.code]}
    return reason(answer.code, runtime=runtime.title, op=op.name, **gaps)


def _dtype(op: Op, contents: Contents) -> str | None:
    """-> the type that an op computes with: of its first input that is no index, shape or mask."""
    types = [contents.tensors[index].dtype for index in op.inputs if index >= 0]
    return next((dtype for dtype in types if dtype in COMPUTED), None)


def ops_check(
    board: BoardProfile,
    *,
    runtime: str | None = None,
    preset: str = "fp32",
    others: Sequence[str] = LIGHT_BACKBONES,
) -> Callable[[keras.Model, str], None]:
    """-> what `swap_backbone` takes as `check`: it raises before any training where the board lacks an op.

    The message names op and layer, and the other light networks that would pass: those are converted too, which takes
    some seconds each, but only on a miss.

    Args:
      board: the target.
      runtime: one of the board's; its first if None.
      preset: of the export that is planned.
      others: backbones to try on a miss.

    Raises:
      UnsupportedOpsError: by the function that comes back.
    """

    def check(features: keras.Model, name: str) -> None:
        misses = unsupported_ops(features, board, runtime=runtime, preset=preset)
        if not misses:
            return
        passing = [other for other in others if other != name and _passes(other, features.input_shape[1:])]
        chosen = board.runtime(runtime)
        ops = all_of(
            [reason("op_of_layer_why", op=one.op, layer=repr(one.layer), why=one.said) for one in misses[:SHOWN]],
            "also",
        )
        if len(misses) > SHOWN:
            rest = sorted({miss.op for miss in misses[SHOWN:]})
            ops = reason("and_more", first=ops, count=len(misses) - SHOWN, ops=", ".join(rest))
        said = reason(
            "fault_backbone",
            board=board.title,
            runtime=f"{chosen.name} {chosen.version}",
            preset=preset,
            passing=", ".join(passing) or reason("none_tried"),
            name=repr(name),
            ops=ops,
        )
        raise UnsupportedOpsError(said, misses)

    def _passes(other: str, shape: tuple[int, ...]) -> bool:
        image = keras.Input(shape)
        try:
            network = keras.Model(image, get_backbone(other).build(image, None))
            return not unsupported_ops(network, board, runtime=runtime, preset=preset)
        except InputError:
            return False

    return check
