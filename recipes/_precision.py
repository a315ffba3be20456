"""The flag that chooses the precision in which G4 trains (6.2.2)."""

from __future__ import annotations

from absl import flags

# As `tta_lite.training.precision.CHOICES`, which would load TensorFlow.
CHOICES = ("auto", "float32", "mixed_float16", "mixed_bfloat16")

PRECISION = flags.DEFINE_enum(
    "precision",
    "auto",
    CHOICES,
    "In which G4 trains. auto: mixed_float16 with dynamic loss scaling where there is a GPU, else mixed_bfloat16.",
)

FLAGS = (PRECISION,)
