"""From what an emulated core executed to how long a real one would be busy: cycles, for ratios and never as a latency.

A core is busy for as long as its busiest part: the decoder, or one of the pipelines that instructions wait for. Misses
come on top, as the lines that must be moved; how much of that a core hides behind its work is not known, so that there
are two ends: all of it, and nothing. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tta_lite.measure.device.executed import Tally


@dataclasses.dataclass(frozen=True)
class CoreCosts:
    """What instructions cost on a core.

    Attributes:
      name: as QEMU calls the core.
      decoded: instructions a cycle at most.
      pipelines: name -> {kind of instruction: cycles for which it keeps that pipeline, or one of several, busy}.
      l1_miss: cycles that a line from the second cache takes when many follow each other.
      l2_miss: cycles that a line from memory takes then.
      source: of the figures.
    """

    name: str
    decoded: float
    pipelines: Mapping[str, Mapping[str, float]]
    l1_miss: float
    l2_miss: float
    source: str

    def cycles(self, tally: Tally) -> tuple[float, float]:
        """-> the least, with all misses hidden, and the most, with none of them hidden.

        >>> CORTEX_A72.cycles(Tally({"float_multiply_add": 100, "load_simd": 50}, 0, 0, 10, 1))
        (100.0, 163.0)
        """
        busy = [
            sum(tally.instructions.get(kind, 0) * cost for kind, cost in costs.items())
            for costs in self.pipelines.values()
        ]
        least = max(tally.total / self.decoded, *busy)
        return least, least + tally.l1_misses * self.l1_miss + tally.l2_misses * self.l2_miss


_TWO_PIPES = 0.5
# Two pipelines of 64 bits: a multiply-add of 128 bits takes both for a cycle, 4 in float32 a cycle, as the core's peak
# of 8 float32 operations a cycle says. The float, half and convert columns hold few instructions here.
_A72_SIMD = {
    "float_multiply_add": 1.0,
    "simd_widening_multiply": 1.0,
    "simd_multiply": 1.0,
    "half": 1.0,
    "float": 1.0,
    "convert": 1.0,
    "simd_integer": _TWO_PIPES,
    "simd_move": _TWO_PIPES,
}
CORTEX_A72 = CoreCosts(
    name="cortex-a72",
    decoded=3,
    pipelines={
        "FP/ASIMD 0 and 1": _A72_SIMD,
        "load": {"load": 1.0, "load_simd": 1.0, "prefetch": 1.0},
        "store": {"store": 1.0, "store_simd": 1.0},
        "integer 0 and 1": {"integer": _TWO_PIPES},
        "branch": {"branch": 1.0},
    },
    # 64 bytes at 16 bytes a cycle; and at 1.8 GHz and some 5 GB/s that one core gets out of LPDDR3.
    l1_miss=4,
    l2_miss=23,
    source=(
        "Pipelines and widths: Arm, Cortex-A72 Software Optimisation Guide, UAN 0016A, 2015, section 2.1; throughputs: "
        "the core's peak; lines: estimates"
    ),
)
# The cores whose costs are known, by the name that QEMU has for them.
CORES: Mapping[str, CoreCosts] = {core.name: core for core in (CORTEX_A72,)}
