from __future__ import annotations

import json
from pathlib import Path

import pytest

from tta_lite.measure.device.emulated_cores import emulated_core
from tta_lite.measure.device.executed import Counts, Tally
from tta_lite.report import boards, emulated
from tta_lite.report.language import KOREAN


class MadeUpBoard:
    title, cpu = "Cortex-A72, emulated by QEMU 0.0", "cortex-a72"

    def __init__(self):
        self.entered = 0

    def __enter__(self):
        self.entered += 1
        return self

    def __exit__(self, *_):
        self.entered -= 1


class Counter:
    """Counts ten million instructions a byte of the file."""

    def __init__(self, board):
        self.board, self.files = board, []

    def __call__(self, board, file, *, by_op):
        assert board is self.board and board.entered == 1 and not by_op
        self.files.append(Path(file).name)
        size = Path(file).stat().st_size
        tally = Tally({"load": 4_000_000 * size, "float_multiply_add": 6_000_000 * size}, 16 * size, size, 2, 1)
        return Counts(
            "cortex-a72", "QEMU 0.0", "LiteRT 0.0", "xnnpack", True, emulated_core("cortex-a72").caches, tally, ()
        )


@pytest.fixture
def files(tmp_path):
    found = {}
    for row, text in (("none", "abcd"), ("G1", "ab")):
        found[row] = tmp_path / f"{row}.tflite"
        found[row].write_text(text)
    return found


def test_each_file_is_counted_once(tmp_path, files):
    board, said = MadeUpBoard(), []
    count = Counter(board)

    def again():
        return emulated.count_rows(tmp_path / "run", files, board, write=said.append, count=count)

    first = again()
    assert first == json.loads((tmp_path / "run/boards/counts-cortex-a72.json").read_text())
    assert [row["row"] for row in again()["rows"]] == ["none", "G1"]
    assert count.files == ["none.tflite", "G1.tflite"] and len(said) == 2 and board.entered == 0
    # The same file under another name is the same network.
    files["G2"] = files["G1"]
    again()
    assert len(count.files) == 2
    files["G1"].write_text("abc")
    again()
    assert count.files[2:] == ["G1.tflite", "G1.tflite"] or count.files[2:] == ["G1.tflite"]
    for torn in ("{", "[]", '{"format": 1, "rows": [{}]}', '{"format": 9, "rows": []}'):
        (tmp_path / "run/boards/counts-cortex-a72.json").write_text(torn)
        before = len(count.files)
        assert again()["rows"]
        assert len(count.files) > before


def test_the_page_shows_counts_and_no_times(tmp_path, files):
    board = MadeUpBoard()
    emulated.count_rows(tmp_path, files, board, write=str, count=Counter(board))
    html = boards.section(tmp_path)
    # 4 bytes: 40 million instructions, 24 of them multiply-adds, 16 loads.
    for text in ("Cortex-A72, emulated by QEMU 0.0", ">40.0<", ">24.0<", ">16.0<", "They are no latencies"):
        assert text in html
    assert " ms" not in html and "latency" not in html.replace("latencies", "")
    page = tmp_path / "report.html"
    page.write_text(f'<html lang="ko">before {boards.BEGIN}old{boards.END} after</html>')
    assert boards.update_page(tmp_path) == page
    text = page.read_text()
    assert text.startswith('<html lang="ko">before ') and text.endswith(" after</html>") and "old" not in text
    assert KOREAN("What each row gives a core to do") in text


def test_without_counts_there_is_no_section(tmp_path):
    assert boards.section(tmp_path) == f"{boards.BEGIN}\n{boards.END}"
    assert emulated.counts_view(tmp_path) == []
