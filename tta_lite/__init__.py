"""tta_lite: make a convolutional network light enough for an embedded board.

Follows the TTA technical report *A Guideline for Lightening Convolutional Neural Networks for Embedded Systems*.
Importing this package imports nothing else; TensorFlow is loaded by the modules that need it. What must be decided
before TensorFlow is loaded is decided here, and a value that the user has set is kept.
"""

import importlib
import os
from typing import Any

__version__ = "0.1.0"

# TFMOT reads this when it is imported; without it TFMOT looks for Keras 3, which it cannot use.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
# TensorFlow leaves oneDNN off on x86 without AVX-512; on such a CPU it trains these networks in about half the time.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# The start-up banners tell an engineer nothing about their network.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# What is asked for by the package's own name, and where it is; loaded at the first use.
_ELSEWHERE = {
    "load_model": ("tta_lite.models.files", "load_network"),
    "to_keras3": ("tta_lite.export.keras3.write", "to_keras3"),
    # What a training loop of one's own takes, see docs/existing_loop.md.
    "Distiller": ("tta_lite.training.distiller", "Distiller"),
    "KnowledgeDistillation": ("tta_lite.training.distillation_terms", "KnowledgeDistillation"),
    "PruneLowMagnitudeStep": ("tta_lite.training.callbacks", "PruneLowMagnitudeStep"),
    "polynomial_decay": ("tta_lite.training.pruning_schedules", "polynomial_decay"),
    "export_tflite": ("tta_lite.export.tflite", "export_tflite"),
    "INT8": ("tta_lite.types", "INT8"),
}


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, own = _ELSEWHERE[name]
    return getattr(importlib.import_module(module), own)
