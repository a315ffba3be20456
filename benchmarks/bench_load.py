"""How long does it take to read a network, with Keras's own reader and with ours, in turn?

python benchmarks/bench_load.py net.keras --rounds=1
"""

from __future__ import annotations

import statistics
import sys
import time

from absl import app, flags

from tta_lite.compat import keras
from tta_lite.models.files import load_network

_ROUNDS = flags.DEFINE_integer("rounds", 3, "Each reader reads the file so many times.", 1)


def main(argv: list[str]) -> None:
    """Times both readers in turn, processor seconds."""
    if len(argv) != 2:
        sys.exit(f"error: expected one .keras file. Received: {' '.join(argv[1:])}")
    readers = {
        "keras.models.load_model": lambda: keras.models.load_model(argv[1], compile=False),
        "load_network": lambda: load_network(argv[1]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(_ROUNDS.value):
        for name, read in readers.items():
            began = time.process_time()
            read()
            seconds[name].append(time.process_time() - began)
    for name, values in seconds.items():
        print(f"{name}: {statistics.median(values):.1f} s of processor time, median of {len(values)}")
    old, new = seconds.values()
    print(f"{statistics.median(a / b for a, b in zip(old, new, strict=True)):.1f} times as fast")


if __name__ == "__main__":
    app.run(main)
