"""What does a network cost on paper? MACs, parameters and activation memory, per layer and in all.

See also ``docs/counting.md``. A MAC is one multiply-accumulate, as in fvcore's "one fused multiply-add as one flop".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tta_lite.compat import keras
from tta_lite.measure.counts import Counts, LayerCount, summed
from tta_lite.transforms import op_counts
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
are not in it.
MACs a byte (arithmetic intensity): the layer's MACs over the bytes of its inputs, weights and outputs, each once."""
FLOAT_BYTES = 4


def count(model: keras.Model) -> Counts:
    """Count a functional or sequential model whose input size is fixed (the batch may be open).

    Raises:
      InputError: the model is not a graph of layers, a size is open, or a weight belongs to no layer.

    Warns:
      NotCountedWarning: the op table does not know a layer; its row says so and the sum lacks its MACs.
    """
    graph = trace(model)
    steps, inputs, outputs = graph.calls, graph.inputs, set(graph.outputs)
    where = {number: step.name for step in steps for number in step.writes}
    shapes = [_fixed(shape, where.get(number, model.name)) for number, shape in enumerate(graph.shapes)]

    sizes = [FLOAT_BYTES * math.prod(shape) for shape in shapes]
    layers: list[LayerCount] = []
    owned: set[int] = set()
    for name, number in zip(model.input_names, inputs, strict=True):
        layers.append(LayerCount(name, "InputLayer", shapes[number], 0, 0, 0, sizes[number], 0))
    for step in steps:
        layer = step.layer
        fresh = [weight for weight in layer.weights if id(weight) not in owned]
        trainable = {id(weight) for weight in layer.trainable_weights}
        owned.update(map(id, fresh))
        written = sum(sizes[number] for number in step.writes)
        read = sum(sizes[number] for number in dict.fromkeys(step.reads))
        layers.append(
            LayerCount(
                name=step.name,
                op=op_counts.op_name(layer),
                output_shape=shapes[step.writes[0]],
                macs=op_counts.macs(layer, [shapes[number] for number in step.reads], shapes[step.writes[0]]),
                params=sum(math.prod(weight.shape) for weight in fresh),
                trainable_params=sum(math.prod(weight.shape) for weight in fresh if id(weight) in trainable),
                activation_bytes=written,
                traffic_bytes=read + written + FLOAT_BYTES * sum(math.prod(weight.shape) for weight in layer.weights),
            )
        )
    lost = [weight.name for weight in model.weights if id(weight) not in owned]
    if lost:
        raise InputError(
            f"Each weight must belong to a layer of the graph. Received: {', '.join(lost[:3])} in no layer"
        )
    return summed(DEFINITION, tuple(layers), _peak_bytes(steps, sizes, inputs, outputs))


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
