"""SavedModel: for TensorFlow Serving, TFX, and converters that read nothing else."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.export.quiet import quiet_converter
from tta_lite.export.signature import SERVING_DEFAULT
from tta_lite.files import TEMPORARY_PREFIX
from tta_lite.types import InputError


def export_saved_model(model: keras.Model, folder: str | Path) -> Path:
    """-> the folder, with signature ``serving_default`` [B, H, W, C] -> the outputs; whole or not at all.

    Args:
      model: it is not changed; its batch stays open if it is.
      folder: new, empty, or an earlier SavedModel, which is replaced.

    Raises:
      InputError: the folder holds something else.
    """
    target = Path(folder)
    if target.exists() and not (target / "saved_model.pb").is_file() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"A SavedModel needs a new or empty folder, or an earlier one. Received: {target}")
    inputs = [tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for tensor, name in zip(
        model.inputs, model.input_names, strict=True)]  # fmt: skip

    @tf.function(input_signature=inputs, autograph=False)
    def serve(*images: tf.Tensor) -> dict[str, tf.Tensor]:
        found = model(images[0] if len(images) == 1 else list(images), training=False)
        return dict(zip(model.output_names, tf.nest.flatten(found), strict=True))

    temporary = target.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:8]}-{target.name}")
    try:
        with quiet_converter():
            tf.saved_model.save(model, str(temporary), signatures={SERVING_DEFAULT: serve})
        if target.exists():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target
