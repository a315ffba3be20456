"""The settings of a quantisation-aware training: when what is frozen, and what of the weights is kept.

Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tta_lite.types import InputError

if TYPE_CHECKING:
    import numpy as np

    from tta_lite.compat import keras


@dataclasses.dataclass(frozen=True)
class QuantizationAware:
    """How a trained float network learns to live with int8.

    Attributes:
      freeze_batch_norm: share of the training after which batch norm keeps its statistics, 0..1; 1: never.
      freeze_ranges: share of the training after which no range moves, 0..1; 1: never.
      calibration_images: training images that the ranges begin with.
      sparsity: share of zeros in each kernel but the depthwise ones: the smallest weights become zero before the
        training (PQAT); None: none do. Zeros that the network comes with stay zero either way.
      clusters: so many values a kernel keeps, depthwise ones apart (CQAT); None: as many as there are.
    """

    freeze_batch_norm: float = 0.5
    freeze_ranges: float = 0.75
    calibration_images: int = 100
    sparsity: float | None = None
    clusters: int | None = None

    def __post_init__(self) -> None:
        for name in ("freeze_batch_norm", "freeze_ranges"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"Argument `{name}` must be a share, 0..1. Received: {getattr(self, name)}")
        if self.calibration_images < 1:
            raise InputError(f"Argument `calibration_images` must be 1 or more. Received: {self.calibration_images}")
        if self.sparsity is not None and not 0 < self.sparsity < 1:
            raise InputError(f"Argument `sparsity` must be between 0 and 1. Received: {self.sparsity}")
        if self.clusters is not None and not 3 <= self.clusters <= 255:
            raise InputError(
                "Argument `clusters` must be 3..255: zero and the two ends are among them, and int8 has 255 values. "
                f"Received: {self.clusters}"
            )

    def wrap(
        self, model: keras.Model, images: Sequence[np.ndarray]
    ) -> tuple[keras.Model, list[keras.callbacks.Callback]]:
        """-> the quantisation-aware network to train, and the callbacks that keep what is to be kept of its weights.

        Raises:
          InputError: see `tta_lite.training.quantization_aware.quantization_aware`.
        """
        from tta_lite.training.kept_weights import keep_clusters, keep_zeros
        from tta_lite.training.pruning import magnitude_pruned
        from tta_lite.training.quantization_aware import quantization_aware
        from tta_lite.training.quantization_prepare import quantisable

        if self.sparsity is not None:
            model = magnitude_pruned(quantisable(model), self.sparsity)
        wrapped = quantization_aware(model, images=images)
        # Zero is one of the clusters and stays zero.
        kept = keep_zeros(wrapped) if self.clusters is None else keep_clusters(wrapped, self.clusters)
        return wrapped, [kept] if kept is not None else []

    def schedule(self, epochs: int) -> keras.callbacks.Callback:
        """-> the callback that freezes batch norm and ranges when it is time."""
        from tta_lite.training.callbacks import QuantizationAwareSchedule

        def epoch(share: float) -> int | None:
            if share in (0, 1):
                return 0 if share == 0 else None
            # Something must move before it is frozen.
            return max(1, int(share * epochs))

        return QuantizationAwareSchedule(
            freeze_batch_norm_epoch=epoch(self.freeze_batch_norm), freeze_ranges_epoch=epoch(self.freeze_ranges)
        )
