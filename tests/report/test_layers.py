# The page shows true dashes and signs.
# ruff: noqa: RUF001
from __future__ import annotations

import json

import pytest

from tests.report.made_up_guideline import MADE_UP_COSTS
from tests.report.test_page import Reader
from tta_lite.measure.layer_latency import HERE, RULES
from tta_lite.report import layers, page
from tta_lite.report.run_folder import RunFolder


@pytest.fixture
def files(tmp_path):
    found = {}
    for row in MADE_UP_COSTS:
        found[row] = tmp_path / f"{row}.tflite"
        found[row].write_bytes(row.encode())
    return found


def test_layers_are_measured_once_a_file_and_rule(tmp_path, files):
    folder, calls, said = RunFolder(tmp_path), [], []

    def measure(given, **rules):
        calls.append((dict(given), rules))
        return MADE_UP_COSTS

    def again(**rules):
        return layers.measured_layers(folder, files, rules, write=said.append, measure=measure)

    assert again() == MADE_UP_COSTS
    assert again() == MADE_UP_COSTS
    assert len(calls) == len(said) == 1 and calls[0][0] == files
    assert calls[0][1] == {**RULES, **HERE, "num_threads": 1}
    again(num_threads=2, rounds=1, num_runs=9999)
    # Never more than the run asks for, nor than these charts need.
    assert calls[1][1] == {**RULES, **HERE, "num_threads": 2, "rounds": 1}
    # What a board ran is profiled there, and is another measurement.
    there = {"connect": "ssh://user@board", "board": "rk3399", "cores": "big", "cool_down_secs": 5.0}
    again(**there)
    assert calls[2][1] == {**RULES, **HERE, **there, "num_threads": 1}
    calls.pop()
    files["G2"].write_bytes(b"another")
    again()
    again()
    assert len(calls) == 3
    for torn in ("{", "[]", json.dumps({"files": {}})):
        (tmp_path / layers.KEPT).write_text(torn)
        assert again() == MADE_UP_COSTS
    assert len(calls) == 6
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp-")] == []


def test_bars_of_both_networks_share_a_scale():
    view = layers.layers_view(MADE_UP_COSTS, {"none": "#123456"})
    first, second = (chart["lines"] for chart in view["charts"])
    # 30 of 30 million MACs and 2.5 of 7.5 ms; then 15 of 30 and 7.5 of 7.5; then 30 of 30 and 0.5 of 7.5.
    assert [(one["macs_share"], one["latency_share"]) for one in first] == [("100.0", "33.3"), ("50.0", "100.0")]
    assert [(one["macs_share"], one["latency_share"]) for one in second] == [("100.0", "6.7")]
    assert [chart["colour"] for chart in view["charts"]] == ["#123456", ""]
    assert [(chart["latency"], chart["macs"]) for chart in view["charts"]] == [("9.8", "45.0"), ("0.2", "30.0")]
    assert [one["last"] for one in first] == ["stage1_conv", ""]
    assert second[0]["range"] == "0.2 – 3.0"
    assert (
        "on Example CPU @ 2.60GHz (1 thread); what it merges" in view["notes"][1] and "of 3 rounds" in view["notes"][1]
    )
    assert "none: the layers sum to 10.0 ms; the whole file takes 9.8 ms" in view["notes"][2]
    assert len(view["notes"]) == 4


def test_layers_stand_by_their_names_the_slowest_first():
    first, second = (chart["layers"] for chart in layers.layers_view(MADE_UP_COSTS)["charts"])
    # Of 10 ms in all.
    assert [(one["layer"], one["op"], one["macs"], one["latency"], one["share"]) for one in first] == [
        ("heatmaps", "CONV_2D", "15.00", "7.500", "75.0"),
        ("stem", "CONV_2D", "20.00", "2.000", "20.0"),
        ("stage1_conv", "CONV_2D", "10.00", "0.500", "5.0"),
    ]
    # The one layer beyond thirty has a line, and all lines sum to the whole.
    assert len(second) == layers.MOST_LAYERS + 1
    assert (second[0]["layer"], second[-1]["layer"], second[-1]["op"]) == ("stem", "1 more", "")
    assert (second[-1]["latency"], second[-1]["macs"]) == ("0.010", "0.10")
    assert sum(float(one["share"]) for one in second) == pytest.approx(100)
    assert sum(float(one["latency"]) for one in second) == pytest.approx(0.5)


def test_nothing_measured_is_no_error():
    assert layers.layers_view({})["charts"] == []


def test_the_page_shows_a_bar_a_figure(ladder):
    text = page.render_page("A title", ladder, context={"layers": layers.layers_view(MADE_UP_COSTS)})
    reader = Reader(text)
    bars = [attrs for attrs in reader.all("i") if "aria-hidden" in attrs]
    assert [attrs["style"] for attrs in bars] == [
        "--v:100.0", "--v:33.3", "--v:50.0", "--v:100.0", "--v:100.0", "--v:6.7",
    ]  # fmt: skip
    shown = " ".join(" ".join(reader.texts).split())
    for part in ("stem … stage1_conv", "9.8 ms, 45.0 M MACs", "7.5 7.0 – 8.5"):
        assert part in shown
    for part in ("Every layer of G2, the slowest first", "heatmaps CONV_2D 15.00 7.500 75.0"):
        assert part in shown
    assert len(reader.all("details")) >= 2
    assert 'id="layers"' not in page.render_page("A title", ladder)
