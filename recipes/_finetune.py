"""The flags of a short training after a step that changed a network."""

from __future__ import annotations

from absl import flags

RATE = flags.DEFINE_float("finetune_rate", 0.3, "Its learning rate, as a share of --learning_rate.", 0)
LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam; it falls to a tenth at 9/14 and 12/14.")

FLAGS = [RATE, LEARNING_RATE]
