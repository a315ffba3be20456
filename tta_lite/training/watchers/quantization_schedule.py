"""`QuantizationAwareSchedule`: when batch norms and ranges of a quantisation-aware network freeze. Needs Keras 2."""

from __future__ import annotations

from tta_lite.training.quantization_aware import freeze_batch_norm, freeze_ranges, is_quantization_aware
from tta_lite.training.watchers.base import Callback
from tta_lite.types import InputError


class QuantizationAwareSchedule(Callback):
    """Freezes a quantisation-aware network bit by bit, so that it ends as the file will be; for any `model.fit`.

    Batch norm first: training then computes with the moving statistics, as inference does. Then the ranges: the grid of
    every activation stays where it is, and the last epochs learn on it. Krishnamoorthi, 2018, section 3.2,
    https://arxiv.org/abs/1806.08342. A training that goes on at a later epoch is frozen as it was.

    Args:
      freeze_batch_norm_epoch: from 0; the first epoch whose batch norms take and leave the moving statistics, while
        their scale and shift still learn. None: they never freeze.
      freeze_ranges_epoch: from 0; the first epoch in which no range moves. None: they never freeze.
    """

    def __init__(self, *, freeze_batch_norm_epoch: int | None = None, freeze_ranges_epoch: int | None = None) -> None:
        super().__init__()
        for name, epoch in (
            ("freeze_batch_norm_epoch", freeze_batch_norm_epoch), ("freeze_ranges_epoch", freeze_ranges_epoch)
        ):  # fmt: skip
            if epoch is not None and epoch < 0:
                raise InputError(f"Argument `{name}` must be an epoch, 0 or more. Received: {epoch}")
        self.freeze_batch_norm_epoch, self.freeze_ranges_epoch = freeze_batch_norm_epoch, freeze_ranges_epoch

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Looks at the network."""
        if not is_quantization_aware(self.model):
            raise InputError(
                "QuantizationAwareSchedule is for a network that `quantization_aware` made. "
                f"Received: {self.model.name!r}"
            )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Freezes what is due."""
        if self.freeze_ranges_epoch is not None and epoch >= self.freeze_ranges_epoch:
            freeze_ranges(self.model)
        due = self.freeze_batch_norm_epoch is not None and epoch >= self.freeze_batch_norm_epoch
        if due and freeze_batch_norm(self.model):
            # What is compiled still has batch norm as it was.
            self.model.make_train_function(force=True)
