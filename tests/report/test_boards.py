# The page shows true dashes and signs.
# ruff: noqa: RUF001
"""What boards measured, on the page: its own section, written anew, and nothing else touched."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from rich.console import Console

from tests.measure.device.made_up import event, record, state
from tests.report.test_page import HOSTILE, Reader
from tta_lite.measure.device.results import Results, read_results
from tta_lite.report import boards
from tta_lite.types import InputError

KIT = {
    "board": "rk3399", "board_title": "RK3399", "name": "Tiny net 0.35", "row": "G1+G2", "model_sha256": "ab" * 32,
    "own_libc": True,
}  # fmt: skip
GOLDEN = {"output": "golden/output_0.bin", "elements": 4, "different": 0, "largest": 0, "scale": 9, "agrees": True}
# 30 us, 10 us, and more ops than are shown.
PROFILE = [
    event("Slow", 30), event("Fast", 10, 1), *(event(f"Op{n:02}", 1, n) for n in range(2, boards.MOST_LAYERS + 2))
]  # fmt: skip


def results(tmp_path, *, emulated: bool = False, kit: dict[str, Any] | None = None, **changed: Any) -> Results:
    """Of two rounds on the big cores and two on the little ones."""
    runs = []
    for number in (1, 2):
        for cores, slower in (("big", 1), ("little", 4)):
            record_ = record(**{
                "samples_us": [1000.0 * slower * number] * 5,
                "cpus": [4, 5] if cores == "big" else [0, 1, 2, 3],
                "pinned": True,
                "golden": [GOLDEN],
                "profile": [PROFILE],
                **changed,
            })  # fmt: skip
            runs.append({"cores": cores, "round": number, "result": record_})
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"format": 1, "emulated": emulated, "kit": {**KIT, **(kit or {})}, "runs": runs}))
    return read_results(path)


@pytest.fixture
def run(tmp_path):
    """A run folder with a page."""
    folder = tmp_path / "run"
    folder.mkdir()
    section = boards.section(folder)
    (folder / "report.html").write_text(f'<html lang="en"><h1>A title</h1>\n{section}\n<p>An end.</p></html>')
    return folder


def shown(path) -> str:
    return " ".join(" ".join(Reader(path.read_text(encoding="utf-8")).texts).split())


def test_results_come_into_the_page(tmp_path, run):
    before = (run / "report.html").read_text(encoding="utf-8")
    assert "On boards" not in before and boards.BEGIN in before
    found = boards.keep(run, boards.record_of(results(tmp_path), None))
    assert found == run / "report.html"
    after, text = found.read_text(encoding="utf-8"), shown(found)
    # Only what lies between the marks is another.
    assert after.split(boards.BEGIN)[0] == before.split(boards.BEGIN)[0]
    assert after.split(boards.END)[1] == before.split(boards.END)[1]
    assert "On boards" in text and "RK3399, G1+G2" in text
    # p50 of 1 and 2 ms, and of 4 and 8; ten runs each; 4 MB more than before.
    assert "45 to 45 °C 1.50 2.00 10 0.875 4.0 as expected" in text
    assert "45 to 45 °C 6.00 8.00 10 0.875 4.0 as expected" in text
    assert "big cores 4, 5; LiteRT" in text and "little cores 0, 1, 2, 3" in text and "a glibc of its own" in text
    # 30 and 10 of 65 us; the two ops that are not shown took 2.
    assert "Slow 0.030 46.2 Fast 0.010 15.4" in text and "2 more 0.002 3.1" in text
    # Again is the same.
    boards.keep(run, boards.record_of(results(tmp_path), None))
    assert found.read_text(encoding="utf-8") == after


def test_two_boards_and_rows_stand_side_by_side(tmp_path, run):
    for kit in ({}, {"row": "none"}, {"board": "rk3588", "board_title": "RK3588"}):
        boards.keep(run, boards.record_of(results(tmp_path, kit=kit), None))
    assert len(list((run / "boards").iterdir())) == 3
    text = shown(run / "report.html")
    assert all(part in text for part in ("RK3399, G1+G2", "RK3399, none", "RK3588, G1+G2"))


def test_times_of_an_emulator_are_never_shown(tmp_path, run):
    kept = boards.record_of(results(tmp_path, emulated=True), None)
    text = json.dumps(kept)
    for group in kept["groups"]:
        assert [group[name] for name in ("init_s", "latency_ms", "peak_memory_bytes", "layers")] == [
            None,
            None,
            None,
            [],
        ]
        assert group["measured_on"]["emulated"] is True and group["agrees"] is True
    assert "1.5" not in text and "samples" not in text
    boards.keep(run, kept)
    said = shown(run / "report.html")
    assert said.count("emulated: its times say nothing and are left out") == 2
    assert "1.50" not in said and "as expected" in said and "Slow" not in said
    console = Console(record=True, width=200)
    boards.print_record(kept, console)
    printed = console.export_text()
    assert "p50 – ms" in printed and "emulated: its times" in printed and "layer" not in printed


def test_what_differs_and_what_moved_is_marked(tmp_path, run):
    golden = {**GOLDEN, "different": 1, "largest": 3, "agrees": False}
    moved = state({cpu: 1_260_000 for cpu in range(6)})
    found = results(tmp_path, golden=[golden], before=state({cpu: 1_800_000 for cpu in range(6)}), after=moved)
    boards.keep(run, boards.record_of(found, None))
    reader, text = Reader((run / "report.html").read_text(encoding="utf-8")), shown(run / "report.html")
    assert (
        "not as expected" in text
        and "1260 to 1800 MHz" in text
        and "the clock moved while it was timed, round 1, 2" in text
    )
    assert [attrs["class"] for attrs in reader.all("td") if "broken" in attrs.get("class", "")] == ["broken"] * 2
    assert [attrs["class"] for attrs in reader.all("span") if "broken" in attrs.get("class", "")] == [
        "label broken"
    ] * 2


def test_nothing_that_was_checked_is_no_agreement(tmp_path):
    kept = boards.record_of(results(tmp_path, golden=[]), None)
    assert [group["agrees"] for group in kept["groups"]] == [None, None]


def test_a_hostile_kit_is_only_text(tmp_path, run):
    kit = {"board_title": HOSTILE, "row": HOSTILE, "name": HOSTILE, "board": "../../../x"}
    boards.keep(run, boards.record_of(results(tmp_path, kit=kit, profile=[[event(HOSTILE, 5)]]), None))
    # `Reader` fails on elements that close in the wrong order.
    reader = Reader((run / "report.html").read_text(encoding="utf-8"))
    assert reader.all("script") == [] and HOSTILE in " ".join(reader.texts)
    [file] = (run / "boards").iterdir()
    assert file.parent == run / "boards" and not (tmp_path / "x").exists()


def test_without_a_page_the_record_is_kept(tmp_path):
    (tmp_path / "run").mkdir()
    assert boards.keep(tmp_path / "run", boards.record_of(results(tmp_path), None)) is None
    [kept] = boards.read_records(tmp_path / "run")
    assert kept["kit"] == KIT
    # The page of a later run shows it.
    assert "RK3399, G1+G2" in boards.section(tmp_path / "run")
    assert boards.section(tmp_path / "none") == f"{boards.BEGIN}\n{boards.END}"


def test_a_network_that_was_replaced_is_no_longer_shown(tmp_path, run):
    boards.keep(run, boards.record_of(results(tmp_path), None))
    (run / "artifact").mkdir()
    for digest, there in (("ab" * 32, True), ("cd" * 32, False)):
        manifest = {"format": 3, "files": {}, "model": {"sha256": digest}}
        (run / "artifact" / "MANIFEST.json").write_text(json.dumps(manifest))
        boards.update_page(run)
        assert ("RK3399, G1+G2" in shown(run / "report.html")) is there


def test_a_page_of_before_is_refused(tmp_path, run):
    path = run / "report.html"
    for text in ("", "<html></html>", f"<html>{boards.BEGIN}</html>", f"<html>{boards.END}{boards.BEGIN}</html>"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"report\.html must have a place for boards; run its command again"):
            boards.update_page(run)
        assert path.read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 2}',
        '{"format": 1}',
        '{"format": 1, "kit": {}, "groups": [{}]}',
        '{"format": 1, "kit": {"board_title": "", "row": ""}, "groups": []}',
    ],
)
def test_records_of_others_are_refused(tmp_path, run, text):
    (run / "boards").mkdir()
    (run / "boards" / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"x\.json must hold what tta-lite wrote there\. Received: "):
        boards.section(run)


def test_a_korean_page_stays_korean(tmp_path, run):
    path = run / "report.html"
    path.write_text(path.read_text(encoding="utf-8").replace('<html lang="en"', '<html lang="ko"'), encoding="utf-8")
    boards.keep(run, boards.record_of(results(tmp_path), None))
    assert "On boards" not in shown(path)


def test_the_network_must_be_the_runs(tmp_path):
    found = results(tmp_path)
    assert boards.artifact_of(None, found) is None
    artifact = tmp_path / "run" / "artifact"
    artifact.mkdir(parents=True)
    with pytest.raises(InputError, match=r"An artifact must be a folder with a MANIFEST\.json"):
        boards.artifact_of(tmp_path / "run", found)
    manifest = {"format": 3, "files": {}, "model": {"sha256": "ab" * 32}}
    (artifact / "MANIFEST.json").write_text(json.dumps(manifest))
    (artifact / "model.tflite").write_bytes(b"network")
    assert boards.artifact_of(tmp_path / "run", found) == b"network"
    other = dataclasses.replace(found, kit={**found.kit, "model_sha256": "cd" * 32})
    with pytest.raises(
        InputError, match=r"The results must be of the network in .*artifact, SHA-256 abab.*Received: cd"
    ):
        boards.artifact_of(tmp_path / "run", other)
