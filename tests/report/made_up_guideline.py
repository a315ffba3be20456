"""A guideline run with made-up figures that reaches every part of the page: never anybody's measurements."""

from __future__ import annotations

import dataclasses
from typing import Any

from tests.guideline.made_up import Figures, MadeUpBench, run
from tta_lite.boards.profile import get_board
from tta_lite.guideline.advice import advice
from tta_lite.guideline.bench import START, Sketch, Step, Trial
from tta_lite.guideline.checks import Miss
from tta_lite.guideline.preflight import Preflight, Support
from tta_lite.guideline.program import Request, Result
from tta_lite.guideline.reasons import Reason, all_of, reason, with_said
from tta_lite.measure.layer_latency import LayerCosts, LayerTime, StageCost
from tta_lite.measure.stages import Stage
from tta_lite.report.samples import INPUTS, TRUTH, Classes, Samples
from tta_lite.types import Budget, Candidate

FAULT = "Argument `alpha` must be known. Received: 0.1"
BUDGET = Budget(max_latency_ms=12, max_size_kib=700, max_zip_kib=300, max_peak_memory_mib=60, max_accuracy_drop=3)
FIGURES = {
    ("G1", "mobilenet_v2"): Figures(ms=42, kib=3000, accuracy=78.4, macs=310_000_000),
    ("G1", "mobilenet_v3_small"): Figures(ms=30, kib=2500, accuracy=71.0, macs=120_000_000),
    ("G1", "mobilenet_v1"): Figures(ms=80, kib=4000, macs=570_000_000),
    ("G1", "shufflenet"): Figures(fault=FAULT),
    ("G1", "mnasnet"): Figures(fault="HARD_SWISH"),
    ("G2", "macs0.5"): Figures(ms=27, kib=1900, accuracy=77.6, macs=160_000_000),
    ("channels", "channels0.5"): Figures(ms=20, kib=1200, accuracy=74.9, macs=80_000_000),
    ("G5", "sparsity0.5"): Figures(ms=27, kib=1900, zip_kib=1000, accuracy=77.2, macs=160_000_000),
    ("G3", "int8"): Figures(ms=18, kib=500, accuracy=70.2, macs=160_000_000),
    ("G4", "fp16"): Figures(ms=27, kib=1900, accuracy=77.5, macs=160_000_000),
}  # fmt: skip
LABELS = {
    "mobilenet_v2": reason("label_pretrained", name="mobilenet_v2"),
    "mobilenet_v3_small": reason("label_random", name="mobilenet_v3_small"),
    "mobilenet_v1": reason("label_random", name="mobilenet_v1"),
    "shufflenet": reason("label_random", name="shufflenet"),
    "mnasnet": reason("label_random", name="mnasnet"),
    "macs0.5": reason("label_factors", share="50%"),
    "channels0.5": reason("label_channels", share="50%"),
    "sparsity0.5": reason("label_sparsity", share="50%"),
    "int8": reason("label_int8"),
    "fp16": reason("label_fp16"),
}
COST = StageCost(Stage(0, 3, "stem", "stage1_conv", 3, 30_000_000), 2.5, 2.25, 3.0)
HEATMAPS = LayerTime("heatmaps", "CONV_2D", 15_000_000, 7.5, 7.0, 8.5)
WHERE = "Example CPU @ 2.60GHz"
MADE_UP_COSTS = {
    START: LayerCosts(
        (COST, StageCost(Stage(3, 4, "heatmaps", "heatmaps", 1, 15_000_000), 7.5, 7.0, 8.5)),
        (
            LayerTime("stem", "CONV_2D", 20_000_000, 2.0, 1.75, 2.25),
            LayerTime("stage1_conv", "CONV_2D", 10_000_000, 0.5, 0.5, 0.75),
            HEATMAPS,
        ),
        9.75,
        3,
        WHERE,
        1,
    ),
    # One layer more than a table holds.
    "G2": LayerCosts(
        (dataclasses.replace(COST, latency_ms=0.5, low_ms=0.25),),
        (
            LayerTime("stem", "CONV_2D", 27_000_000, 0.2, 0.1, 0.25),
            *(LayerTime(f"b{n}_conv", "CONV_2D", 100_000, 0.01, 0.01, 0.01) for n in range(30)),
        ),
        0.25,
        3,
        WHERE,
        1,
    ),
}
MADE_UP_SAMPLES = Samples(
    pictures={INPUTS: b"drawn", TRUTH: b"drawn", START: b"drawn"},
    classes=Classes((b"drawn", b"drawn"), ("1", "2"), {START: (("1", 98.4), ("3", 51.2))}),
)
LAYERS = "backbone/stage1_block1_expand_relu, heatmaps"


def made_up_run() -> tuple[Result, Request, Preflight]:
    """-> a run whose budget is not met; its rows and settings have had every fate."""
    board = get_board("rk3399")
    first = Figures(ms=95, kib=9000, accuracy=79.9, mib=80, macs=1_800_000_000)
    steps = [_step(name) for name in ("G1", "G2", "subpixel", "channels", "G5", "G3", "G4")]
    outcome = run(Bench(first, FIGURES), steps, BUDGET)
    result = Result(outcome, tuple(advice(outcome.state, board, 224)))
    return result, Request(BUDGET, board), Preflight(_supports(), _outlook(), 3.0)


class Bench(MadeUpBench):
    """Says what a setting is as the real one does."""

    def sketch(self, row: str, trial: Trial) -> Sketch:
        found = super().sketch(row, trial)
        return Sketch(fault=_lacking()) if found.fault == "HARD_SWISH" else found

    def _entry(self, row: str, trial: str) -> Any:
        entry = super()._entry(row, trial)
        if row != START:
            entry.details.update(with_said("label", LABELS[trial]))
        if row == "channels":
            entry.details.update(with_said("note", reason("note_taught", row="G2", weight="0.5")))
        if row == "G5":
            notes = [reason("note_zeros", share="50.1%"), reason("note_undelegated", count=1, total=53, ops="1 CUMSUM")]
            entry.details.update(with_said("note", all_of(notes, "then")))
        return entry


def _lacking() -> Reason:
    why = reason("op_missing", runtime="Arm NN 24.11", op="HARD_SWISH")
    ops = reason("op_of_layer_why", op="HARD_SWISH", layer="'stem'", why=why)
    return reason(
        "fault_backbone",
        board="RK3399", runtime="Arm NN 24.11", preset="fp32", passing=reason("none_tried"), name="'mnasnet'",
        ops=reason("and_more", first=all_of([ops, ops], "also"), count=4, ops="GATHER"),
    )  # fmt: skip


def _step(name: str) -> Step:
    settings = [Trial(trial, LABELS[trial], lambda: Candidate(None)) for row, trial in FIGURES if row == name]  # type: ignore[arg-type]
    why = {"subpixel": [reason("no_deconv")], "G4": [reason("no_fp16", cores=all_of(("A72", "A53")), board="RK3399")]}
    return Step(name, {"G1": "6.1.1"}.get(name, "6.2"), lambda state: why.get(name, []), lambda state: settings)


def _supports() -> tuple[Support, ...]:
    ops = {"CONV_2D": 53, "ADD": 10, "RESIZE_BILINEAR": 3}
    missed = tuple(Miss("ADD", layer, "") for layer in LAYERS.split(", "))
    return (
        Support("LiteRT 2.3.0", "fp32", "", ops),
        Support("LiteRT 2.3.0", "int8", "", ops, missed, True),
        Support("Arm NN 24.11", "fp32", "", ops, missed),
        Support("Arm NN 24.11", "fp16", reason("runs_only", presets="fp32, int8")),
    )


def _outlook() -> tuple[tuple[str, Reason], ...]:
    return (
        ("G1", reason("outlook_g1", cut="stage1_out, stage4_out", share="82%")),
        ("G2", reason("outlook_g2", count=7, share="41%", layer="stage2_conv", most="12%")),
        ("subpixel", reason("outlook_subpixel", share="23%")),
        ("channels", reason("outlook_channels", count=12, total=14)),
        ("G5", reason("outlook_g5")),
        ("G3", reason("outlook_g3_no_dot", integers=reason("quantisable_whole", total=70, preset="int8"))),
        ("G4", reason("no_fp16", cores=all_of(("Cortex-A72", "Cortex-A53")), board="RK3399")),
    )
