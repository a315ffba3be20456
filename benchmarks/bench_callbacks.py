"""What do the callbacks for a loop of one's own cost a training step while they have nothing to do?

  python benchmarks/bench_callbacks.py
  python benchmarks/bench_callbacks.py --keras=3

A small network learns with and without all of them, in turn, in one process and with one compiled step. Nothing is NaN,
no limit is near, and no export or figure is due; what is kept after every epoch (history, the state of `TimeLimit` and
`NaNGuard`) is kept. Two answers: the ratio of whole calls of `fit`, and the time inside the hooks over the time of the
calls, which tells what each of them takes. Three minutes on two idle cores.
"""

from __future__ import annotations

import functools
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

_KERAS = flags.DEFINE_enum("keras", "2", ("2", "3"), "Which Keras trains.")
_ROUNDS = flags.DEFINE_integer("rounds", 9, "Calls of `fit` with and without, in turn.", 1)
_STEPS = flags.DEFINE_integer("steps", 200, "Steps of a call of `fit`, in two epochs.", 4)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Examples a step.", 1)


def make_network(keras):
    """A small network for pictures of 32 x 32."""
    layers = keras.layers
    net = keras.Sequential(
        [
            layers.Conv2D(24, 3, padding="same", activation="relu", input_shape=(32, 32, 3)),
            layers.Conv2D(24, 3, padding="same", activation="relu"),
            layers.MaxPool2D(),
            layers.Conv2D(48, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPool2D(),
            layers.Conv2D(96, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # As in Keras 2: Keras 3 asks XLA on its own, which takes other kernels.
    net.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"], jit_compile=False)
    return net


def make_callbacks(folder: Path, epochs: int) -> list:
    """-> all callbacks that any training can have."""
    from tta_lite.training import callbacks

    def silent(line: str) -> None:
        pass

    return [
        callbacks.StopOnNaN(),
        callbacks.NaNGuard(write=silent),
        callbacks.SparsityLogger(),
        callbacks.LossScaleLogger(),
        callbacks.BudgetWatch({"size_bytes": (lambda model: 1, 2)}, every=epochs, write=silent),
        callbacks.TFLiteExport(folder / "a.tflite", lambda model: b"1", lambda file: 1.0, every=epochs, write=silent),
        callbacks.History(folder / "history.csv"),
        callbacks.EpochsDone(lambda done, epochs, logs: None),
        callbacks.TimeLimit(1e6, folder / "state.npz", write=silent),
        callbacks.Progress("a", write=silent),
    ]


def timed_hooks(callback, spent: dict[tuple[str, bool], float]) -> None:
    """Adds the seconds in each hook of a callback to `spent`, by its class and whether the hook is one of steps."""

    def wrapped(hook):
        name = (type(callback).__name__, "_batch_" in hook.__name__)

        @functools.wraps(hook)
        def timed(*args, **kwargs):
            began = time.perf_counter()
            try:
                return hook(*args, **kwargs)
            finally:
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - began

        return timed

    for hook in dir(callback):
        if hook.startswith("on_") and not hasattr(getattr(callback, hook), "_is_default"):
            setattr(callback, hook, wrapped(getattr(callback, hook)))


def main(argv: Sequence[str]) -> None:
    """Times both in turn and prints the ratios."""
    if _KERAS.value == "3":
        import keras
    else:
        from tta_lite.compat import keras

    epochs, steps = 2, _STEPS.value // 2
    rng = np.random.default_rng(0)
    count = steps * _BATCH_SIZE.value
    images, labels = rng.normal(size=(count, 32, 32, 3)).astype(np.float32), rng.integers(0, 10, count)
    net = make_network(keras)
    # An export is due in the last epoch, which is never reached.
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(net, "stop_training", epoch + 1 == epochs)
    )
    with tempfile.TemporaryDirectory() as folder:

        def train(callbacks):
            wall, cpu = time.perf_counter(), time.process_time()
            net.fit(
                images, labels, batch_size=_BATCH_SIZE.value, epochs=epochs + 1, shuffle=False, verbose=0,
                callbacks=[*callbacks, stop],
            )  # fmt: skip
            return time.perf_counter() - wall, time.process_time() - cpu

        def with_all():
            return train(make_callbacks(Path(folder, str(time.perf_counter())), epochs + 1))

        both = {"plain": lambda: train([]), "with all": with_all}
        for one in both.values():
            one()
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in both}
        for turn in range(_ROUNDS.value):
            # Each goes first as often as the other.
            for name in sorted(both, reverse=turn % 2 == 0):
                seconds[name].append(both[name]())
        spent: dict[tuple[str, bool], float] = {}
        callbacks = make_callbacks(Path(folder, "hooks"), epochs + 1)
        for callback in callbacks:
            timed_hooks(callback, spent)
        wall, _ = train(callbacks)
    load = os.getloadavg()[0]
    print(f"Keras {keras.__version__}, load {load:.1f}, {_ROUNDS.value} rounds of {epochs} x {steps} steps")
    step_ms = statistics.median(wall for wall, _ in seconds["plain"]) / (epochs * steps) * 1000
    print(f"a step of plain fit: {step_ms:.1f} ms, median")
    for place, clock in enumerate(("wall clock", "processor seconds")):
        ratios = [
            more[place] / less[place] for less, more in zip(seconds["plain"], seconds["with all"], strict=True)
        ]  # fmt: skip
        print(
            f"fit with all callbacks / plain fit, {clock}: {statistics.median(ratios):.4f}, median of {len(ratios)}; "
            f"{min(ratios):.4f} to {max(ratios):.4f}"
        )
    least = {name: min(cpu for _, cpu in values) for name, values in seconds.items()}
    print(f"the least processor seconds of each: {least['with all'] / least['plain']:.4f}")
    total = sum(spent.values())
    print(f"inside the hooks: {100 * total / (wall - total):.2f} % of the rest of one fit, {wall:.1f} s")
    print(f"{'':20}{'us a step':>12}{'ms an epoch':>14}")
    for name in sorted({name for name, _ in spent}):
        a_step, an_epoch = (spent.get((name, of_steps), 0.0) for of_steps in (True, False))
        print(f"{name:20}{1e6 * a_step / (epochs * steps):12.1f}{1e3 * an_epoch / epochs:14.1f}")


if __name__ == "__main__":
    app.run(main)
