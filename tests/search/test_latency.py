from __future__ import annotations

import dataclasses

import pytest

from tests import networks
from tta_lite.compat import keras
from tta_lite.measure.benchmark import Benchmark, Comparison
from tta_lite.measure.latency_model import CYCLES, KindCost, LatencyModel, NetworkCost, Place, Sizes
from tta_lite.search import latency
from tta_lite.search.latency import measured_here, measured_on_board, predicted
from tta_lite.types import InputError, Latency, MeasuredOn

L = keras.layers
MODEL = LatencyModel(
    Place("a made-up board", "LiteRT", 2, {}),
    ("net1",),
    {"fp32": Sizes(1, 1, 1 << 30)},
    {"fp32": {"conv": KindCost(0.0, (1e-3, 0.0, 0.0), 0.0, 0.0, 0.0, 1.0, 5, 1e9)}},
    {"fp32": NetworkCost(2.0, 500.0, 0.05, 1.2, 0.9, 20)},
)


@pytest.fixture(scope="module")
def net() -> keras.Model:
    return networks.net(L.Conv2D(8, 3, padding="same", name="conv"), shape=(10, 10, 8))


def test_a_prediction_says_that_it_is_one(net, tmp_path):
    file = tmp_path / "made_up.json"
    MODEL.save(file)
    milliseconds, source = predicted(file)(net)
    # 100 pixels x 72 x 8 MACs, a nanosecond each, times 2, and half a millisecond.
    assert milliseconds == pytest.approx(2 * 57_600e-6 + 0.5)
    assert source == "predicted by made_up.json for a made-up board, not measured"


def test_busy_cycles_are_no_latency(tmp_path):
    file = tmp_path / "counted.json"
    dataclasses.replace(MODEL, place=dataclasses.replace(MODEL.place, unit=CYCLES)).save(file)
    with pytest.raises(InputError, match="fitted to times"):
        predicted(file)


class Timer:
    """In the place of the benchmark: each call's files take what the next of `rounds` says, in ms."""

    def __init__(self, board: str, rounds: list[dict[str, tuple[float, ...]]]):
        self.board, self.rounds, self.calls = board, rounds, []

    def __call__(self, paths, **rules):
        assert all(path.read_bytes() for path in paths.values())
        self.calls.append(rules)
        rounds = self.rounds.pop(0)
        assert set(paths) == set(rounds)
        on = MeasuredOn(self.board, "LiteRT 2.3.0", "XNNPACK", 1, "a core")
        rows = {
            name: Benchmark(0.1, Latency(min(times), *[max(times)] * 2, min(times), max(times), 0.0, 9), 1, on)
            for name, times in rounds.items()
        }
        return Comparison(rows, rounds)


def test_a_latency_of_this_machine_is_called_so(net, monkeypatch):
    timer = Timer("this machine: AMD EPYC, 2 cores", [{"candidate": (4.0, 5.0)}])
    monkeypatch.setattr(latency, "benchmark_together", timer)
    found = measured_here(rounds=2, num_threads=1)(net)
    assert found == (4.0, "measured here: AMD EPYC, 2 cores, LiteRT 2.3.0, XNNPACK, 1 thread")
    assert timer.calls == [{"rounds": 2, "num_threads": 1}]


def test_a_board_in_the_loop_is_asked_and_named(net, monkeypatch):
    timer = Timer("Firefly RK3399", [{"candidate": (40.0,)}])
    monkeypatch.setattr(latency, "benchmark_together", timer)
    found = measured_on_board("ssh://user@host", "rk3399", cores="big")(net)
    assert found == (40.0, "measured on Firefly RK3399, LiteRT 2.3.0, XNNPACK, 1 thread")
    assert timer.calls == [{"cores": "big", "connect": "ssh://user@host", "board": "rk3399"}]


def test_drift_of_the_machine_hits_the_reference_too(net, monkeypatch):
    # The second call is at a time when everything takes three times as long.
    timer = Timer(
        "this machine: a CPU",
        [
            {"candidate": (2.0, 2.0, 4.0), "reference": (4.0, 4.0, 4.0)},
            {"candidate": (12.0, 12.0, 12.0), "reference": (12.0, 12.0, 13.0)},
            # Others come and go: what is left alone says what is true.
            {"candidate": (9.0, 2.0, 8.0), "reference": (5.0, 4.0, 4.0)},
        ],
    )
    monkeypatch.setattr(latency, "benchmark_together", timer)
    latency_of = measured_here(reference=b"a file")
    assert [latency_of(net)[0] for _ in range(3)] == [2.0, 4.0, 2.0]
    timer.rounds.append({"candidate": (1.0,), "reference": (1.0,)})
    assert latency_of(net)[1].endswith("1 thread; as a multiple of a reference that was timed in turn")
    timer.rounds.append({"candidate": (1.0,), "reference": (2.0,)})
    assert measured_here(reference=b"a file", reference_ms=6.0)(net)[0] == 3.0


def test_what_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="This machine is no board"):
        measured_here(connect="local")
    with pytest.raises(InputError, match="needs `connect` and `board`"):
        measured_on_board("", "rk3399")
    with pytest.raises(InputError, match=r"of a `reference`\. Received: 3\.0"):
        measured_here(reference_ms=3.0)
