"""What tensors of a file hold, image by image, in real numbers: of a float file and of a quantised one alike."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.runner import edges, load


def tensor_values(
    tflite: bytes, images: Sequence[np.ndarray], names: Collection[str], *, num_threads: int | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """Yields for each image the tensors of these names, as float32; names that the file does not have are left out.

    Args:
      tflite: one graph of fixed shapes.
      images: each [1, H, W, C] float32.
      names: of tensors that are no constants.
      num_threads: of the interpreter; those of this machine, four at most, if None.
    """
    edit = GraphEdit(tflite)
    wanted = set(names)
    tensors = [int(tensor) for tensor in (*edit.graph.inputs, *(t for op in edit.ops for t in op.outputs))]
    tensors = [tensor for tensor in tensors if edit.text(tensor) in wanted]
    if not tensors:
        raise ValueError(f"none of the tensors is in the file: {sorted(wanted)[:3]}")
    scales = {tensor: edit.quantisation(tensor) for tensor in tensors}
    edit.graph.outputs = np.array(tensors, np.int32)
    edit.model.signatureDefs = []
    interpreter = load(edit.to_bytes(), num_threads=num_threads or min(4, os.cpu_count() or 1))
    source = edges(interpreter)[0][0]
    for image in images:
        interpreter.set_tensor(source.index, source.quantise(image))
        interpreter.invoke()
        found = {}
        for tensor, (scale, zero) in scales.items():
            values = interpreter.get_tensor(tensor)
            if len(scale):
                values = (values.astype(np.float32) - np.float32(zero[0])) * scale[0]
            found[edit.text(tensor)] = values
        yield found
