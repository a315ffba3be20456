"""The page in Korean: nothing is left in English that can be said, and the English page is what it was."""

from __future__ import annotations

import ast
import dataclasses
import re
import string
import warnings
from pathlib import Path

import jinja2
import pytest
from jinja2 import nodes

from tests.report.made_up_guideline import FAULT, MADE_UP_COSTS, MADE_UP_SAMPLES, made_up_run
from tests.report.test_page import Reader, strip  # noqa: F401
from tta_lite.datasets.pose_set import JOINT_SETS
from tta_lite.export.quantize import debug
from tta_lite.guideline import reasons
from tta_lite.guideline.bench import START
from tta_lite.guideline.case_study import CaseStudy
from tta_lite.guideline.reasons import Reason, reason, with_said
from tta_lite.guideline.rows import ROWS
from tta_lite.guideline.settings import Settings
from tta_lite.report import (
    boards,
    case_study,
    columns,
    emulated,
    guideline,
    headline,
    korean,
    korean_reasons,
    layers,
    page,
    plot_fonts,
    plots,
    samples,
    table,
)
from tta_lite.report.language import ENGLISH, KOREAN, LANGUAGES
from tta_lite.search.trial import State
from tta_lite.training import precision
from tta_lite.types import Latency, MeasuredOn, Report, Verdict

ROOT = Path(__file__).resolve().parents[2]
STATUSES = [*(verdict.value for verdict in Verdict), "promising", "not tried further", "cannot be used"]
# Names: of networks, layers, runtimes, files, data sets and rows, which are the same in every language.
NAMES = re.compile(
    r"Firefly|RK\d+|Cortex|LiteRT|Arm NN|XNNPACK|TFLite|PoseResNet|ImageNet|Keras|Adam|Deconv|PConv|MACs|PCKh@?|"
    r"DEPTH_TO_SPACE|mobilenet\w*|shufflenet|backbone/\w+|heatmaps|stage\w+|dynamic|int16x8|weight_only_\w+|int8|fp16|fp32|subpixel|channels|none|KiB|"
    r"MiB|Example CPU|Some CPU|GHz|mixed_bfloat16|b?float16|drawn|scratch|points|probabilities|made up|Linux|"
    r"tensorflow|epochs|git|UTC|GPU|mnasnet|stem|b\d+_conv|(DEPTHWISE_)?CONV_2D"
)
ENGLISH_WORD = re.compile(r"[A-Za-z][a-z]{2,}")


def texts_said(path: Path) -> set[str]:
    """-> the texts that a module or a template hands to `say`."""
    if path.suffix == ".j2":
        calls = jinja2.Environment().parse(path.read_text(encoding="utf-8")).find_all(nodes.Call)
        return {
            call.args[0].value for call in calls if isinstance(call.node, nodes.Name) and call.node.name == "say"
        }  # fmt: skip
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say"
        if isinstance(node.args[0], ast.Constant)
    }


def written() -> set[str]:
    files = [*ROOT.glob("tta_lite/report/*.py"), *ROOT.glob("recipes/*.py"), *ROOT.glob("tta_lite/report/templates/*")]
    return set().union(*(texts_said(file) for file in files))


def standing_texts() -> set[str]:
    """-> texts that reach `say` from tables and other rooms."""
    heads = {column.head for column in columns.columns([full_entry()])} - {"PCKh@0.5", "MACs"}
    # Of a search: its two rewards, and the states that a page shows.
    found = {"hard", "soft", *(state.value for state in State if state is not State.DEAD)}
    found |= {*page.CAN_AND_CANNOT, guideline.TITLE, case_study.TITLE, case_study.SUMMARY, columns.PUBLISHED_GROUP}
    found |= {
        *emulated.HEADS.values(),
        boards.EMULATED,
        debug.METRIC,
        *headline.SPEED,
        *headline.SIZE,
        *headline.AMOUNT,
        *heads,
        *(row.why for row in ROWS.values()),
    }
    joints = {name for joint_set in JOINT_SETS.values() for name in joint_set.names}
    return found | {re.sub("^[lr]_", "", joint).replace("_", " ") for joint in joints}


def full_entry():
    from tests.report.conftest import ROWS as FIGURES
    from tests.report.conftest import make_entry

    return make_entry(FIGURES[0])


def gaps(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field}


def shown(html: str) -> list[str]:
    """-> every text that a reader sees or hears."""
    reader = Reader(re.sub(r"(?s)<style>.*?</style>|<pre>.*?</pre>", "", html))
    spoken = [attrs[name] for _, attrs in reader.elements for name in ("alt", "aria-label") if name in attrs]
    return [" ".join(text.split()) for text in (*reader.texts, *spoken) if text.strip()]


def left_in_english(html: str) -> list[str]:
    texts = [text.replace(FAULT, "") for text in shown(html)]
    return [text for text in texts if ENGLISH_WORD.search(NAMES.sub("", text))]


def guideline_page(say) -> str:
    result, request, known = made_up_run()
    context = {
        "dataset": "drawn",
        "command": "tta-lite guideline",
        **guideline.page_context(result, request, known, say),
        "layers": layers.layers_view(MADE_UP_COSTS, say=say),
        **samples.samples_view(MADE_UP_SAMPLES, result.outcome.entries, say),
    }
    context["recipe"] = {
        "seed": 3, "flags": {"epochs": 140}, "packages": {"tensorflow": "2.21.0"},
        "machine": {"cpu": "Some CPU", "cores": 2, "ram_bytes": 16e9, "os": "Linux"},
    }  # fmt: skip
    return page.render_page(say(guideline.TITLE), result.outcome.entries, context=context, say=say)


@pytest.fixture(scope="module")
def korean_guideline() -> str:
    return guideline_page(KOREAN)


def test_every_text_has_a_korean_one():
    assert len(written()) > 120
    assert written() | standing_texts() <= korean.TEXTS.keys()


def test_every_korean_text_is_of_use():
    from_elsewhere = {text for text in korean.TEXTS if "GPU" in text}
    from_elsewhere |= {"accuracy", precision.choose_policy("float32")[1]}
    assert korean.TEXTS.keys() <= written() | standing_texts() | from_elsewhere


def test_the_whys_of_a_training_in_16_bits_have_a_korean_text(monkeypatch):
    for gpus in ([], ["a GPU"]):
        monkeypatch.setattr(precision.tf.config, "list_physical_devices", lambda kind, gpus=gpus: gpus)
        assert precision.training_policy()[1] in korean.TEXTS


def test_every_reason_has_a_korean_sentence():
    assert korean_reasons.SENTENCES.keys() == reasons.ENGLISH.keys()
    assert {reasons.status(text).code for text in STATUSES} <= reasons.ENGLISH.keys()
    assert all(ENGLISH.status(text) == text for text in STATUSES)


@pytest.mark.parametrize(
    "pairs",
    [list(korean.TEXTS.items()), [(text, korean_reasons.SENTENCES[code]) for code, text in reasons.ENGLISH.items()]],
    ids=["texts", "reasons"],
)
def test_gaps_are_the_same_and_the_rest_is_korean(pairs):
    for english, other in pairs:
        assert gaps(english) == gaps(other), english
        assert not ENGLISH_WORD.search(NAMES.sub("", re.sub(r"\{\w+\}", "", other))), other


def test_the_guideline_page_in_korean_holds_no_english(korean_guideline):
    assert '<html lang="ko">' in korean_guideline
    assert left_in_english(korean_guideline) == []
    seen = " ".join(shown(korean_guideline))
    for part in (
        "예산(목표 사양)", "정확도 미달", "추가 시험 안 함", "사용 불가", "스트라이드 2 이상의 Deconv", FAULT,
        "구조를 더 경량화", "미지원(10개 중 2개: backbone/stage1_block1_expand_relu, heatmaps)",
        "HARD_SWISH(층 'stem', Arm NN 24.11 런타임에 HARD_SWISH 연산이 없음)", "시험한 것 중 없음",
        "mobilenet_v2(사전 학습 가중치)", "합성곱 가중치의 50.1%가 0임", "53개 중 1개임(1 CUMSUM)",
    ):  # fmt: skip
        assert part in seen


def test_the_case_study_page_in_korean_holds_no_english(ladder, strip):  # noqa: F811
    notes = {"G1+G2+G4": reason("note_trained", policy="mixed_bfloat16", why=precision.training_policy()[1])}
    rows = [
        dataclasses.replace(
            entry,
            why=ROWS[entry.name].why,
            details={
                "published": entry.details.get("published"),
                **with_said("label", reason("label_scratch", name="mobilenet_v2")),
                **with_said("note", notes.get(entry.name, "")),
            },
        )
        for entry in ladder
    ]
    study = CaseStudy(rows=tuple(ROWS), light_weights="imagenet")
    html = page.render_page(
        KOREAN(case_study.TITLE),
        rows,
        strips={entry.name: strip for entry in rows},
        context={
            "summary": KOREAN(case_study.SUMMARY),
            "caution": case_study._caution(study, rows[0], rows[1], KOREAN),
            "facts": case_study._rules(study, KOREAN),
            "dataset": "drawn",
        },
        say=KOREAN,
    )
    assert left_in_english(html) == []
    seen = " ".join(shown(html))
    for part in (
        "왼쪽 발목",
        "인물의 왼쪽",
        "GPU 없음",
        "사전 학습 가중치에서 시작함",
        "TTA 기술보고서, RK3399, 2019년",
    ):
        assert part in seen


def test_the_rare_sentences_are_korean_too(ladder, skipped_entry):
    slow = dataclasses.replace(
        ladder[0], name="G1",
        report=dataclasses.replace(ladder[0].report, latency_ms=Latency(900, 900, 1, 1, 1, 1, 60), size_bytes=10**9,
                                   measured_on=MeasuredOn("rk3399", "LiteRT", "", 2, "A72", emulated=True)),
    )  # fmt: skip
    found = [
        headline.headline(rows, chosen, KOREAN).sentence
        for rows, chosen in (
            ([], ""), (ladder, "none"), ([ladder[0], skipped_entry], ""), ([ladder[0], slow], "G1"),
            ([ladder[0], dataclasses.replace(ladder[0], name="G1")], "G1"),
            ([ladder[0], dataclasses.replace(skipped_entry, verdict=Verdict.TAKEN)], "G6"),
        )
    ]  # fmt: skip
    found += table.footnotes([ladder[0], slow], dataset="drawn", say=KOREAN)
    found += [page.duration(seconds, KOREAN) for seconds in (5, 65, 3700)]
    found += shown(page.render_page("drawn", [], say=KOREAN))
    assert [text for text in found if ENGLISH_WORD.search(NAMES.sub("", text))] == []
    assert all(re.search("[가-힣]", text) for text in found[:6])


def test_a_missing_text_is_said_in_english():
    assert KOREAN("no such text, {gap}", gap=1) == "no such text, 1"
    lacking = dataclasses.replace(KOREAN, sentences={"left_out": "제외"})
    assert lacking.status("no such status") == "no such status"


def test_a_ledger_without_codes_is_shown_as_it_is(ladder):
    old = dataclasses.replace(ladder[1], details={"label": "a label", "note": "a note", "why": []})
    seen = shown(page.render_page("drawn", [ladder[0], old], say=KOREAN))
    assert {"a label", old.why} <= set(seen) and any("a note" in text for text in seen)


def test_texts_with_braces_are_no_gaps(ladder):
    odd = [dataclasses.replace(entry, why="{why}", details={"label": "{0}", "note": "{"}) for entry in ladder]
    for say in LANGUAGES.values():
        assert "{why}" in shown(page.render_page("{title}", odd, say=say))


def test_reasons_within_reasons_survive_the_ledger():
    result, *_ = made_up_run()
    for entry in result.outcome.entries:
        said = [Reason.from_json(one) for one in entry.details["why"]]
        assert reasons.sentence(said) == entry.why
        assert [one.to_json() for one in said] == entry.details["why"]
    assert result.outcome.entries[0].name == START


def test_the_english_page_of_a_guideline_run_is_english():
    seen = shown(guideline_page(ENGLISH))
    assert not re.search("[가-힣]", "".join(seen))
    for part in (
        "mobilenet_v2 (pretrained)",
        "slower kernels (2 of 10: backbone/stage1_block1_expand_relu, heatmaps)",
        "NO (2 of 10: backbone/stage1_block1_expand_relu, heatmaps)",
        "The network has no Deconv of stride 2 or more (6.1.2).",
        "A72 and A53 of RK3399 do not compute in FP16, so that half precision would not run faster (6.2.2).",
        "Arm NN 24.11, fp16: runs fp32, int8 only",
        "Every op of a backbone must be supported on the target (RK3399, Arm NN 24.11, fp32). Light networks that "
        "would pass: none of those that were tried. Received: 'mnasnet' with HARD_SWISH of layer 'stem' (Arm NN 24.11 "
        "has no HARD_SWISH); HARD_SWISH of layer 'stem' (Arm NN 24.11 has no HARD_SWISH); and 4 more (GATHER)",
        "another board: one that is 2.25 times as fast as the Firefly-RK3399 (2 Cortex-A72 at 1800 MHz, 4 Cortex-A53 "
        "at 1400 MHz)",
    ):
        assert part in seen


def test_where_the_backbone_started_is_told():
    result, request, known = made_up_run()
    trial = result.outcome.entries[1].details["trial"]
    assert guideline.page_context(result, request, known)["caution"] == ""
    pretrained = dataclasses.replace(request, settings=Settings((trial,), {trial: "imagenet"}))
    text = guideline.page_context(result, pretrained, known)["caution"]
    taken = result.outcome.entries[1].verdict is Verdict.TAKEN
    assert ("pretrained weights" in text) == taken
    assert taken, "the made-up run takes G1"


def test_labels_are_drawn_in_korean_only_with_a_font(ladder, monkeypatch):
    monkeypatch.setattr(plot_fonts, "hangul", lambda: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plots.accuracy_latency(ladder, say=KOREAN) == plots.accuracy_latency(ladder)
    assert plot_fonts.families(KOREAN) == plot_fonts.families(ENGLISH)


@pytest.mark.skipif(plot_fonts.hangul() is None, reason="no font with Hangul is installed")
def test_labels_are_drawn_in_korean():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plots.figure_latency([full_entry()], say=KOREAN)
        figure.draw_without_rendering()
    assert figure.axes[0].get_xlabel() == korean.TEXTS["Latency p50 (ms, log scale)"]


def test_nothing_measured_is_no_error():
    entry = dataclasses.replace(full_entry(), report=Report())
    assert KOREAN("No step has finished yet.") in page.render_page("drawn", [], say=KOREAN)
    assert "–" in page.render_page("drawn", [entry], say=KOREAN)  # noqa: RUF001
