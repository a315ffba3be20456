"""What a phone or board app finds in a ``.tflite`` file: how to feed the network and what its outputs are called.

TFLite Model Metadata, as the Task Library, MediaPipe and Android Studio read it. What is not known is left out.
Imports no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tta_lite.export.contents import Contents
from tta_lite.export.metadata_tables import RGB, TENSOR_AXIS_LABELS
from tta_lite.export.runner import Edge
from tta_lite.types import InputError

if TYPE_CHECKING:
    # Loads TensorFlow, which whoever checks an artifact may not have.
    from tta_lite.models.backbones import Normalisation

LABELS = "labels.txt"
# All that is said here was in the first version of the schema.
PARSER_VERSION = "1.0.0"
PIXELS = (0.0, 255.0)
# Ops after which the values are what they were, and ops that give values from 0 to 1.
_SAME_VALUES = ("DEQUANTIZE", "QUANTIZE", "RESHAPE")
_ZERO_TO_ONE = ("SOFTMAX", "LOGISTIC")


def metadata_record(
    contents: Contents,
    input_edge: Edge,
    output_edge: Edge,
    *,
    name: str,
    description: str = "",
    version: str = "",
    author: str = "",
    normalisation: Normalisation | None = None,
    labels: Sequence[str] | None = None,
) -> dict[str, Any]:
    """-> what the metadata of a network with one input and one output says.

    Mean and standard deviation are those of pixels 0..255, for float and for quantised networks alike: a reader applies
    them first, then quantises with the scale and zero point that the tensor itself has. Least and largest values are
    those of the tensor as it is stored.

    Args:
      contents: of the network: its last op tells whether the outputs lie between 0 and 1.
      input_edge: the file's input.
      output_edge: the file's output.
      name: what the network is called.
      description: a sentence; empty: none.
      version: of the network; empty: not known.
      author: who made it; empty: not known.
      normalisation: how RGB pixels become the numbers that the network takes; None: not known here.
      labels: what the places of the output's last dimension are called; None: not known.
    """
    graph = {
        "input_tensor_metadata": [_input(input_edge, normalisation)],
        "output_tensor_metadata": [_output(output_edge, labels, _last_op(contents))],
    }
    known = {"description": description, "version": version, "author": author}
    return {
        "name": name,
        **{key: text for key, text in known.items() if text},
        "subgraph_metadata": [graph],
        "min_parser_version": PARSER_VERSION,
    }


def label_file(labels: Sequence[str]) -> bytes:
    r"""-> the labels in UTF-8, one a line.

    >>> label_file(["left knee", "é"])
    b'left knee\n\xc3\xa9\n'

    Raises:
      InputError: a label that is blank or of several lines: readers would count others.
    """
    for place, label in enumerate(labels):
        if label.splitlines() != [label] or not label.strip():
            raise InputError(f"Argument `labels`, place {place}: one line of text was expected. Received: {label!r}")
    return "".join(f"{label}\n" for label in labels).encode()


def metadata_fault(
    record: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    inputs: int,
    outputs: int,
    labels: Sequence[str] | None,
    normalisation: Mapping[str, Any] | None,
) -> str:
    """-> what is wrong with the metadata of an artifact, on one line; empty if nothing is.

    Args:
      record: what it says.
      files: name -> content of the files behind the network.
      inputs: how many the network has.
      outputs: the same.
      labels: what the places of the output's last dimension are called; None: not known.
      normalisation: ``mean`` and ``std``, of three numbers each; None: not known.

    >>> metadata_fault({"name": "net"}, {}, inputs=1, outputs=1, labels=None, normalisation=None)
    'it must describe 1 graph. Received: 0'
    """
    graphs = record.get("subgraph_metadata", [])
    if len(graphs) != 1:
        return f"it must describe 1 graph. Received: {len(graphs)}"
    for side, count in (("input", inputs), ("output", outputs)):
        told = len(graphs[0].get(f"{side}_tensor_metadata", []))
        if told != count:
            return f"it must describe {count} {side}s, as many as the network has. Received: {told}"
    named = [
        file.get("name", "")
        for side in ("input", "output")
        for tensor in graphs[0][f"{side}_tensor_metadata"]
        for file in tensor.get("associated_files", [])
    ]
    if sorted(named) != sorted(files):
        return f"the files behind the network must be those that it names, {named}. Received: {sorted(files)}"
    if files != (wanted := {} if labels is None else {LABELS: label_file(labels)}):
        received = files.get(LABELS, b"").decode("utf-8", "replace").splitlines()
        if not wanted:
            return f"no labels are known. Received: {sorted(files)}"
        return f"{LABELS} must hold the names of model_io.h, {list(labels or ())}. Received: {received}"
    units = graphs[0]["input_tensor_metadata"][0].get("process_units", [])
    options = [unit.get("options", {}).get("NormalizationOptions", {}) for unit in units]
    if options and (len(options) != 1 or normalisation is None or not _is_same(options[0], normalisation)):
        return f"the normalisation must be that of model_io.h, {normalisation}. Received: {options}"
    return ""


def _is_same(told: Mapping[str, Any], normalisation: Mapping[str, Any]) -> bool:
    return all(np.array_equal(told.get(key, ()), np.float32(normalisation[key])) for key in ("mean", "std"))


def _input(edge: Edge, normalisation: Normalisation | None) -> dict[str, Any]:
    # Only three channels, last, can be what a normalisation of RGB pixels is for.
    if normalisation is None or len(edge.shape) != 4 or edge.shape[-1] != 3:
        return {"name": edge.name, "description": _form(edge)}
    mean, std = (np.asarray(values, np.float32) for values in (normalisation.mean, normalisation.std))
    least, largest = (edge.quantise((pixel - mean) / std) for pixel in PIXELS)
    then = ", then quantised with the tensor's scale and zero point" if edge.scale else ""
    return {
        "name": edge.name,
        "description": f"RGB image, {_form(edge)}: pixels 0 to 255, normalised{then}",
        "content": {"content_properties": {"ImageProperties": {"color_space": RGB}}},
        "process_units": [{"options": {"NormalizationOptions": {"mean": mean.tolist(), "std": std.tolist()}}}],
        "stats": {"max": [float(one) for one in largest], "min": [float(one) for one in least]},
    }


def _output(edge: Edge, labels: Sequence[str] | None, last_op: str) -> dict[str, Any]:
    content: dict[str, Any] = {"content_properties": {"FeatureProperties": {}}}
    record: dict[str, Any] = {"name": edge.name, "description": _form(edge), "content": content}
    if last_op in _ZERO_TO_ONE:
        least, largest = edge.quantise(np.array([0.0, 1.0]))
        record["stats"] = {"max": [float(largest)], "min": [float(least)]}
    if labels is not None:
        is_map = len(edge.shape) == 4
        if is_map:
            # One map a label: the content is what the dimensions in between hold.
            content["range"] = {"min": 1, "max": 2}
        what = "one map for each label" if is_map else "one value for each label"
        record["description"] = f"{_form(edge)}: {what}, in the order of the last dimension"
        record["associated_files"] = [
            {
                "name": LABELS,
                "description": "What the places of the last dimension are called, one a line",
                "type": TENSOR_AXIS_LABELS,
            }
        ]
    return record


def _form(edge: Edge) -> str:
    return f"{edge.dtype.name} {list(edge.shape)}"


def _last_op(contents: Contents) -> str:
    """-> the op that gives the output its values; empty if the output comes from none."""
    (tensor,) = contents.outputs
    for op in reversed(contents.ops):
        if tensor in op.outputs:
            if op.name not in _SAME_VALUES:
                return op.name
            tensor = op.inputs[0]
    return ""
