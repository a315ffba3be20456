"""How long do rewriting and counting take, and how does that grow with the number of layers?

    python benchmarks/bench_rewrite.py

Chains of residual blocks of 100 to 1,600 layers, each rewritten without a change and counted, in turn, three times.
Prints the median in seconds and in milliseconds a layer: where that stays the same, the time grows with the layers.
"""

from __future__ import annotations

import statistics
import time

from tta_lite.compat import keras
from tta_lite.measure.counting import count
from tta_lite.transforms.rewrite import rewrite

L = keras.layers
SIZES = (100, 200, 400, 800, 1600)
ROUNDS = 3


def chain(layers: int) -> keras.Model:
    """-> a network of about so many layers."""
    image = keras.Input((16, 16, 8))
    x = image
    for _ in range(layers // 4):
        y = L.ReLU()(L.BatchNormalization()(L.Conv2D(8, 3, padding="same")(x)))
        x = L.Add()([x, y])
    return keras.Model(image, x)


def main() -> None:
    """Times and prints."""
    networks = {size: chain(size) for size in SIZES}
    # The first model of a process pays for what is loaded and compiled.
    rewrite(networks[SIZES[0]], {})
    times: dict[tuple[int, str], list[float]] = {}
    for _ in range(ROUNDS):
        for size, network in networks.items():
            for name, work in (("rewrite", lambda net: rewrite(net, {})), ("count", count)):
                began = time.perf_counter()
                work(network)
                times.setdefault((size, name), []).append(time.perf_counter() - began)
    print(f"{'layers':>7}  {'rewrite, s':>10}  {'ms a layer':>10}  {'count, s':>9}  {'ms a layer':>10}")
    for size, network in networks.items():
        layers = len(network.layers)
        rewriting, counting = (statistics.median(times[size, name]) for name in ("rewrite", "count"))
        print(
            f"{layers:>7}  {rewriting:>10.2f}  {1e3 * rewriting / layers:>10.2f}  {counting:>9.3f}  "
            f"{1e3 * counting / layers:>10.3f}"
        )


if __name__ == "__main__":
    main()
