# The table holds true dashes and signs.
# ruff: noqa: RUF001
from __future__ import annotations

import csv
import dataclasses
import io
import math

import pytest
from rich.console import Console

from tta_lite.report import columns, table
from tta_lite.report.headline import headline
from tta_lite.report.language import KOREAN
from tta_lite.types import Latency, LedgerEntry, MeasuredOn, Report, Verdict


def printed(entries, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    table.print_table(entries, dataset="LSPET test", console=console)
    return console.file.getvalue()


def lines_of(markdown: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in markdown.splitlines()
        if line.startswith("|")
    ]


def with_report(entry: LedgerEntry, **fields) -> LedgerEntry:
    return dataclasses.replace(entry, report=dataclasses.replace(entry.report, **fields))


def test_markdown_rows_by_hand(ladder):
    head, _, first, *_, int8, _ = lines_of(table.to_markdown(ladder))
    assert head[2:8] == ["PCKh@0.5", "95 % interval", "init s", "latency p50 ms", "latency p90 ms", "speed-up ×"]
    assert first == [
        "none", "PoseResNet-50", "51.3", "49.2–53.5", "0.912", "612.4", "633.0", "1.0", "136.0", "126.1", "402.0",
        "12.90", "34.00", "81.4", "12.113", "1.054", "1.0",
    ]  # fmt: skip
    # 612.4 / 41.8 = 14.65; the report has no such row.
    assert int8 == [
        "G1+G2+G3", "full integer INT8", "53.0", "50.8–55.2", "0.064", "41.8", "43.5", "14.7", "3.7", "3.0", "41.0",
        "1.24", "3.27", "–", "–", "–", "–",
    ]  # fmt: skip


def test_every_line_of_the_markdown_has_as_many_cells(ladder, skipped_entry):
    rows = lines_of(table.to_markdown([*ladder, skipped_entry]))
    assert len({len(row) for row in rows}) == 1 and len(rows) == 2 + 7


def test_published_figures_and_their_ratio(ladder):
    rows = list(csv.DictReader(io.StringIO(table.to_csv(ladder))))
    assert [row["report_pckh"] for row in rows] == ["81.4", "77.7", "76.3", "76.0", "", ""]
    assert [row["report_init_s"] for row in rows][:4] == ["12.113", "5.878", "6.062", "5.929"]
    assert float(rows[2]["report_speed_up"]) == pytest.approx(1.054 / 0.354)
    assert "RK3399, 2019" in lines_of(table.to_markdown(ladder))[0][-1]


def test_without_published_figures_their_columns_are_gone(ladder):
    bare = [dataclasses.replace(entry, details={"label": "x"}) for entry in ladder]
    text = table.to_markdown(bare) + table.to_csv(bare) + printed(bare, 200)
    assert "RK3399" not in text and "report" not in text


def test_missing_figures_are_dashes_and_empty_cells(ladder, skipped_entry):
    half = with_report(
        ladder[1], accuracy=math.nan, accuracy_interval=(math.nan, math.nan), zip_bytes=None,
        latency_ms=Latency(math.inf, math.nan, 1, 1, 1, 1, 50),
    )  # fmt: skip
    rows = lines_of(table.to_markdown([ladder[0], half, skipped_entry]))
    assert rows[3][2:10] == ["–", "–", "0.371", "–", "–", "–", "37.9", "–"]
    assert rows[4][0] == "G6 (skipped)" and set(rows[4][1:]) == {"–"}
    figures = list(csv.DictReader(io.StringIO(table.to_csv([ladder[0], half, skipped_entry]))))
    assert (
        figures[1]["accuracy"] == figures[1]["latency_p50_ms"] == figures[1]["speed_up"] == figures[1]["zip_mb"] == ""
    )
    assert figures[2]["verdict"] == "skipped" and figures[2]["init_s"] == ""
    assert "nan" not in printed([ladder[0], half, skipped_entry], 200)


def test_speed_up_is_over_the_first_row_and_never_over_nothing(ladder, skipped_entry):
    figures = list(csv.DictReader(io.StringIO(table.to_csv([skipped_entry, *ladder]))))
    assert [row["speed_up"] for row in figures] == [""] * 7


def test_csv_holds_unrounded_figures(ladder):
    rows = list(csv.DictReader(io.StringIO(table.to_csv(ladder))))
    assert float(rows[0]["size_mb"]) == 136.03 and float(rows[0]["macs_g"]) == 12.9
    assert (float(rows[0]["accuracy_low"]), float(rows[0]["accuracy_high"])) == (49.2, 53.5)
    assert float(rows[1]["speed_up"]) == 612.4 / 161.2


def test_small_figures_keep_two_digits(ladder):
    tiny = [with_report(entry, size_bytes=32_000, macs=4_200_000) for entry in ladder]
    head, _, first, *_ = lines_of(table.to_markdown(tiny))
    assert first[head.index("file MB")] == "0.032" and first[head.index("MACs G")] == "0.0042"


def test_hostile_names_stay_in_their_cell(ladder):
    evil = dataclasses.replace(ladder[0], name="a|b\n<b>[x]", details={"label": "[bold red]|"})
    rows = lines_of(table.to_markdown([evil, *ladder[1:]]))
    assert rows[2][0] == "a\\|b &lt;b>\\[x]"
    assert "a|b" in printed([evil, *ladder[1:]], 200) and "[x]" in printed([evil, *ladder[1:]], 200)


@pytest.mark.parametrize("width", [40, 80, 100, 120, 160, 240])
def test_terminal_table_fits_and_says_what_it_leaves_out(ladder, width):
    text = printed(ladder, width)
    assert all(len(line) <= width for line in text.splitlines())
    body = text.split("Not shown")[0] if "Not shown" in text else text.split("Latency,")[0]
    if width >= 80:
        for entry in ladder:
            assert any(line.startswith(entry.name) for line in body.splitlines())
        for figure in ("612.4", "14.7", "51.3"):
            assert figure in body
        assert "…" not in body
    assert ("Not shown" in text) == (width < 240)


def test_footnotes_say_where_and_on_what(ladder):
    text = " ".join(table.footnotes(ladder, dataset="LSPET, last 500"))
    for part in ("LiteRT 2.3.0", "delegate XNNPACK", "1 thread,", "Example CPU @ 2.60GHz", "which is not the board",
                 "of LSPET, last 500", "486 test examples", "95 % bootstrap", "Timed runs a row: 50",
                 "RK3399"):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (MeasuredOn("rk3399", "LiteRT", "", 2, "Cortex-A72"), "LiteRT, delegate none, 2 threads, on the board rk3399"),
        (
            MeasuredOn("rk3399", "LiteRT", "XNNPACK", 1, "x", emulated=True),
            "emulated rk3399 (x), which is not the board",
        ),
        (MeasuredOn("this machine: x", "LiteRT", "XNNPACK", 1, "x"), "on this machine (x), which is not the board"),
    ],
)
def test_a_latency_of_this_machine_is_never_the_boards(place, expected):
    assert expected in table.where_text(place)


def test_rows_measured_in_two_places_are_told_apart(ladder):
    other = with_report(ladder[1], measured_on=MeasuredOn("rk3399", "LiteRT", "XNNPACK", 1, "A72"))
    first, second, *_ = table.footnotes([ladder[0], other])
    assert "of none:" in first and "not the board" in first
    assert "of G1:" in second and "on the board rk3399" in second


def test_no_rows_are_no_error():
    assert table.to_markdown([]).startswith("| row |")
    assert table.to_csv([]).startswith("row,")
    assert columns.cells([]) == []
    assert printed([], 80)


def test_headline_by_hand(ladder):
    answer = headline(ladder)
    # 612.4 / 41.8, 53.02 - 51.34, 136.03 / 3.72. G5 is not taken; G3 is the fastest that is.
    assert answer.sentence == (
        "G1+G2+G3 is 14.7× faster than the unmodified net at +1.7 PCKh@0.5; its file is 37× smaller."
    )
    assert answer.row == "G1+G2+G3" and "overlap" in answer.caution and "not overlap" not in answer.caution
    assert [(line.before, line.after, line.change) for line in answer.changes] == [
        ("51.3", "53.0", "+1.7 points"), ("612.4", "41.8", "14.7× faster"), ("0.912", "0.064", "14.2× faster"),
        ("136.0", "3.7", "37× smaller"), ("402.0", "41.0", "9.8× less"),
    ]  # fmt: skip


def test_headline_of_a_chosen_row_that_lost(ladder):
    slow = with_report(
        ladder[2], accuracy=40.0, accuracy_interval=(38.0, 42.0), latency_ms=Latency(1224.8, 1300, 1, 1, 1, 1, 50),
        size_bytes=272_060_000,
    )  # fmt: skip
    answer = headline([ladder[0], slow], chosen="G1+G2")
    assert answer.sentence == (
        "G1+G2 is 2.0× slower than the unmodified net at −11.3 PCKh@0.5; its file is 2.0× larger."
    )
    assert answer.caution.endswith("do not overlap.")


def test_headline_without_figures(ladder, skipped_entry):
    assert headline([]).sentence == "Nothing has been measured yet."
    assert headline([ladder[0], skipped_entry]).sentence.startswith("No lighter row")
    assert headline(ladder, chosen="none").sentence == "No lighter row was chosen: the unmodified net stays."
    same = dataclasses.replace(ladder[0], name="G1")
    assert headline([ladder[0], same]).sentence == (
        "G1 is as fast as the unmodified net at equal PCKh@0.5; its file is as large."
    )
    bare = LedgerEntry("G1", "", Verdict.TAKEN, "", Report(), 0.0)
    assert headline([ladder[0], bare], chosen="G1").sentence == "G1 against the unmodified net."


def test_a_predicted_latency_says_so_under_every_table(ladder):
    place = MeasuredOn("predicted for a board", "predicted, by a model of LiteRT", "", 1, "some core")
    rows = []
    for entry in ladder:
        p50 = entry.report.latency_ms.p50
        latency = Latency(p50, math.nan, p50, 0.8 * p50, 1.25 * p50, math.nan, 0)
        kept = with_report(entry, latency_ms=latency, measured_on=place, init_s=None, peak_memory_bytes=None)
        said = {"low_ms": 0.8 * p50, "high_ms": 1.25 * p50, "coverage": 0.9, "warnings": ["one odd op"]}
        rows.append(dataclasses.replace(kept, details={**kept.details, "predicted": said}))
    text = "\n".join(table.footnotes(rows))
    assert "Latency: predicted for a board by a model of LiteRT, 1 thread, not measured." in text
    assert "Interval of the predicted latencies (90%), ms: none 490 – 766" in text
    assert "Beyond what the model was fitted to: none: one odd op" in text
    assert "on the board" not in text and "Timed runs" not in text
    assert "The latencies are predicted, not measured." in headline(rows).caution
    # There is no 90th percentile of what was not run.
    assert lines_of(table.to_markdown(rows))[2][6] == "–"
    assert "예측값" in "\n".join(table.footnotes(rows, say=KOREAN))
    assert "예측값" in headline(rows, say=KOREAN).caution
