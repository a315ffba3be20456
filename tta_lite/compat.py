"""Which Keras? The only file that chooses it.

TensorFlow Model Optimization 0.8 accepts nothing but the Keras 2 API, so the whole house is built on ``tf_keras``.
Everything else says ``from tta_lite.compat import keras``.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import tf_keras as keras
from tf_keras.protobuf.saved_metadata_pb2 import SavedMetadata
from tf_keras.src.applications import convnext, inception_resnet_v2
from tf_keras.src.layers.core.tf_op_layer import TFOpLambda
from tf_keras.src.saving import saving_lib
from tf_keras.src.saving.serialization_lib import SafeModeScope

__all__ = ["OF_APPLICATIONS", "SafeModeScope", "SavedMetadata", "TFOpLambda", "keras", "load_model"]

_LOCK = threading.Lock()

# Keras writes these layers of its applications and cannot read them by itself: they are not registered.
OF_APPLICATIONS = {
    layer.__name__: layer
    for layer in (convnext.LayerScale, convnext.StochasticDepth, inception_resnet_v2.CustomScaleLayer)
}


class _WeightsInMemory(saving_lib.H5IOStore):
    """Reads the weights out of the archive at once, as Keras 3 does.

    `tf_keras` lets HDF5 seek in the zipped file, where Python goes back only by beginning anew: its time grows with the
    square of the size (``benchmarks/bench_load.py``).
    """

    def __init__(self, root_path: str, archive: Any = None, mode: str = "r"):
        if archive is None or mode != "r":
            super().__init__(root_path, archive, mode)
            return
        super().__init__(io.BytesIO(archive.read(root_path)), None, mode)


def load_model(path: str | Path, *, safe_mode: bool = True) -> keras.Model:
    """``keras.models.load_model(path, compile=False)``, large files in seconds, ConvNeXt too.

    `safe_mode` does not hold what it promises (`models.trust`): a file from elsewhere goes through `load_network`.
    """
    with _LOCK, mock.patch.object(saving_lib, "H5IOStore", _WeightsInMemory):
        return keras.models.load_model(path, custom_objects=OF_APPLICATIONS, compile=False, safe_mode=safe_mode)
