"""`SparsityLogger`: the zeros of a network, epoch by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.training.pruning_policies import EVERY_LAYER, LayerPolicy, chosen_kernels
from tta_lite.training.watchers.base import Callback
from tta_lite.training.watchers.history import write_row


class SparsityLogger(Callback):
    """Logs the share of zeros after every epoch, of the whole network and layer by layer; for any `model.fit`.

    ``sparsity`` is added to what Keras logs: put it before other callbacks that shall see it.

    Args:
      path: of a CSV file with a row an epoch and a column a layer; None: no file. A training that goes on replaces the
        rows of the epochs that it repeats.
      log_dir: of TensorBoard's summaries ``sparsity`` and ``sparsity/<layer>``, written by `tf.summary` alone; None:
        none.
      layers: which kernels are looked at.

    Example:
      >>> from tta_lite.training.watchers.example import small
      >>> net, x, y = small()
      >>> log = SparsityLogger()
      >>> net.fit(x, 0 * y, epochs=2, verbose=0, callbacks=[log]).history["sparsity"]
      [1.0, 1.0]
    """

    def __init__(
        self, path: str | Path | None = None, log_dir: str | Path | None = None, *, layers: LayerPolicy = EVERY_LAYER
    ) -> None:
        super().__init__()
        self.path, self.log_dir, self.layers = path, log_dir, layers
        self._writer: Any = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Counts and writes."""
        kernels = chosen_kernels(self.model, self.layers)
        sizes = {kernel.layer: int(np.prod(kernel.variable.shape)) for kernel in kernels}
        zeros = {one.layer: sizes[one.layer] - int(tf.math.count_nonzero(one.variable)) for one in kernels}
        row: dict[str, Any] = {"epoch": epoch, "sparsity": sum(zeros.values()) / sum(sizes.values())}
        if logs is not None:
            logs["sparsity"] = row["sparsity"]
        row |= {layer: zeros[layer] / sizes[layer] for layer in zeros}
        if self.path is not None:
            write_row(Path(self.path), row)
        if self.log_dir is not None:
            if self._writer is None:
                self._writer = tf.summary.create_file_writer(str(self.log_dir))
            with self._writer.as_default(step=epoch):
                for name, share in list(row.items())[1:]:
                    tf.summary.scalar(name if name == "sparsity" else f"sparsity/{name}", share)
            self._writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Closes what TensorBoard reads."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
