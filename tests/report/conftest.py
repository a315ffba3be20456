"""A ladder with made-up figures: never anybody's measurements."""

from __future__ import annotations

import dataclasses

import pytest

from tta_lite.types import Latency, LedgerEntry, MeasuredOn, Report, Verdict

HERE = MeasuredOn(
    board="this machine: Example CPU @ 2.60GHz, x86_64, 2 cores", runtime="LiteRT 2.3.0", delegate="XNNPACK", threads=1,
    cpu="Example CPU @ 2.60GHz",
)  # fmt: skip
JOINTS = ("r_ankle", "r_knee", "r_hip", "l_hip", "l_knee", "l_ankle", "r_wrist", "r_elbow", "r_shoulder", "l_shoulder",
          "l_elbow", "l_wrist", "neck", "head_top")  # fmt: skip

# name, label, verdict, why, accuracy, low, high, init, p50, p90, size, zip, memory, macs, params, published
ROWS = (
    ("none", "PoseResNet-50", "taken", "The network as it came: every later row is compared with it.",
     51.34, 49.2, 53.5, 0.912, 612.4, 633.0, 136_030_000, 126_100_000, 402e6, 12_900_000_000, 34_000_000,
     {"pckh": 81.4, "init_s": 12.113, "latency_s": 1.054}),
    ("G1", "MobileNetV2 1.0, weights from ImageNet", "taken", "5.5x faster; the accuracy is within the budget.",
     54.91, 52.8, 57.0, 0.371, 161.2, 166.1, 37_900_000, 35_100_000, 171e6, 4_010_000_000, 9_480_000,
     {"pckh": 77.7, "init_s": 5.878, "latency_s": 0.704}),
    ("G1+G2", "MobileNetV2, PConv to 64 channels before each Deconv", "taken", "A further 1.9x.",
     53.87, 51.7, 56.0, 0.212, 84.9, 88.0, 13_100_000, 12_100_000, 98e6, 1_240_000_000, 3_270_000,
     {"pckh": 76.3, "init_s": 6.062, "latency_s": 0.354}),
    ("G1+G2+G4", "mixed precision, FP16 file", "no gain", "This CPU does not compute FP16 faster than FP32: 86.2 "
     "against 84.9 ms. The file is half as large.", 53.85, 51.7, 56.0, 0.241, 86.2, 90.4, 6_600_000, 6_050_000, 99e6,
     1_240_000_000, 3_270_000, {"pckh": 76.0, "init_s": 5.929, "latency_s": 0.352}),
    ("G1+G2+G3", "full integer INT8", "taken", "Every operator is quantisable, and XNNPACK took every node.",
     53.02, 50.8, 55.2, 0.064, 41.8, 43.5, 3_720_000, 3_010_000, 41e6, 1_240_000_000, 3_270_000, None),
    ("G1+G2+G5", "50 % magnitude pruning", "too lossy", "Loses 4.6 points where 2 are allowed; no faster.",
     49.24, 47.1, 51.4, 0.213, 85.1, 88.2, 13_100_000, 7_200_000, 98e6, 1_240_000_000, 3_270_000, None),
)  # fmt: skip


def make_entry(row: tuple) -> LedgerEntry:
    name, label, verdict, why, accuracy, low, high, init, p50, p90, size, zipped, memory, macs, params, theirs = row
    details = {"label": label}
    if theirs:
        details["published"] = theirs
    if name == "G1+G2+G4":
        details["note"] = "Trained in bfloat16: float16 training is some 30 times slower on a CPU."
    parts = {joint: accuracy + 3.1 * ((i * 5) % 7 - 3) for i, joint in enumerate(JOINTS)}
    report = Report(
        accuracy=accuracy, metric="PCKh@0.5", accuracy_interval=(low, high), accuracy_parts=parts,
        accuracy_examples=486, keras_accuracy=accuracy + 0.1, init_s=init,
        latency_ms=Latency(p50, p90, p50 + 0.7, p50 - 2, p90 + 9, 2.1, 50),
        size_bytes=size, zip_bytes=zipped, peak_memory_bytes=int(memory), macs=macs, params=params,
        activation_bytes=8_000_000, measured_on=HERE,
    )  # fmt: skip
    return LedgerEntry(name, {"none": ""}.get(name, "6.1, 6.2"), Verdict(verdict), why, report, 1234.5, details)


def make_ladder() -> list[LedgerEntry]:
    return [make_entry(row) for row in ROWS]


@pytest.fixture(scope="session")
def ladder() -> list[LedgerEntry]:
    """Six rows with every figure."""
    return make_ladder()


@pytest.fixture
def skipped_entry() -> LedgerEntry:
    """A step that was not taken, and so measured nothing."""
    entry = make_entry(ROWS[0])
    return dataclasses.replace(
        entry, name="G6", verdict=Verdict.SKIPPED, why="Not asked for.", report=Report(), details={}, seconds=0.0
    )
