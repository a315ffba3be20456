"""``.tflite`` -> ONNX by tf2onnx: float networks as they are, integer ones with Q/DQ nodes."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.export.contents import read_contents
from tta_lite.export.quiet import quiet_converter
from tta_lite.export.runner import TFLitePredictor
from tta_lite.types import InputError

OPSETS = range(13, 19)
RUNTIME = "onnxruntime"


@dataclasses.dataclass(frozen=True)
class OnnxParity:
    """How far ONNX Runtime's outputs lie from LiteRT's, in real numbers.

    Attributes:
      max_error: the largest absolute difference.
      step: of the output's scale; 0 for floats. Kernels that round otherwise differ by a step or a few.
      images: how many inputs were compared.
      version: of ONNX Runtime; empty if it is not installed, and nothing was compared.
    """

    max_error: float | None
    step: float
    images: int
    version: str


@dataclasses.dataclass(frozen=True)
class OnnxExport:
    """An ONNX file and what is in it.

    Attributes:
      data: the file.
      opset: of its ops.
      ops: op -> how often.
      input: name, type and shape of the input.
      output: of the output.
      asymmetric: tensors that are quantised with a zero point other than 0.
    """

    data: bytes
    opset: int
    ops: Mapping[str, int]
    input: tuple[str, str, tuple[int, ...]]
    output: tuple[str, str, tuple[int, ...]]
    asymmetric: int

    @property
    def transposes(self) -> int:
        """How often pictures change their layout on the way; each one costs a pass over memory."""
        return self.ops.get("Transpose", 0)

    @property
    def quantised(self) -> bool:
        """Whether it holds Q/DQ nodes."""
        return "QuantizeLinear" in self.ops


def export_onnx(tflite: bytes, *, opset: int = 17, channels_first: bool = True) -> OnnxExport:
    """Goes through the flatbuffer: what is converted is what was measured, and grouped convolutions survive.

    Args:
      tflite: a file with one input and one output.
      opset: 13 to 18.
      channels_first: [B, C, H, W] at the edges, as ONNX's convolutions want it: no transposes are left there.

    Raises:
      InputError: an opset that tf2onnx does not write here, or a file that it cannot convert.

    Example:
      >>> from tta_lite.compat import keras
      >>> from tta_lite.export.tflite import export_tflite
      >>> from tta_lite.types import FP32
      >>> image = keras.Input((8, 8, 3), name="image")
      >>> net = keras.Model(image, keras.layers.Conv2D(4, 3)(image))
      >>> found = export_onnx(export_tflite(net, FP32))
      >>> found.input, found.transposes, found.quantised
      (('image', 'float32', (1, 3, 8, 8)), 0, False)
    """
    if opset not in OPSETS:
        raise InputError(f"Argument `opset` must be {OPSETS.start} to {OPSETS.stop - 1}. Received: {opset!r}")
    edges = TFLitePredictor(tflite)
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder, "model.tflite"), Path(folder, "model.onnx")
        path.write_bytes(tflite)
        nchw = {}
        names = _tensor_names(tflite)
        if channels_first:
            if len(edges.input.shape) == 4:
                nchw["inputs_as_nchw"] = [names[0]]
            if len(edges.output.shape) == 4:
                nchw["outputs_as_nchw"] = [names[1]]
        try:
            _convert(path, target, opset, nchw)
            model = onnx.load(str(target))
            onnx.checker.check_model(model)
        except Exception as error:  # tf2onnx and onnx raise many kinds.
            reason = " ".join(str(error).split())[:300]
            raise InputError(
                f"The network cannot be converted to ONNX (opset {opset}). Received: {type(error).__name__}: {reason}"
            ) from error
        data = target.read_bytes()
    graph = model.graph
    ops = dict(collections.Counter(node.op_type for node in graph.node))
    return OnnxExport(data, opset, ops, _edge(graph.input[0]), _edge(graph.output[0]), _asymmetric(graph))


def compare_onnx(exported: OnnxExport, tflite: bytes, images: np.ndarray) -> OnnxParity:
    """-> ONNX Runtime against LiteRT on the same inputs.

    Args:
      exported: what came of it.
      tflite: what was converted.
      images: [N, H, W, C] float32, as the network takes them.
    """
    predictor = TFLitePredictor(tflite)
    step = float(predictor.output.scale or 0.0)
    if importlib.util.find_spec(RUNTIME) is None:
        return OnnxParity(None, step, 0, "")
    import onnxruntime

    session = onnxruntime.InferenceSession(exported.data, providers=["CPUExecutionProvider"])
    worst = 0.0
    for image in np.asarray(images, np.float32):
        stored = predictor.input.quantise(image[None])
        expected = predictor.run(stored)
        given = stored if exported.input[2] == stored.shape else np.ascontiguousarray(stored.transpose(0, 3, 1, 2))
        found = session.run(None, {exported.input[0]: given})[0]
        if found.shape != expected.shape:
            found = found.transpose(0, 2, 3, 1)
        real = found.astype(np.float64) - expected.astype(np.float64)
        worst = max(worst, float(np.abs(real).max()) * (step or 1.0))
    return OnnxParity(worst, step, len(images), onnxruntime.__version__)


def trtexec_line(exported: OnnxExport, name: str = "model.onnx") -> tuple[str, list[str]]:
    """-> the line that builds a TensorRT engine, and what it needs or cannot do with this file.

    The rules are those of NVIDIA's TensorRT documentation, "Working with Quantized Types": explicit quantisation takes
    Q/DQ nodes with 8-bit signed integers and a zero point of 0.
    """
    line = f"trtexec --onnx={name} --saveEngine={Path(name).stem}.plan"
    needs = ["TensorRT 8.6 or newer, on the machine and GPU that the engine is for: an engine runs on no other."]
    if not exported.quantised:
        needs.append("--fp16 lets it choose half precision where that is faster; leave it out for float32.")
        return f"{line} --fp16", needs
    needs.append("The Q/DQ nodes fix where 8 bits are used: --int8 allows them, and no calibration is asked for.")
    if exported.asymmetric:
        needs.append(
            f"{exported.asymmetric} tensors have a zero point other than 0, as TFLite's activations do, and TensorRT "
            "takes symmetric quantisation only: it refuses this file. Give it the float file and let it calibrate, or "
            "train with symmetric ranges. ONNX Runtime takes it as it is."
        )
    if exported.input[1] != "float32":
        needs.append(f"Its input and output are {exported.input[1]}: the caller quantises.")
    return f"{line} --int8 --fp16", needs


def describe_onnx(exported: OnnxExport, parity: OnnxParity) -> dict[str, Any]:
    """-> what ``onnx.json`` holds; ``says`` is the same for people."""
    line, needs = trtexec_line(exported)
    kind = "with Q/DQ nodes" if exported.quantised else "float"
    says = [f"ONNX opset {exported.opset}, {kind}: {sum(exported.ops.values())} ops, {exported.transposes} transposes"]
    if parity.max_error is not None:
        steps = f" ({parity.max_error / parity.step:.0f} steps of the output)" if parity.step else ""
        says.append(
            f"ONNX Runtime {parity.version} against LiteRT on {parity.images} inputs: largest difference "
            f"{parity.max_error:.3g}{steps}"
        )
    else:
        says.append("not compared: ONNX Runtime is not installed (pip install 'tta_lite[onnx]')")
    edges = {
        name: {"name": edge[0], "dtype": edge[1], "shape": edge[2]}
        for name, edge in (("input", exported.input), ("output", exported.output))
    }
    return {
        "opset": exported.opset,
        "ops": dict(exported.ops),
        "transposes": exported.transposes,
        "quantised": exported.quantised,
        "asymmetric_tensors": exported.asymmetric,
        **edges,
        "parity": dataclasses.asdict(parity),
        "tensorrt": {"command": line, "needs": needs},
        "says": [*says, line, *needs],
    }


def _convert(path: Path, target: Path, opset: int, nchw: Mapping[str, list[str]]) -> None:
    import tf2onnx.convert

    log = logging.getLogger("tf2onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with quiet_converter(), warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("ignore")
            tf2onnx.convert.from_tflite(str(path), opset=opset, output_path=str(target), **nchw)
    finally:
        log.setLevel(level)


def _tensor_names(tflite: bytes) -> tuple[str, str]:
    """-> what the flatbuffer calls its input and output tensor; the signature may use other names."""
    contents = read_contents(tflite)
    return contents.tensors[contents.inputs[0]].name, contents.tensors[contents.outputs[0]].name


def _edge(value: object) -> tuple[str, str, tuple[int, ...]]:
    import onnx

    kind = value.type.tensor_type  # type: ignore[attr-defined]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    return value.name, dtype, tuple(one.dim_value for one in kind.shape.dim)  # type: ignore[attr-defined]


def _asymmetric(graph: object) -> int:
    """-> how many Q/DQ nodes have a zero point other than 0."""
    from onnx import numpy_helper

    constants = {one.name: one for one in graph.initializer}  # type: ignore[attr-defined]
    found = set()
    for node in graph.node:  # type: ignore[attr-defined]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) == 3:
            zero = constants.get(node.input[2])
            if zero is not None and np.any(numpy_helper.to_array(zero)):
                found.add(node.input[0])
    return len(found)
