"""Settings that every test shares. Imports nothing heavy: the import-order test must start at once."""

from __future__ import annotations

import os

from hypothesis import settings

# Its settings must stand before a test imports TensorFlow or TFMOT by itself.
import tta_lite  # noqa: F401

os.environ.setdefault("MPLBACKEND", "Agg")

# A slow machine is no failure; and on CI the same commit gives the same verdict twice.
settings.register_profile("tta_lite", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("tta_lite")
