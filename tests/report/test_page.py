# The page shows true dashes and signs.
# ruff: noqa: RUF001
from __future__ import annotations

import base64
import dataclasses
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tta_lite.datasets.pose_set import LSP14
from tta_lite.report import page, skeletons
from tta_lite.report.run_folder import RunFolder
from tta_lite.types import Report

VOID = {"meta", "img", "source", "br", "hr", "link", "input"}
HOSTILE = "</td><script>alert('x')</script>\"&{{ 7*7 }}"


class Reader(HTMLParser):
    """Reads a page, and notes every element, address and text; fails on elements that close in the wrong order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements, self.addresses, self.texts, self.open = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data", "poster", "background", "cite", "formaction"):
                self.addresses.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def strip() -> bytes:
    images = np.full((6, 16, 16, 3), 90, np.uint8)
    zeros = np.full((6, 14, 2), 4.0)
    return skeletons.skeleton_strip(images, zeros, zeros, np.ones((6, 14), bool), LSP14)


@pytest.fixture(scope="module")
def full_page(ladder, strip) -> str:
    return render(
        ladder, notes=["A note of the recipe."], strips={entry.name: strip for entry in ladder},
        context={"command": "tta-lite case_study"},
    )  # fmt: skip


def render(entries, **keywords) -> str:
    return page.render_page("A title", entries, **keywords)


def test_the_page_is_self_contained(ladder, full_page):
    reader = Reader(full_page)
    assert len(reader.addresses) == 2 * 2 + len(ladder)
    assert all(address.startswith("data:image/png;base64,") for address in reader.addresses)
    for address in reader.addresses:
        Image.open(io.BytesIO(base64.b64decode(address.split(",")[1], validate=True))).verify()
    for banned in ("script", "link", "iframe", "object", "embed", "base", "form"):
        assert reader.all(banned) == []
    own = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", full_page)
    assert len(own) < 60_000 and not re.search(r"https?:|//\w|@import|url\(", own, re.IGNORECASE)


def test_hostile_texts_stay_texts(ladder, strip):
    evil = [
        dataclasses.replace(
            entry, name=HOSTILE, why=HOSTILE, clause=HOSTILE, details={"label": HOSTILE, "note": HOSTILE},
            report=dataclasses.replace(entry.report, metric=HOSTILE, accuracy_parts={HOSTILE: 3.0}),
        )
        for entry in ladder[:2]
    ]  # fmt: skip
    context = {
        "summary": HOSTILE, "dataset": HOSTILE, "command": HOSTILE, "facts": {HOSTILE: HOSTILE},
        "recipe": {"flags": {HOSTILE: HOSTILE}, "packages": {HOSTILE: HOSTILE}, "machine": {"cpu": HOSTILE},
                   "seed": HOSTILE},
    }  # fmt: skip
    text = page.render_page(HOSTILE, evil, notes=[HOSTILE], strips={HOSTILE: strip}, context=context)
    reader = Reader(text)
    assert "<script" not in text and reader.all("script") == []
    assert all(not any(name.startswith("on") for name in attrs) for _, attrs in reader.elements)
    assert sum(HOSTILE in data for data in reader.texts) >= 15, "the texts themselves are shown, unevaluated"


def test_every_row_and_every_figure_is_there(ladder, full_page):
    reader = Reader(full_page)
    shown = " ".join(" ".join(reader.texts).split())
    for entry in ladder:
        assert shown.count(entry.name) >= 4
        assert entry.why in shown
        assert str(entry.details["label"]) in shown
    for figure in ("51.3", "49.2–53.5", "0.912", "612.4", "633.0", "14.7", "136.0", "126.1", "402.0", "12.90", "34.00",
                   "81.4", "12.113", "1.054", "TTA report, RK3399, 2019", "A note of the recipe."):  # fmt: skip
        assert figure in shown
    assert "right ankle" in shown and "left wrist" in shown
    assert "Trained in bfloat16" in shown and "which is not the board" in shown


def test_the_page_can_be_read_aloud(full_page):
    reader = Reader(full_page)
    assert reader.elements[0] == ("html", {"lang": "en"})
    assert all(len(attrs.get("alt", "")) > 20 for attrs in reader.all("img"))
    assert len(reader.all("h1")) == 1 and len(reader.all("main")) == 1
    assert all(attrs.get("scope") in ("row", "col", "colgroup") for attrs in reader.all("th"))
    identities = [attrs["id"] for _, attrs in reader.elements if "id" in attrs]
    assert len(identities) == len(set(identities))
    assert {attrs["aria-labelledby"] for _, attrs in reader.elements if "aria-labelledby" in attrs} <= set(identities)
    assert any(attrs.get("name") == "viewport" for attrs in reader.all("meta"))


def test_missing_figures_and_rows_are_no_error(ladder, skipped_entry):
    Reader(render([]))
    assert "Nothing has been measured yet." in render([])
    bare = [dataclasses.replace(entry, report=Report(), details={}) for entry in ladder]
    reader = Reader(render([*bare, skipped_entry]))
    assert reader.all("img") == [] and "–" in reader.texts
    nan = dataclasses.replace(
        ladder[1], seconds=math.nan,
        report=dataclasses.replace(ladder[1].report, accuracy=math.nan, init_s=math.inf,
                                   accuracy_parts={"neck": math.nan}),
    )  # fmt: skip
    shown = " ".join(Reader(render([ladder[0], nan, skipped_entry])).texts)
    assert "nan" not in shown.lower() and not re.search(r"\binf\b", shown)


def test_the_chosen_row_is_in_the_headline(ladder):
    assert "<h1>G1+G2 is 7.2× faster than the unmodified net at +2.5 PCKh@0.5" in render(
        ladder, context={"chosen": "G1+G2"}
    )


def test_the_page_tells_how_it_was_measured(tmp_path, ladder):
    recipe = {
        "recipe": "case_study", "seed": 3, "git_commit": "0123abc", "packages": {"tensorflow": "2.21.0"},
        "flags": {"epochs": 140, "rows": ["none", "G1"], "data_dir": None},
        "machine": {"cpu": "Some CPU", "architecture": "x86_64", "cores": 2, "ram_bytes": 16e9, "os": "Linux",
                    "isa": {"avx2": True, "vnni": False}},
    }  # fmt: skip
    folder = RunFolder.open(tmp_path, recipe)
    path = page.write_page(folder, "A title", ladder, context={"command": "tta-lite case_study --epochs=140"})
    assert path == tmp_path / "report.html"
    shown = " ".join(Reader(path.read_text(encoding="utf-8")).texts)
    for part in ("tta-lite case_study --epochs=140", "Some CPU; x86_64; 2 cores; 16 GB memory; Linux; avx2", "0123abc",
                 "2.21.0", '["none", "G1"]', "140"):  # fmt: skip
        assert part in shown
    assert "vnni" not in shown
