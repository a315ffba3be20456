"""What a search shows: its record, its table in two languages, its plot."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re

import numpy as np
import pytest

from tests.report.test_page import HOSTILE, Reader
from tta_lite.report.language import ENGLISH, KOREAN
from tta_lite.report.run_folder import RunFolder
from tta_lite.report.search import SearchReport, record, table
from tta_lite.report.search_page import NEWEST, render_page
from tta_lite.report.search_plot import front_figure
from tta_lite.report.search_tables import front_of, summary
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
    folder, told = RunFolder(tmp_path), []
    metrics: set[str] = set()
    report = SearchReport(folder, Goal("front"), metrics, total=7, tell=told.append)
    report(Found(()))
    assert not (tmp_path / "plots").exists() and "<img" not in (tmp_path / "report.html").read_text()
    metrics.add("PCKh@0.5")
    report(made_up())
    assert "<img" in (tmp_path / "report.html").read_text()
    assert told == [
        "0 of 7 networks settled",
        "6 of 7 networks settled; the front: 2, from PCKh@0.5 60.0 at 4 ms to 70.0 at 9 ms",
    ]
    assert (tmp_path / "plots/front.png").read_bytes().startswith(b"\x89PNG")
    assert [trial.number for trial in front_of(made_up().trials)] == [0, 1]
    # A call that goes on knows the metric before it has scored anything.
    assert SearchReport(folder, Goal("front"), set()).metric == "PCKh@0.5"


def test_the_page_reads_itself_anew_until_the_search_is_done():
    now = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    for done in (False, True):
        found = dataclasses.replace(made_up(), done=done)
        page = Reader(render_page(found, Goal("hard", 8.0), "PCKh@0.5", b"png", total=7, now=now))
        again = [attrs["content"] for attrs in page.all("meta") if attrs.get("http-equiv") == "refresh"]
        assert again == ([] if done else ["15"])
        text = " ".join(page.texts)
        assert ("Done." in text) is done and ("reads itself anew every 15 s" in text) is not done
        assert "6 of 7 networks settled; best so far: trial 1, PCKh@0.5 70.0 at 9 ms, reward 62.2" in text
        assert "2030-01-02 03:04:05 UTC" in text and "it cannot be built" in text
        # Nothing from outside, and no script.
        assert page.addresses and all(one.startswith("data:image/png;base64,") for one in page.addresses)
        assert not page.all("script")


def test_what_a_user_or_an_error_says_is_text_on_the_page():
    trial = Trial(0, {HOSTILE: HOSTILE}, State.FAILED, why=HOSTILE)
    page = Reader(render_page(Found((trial,)), Goal("front"), HOSTILE, None))
    assert not page.all("script") and "".join(page.texts).count(HOSTILE) == 3


def test_the_page_lists_the_newest_trials_first():
    trials = tuple(Trial(number, {"width": number}, State.RUNNING) for number in range(NEWEST + 3))
    page = Reader(render_page(Found(trials), Goal("front"), "accuracy", None))
    heads = [texts for texts in page.texts if texts.isdigit()]
    assert heads == [str(number) for number in range(NEWEST + 2, 2, -1)]


def test_the_page_in_korean_holds_no_english():
    for goal in (Goal("hard", 8.0), Goal("front")):
        page = Reader(render_page(made_up(finalists=False), goal, "accuracy", b"png", total=7, say=KOREAN))
        seen = " ".join(text for text in page.texts if "{" not in text)
        left = re.sub(r"MACs|by source \d|width|ms|UTC|it is slow|it cannot be built", "", seen)
        assert not re.search("[A-Za-z]{2,}", left), left
        assert summary(made_up(), goal, "accuracy", 7, KOREAN) in seen
