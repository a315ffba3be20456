"""What a search shows: its record, its table in two languages, its plot."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tta_lite.report.language import ENGLISH, KOREAN
from tta_lite.report.run_folder import RunFolder
from tta_lite.report.search import SearchReport, front_of, record, table
from tta_lite.report.search_plot import front_figure
from tta_lite.search.goal import Goal
from tta_lite.search.run import Found
from tta_lite.search.trial import Measured, State, Trial
from tta_lite.types import Latency, Report

FIGURES = [(60.0, 4.0), (70.0, 9.0), (65.0, 10.0), (50.0, 5.0)]
nan = float("nan")


def made_up(finalists=True):
    trials = [
        Trial(
            number, {"width": number}, State.DONE, measured=Measured(accuracy, ms, f"by source {number}", 1000, 10),
            latency=(ms, f"by source {number}"),
        )
        for number, (accuracy, ms) in enumerate(FIGURES)
    ]  # fmt: skip
    trials.append(Trial(4, {"width": 4}, State.PRUNED, latency=(30.0, "by source 4"), why="it is slow"))
    trials.append(Trial(5, {"width": 5}, State.FAILED, why="it cannot be built"))
    report = Report(81.5, "PCKh@0.5", (80.0, 83.0), latency_ms=Latency(9.1, nan, 9.1, nan, nan, nan, 0), macs=1000,
                    size_bytes=2_500_000)  # fmt: skip
    done = ((trials[1], report), (trials[0], "it does not answer as its network does")) if finalists else ()
    return Found(tuple(trials), done, True)


def test_the_record_holds_every_trial_and_where_its_latency_comes_from():
    found = json.loads(json.dumps(record(made_up(), Goal("hard", 8.0), "PCKh@0.5"), default=str))
    assert [one["front"] for one in found["trials"]] == [True, True, False, False, False, False]
    assert [one["state"] for one in found["trials"]] == ["done"] * 4 + ["pruned", "failed"]
    assert [one["latency_source"] for one in found["trials"]] == [f"by source {n}" for n in range(5)] + [None]
    # 70 x (9 / 8)^-1 by hand.
    assert found["trials"][1]["reward"] == pytest.approx(62.2222, abs=1e-3) and found["trials"][4]["reward"] is None
    assert found["finalists"][0]["report"]["accuracy"] == 81.5 and "does not answer" in found["finalists"][1]["fault"]


def test_the_table_has_the_front_the_best_and_the_finalists():
    text = table(made_up(), Goal("hard", 8.0), "PCKh@0.5")
    assert text.startswith("6 networks: 4 measured, 1 given up, 1 cannot be used, 0 at work.")
    assert "| 0 | 60.0 | 4 | 60.0 | 1,000 | by source 0 | 0 |" in text
    best = text.partition("The best rewards")[2]
    assert re.findall(r"^\| (\d) \|", best, re.M)[:4] == ["1", "0", "2", "3"]
    assert "| 1 | 81.5 | 80.0–83.0 | 9.1 | 1,000 | 2.50 |" in text  # noqa: RUF001
    assert "| 0 | it does not answer as its network does |" in text
    # Every row has as many cells as its head.
    rows = [line for line in text.splitlines() if line.startswith("|")]
    tables = text.split("\n\n")
    assert rows and all(
        len({line.count("|") for line in part.splitlines() if line.startswith("|")}) <= 1 for part in tables
    )


def test_the_table_in_korean_holds_no_english():
    text = table(made_up(finalists=False), Goal("hard", 8.0), "PCKh@0.5", KOREAN)
    left = re.sub(r"PCKh@0.5|MACs|by source \d|width|ms", "", text)
    assert not re.search("[A-Za-z]{2,}", left), left
    assert "파레토 경계" in text


def test_the_plot_shows_trials_front_target_and_finalists():
    figure = front_figure(made_up(), Goal("hard", 8.0), "PCKh@0.5", say=ENGLISH)
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    assert list(lines) == ["short trainings (4)", "their front", "trained in full", "target latency"]
    assert np.array_equal(lines["their front"].get_xydata(), [[4.0, 60.0], [9.0, 70.0]])
    assert np.array_equal(lines["trained in full"].get_xydata(), [[9.1, 81.5]])
    assert figure.axes[0].get_xlabel() == "Latency (ms)"


def test_it_is_written_whenever_there_is_more(tmp_path):
    folder = RunFolder(tmp_path)
    metrics: set[str] = set()
    report = SearchReport(folder, Goal("front"), metrics)
    report(Found(()))
    assert not (tmp_path / "plots").exists()
    metrics.add("PCKh@0.5")
    report(made_up())
    assert (tmp_path / "plots/front.png").read_bytes().startswith(b"\x89PNG")
    assert [trial.number for trial in front_of(made_up().trials)] == [0, 1]
    # A call that goes on knows the metric before it has scored anything.
    assert SearchReport(folder, Goal("front"), set()).metric == "PCKh@0.5"
