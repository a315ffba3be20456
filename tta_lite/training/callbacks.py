"""All callbacks of the house, for any `model.fit`: `docs/callbacks.md` shows each in two lines.

Those that stand here by name import no Keras, and serve Keras 2 and Keras 3. Those of `_KERAS_2` are loaded when they
are first asked for, and load `tf_keras`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tta_lite.training.loss_scale import LossScaleLogger
from tta_lite.training.lottery_rewind import LotteryRewind
from tta_lite.training.network_slimming import NetworkSlimming
from tta_lite.training.watchers.base import Callback
from tta_lite.training.watchers.budget_watch import BudgetWatch
from tta_lite.training.watchers.checkpoint import EpochCheckpoint
from tta_lite.training.watchers.history import History, read_history
from tta_lite.training.watchers.nan_guard import NaNGuard
from tta_lite.training.watchers.progress import EpochsDone, Progress, format_seconds
from tta_lite.training.watchers.pruning_step import PruneLowMagnitudeStep
from tta_lite.training.watchers.sparsity_logger import SparsityLogger
from tta_lite.training.watchers.stop_on_nan import StopOnNaN
from tta_lite.training.watchers.tflite_export import TFLiteExport
from tta_lite.training.watchers.time_limit import TimeLimit

if TYPE_CHECKING:
    from tta_lite.training.watchers.quantization_schedule import QuantizationAwareSchedule

__all__ = [
    "BudgetWatch",
    "Callback",
    "EpochCheckpoint",
    "EpochsDone",
    "History",
    "LossScaleLogger",
    "LotteryRewind",
    "NaNGuard",
    "NetworkSlimming",
    "Progress",
    "PruneLowMagnitudeStep",
    "QuantizationAwareSchedule",
    "SparsityLogger",
    "StopOnNaN",
    "TFLiteExport",
    "TimeLimit",
    "format_seconds",
    "read_history",
]

_KERAS_2 = {
    "QuantizationAwareSchedule": "tta_lite.training.watchers.quantization_schedule",
}


def __getattr__(name: str) -> Any:
    if name in _KERAS_2:
        return getattr(importlib.import_module(_KERAS_2[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
