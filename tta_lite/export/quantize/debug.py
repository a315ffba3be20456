"""Which layers lose what by quantisation, in the words of the Keras network (clause 6.2.1). Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize.compare import Agreement, Compared, Grid, Probe, compare, written
from tta_lite.export.quantize.names import OpLayers, op_layers
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.export.quantize.single_error import quantised_weights, with_output, with_weights
from tta_lite.export.quantize.statistics import check_images
from tta_lite.export.runner import TFLitePredictor
from tta_lite.types import ExportSpec, InputError, Predictor

# The repair that changes what tensors hold, and not what the network computes.
EQUALIZE = "equalize"
# What files are scored by if nothing else is given.
METRIC = "output SQNR, dB"
# The names of the ops that stay in float32 -> the file.
Quantize = Callable[[tuple[str, ...]], bytes]
# How good a file is; more is better.
Metric = Callable[[Predictor], float]


@dataclasses.dataclass(frozen=True)
class OpError:
    """What one op lost. All ratios of signal to noise are in decibels: 20 more are a tenth of the error.

    Attributes:
      index: the op's place in the float file.
      op: as ``CONV_2D``.
      layer: the Keras layer that computes; the tensor's name where the file does not tell it.
      fused: all layers that the op stands for.
      tensor: that it writes; back ends know the op by it.
      readers: the tensors of the ops that read it.
      low, high: of the true values.
      held_low, held_high: what the quantised tensor can hold; None where it is float.
      scale, zero_point: of the quantised tensor; None where it is float.
      clipped: share of the true values outside of it.
      sqnr_db, cosine, mean_error: of its values as the quantised file computes them, with all errors before it.
      local_sqnr_db: of its values if nothing but this op is quantised.
      weights_db: of the network's output if nothing but its weights is; infinite without any.
      output_db: of the network's output if nothing but the tensor that it writes is.
      gain: by how much the file's score grows if this op stays in float32; None if that was not tried.
      codes_reached: share of the weights' codes between the smallest and the largest in use, the mean of all
        channels; None without weights in int8.
    """

    index: int
    op: str
    layer: str
    fused: tuple[str, ...]
    tensor: str
    readers: tuple[str, ...]
    low: float
    high: float
    held_low: float | None
    held_high: float | None
    scale: float | None
    zero_point: int | None
    clipped: float
    sqnr_db: float
    cosine: float
    mean_error: float
    local_sqnr_db: float
    weights_db: float
    output_db: float
    gain: float | None = None
    codes_reached: float | None = None

    @property
    def alone_db(self) -> float:
        """Of the network's output if nothing but this op is quantised: both noises together."""
        return _summed(self.weights_db, self.output_db)

    @property
    def by_weights(self) -> bool:
        """Whether its weights do more harm than the rounding of what it writes."""
        return self.weights_db < self.output_db


@dataclasses.dataclass(frozen=True)
class Debug:
    """What every op of a quantised file lost.

    Attributes:
      ops: in the order in which they run; without those that the quantised file has under no name of the float file.
      output_sqnr_db: of the network's output.
      input_db: of the network's output if nothing but the image is quantised.
      score: of the quantised file, by `metric`.
      metric: its name.
      images: how many were run.
      seconds: that it took.
      float_tflite, tflite: the files that were compared.
    """

    ops: tuple[OpError, ...]
    output_sqnr_db: float
    input_db: float
    score: float
    metric: str
    images: int
    seconds: float
    float_tflite: bytes = dataclasses.field(repr=False)
    tflite: bytes = dataclasses.field(repr=False)

    def worst(self, count: int | None = None) -> list[OpError]:
        """-> the ops that do most harm to the network's output by themselves, the worst first."""
        return sorted(self.ops, key=lambda one: one.alone_db)[:count]

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain values; what is infinite becomes null in a file."""
        files = ("float_tflite", "tflite")
        record = {one.name: getattr(self, one.name) for one in dataclasses.fields(self) if one.name not in files}
        record["ops"] = [{**dataclasses.asdict(one), "alone_db": one.alone_db} for one in self.ops]
        record["worst"] = [one.layer for one in self.worst(10)]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Debug:
        """The inverse of `to_json`, without the files."""
        ratios = [one.name for one in dataclasses.fields(OpError) if one.name.endswith("_db")]
        ops = []
        for one in record["ops"]:
            values = {name: one[name] for name in (field.name for field in dataclasses.fields(OpError))}
            values |= {name: math.inf for name in ratios if values[name] is None}
            values |= {name: tuple(values[name]) for name in ("fused", "readers")}
            ops.append(OpError(**values))
        names = ("output_sqnr_db", "input_db", "score")
        figures: dict[str, Any] = {name: math.inf if record[name] is None else record[name] for name in names}
        rest = {name: record[name] for name in ("metric", "images", "seconds")}
        return cls(tuple(ops), **figures, **rest, float_tflite=b"", tflite=b"")


def debug(
    float_tflite: bytes,
    quantised_tflite: bytes,
    images: Sequence[np.ndarray],
    *,
    layers: Collection[str] = (),
    quantize: Quantize | None = None,
    metric: Metric | None = None,
    metric_name: str = METRIC,
) -> Debug:
    """-> what every op lost.

    Args:
      float_tflite: the truth; one input, one output.
      quantised_tflite: made of it, by either back end. Files that were repaired: see `debug_export`.
      images: each [1, H, W, C] float32, normalised; eight tell most, more tell it finer.
      layers: names of the Keras network's layers, if it is at hand.
      quantize: makes the same file with some ops left in float32; each op is then left out once, which takes 0.1 to
        0.5 s an op.
      metric: scores those files; the SQNR of the network's output on `images` if None.
      metric_name: what it is called.

    Raises:
      InputError: the files are not of one network, or the images do not fit it.
    """
    began = time.perf_counter()
    edit, images = GraphEdit(float_tflite), list(images)
    check_images(images, edit.shape(int(edit.graph.inputs[0])))
    if len(edit.graph.inputs) != 1 or len(edit.outputs) != 1:
        raise InputError(
            "A file with one input and one output can be debugged. "
            f"Received: {len(edit.graph.inputs)} inputs, {len(edit.outputs)} outputs"
        )
    compared = compare(float_tflite, quantised_tflite, images)
    quantised, output = GraphEdit(quantised_tflite), edit.text(edit.outputs[0])
    truth = Probe(float_tflite, list(compared))
    true = [dict(truth(image, (output,)))[output] for image in images]
    score = metric or output_sqnr(images, true)
    base = score(TFLitePredictor(quantised_tflite))
    image = compared[edit.text(int(edit.graph.inputs[0]))]
    ops = []
    for place, op, named in zip(range(len(edit.ops)), edit.ops, op_layers(float_tflite, layers), strict=True):
        if named.tensor not in compared or int(op.outputs[0]) not in written(edit):
            continue
        found = _of_op(truth, float_tflite, edit, quantised, named, compared[named.tensor], images, true)
        if quantize is not None:
            found["gain"] = score(TFLitePredictor(quantize((named.tensor,)))) - base
        readers = tuple(edit.text(int(one.outputs[0])) for one in edit.read_by(int(op.outputs[0])))
        ops.append(
            OpError(
                place, named.op, named.title, named.fused, named.tensor, readers,
                **_fields(compared[named.tensor]), **found,
            )
        )  # fmt: skip
    return Debug(
        ops=tuple(ops),
        output_sqnr_db=compared[output].agreement.sqnr_db,
        input_db=_of_tensor(float_tflite, edit.text(int(edit.graph.inputs[0])), image.grid, images, true),
        score=base,
        metric=metric_name,
        images=len(images),
        seconds=time.perf_counter() - began,
        float_tflite=float_tflite,
        tflite=quantised_tflite,
    )


def debug_export(
    post: PostTraining, spec: ExportSpec, images: Sequence[np.ndarray], *, leave_one_out: bool = False, **options: Any
) -> Debug:
    """-> what every op loses in the file that a spec describes.

    Equalisation gives the layers within the network other scales, and the network the same output: so the truth is the
    float file after it, and before repairs that change what it computes.

    Args:
      post: the network and its calibration images.
      spec: of the file.
      images: each [1, H, W, C] float32, normalised.
      leave_one_out: whether each op is once left in float32.
      options: `layers`, `metric` and `metric_name` of `debug`.

    Raises:
      InputError: see `debug`; or ops are to be left out of a preset that computes in float anyway.
    """
    if leave_one_out and not spec.needs_images:
        raise InputError(f"An op can be left in float32 in int8 and int16x8 alone. Received: preset {spec.preset}")
    truth, start, plain = post.source, post, dataclasses.replace(spec, repairs=())
    if spec.repairs:
        # Repaired once; the files that leave one op out start from there.
        start = PostTraining(post.repaired(spec), post.images)
        truth = post.repaired(dataclasses.replace(spec, repairs=tuple(one for one in spec.repairs if one == EQUALIZE)))

    def quantize(names: tuple[str, ...]) -> bytes:
        kept = tuple(dict.fromkeys((*spec.keep_float, *names)))
        others = tuple(name for name in spec.keep_16x8 if name not in kept)
        return start.quantize(dataclasses.replace(plain, keep_float=kept, keep_16x8=others))

    file = start.quantize(plain)
    return debug(truth.tflite, file, images, quantize=quantize if leave_one_out else None, **options)


def worst_ops(found: Debug, count: int) -> tuple[str, ...]:
    """-> what to hand to `keep_float` or `keep_16x8` so that the worst ops lose nothing: names of tensors.

    Where the harm is in the tensor that an op writes, the ops that read it must be kept, too: an int8 op reads int8.
    """
    kept = (name for one in found.worst(count) for name in to_keep(one))
    return tuple(dict.fromkeys(kept))


def to_keep(op: OpError) -> tuple[str, ...]:
    """-> the ops that must be kept together for the harm of one to go away."""
    return (op.tensor,) if op.by_weights else (op.tensor, *op.readers)


def output_sqnr(images: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> Metric:
    """-> how near a file's output is to the true one, in decibels."""

    def metric(predict: Predictor) -> float:
        seen = Agreement()
        for image, values in zip(images, true, strict=True):
            seen.add(values, predict(image))
        return seen.sqnr_db

    return metric


def true_outputs(float_tflite: bytes, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """-> what a float file gives for each image."""
    predict = TFLitePredictor(float_tflite)
    return [predict(image) for image in images]


def _of_op(
    truth: Probe,
    float_tflite: bytes,
    edit: GraphEdit,
    quantised: GraphEdit,
    named: OpLayers,
    compared: Compared,
    images: Sequence[np.ndarray],
    true: Sequence[np.ndarray],
) -> dict[str, Any]:
    tensor, output, grid = named.tensor, edit.text(edit.outputs[0]), compared.grid
    weights = quantised_weights(edit, quantised, tensor)
    by_weights, local = math.inf, compared.rounded.sqnr_db
    if weights is not None:
        changed, seen, whole = truth.of(with_weights(truth.file, tensor, weights)), Agreement(), Agreement()
        for image, values in zip(images, true, strict=True):
            held, ours = dict(changed(image, (tensor, output))), dict(truth(image, (tensor,)))[tensor]
            whole.add(values, held[output])
            seen.add(ours, held[tensor] if grid is None else grid.rounded(held[tensor]))
        by_weights, local = whole.sqnr_db, seen.sqnr_db
    return {
        "local_sqnr_db": local,
        "weights_db": by_weights,
        "output_db": _of_tensor(float_tflite, tensor, grid, images, true),
        "codes_reached": None if weights is None else weights.reached(),
    }


def _of_tensor(
    float_tflite: bytes, tensor: str, grid: Grid | None, images: Sequence[np.ndarray], true: Sequence[np.ndarray]
) -> float:
    """-> the SQNR of the network's output if one tensor is rounded; infinite if it is float in both files."""
    if grid is None:
        return math.inf
    return output_sqnr(images, true)(TFLitePredictor(with_output(float_tflite, tensor, grid)))


def _fields(compared: Compared) -> dict[str, Any]:
    grid, seen = compared.grid, compared.agreement
    return {
        "low": compared.low,
        "high": compared.high,
        "held_low": grid.range[0] if grid else None,
        "held_high": grid.range[1] if grid else None,
        "scale": grid.scale if grid else None,
        "zero_point": grid.zero_point if grid else None,
        "clipped": compared.clipped,
        "sqnr_db": seen.sqnr_db,
        "cosine": seen.cosine,
        "mean_error": seen.mean_error,
    }


def _summed(*ratios_db: float) -> float:
    """-> the ratio if the noises of all add up.

    >>> round(_summed(20.0, 20.0), 2), _summed(20.0, math.inf)
    (16.99, 20.0)
    """
    noise = sum(10 ** (-one / 10) for one in ratios_db)
    return -10 * math.log10(noise) if noise > 0 else math.inf
