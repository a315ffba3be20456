"""What does a changing load do to an adaptive network? Deadline misses and accuracy against each of its modes alone.

  tta-lite adaptive-simulate --artifact=runs/exits/artifact --trace=walk --period_ms=33 --out=runs/walk
  tta-lite adaptive-simulate --artifact=runs/exits/artifact --trace=phone.csv --period_ms=33 --out=runs/phone

The artifact is a folder with policy.json whose stages were timed. A trace is a CSV file with the columns seconds and
load (0 to below 1), clock (1: that of the measurement) or both; or sinusoid, steps or walk, made from --seed. Writes
simulation.md, simulation.csv, simulation.png and trace.csv. Nothing is run: latencies are drawn from those in the
policy.

Cost: some seconds for an hour of frames. It needs no data and loads no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from recipes import _app
from tta_lite.adaptive.rules import DOWN, UP
from tta_lite.report.language import LANGUAGES
from tta_lite.types import InputError

_ARTIFACT = flags.DEFINE_string("artifact", None, "The folder with policy.json.", required=True)
_TRACE = flags.DEFINE_string("trace", "walk", "A CSV file, or sinusoid, steps or walk.")
_SEED = flags.DEFINE_integer("seed", 0, "Of a generated trace, and of the latencies that are drawn.")
_SECONDS = flags.DEFINE_float("seconds", 120.0, "How long.", 0)
_PERIOD = flags.DEFINE_float("period_ms", None, "Between two frames.", 0, required=True)
_DEADLINE = flags.DEFINE_float("deadline_ms", None, "Of a frame; the period, if not given.", 0)
_DOWN = flags.DEFINE_float("down", DOWN, "Share of the deadline above which a mode is left.", 0)
_UP = flags.DEFINE_float("up", UP, "Share of it below which a better mode is taken; at most --down.", 0)
_DWELL = flags.DEFINE_integer("dwell", 10, "Frames that a mode is kept at least.", 1)
_HOLD = flags.DEFINE_enum("hold", "worst", ("worst", "mean"), "What of a mode must fit: all its stages, or their mean.")
_CUT = flags.DEFINE_bool("cut", False, "Begin no stage that would end after the deadline: answer with what is there.")
_LANGUAGE = flags.DEFINE_enum("language", "en", tuple(LANGUAGES), "Of simulation.md and simulation.png.")
_OUT = flags.DEFINE_string("out", None, "A folder.", required=True)


def main(argv: Sequence[str]) -> None:
    """Reads, simulates, writes the table and the plot."""
    del argv
    from tta_lite.adaptive.policy import read_policy
    from tta_lite.adaptive.rules import LatencyBudget
    from tta_lite.adaptive.simulate import simulate
    from tta_lite.adaptive.traces import GENERATED, make_trace, read_trace
    from tta_lite.files import atomic_write
    from tta_lite.report.adaptive import simulation_csv, simulation_markdown, simulation_plot

    policy = read_policy(_ARTIFACT.value)
    if _TRACE.value in GENERATED:
        trace = make_trace(_TRACE.value, _SECONDS.value, seed=_SEED.value)
    elif Path(_TRACE.value).is_file():
        trace = read_trace(_TRACE.value)
    else:
        raise InputError(f"--trace must be a CSV file or one of {', '.join(GENERATED)}. Received: {_TRACE.value!r}")
    deadline_ms = _PERIOD.value if _DEADLINE.value is None else _DEADLINE.value
    found = simulate(
        policy,
        trace,
        duration_s=_SECONDS.value,
        period_ms=_PERIOD.value,
        deadline_ms=deadline_ms,
        rules=[LatencyBudget(deadline_ms, _DOWN.value, _UP.value)],
        dwell=_DWELL.value,
        hold=_HOLD.value,
        cut=_CUT.value,
        seed=_SEED.value,
    )
    say, out = LANGUAGES[_LANGUAGE.value], Path(_OUT.value)
    text = simulation_markdown(found, say)
    atomic_write(out / "simulation.md", text)
    atomic_write(out / "simulation.csv", simulation_csv(found))
    atomic_write(out / "simulation.png", simulation_plot(found, say))
    atomic_write(out / "trace.csv", trace.to_csv())
    print(text)
    print(f"written: {out}")


if __name__ == "__main__":
    _app.run(main)
