"""What does a runtime take, op by op? It is asked with files of one op each: the tables of tta_lite/boards/runtimes/.

  python -m benchmarks.ask_runtimes --write=DIR      # keeps the files, to ask a runtime elsewhere
  python -m benchmarks.ask_runtimes                  # asks LiteRT, and TensorFlow Lite Micro if it is installed

Each op is asked in float32, in int8 and in int16 with weights of 8 bits. An op counts as taken in a type if the file
that holds it runs; by XNNPACK, if XNNPACK took it. One shape is asked of each: others may be refused.
Cost: two minutes.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils as utils

from tta_lite.boards.ops import op_codes
from tta_lite.export.contents import read_contents
from tta_lite.export.delegation import undelegated_ops
from tta_lite.export.runner import load

IMAGE = (1, 8, 8, 16)
RANDOM = np.random.default_rng(0)


def weights(*shape: int) -> tf.Tensor:
    """-> a constant of random numbers."""
    return tf.constant(RANDOM.normal(size=shape).astype(np.float32))


# Op -> what makes it of one image, or of two. Those that no network for pictures has are not asked.
ONE: Mapping[str, Callable[..., tf.Tensor]] = {
    "ABS": tf.abs,
    "AVERAGE_POOL_2D": lambda x: tf.nn.avg_pool2d(x, 2, 2, "VALID"),
    "ARG_MAX": lambda x: tf.argmax(x, -1, output_type=tf.int32),
    # Without the ReLU the two would cancel out.
    "BATCH_TO_SPACE_ND": lambda x: tf.batch_to_space(
        tf.nn.relu(tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]])), [2, 2], [[0, 0], [0, 0]]
    ),
    "CONV_2D": lambda x: tf.nn.bias_add(tf.nn.conv2d(x, weights(3, 3, 16, 8), 1, "SAME"), weights(8)),
    "DEPTH_TO_SPACE": lambda x: tf.nn.depth_to_space(x, 2),
    "DEPTHWISE_CONV_2D": lambda x: tf.nn.bias_add(
        tf.nn.depthwise_conv2d(x, weights(3, 3, 16, 1), [1, 1, 1, 1], "SAME"), weights(16)
    ),
    "ELU": tf.nn.elu,
    "EXP": tf.exp,
    "FLOOR": tf.floor,
    "FULLY_CONNECTED": lambda x: tf.nn.bias_add(tf.matmul(tf.reshape(x, [1, 1024]), weights(1024, 8)), weights(8)),
    "GATHER": lambda x: tf.gather(x, [1, 0, 3], axis=3),
    "HARD_SWISH": lambda x: x * tf.nn.relu6(x + 3.0) / 6.0,
    "L2_NORMALIZATION": lambda x: tf.nn.l2_normalize(x, -1),
    "LEAKY_RELU": lambda x: tf.nn.leaky_relu(x, 0.1),
    "LOGISTIC": tf.sigmoid,
    "LOG_SOFTMAX": tf.nn.log_softmax,
    "MAX_POOL_2D": lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"),
    "MEAN": lambda x: tf.reduce_mean(x, [1, 2], keepdims=True),
    "MIRROR_PAD": lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"),
    "NEG": tf.negative,
    "PAD": lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]),
    "PRELU": lambda x: tf.nn.relu(x) + -weights(1, 1, 16) * tf.nn.relu(-x),
    "REDUCE_MAX": lambda x: tf.reduce_max(x, [1, 2]),
    "RELU": tf.nn.relu,
    "RELU6": tf.nn.relu6,
    "RESHAPE": lambda x: tf.reshape(x, [1, 64, 16]),
    "RESIZE_BILINEAR": lambda x: tf.compat.v1.image.resize_bilinear(x, [16, 16], half_pixel_centers=True),
    "RESIZE_NEAREST_NEIGHBOR": lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, [16, 16]),
    "RSQRT": lambda x: tf.math.rsqrt(x),
    "SLICE": lambda x: tf.slice(x, [0, 1, 1, 0], [1, 4, 4, 16]),
    "SOFTMAX": tf.nn.softmax,
    "SPACE_TO_BATCH_ND": lambda x: tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]]),
    "SPACE_TO_DEPTH": lambda x: tf.nn.space_to_depth(x, 2),
    # Counted from the front: Arm NN 20.08 reads an axis of -1 as 4294967295, and ends.
    "SPLIT": lambda x: tf.split(x, 2, 3),
    "SPLIT_V": lambda x: tf.split(x, [4, 12], -1),
    "SQRT": lambda x: tf.sqrt(x),
    "SQUARE": tf.square,
    "SQUEEZE": lambda x: tf.squeeze(x, 0),
    "STRIDED_SLICE": lambda x: x[:, ::2, ::2, :],
    "SUM": lambda x: tf.reduce_sum(x, [1, 2]),
    "TANH": tf.tanh,
    "TRANSPOSE": lambda x: tf.transpose(x, [0, 3, 1, 2]),
    "TRANSPOSE_CONV": lambda x: tf.nn.conv2d_transpose(x, weights(2, 2, 8, 16), [1, 16, 16, 8], 2, "SAME"),
    "UNPACK": lambda x: tf.unstack(x, axis=3)[:2],
    "CUMSUM": lambda x: tf.cumsum(x, 3),
    "EXPAND_DIMS": lambda x: tf.expand_dims(x, 1),
    "BROADCAST_TO": lambda x: tf.broadcast_to(x, [2, 8, 8, 16]),
    "TILE": lambda x: tf.tile(x, [1, 2, 1, 1]),
    "GELU": lambda x: tf.nn.gelu(x),
}
TWO: Mapping[str, Callable[..., tf.Tensor]] = {
    "ADD": tf.add,
    "ADD_N": lambda x, y: tf.add_n([x, y, x]),
    "BATCH_MATMUL": lambda x, y: tf.matmul(x, y, transpose_b=True),
    "CONCATENATION": lambda x, y: tf.concat([x, y], -1),
    "DIV": tf.divide,
    "MAXIMUM": tf.maximum,
    "MINIMUM": tf.minimum,
    "MUL": tf.multiply,
    "PACK": lambda x, y: tf.stack([x, y], 1),
    "SQUARED_DIFFERENCE": tf.math.squared_difference,
    "SUB": tf.subtract,
}
NOT_INSTALLED = "not installed"
OP_SETS = {
    "int8": tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
    "int16": tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
}


def convert(function: Callable[..., tf.Tensor], inputs: int, dtype: str) -> bytes:
    """-> the file of a function of one or two images, in one type."""
    specs = [tf.TensorSpec(IMAGE, tf.float32)] * inputs
    converter = tf.lite.TFLiteConverter.from_concrete_functions([tf.function(function).get_concrete_function(*specs)])
    if dtype in OP_SETS:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        # Above zero: a square root has no other.
        converter.representative_dataset = lambda: (
            [RANDOM.uniform(0.5, 2.0, IMAGE).astype(np.float32) for _ in range(inputs)] for _ in range(4)
        )
        converter.target_spec.supported_ops = [OP_SETS[dtype]]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, dtype)
    if dtype == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def one_op_files() -> Iterator[tuple[str, str, bytes]]:
    """-> op, type, file."""
    table = [(op, make, 1) for op, make in ONE.items()] + [(op, make, 2) for op, make in TWO.items()]
    for op, make, inputs in table:
        for dtype in ("float32", "int8", "int16"):
            try:
                file = convert(make, inputs, dtype)
            except Exception as error:
                print(f"# {op} {dtype}: not converted: {str(error).splitlines()[0][:90]}")
                continue
            contents = read_contents(file)
            types = {contents.tensors[i].dtype for one in contents.ops if one.name == op for i in one.inputs if i >= 0}
            if dtype in types:
                yield op, dtype, file
            else:
                print(f"# {op} {dtype}: the converter made {', '.join(one.name for one in contents.ops)}, other types")
    # Float at the edges, so that the file has both of them.
    yield "DEQUANTIZE", "float16", convert(ONE["CONV_2D"], 1, "float16")
    yield "QUANTIZE", "float32", quantized_inside("int8")
    for dtype in ("int8", "int16"):
        yield "DEQUANTIZE", dtype, quantized_inside(dtype)


def quantized_inside(dtype: str) -> bytes:
    """-> a file of integers whose input and output are floats."""
    function = tf.function(ONE["RELU"]).get_concrete_function(tf.TensorSpec(IMAGE, tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([RANDOM.uniform(-1, 1, IMAGE).astype(np.float32)] for _ in range(4))
    converter.target_spec.supported_ops = [OP_SETS[dtype]]
    return converter.convert()


def litert_takes(op: str, file: bytes) -> str:
    """-> ``xnnpack``, ``builtin``, or why it does not run."""
    try:
        left = [one.op for one in undelegated_ops(file)]
        interpreter = load(file)
        for one in interpreter.get_input_details():
            interpreter.set_tensor(one["index"], np.ones(one["shape"], one["dtype"]))
        interpreter.invoke()
    except Exception as error:
        return f"no: {str(error).splitlines()[-1][:120]}"
    return "builtin" if op in left else "xnnpack"


def micro_takes(file: bytes) -> str:
    """-> ``yes``, or why it does not run."""
    try:
        from tflite_micro import runtime
    except ImportError:
        return NOT_INSTALLED
    try:
        interpreter = runtime.Interpreter.from_bytes(file, arena_size=1 << 20)
        for place in range(len(read_contents(file).inputs)):
            details = interpreter.get_input_details(place)
            interpreter.set_input(np.ones(details["shape"], details["dtype"]), place)
        interpreter.invoke()
    except Exception as error:
        return f"no: {str(error).splitlines()[-1][:120]}"
    return "yes"


def litert_asker() -> Callable[[str, int], bool]:
    """-> whether LiteRT has a kernel for an op in a version: asked by a file that names it beside an op that it has."""
    base = convert(tf.nn.relu, 1, "float32")

    def has(op: str, version: int) -> bool:
        model = utils.read_model_from_bytearray(bytearray(base))
        extra = type(model.operatorCodes[0])()
        code = op_codes()[op]
        extra.builtinCode, extra.deprecatedBuiltinCode, extra.version = code, min(code, 127), version
        model.operatorCodes.append(extra)
        try:
            Interpreter(model_content=bytes(utils.convert_object_to_bytearray(model)))
        except (RuntimeError, ValueError):
            return False
        return True

    return has


def litert_versions() -> dict[str, int]:
    """-> op -> the highest version that LiteRT has a kernel for."""
    has = litert_asker()
    # Some begin with 2.
    found = {op: [version for version in range(1, 21) if has(op, version)] for op in op_codes()}
    return {op: max(versions) for op, versions in found.items() if versions}


def tables(answers: Mapping[str, Mapping[str, str]], versions: Mapping[str, int]) -> str:
    """-> the tables of a runtime's TOML: op -> type -> ``xnnpack`` or ``yes``, ``builtin``, or why not."""
    rows: dict[str, dict[str, list[str]]] = {"dtypes": {}, "slow_dtypes": {}, "refused_dtypes": {}}
    for op in sorted(answers):
        for dtype, answer in sorted(answers[op].items()):
            key = {"xnnpack": "dtypes", "yes": "dtypes", "builtin": "slow_dtypes"}.get(answer, "refused_dtypes")
            rows[key].setdefault(op, []).append(dtype)
    lines = []
    for key, ops in rows.items():
        if ops:
            lines += ["", f"[{key}]", *(f"{op} = {json.dumps(dtypes)}" for op, dtypes in ops.items())]
    if versions:
        lines += ["", "[op_versions]", *(f"{op} = {versions[op]}" for op in sorted(versions))]
    return "\n".join(lines)


def main() -> None:
    """Asks, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="a folder for the files")
    arguments = parser.parse_args()
    answers: dict[str, dict[str, dict[str, str]]] = collections.defaultdict(lambda: collections.defaultdict(dict))
    for op, dtype, file in one_op_files():
        if arguments.write:
            arguments.write.mkdir(parents=True, exist_ok=True)
            (arguments.write / f"{op}.{dtype}.tflite").write_bytes(file)
        answers["litert"][op][dtype] = litert_takes(op, file)
        if (answer := micro_takes(file)) != NOT_INSTALLED:
            answers["tflite-micro"][op][dtype] = answer
    for runtime, found in answers.items():
        print(f"\n# {runtime}{tables(found, litert_versions() if runtime == 'litert' else {})}")


if __name__ == "__main__":
    main()
