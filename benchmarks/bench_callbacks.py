"""What do the callbacks for a loop of one's own cost a training step while they have nothing to do?

  python benchmarks/bench_callbacks.py
  python benchmarks/bench_callbacks.py --keras=3

A small network learns with and without all of them, in turn, in one process and with one compiled step. Nothing is NaN,
no limit is near; files and figures are made of a few bytes, since an export costs what it costs. Two answers: the ratio
of whole calls of `fit`, which noise disturbs, and the time inside the hooks over the time of the calls, which it hardly
does. A minute and a half on two idle cores.
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
_STEPS = flags.DEFINE_integer("steps", 100, "Steps of a call of `fit`, in two epochs.", 4)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Examples a step.", 1)


def make_network(keras):
    """A small VGG for pictures of 32 x 32."""
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
        callbacks.BudgetWatch({"size_bytes": (lambda model: 1, 2)}, every=epochs + 1, write=silent),
        callbacks.TFLiteExport(folder / "a.tflite", lambda model: b"1", lambda file: 1.0, every=epochs, write=silent),
        callbacks.History(folder / "history.csv"),
        callbacks.EpochsDone(lambda done, epochs, logs: None),
        callbacks.TimeLimit(1e6, folder / "state.npz", write=silent),
        callbacks.Progress("a", write=silent),
    ]


def timed_hooks(callback, spent: dict[str, float]) -> None:
    """Adds the seconds in each hook of a callback to `spent`, by its class."""
    name = type(callback).__name__

    def wrapped(hook):
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
    with tempfile.TemporaryDirectory() as folder:

        def train(callbacks):
            wall, cpu = time.perf_counter(), time.process_time()
            net.fit(
                images, labels, batch_size=_BATCH_SIZE.value, epochs=epochs, shuffle=False, verbose=0,
                callbacks=callbacks,
            )  # fmt: skip
            return time.perf_counter() - wall, time.process_time() - cpu

        def with_all():
            return train(make_callbacks(Path(folder, str(time.perf_counter())), epochs))

        both = {"plain": lambda: train([]), "with all": with_all}
        for one in both.values():
            one()
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in both}
        for turn in range(_ROUNDS.value):
            # Each goes first as often as the other.
            for name in sorted(both, reverse=turn % 2 == 0):
                seconds[name].append(both[name]())
        spent: dict[str, float] = {}
        callbacks = make_callbacks(Path(folder, "hooks"), epochs)
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
    total = sum(spent.values())
    print(f"inside the hooks: {100 * total / (wall - total):.2f} % of the rest of a fit, of which, in us a step:")
    for name, value in sorted(spent.items(), key=lambda pair: -pair[1]):
        print(f"  {name:20}{1e6 * value / (epochs * steps):8.1f}")


if __name__ == "__main__":
    app.run(main)
