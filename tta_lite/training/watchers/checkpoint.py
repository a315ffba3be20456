"""`EpochCheckpoint`: the newest state of a training, kept by TensorFlow's checkpoints."""

from __future__ import annotations

import tensorflow as tf

from tta_lite.training.watchers.base import Callback
from tta_lite.training.watchers.stop_on_nan import StopOnNaN
from tta_lite.training.watchers.time_limit import TimeLimit


class EpochCheckpoint(Callback):
    """Keeps the newest state of a training (weights, optimizer, epoch), so that a killed run goes on.

    Args:
      manager: of a checkpoint that holds `epoch`.
      epoch: a counter variable; after epoch k it holds k + 1.
      nan: comes before this one in the list of callbacks; what it has stopped is not kept. None: all is kept.
      limit: in the list of callbacks too; an epoch that it has cut is repeated when the training goes on.

    Example:
      >>> import tempfile
      >>> from tta_lite.training.watchers.example import small
      >>> net, x, y = small()
      >>> epoch = tf.Variable(0, dtype=tf.int64)
      >>> checkpoint = tf.train.Checkpoint(model=net, optimizer=net.optimizer, epoch=epoch)
      >>> keep = EpochCheckpoint(tf.train.CheckpointManager(checkpoint, tempfile.mkdtemp(), max_to_keep=1), epoch)
      >>> _ = net.fit(x, y, epochs=2, verbose=0, callbacks=[keep])
      >>> _ = checkpoint.restore(keep.manager.latest_checkpoint)
      >>> int(epoch)
      2
    """

    def __init__(
        self,
        manager: tf.train.CheckpointManager,
        epoch: tf.Variable,
        nan: StopOnNaN | None = None,
        limit: TimeLimit | None = None,
    ) -> None:
        super().__init__()
        self.manager, self.epoch, self.nan, self.limit = manager, epoch, nan, limit

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Saves; TensorFlow writes to a temporary name and renames."""
        if self.nan is not None and self.nan.at is not None:
            return
        done = epoch + 1 if self.limit is None else self.limit.done_after(epoch)
        if done is not None:
            self.epoch.assign(done)
            self.manager.save()
