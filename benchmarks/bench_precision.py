"""What does training in 16 bits (G4) cost on this CPU?

  python benchmarks/bench_precision.py

Seconds a training step of MobileNetV2 with 64-channel PConvs, in float32, in 16 bits with float32 sums (what `fit`
trains where no GPU is present), and in 16 bits with TensorFlow's own kernels. The networks take turns, after a warm-up,
on a batch that is there already. Some two minutes on two cores without AVX-512.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from absl import flags

from recipes import _app

_INPUT_SIZE = flags.DEFINE_integer("input_size", 128, "Side of the input in pixels, a multiple of 32.", 32)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Examples a batch.", 1)
_STEPS = flags.DEFINE_integer("steps", 5, "Timed steps of each network.", 2)

OURS, PLAIN = "float32 sums", "TensorFlow's kernels"


def training_step(policy: str, sums: str) -> Callable[[], object]:
    """-> one training step of a network of its own, traced and warm."""
    import tensorflow as tf

    from tta_lite.compat import keras
    from tta_lite.models.pose import pose_resnet
    from tta_lite.training.precision import optimizer_for, with_policy

    keras.mixed_precision.set_global_policy(policy if sums == PLAIN else "float32")
    size = _INPUT_SIZE.value
    model = pose_resnet("mobilenet_v2", input_size=size, bottleneck=64)
    if sums == OURS:
        model = with_policy(model, policy)
    keras.mixed_precision.set_global_policy("float32")
    model.compile(optimizer=optimizer_for(policy, keras.optimizers.Adam(1e-3)), loss="mse")
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(-1, 1, (_BATCH_SIZE.value, size, size, 3)), tf.float32)
    labels = tf.constant(rng.uniform(0, 1, (_BATCH_SIZE.value, size // 4, size // 4, 16)), tf.float32)
    for _ in range(2):
        model.train_on_batch(images, labels)
    return lambda: model.train_on_batch(images, labels)


def main(argv: Sequence[str]) -> None:
    """Times the networks in turn and prints the ratios to float32."""
    kinds = [
        ("float32", OURS),
        *((f"mixed_{kind}", sums) for kind in ("bfloat16", "float16") for sums in (OURS, PLAIN)),
    ]
    steps = {kind: training_step(*kind) for kind in kinds}
    seconds: dict[tuple[str, str], list[float]] = {kind: [] for kind in kinds}
    for _ in range(_STEPS.value):
        for kind, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[kind].append(time.perf_counter() - start)
    first = np.array(seconds[kinds[0]])
    print(f"{_INPUT_SIZE.value} pixels, batches of {_BATCH_SIZE.value}, {_STEPS.value} steps each")
    for kind, times in seconds.items():
        ratios = np.array(times) / first
        label = kind[0] if kind[0] == "float32" else f"{kind[0]}, {kind[1]}"
        print(
            f"{label}: {np.median(times) / _BATCH_SIZE.value * 1e3:.1f} ms an image, {np.median(ratios):.1f} times "
            f"float32 ({ratios.min():.1f} to {ratios.max():.1f})"
        )


if __name__ == "__main__":
    _app.run(main)
