"""What the child processes of these tests do: ``python -m tests.training.worker JOB FOLDER``, in the top folder."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path


def killed(folder):
    """A training of three epochs that is killed without warning after the first step of the second."""
    from tests.training.conftest import tiny_net, tiny_task
    from tta_lite.compat import keras
    from tta_lite.training.fit import FitSettings, fit
    from tta_lite.types import Candidate

    def kill(batch, logs):
        if keras.backend.get_value(kill_self.model.optimizer.iterations) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    kill_self = keras.callbacks.LambdaCallback(on_batch_end=kill)
    fit(Candidate(tiny_net()), tiny_task(), FitSettings(epochs=3), folder, callbacks=[kill_self])


def cluster(folder):
    """One worker's part of a training of three epochs; its losses and weights go to ``<folder>/result.npz``."""
    from tta_lite.training.strategy import get_strategy, mean_and_variance

    # Before anything else runs in TensorFlow.
    get_strategy("multi_worker")
    import numpy as np

    from tests.training.conftest import tiny_net, tiny_task
    from tta_lite.compat import keras
    from tta_lite.training.fit import FitSettings, fit
    from tta_lite.types import Candidate, InputError

    history = keras.callbacks.History()
    settings = FitSettings(epochs=3, strategy="multi_worker")
    net, task = tiny_net(norm=False), tiny_task()
    trained = fit(Candidate(net), task, settings, folder, callbacks=[history]).model
    weights = {f"weight_{i}": weight for i, weight in enumerate(trained.get_weights())}
    np.savez(folder / "result.npz", loss=history.history["loss"], val_loss=history.history["val_loss"], **weights)

    np.save(
        folder / "agreement.npy", mean_and_variance(get_strategy("multi_worker"), 3 if folder.name == "worker_1" else 1)
    )

    # A worker that has lost its checkpoint must not wait for the others, nor they for it.
    if folder.name == "worker_1":
        shutil.rmtree(folder / "checkpoints")
    try:
        fit(Candidate(net), task, FitSettings(epochs=4, strategy="multi_worker"), folder)
    except InputError as error:
        (folder / "error.txt").write_text(str(error))


if __name__ == "__main__":
    {"killed": killed, "cluster": cluster}[sys.argv[1]](Path(sys.argv[2]))
