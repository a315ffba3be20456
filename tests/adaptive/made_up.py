"""A policy that was made up: figures that can be added by hand."""

from __future__ import annotations

from tta_lite.adaptive.modes import IMAGE, Mode, Stage
from tta_lite.adaptive.policy import Policy

STAGES = (
    Stage("stage1", "model.tflite", "stage1", {"image": IMAGE}, "scores", (8, 8, 1), 100, 1.0, (0.9, 1.0, 1.1)),
    Stage("stage2", "model.tflite", "stage2", {"x": "stage1/features1"}, "scores", None, 300, 3.0, (2.9, 3.0, 3.1)),
    Stage("stage3", "model.tflite", "stage3", {"x": "stage2/features1"}, "scores", None, 600, 6.0, (5.9, 6.0, 6.1)),
)
NAMES = tuple(stage.name for stage in STAGES)
THREE = (
    Mode("first", NAMES[:1], 90.0, (88.0, 92.0), 100),
    Mode(
        "half",
        NAMES,
        96.0,
        (94.0, 97.0),
        100,
        (0.9, 0.8),
        (0.5, 0.4, 0.1),
        answered=(98.0, 95.0, 90.0),
        cut=(82.0, 70.0),
    ),
    Mode(
        "all",
        NAMES,
        98.0,
        (97.0, 99.0),
        100,
        (None, None),
        (0.0, 0.0, 1.0),
        answered=(None, None, 98.0),
        cut=(90.0, 96.0),
    ),
)


def policy() -> Policy:
    """-> early exits, measured."""
    return Policy("net", "early_exit", "top-1 accuracy", STAGES, THREE, "made up", "max_softmax")


def one_stage_policy(latencies_ms: tuple[float, ...] = (2.0, 5.0, 10.0)) -> Policy:
    """-> a slimmable network: a mode a width, more accurate the longer it takes."""
    stages = tuple(
        Stage(f"w{place}", "model.tflite", f"w{place}", {"image": IMAGE}, "scores", (8, 8, 1), int(100 * ms), ms)
        for place, ms in enumerate(latencies_ms)
    )
    modes = tuple(
        Mode(f"w{place}", (f"w{place}",), 80.0 + place, (79.0 + place, 81.0 + place), 100)
        for place in range(len(latencies_ms))
    )
    return Policy("slim", "slimmable", "top-1 accuracy", stages, modes, "made up")
