"""What does a network cost on paper? MACs, parameters and activation memory, per layer and in all.

See also ``docs/counting.md``. A MAC is one multiply-accumulate, as in fvcore's "one fused multiply-add as one flop".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from tta_lite.compat import keras
from tta_lite.measure import op_counts
from tta_lite.transforms.graph import Call, Shape, trace
from tta_lite.types import InputError

DEFINITION = """\
One inference, batch 1. A MAC is one multiply and one add.
  Conv       OH x OW x OC x KH x KW x IC / groups; taps on the padding count
  DWConv     OH x OW x IC x multiplier x KH x KW; a separable convolution is this and a 1 x 1 Conv
  Deconv     IH x IW x IC x KH x KW x OC: all taps of each input pixel, also those that the border cuts off
  Dense      inputs x outputs, at each position
  all else   0: biases and batch norm fold into a neighbour; activations, additions, poolings and resizing
             do not multiply and accumulate
Parameters: trainable ones, and those that training does not change by gradients (batch norm's moving statistics).
Activation memory: 4 bytes a value (float32). A layer's figure is its output. The total is the peak: the largest sum of
tensors that are needed at one time in Keras's order of execution, the running layer's inputs and outputs included.
Batch norm, activations and reshapes write over their input if nothing else reads it later. Weights and scratch memory
are not in it."""
FLOAT_BYTES = 4


@dataclasses.dataclass(frozen=True)
class LayerCount:
    """One call of a layer. A layer that is called twice has two; its parameters are with the first.

    Attributes:
      name: the layer's name; ``outer/inner`` inside a nested model.
      op: its class.
      output_shape: [1, H, W, C]; the first output if there are several.
      macs: multiply-accumulates.
      params: weights in all.
      trainable_params: of these, the ones training changes.
      activation_bytes: of all its outputs, in float32.
    """

    name: str
    op: str
    output_shape: tuple[int, ...]
    macs: int
    params: int
    trainable_params: int
    activation_bytes: int


@dataclasses.dataclass(frozen=True)
class Counts:
    """What a network costs on paper; `DEFINITION` says what is counted.

    Attributes:
      layers: in the order of execution.
      macs: multiply-accumulates of one inference.
      params: trainable and non-trainable parameters.
      trainable_params: the ones training changes.
      activation_bytes: peak of the activation memory in float32; a quarter of it for 8 bit integers.
      uncounted: layers without weights that the table does not know; they are taken to have no MACs.
    """

    layers: tuple[LayerCount, ...]
    macs: int
    params: int
    trainable_params: int
    activation_bytes: int
    uncounted: tuple[str, ...] = ()

    @property
    def non_trainable_params(self) -> int:
        """Parameters that training does not change by gradients."""
        return self.params - self.trainable_params

    def table(self) -> str:
        """-> plain text: the definition, one line a layer, the sums."""
        head = ("layer", "op", "output", "MACs", "params", "bytes")
        rows = [
            (
                layer.name,
                layer.op,
                "x".join(map(str, layer.output_shape[1:])),
                f"{layer.macs:,}",
                f"{layer.params:,}",
                f"{layer.activation_bytes:,}",
            )
            for layer in self.layers
        ]
        total = ("total", "", "", f"{self.macs:,}", f"{self.params:,}", f"peak {self.activation_bytes:,}")
        widths = [max(map(len, column)) for column in zip(head, *rows, total, strict=True)]
        rule = tuple("-" * width for width in widths)
        lines = [
            "  ".join(
                cell.ljust(width) if place < 3 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (head, rule, *rows, rule, total)
        ]
        notes = [f"Parameters: {self.trainable_params:,} trainable, {self.non_trainable_params:,} not."]
        if self.uncounted:
            notes.append(f"Taken to have no MACs, as they have no weights: {', '.join(self.uncounted)}.")
        return "\n".join([DEFINITION, "", *lines, "", *notes])


def count(model: keras.Model) -> Counts:
    """Count a functional or sequential model whose input size is fixed (the batch may be open).

    Raises:
      InputError: the model is not a graph of layers, a size is open, or a layer's MACs are not known.
    """
    graph = trace(model)
    steps, inputs, outputs = graph.calls, graph.inputs, set(graph.outputs)
    where = {number: step.name for step in steps for number in step.writes}
    shapes = [_fixed(shape, where.get(number, model.name)) for number, shape in enumerate(graph.shapes)]

    sizes = [FLOAT_BYTES * math.prod(shape) for shape in shapes]
    layers: list[LayerCount] = []
    uncounted: list[str] = []
    owned: set[int] = set()
    for name, number in zip(model.input_names, inputs, strict=True):
        layers.append(LayerCount(name, "InputLayer", shapes[number], 0, 0, 0, sizes[number]))
    for step in steps:
        layer = step.layer
        macs = op_counts.macs(layer, shapes[step.reads[0]] if step.reads else (), shapes[step.writes[0]])
        if macs is None:
            uncounted.append(f"{step.name} ({op_counts.function_name(layer) or type(layer).__name__})")
        fresh = [weight for weight in layer.weights if id(weight) not in owned]
        trainable = {id(weight) for weight in layer.trainable_weights}
        owned.update(map(id, fresh))
        layers.append(
            LayerCount(
                name=step.name,
                op=type(layer).__name__,
                output_shape=shapes[step.writes[0]],
                macs=macs or 0,
                params=sum(math.prod(weight.shape) for weight in fresh),
                trainable_params=sum(math.prod(weight.shape) for weight in fresh if id(weight) in trainable),
                activation_bytes=sum(sizes[number] for number in step.writes),
            )
        )
    lost = [weight.name for weight in model.weights if id(weight) not in owned]
    if lost:
        raise InputError(
            f"Each weight must belong to a layer of the graph. Received: {', '.join(lost[:3])} in no layer"
        )
    return Counts(
        layers=tuple(layers),
        macs=sum(layer.macs for layer in layers),
        params=sum(layer.params for layer in layers),
        trainable_params=sum(layer.trainable_params for layer in layers),
        activation_bytes=_peak_bytes(steps, sizes, inputs, outputs),
        uncounted=tuple(uncounted),
    )


def _fixed(shape: Shape, where: str) -> tuple[int, ...]:
    """-> a shape with its batch set to 1."""
    sizes = tuple(size for size in shape[1:] if size is not None)
    if len(sizes) < len(shape) - 1:
        raise InputError(
            f"Counting needs a fixed size: build the model with its input shape. Received: {shape} in {where}"
        )
    return (1, *sizes)


def _peak_bytes(steps: Sequence[Call], sizes: Sequence[int], inputs: Sequence[int], outputs: set[int]) -> int:
    """-> the largest sum of tensors that are needed at one time. The inputs are there from the start."""
    last_read = {number: place for place, step in enumerate(steps) for number in step.reads}
    last_read.update(dict.fromkeys(outputs, len(steps)))
    live = set(inputs)
    peak = sum(sizes[number] for number in live)
    for place, step in enumerate(steps):
        if _in_place(step, sizes) and last_read[step.reads[0]] == place:
            live.discard(step.reads[0])
        live.update(step.writes)
        peak = max(peak, sum(sizes[number] for number in live))
        live = {number for number in live if last_read.get(number, -1) > place}
    return peak


def _in_place(step: Call, sizes: Sequence[int]) -> bool:
    elementwise = type(step.layer) in op_counts.ELEMENTWISE
    return elementwise and len(step.reads) == 1 and sizes[step.reads[0]] == sizes[step.writes[0]]
