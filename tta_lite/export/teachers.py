"""Teachers that are files: ``.tflite``, ``.onnx``, a SavedModel, ``.keras``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.export.runner import TFLitePredictor
from tta_lite.export.signature import SERVING_DEFAULT
from tta_lite.files import digest
from tta_lite.models.files import SUFFIXES, load_network
from tta_lite.training.teachers import CallableTeacher, Teacher, as_teacher, example_batch
from tta_lite.types import InputError

Function = Callable[[Any], Any]
SAVED_MODEL = "saved_model.pb"


def load_teacher(
    path: str | Path, example: np.ndarray | None = None, *, probabilities: bool | None = None, num_threads: int = 1
) -> Teacher:
    """-> a teacher for `Distiller`, `Distillation` and `cache_teacher`.

    A ``.tflite`` runs its examples one by one, an ``.onnx`` too if its batch is 1, both by a call into Python out of
    the training step. What a quantised file takes and gives is real numbers here.

    Args:
      path: ``.tflite``; ``.onnx``, channels last or first; the folder of a SavedModel, of which ``serving_default`` is
        asked; ``.keras`` or ``.h5``. Code inside a file is not run.
      example: a batch [B, H, W, C] that it understands; None: noise, where the file says its size.
      probabilities: whether its outputs are those of a softmax; None: seen from its answers to `example`.
      num_threads: of a ``.tflite`` or ``.onnx``.

    Raises:
      InputError: no such file, one that cannot be run, several inputs or outputs, or no ONNX Runtime.
    """
    path = Path(path)
    if path.is_dir() and (path / SAVED_MODEL).is_file():
        function, shape = _saved_model(path)
        key = folder_digest(path)
    elif path.is_file() and path.suffix in SUFFIXES:
        return as_teacher(load_network(path), example, probabilities=probabilities)
    elif path.is_file() and path.suffix == ".tflite":
        predictor = TFLitePredictor(path.read_bytes(), num_threads)
        function, shape, key = predictor, (None, *predictor.input.shape[1:]), digest(path)
    elif path.is_file() and path.suffix == ".onnx":
        function, shape = _onnx(path, num_threads)
        key = digest(path)
    else:
        raise InputError(
            f"A teacher must be a file that exists and ends with .tflite, .onnx, {', '.join(SUFFIXES)}, or the folder "
            f"of a SavedModel. Received: {str(path)!r}"
        )
    if example is None:
        example = example_batch(tuple(None if size is None or size < 0 else size for size in shape))
    if example is None:
        raise InputError(
            f"{path} leaves the size of its input open: give load_teacher an `example`. Received: {shape}, no example"
        )
    return CallableTeacher(function, name=path.name, key=key, example=example, probabilities=probabilities)


def folder_digest(folder: str | Path) -> str:
    """-> the SHA-256 of all files of a folder and their places in it."""
    root = Path(folder)
    found = hashlib.sha256()
    for file in sorted(file for file in root.rglob("*") if file.is_file()):
        found.update(f"{file.relative_to(root).as_posix()} {digest(file)}\n".encode())
    return found.hexdigest()


def _saved_model(folder: Path) -> tuple[Function, tuple]:
    try:
        loaded = tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises many kinds on a damaged folder.
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{folder} cannot be read as a SavedModel. Received: {type(error).__name__}: {reason}"
        ) from error
    if SERVING_DEFAULT not in loaded.signatures:
        raise InputError(f"A SavedModel must have the signature {SERVING_DEFAULT}. Received: {list(loaded.signatures)}")
    signature = loaded.signatures[SERVING_DEFAULT]
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            f"A teacher must have one input and one output. Received: {len(inputs)} inputs, {len(outputs)} outputs"
        )
    ((name, spec),) = inputs.items()

    # It keeps `loaded` alive, whose variables the signature reads.
    def ask(images: tf.Tensor, _loaded: Any = loaded) -> tf.Tensor:
        (answer,) = signature(**{name: tf.cast(images, spec.dtype)}).values()
        return answer

    return tf.function(ask, autograph=False), (None, *(spec.shape.as_list()[1:] if spec.shape.rank else (None,)))


def _onnx(path: Path, num_threads: int) -> tuple[Function, tuple]:
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            "An ONNX teacher needs ONNX Runtime: install the extra `onnx`, tta_lite[onnx]. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has exceptions of its own, which derive from nothing common.
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{path} cannot be run by ONNX Runtime. Received: {type(error).__name__}: {reason}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
        raise InputError(
            "An ONNX teacher must have one input of float32 and one output. Received: "
            f"{[(one.name, one.type) for one in inputs]} -> {[one.name for one in outputs]}"
        )
    # Open sizes have names, or none.
    sizes = [size if isinstance(size, int) and size > 0 else None for size in inputs[0].shape]
    name = inputs[0].name
    # Pictures have 1, 3 or 4 channels: no height is as small as that.
    first = len(sizes) == 4 and sizes[1] in (1, 3, 4) and sizes[3] not in (1, 3, 4)

    def run(images: np.ndarray) -> np.ndarray:
        given = np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if first else images
        batches = [given] if sizes[0] is None else [given[k : k + sizes[0]] for k in range(0, len(given), sizes[0])]
        answer = np.concatenate([session.run(None, {name: batch})[0] for batch in batches])
        return answer.transpose(0, 2, 3, 1) if first and answer.ndim == 4 else answer

    return run, (None, *(sizes[axis] for axis in ((2, 3, 1) if first else range(1, len(sizes)))))
