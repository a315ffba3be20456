"""``tta-lite netadapt``: that it comes to the limit, goes on, and what it refuses; the clock is replaced by MACs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.recipes.in_process import recipe, typed
from tests.training.conftest import tiny_net, tiny_task
from tta_lite.guideline import netadapt_step
from tta_lite.measure.benchmark import Comparison
from tta_lite.measure.layer_latency import LayerCosts, LayerTime
from tta_lite.measure.tflite_counting import count_tflite
from tta_lite.models.files import load_network
from tta_lite.search import latency
from tta_lite.types import MeasuredOn

QUICK = ["--num_threads=1", "--rounds=1", "--num_runs=2", "--min_secs=0"]
TASK = "--task=tests.recipes.test_netadapt_recipe:make_task"
SMALL = ["--round_to=4", "--floor=4", "--short_steps=1", "--score_batches=1", "--tuned=2", "--step=0.3"]
PLACE = MeasuredOn("host", "MACs", "none", 1, "made up")


def make_task(model):
    """What `--task` calls."""
    return tiny_task()


def ms(path):
    """-> a microsecond a thousand MACs."""
    return count_tflite(Path(path).read_bytes()).macs / 1e6


@pytest.fixture(autouse=True)
def macs_for_a_clock(monkeypatch):
    def together(files, **rules):
        figures = {name: ms(path) for name, path in files.items()}
        found = {
            name: SimpleNamespace(latency=SimpleNamespace(p50=own, min=own), measured_on=PLACE, predicted=None)
            for name, own in figures.items()
        }
        return Comparison(found, {name: (own,) for name, own in figures.items()})

    def profile(files, **rules):
        found = {}
        for name, path in files.items():
            layers = [
                LayerTime(one.name, one.op, one.macs or 0, (one.macs or 0) / 1e6, 0, 0)
                for one in count_tflite(Path(path).read_bytes()).layers
            ]
            found[name] = LayerCosts((), tuple(layers), ms(path), 1, "made up", 1)
        return found

    monkeypatch.setattr(latency, "benchmark_together", together)
    monkeypatch.setattr(netadapt_step, "layer_costs", profile)


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("net") / "net.keras"
    tiny_net().save(file)
    return f"--model={file}"


def test_it_comes_to_the_limit_and_does_nothing_twice(capfd, net, tmp_path):
    words = (net, TASK, "--latency_share=0.6", "--finetune_epochs=1", "--nodistil", *SMALL, f"--out={tmp_path}/run")
    with recipe("netadapt") as module:
        code, out, err = typed(module, capfd)(*words, *QUICK)
        assert code == 0, err
        before, after = (json.loads(line) for line in (tmp_path / "run/ledger.jsonl").read_text().splitlines())
        assert (
            after["why"] == "asked for: channels by NetAdapt, 60% of the latency, l2_norm" and "netadapt: taken" in out
        )
        # A millisecond is a MAC here, so that the limit on one is a limit on the other.
        assert after["report"]["macs"] <= 0.6 * before["report"]["macs"]
        places = sorted((tmp_path / "run/netadapt/iterations").glob("*/iteration.json"))
        records = [json.loads(place.read_text()) for place in places]
        assert [one["number"] for one in records] == list(range(len(records))) and len(records) > 1
        assert records[-1]["latency_ms"] <= 0.6 * records[0]["latency_ms"] < records[-2]["latency_ms"]
        assert records[-1]["source"].startswith("measured on host, MACs, none, 1 thread")
        assert all(sum(p["tuned_score"] is not None for p in one["proposals"]) <= 2 for one in records)
        found = load_network(tmp_path / "run/steps/01-netadapt/model.keras")
        assert found.count_params() < load_network(net.partition("=")[2]).count_params()
        changed = [place.stat().st_mtime_ns for place in places]
        assert typed(module, capfd)(*words, *QUICK)[0] == 0
        assert [place.stat().st_mtime_ns for place in places] == changed


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "--task must be given"),
        ((TASK,), "One of --max_latency_ms and --latency_share must say the limit. Received: neither"),
        ((TASK, "--max_latency_ms=1", "--latency_share=0.5"), "Received: both"),
        ((TASK, "--latency_share=0.5", "--criterion=size"), "'size'"),
        ((TASK, "--latency_share=0.5", "--step=1"), "`step` must be between 0 and 1"),
    ],
)  # fmt: skip
def test_flags_that_cannot_be(capfd, net, tmp_path, words, text):
    with recipe("netadapt") as module:
        code, _, err = typed(module, capfd)(net, *words, f"--out={tmp_path}/run", *QUICK)
    assert code == 2 and text in err, err
