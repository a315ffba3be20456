"""What passes between the rooms: frozen records that check themselves. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

    from tta_lite.compat import keras

PRESETS = ("fp32", "fp16", "dynamic", "weight_only_int8", "weight_only_int4", "int8", "int16x8")
# Those whose activations are integers, so that images must fix their ranges.
CALIBRATED_PRESETS = ("int8", "int16x8")
BACKENDS = ("auto", "converter", "litert_quantizer")
RANGE_RULES = ("min_max", "percentile", "mse", "entropy", "moving_average")
REPAIR_NAMES = ("equalize", "adaptive_rounding", "bias_correction")


class InputError(ValueError):
    """Something that the user gave cannot be used. Recipes print its message without a stack trace and exit with 2.

    The message says what was wrong, where, what was expected and what was received.
    """


def input_error_in(error: Exception) -> InputError | None:
    """-> the `InputError` that `tf.data` handed on as a text with the traceback after it, if `error` holds one.

    >>> input_error_in(RuntimeError("InputError: a.jpg is torn\\nTraceback"))
    InputError('a.jpg is torn')
    """
    _, marker, text = str(error).partition("InputError: ")
    return InputError(text.split("\n", 1)[0]) if marker else None


@dataclasses.dataclass(frozen=True)
class ExportSpec:
    """How a network becomes a ``.tflite`` file.

    Attributes:
      preset: one of `PRESETS`.
      calibration_images: how many training images fix the ranges of the integer presets.
      backend: which quantiser makes it, one of `BACKENDS`.
      ranges: how the range of a tensor follows from what it held, one of `RANGE_RULES`.
      repairs: what is done to the weights before, of `REPAIR_NAMES`; always in the order given there.
      per_tensor: one scale for a whole weight, instead of one for each output channel.
      keep_float: ops of an integer preset that stay in float32, named by the tensor that they write.
      keep_16x8: ops of ``int8`` whose activations get 16 bits.
      weight_bits: of the integer presets: a kernel holds 2^bits - 1 values an output channel, in codes of 8 bits all
        the same, so that the file after zip is smaller. 8: as many as int8 has.
    """

    preset: str = "fp32"
    calibration_images: int = 100
    backend: str = "auto"
    ranges: str = "min_max"
    repairs: tuple[str, ...] = ()
    per_tensor: bool = False
    keep_float: tuple[str, ...] = ()
    keep_16x8: tuple[str, ...] = ()
    weight_bits: int = 8

    def __post_init__(self) -> None:
        for name, known in (("preset", PRESETS), ("backend", BACKENDS), ("ranges", RANGE_RULES)):
            if getattr(self, name) not in known:
                raise InputError(
                    f"Argument `{name}` must be one of {', '.join(known)}. Received: {getattr(self, name)!r}"
                )
        if self.calibration_images < 1:
            raise InputError(f"Argument `calibration_images` must be 1 or more. Received: {self.calibration_images}")
        for name in ("repairs", "keep_float", "keep_16x8"):
            # From JSON they come as lists.
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if unknown := sorted(set(self.repairs) - set(REPAIR_NAMES)):
            raise InputError(f"Argument `repairs` must hold some of {', '.join(REPAIR_NAMES)}. Received: {unknown}")
        if self.preset not in CALIBRATED_PRESETS:
            idle = [name for name in ("repairs", "keep_float", "keep_16x8") if getattr(self, name)]
            idle += ["weight_bits"] * (self.weight_bits != 8)
            if idle or self.ranges != "min_max":
                raise InputError(
                    f"Ranges, repairs, kept ops and weight bits are of the presets {', '.join(CALIBRATED_PRESETS)}. "
                    f"Received: {', '.join(idle or ['ranges'])} with {self.preset}"
                )

        if type(self.weight_bits) is not int or not 2 <= self.weight_bits <= 8:
            raise InputError(f"Argument `weight_bits` must be a whole number of 2 to 8. Received: {self.weight_bits!r}")
        if self.weight_bits < 8 and "adaptive_rounding" in self.repairs:
            raise InputError(
                "adaptive_rounding chooses among the codes of 8 bits; with fewer `weight_bits` the others are "
                f"bias_correction and equalize. Received: {self.weight_bits} bits"
            )

    @property
    def needs_images(self) -> bool:
        """Whether training images are needed to make it.

        >>> ExportSpec("int8").needs_images, ExportSpec("fp16").needs_images
        (True, False)
        """
        return self.preset in CALIBRATED_PRESETS


FP32 = ExportSpec("fp32")
FP16 = ExportSpec("fp16")
DYNAMIC = ExportSpec("dynamic")
INT8 = ExportSpec("int8")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A network on its way to the board: the model, how it will be exported, and the steps that made it.

    Quantisation changes the export and not the graph: ``dataclasses.replace(candidate, export=INT8)``.
    """

    model: keras.Model
    export: ExportSpec = FP32
    trail: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """A score (0..100), its name and its 95 % interval.

    Attributes:
      value: all that is correct over all that counts, in percent.
      metric: its name.
      interval: 95 %, low and high.
      parts: e.g. one score a joint.
      examples: how many were scored.
      counted: [N] of each example, how many things count in it, such as joints; None: not told.
      correct: [N] how many of them are right. Two scores of the same examples can be compared with it, see
        `tta_lite.tasks.paired`.
    """

    value: float
    metric: str
    interval: tuple[float, float]
    parts: Mapping[str, float] = dataclasses.field(default_factory=dict)
    examples: int = 0
    counted: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)
    correct: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        low, high = self.interval
        if not (math.isnan(self.value) or (0 <= low <= high <= 100 and 0 <= self.value <= 100)):
            raise InputError(
                "An accuracy must lie in 0..100, and its interval in 0 <= low <= high <= 100. "
                f"Received: {self.value} with {self.interval}"
            )

    def report_fields(self) -> dict[str, Any]:
        """-> the fields of `Report` that were scored: ``dataclasses.replace(report, **fields)``."""
        return {
            "accuracy": self.value,
            "metric": self.metric,
            "accuracy_interval": self.interval,
            "accuracy_parts": self.parts,
            "accuracy_examples": self.examples,
        }


@dataclasses.dataclass(frozen=True)
class Latency:
    """Milliseconds an inference, over `runs` timed runs."""

    p50: float
    p90: float
    mean: float
    min: float
    max: float
    std: float
    runs: int


@dataclasses.dataclass(frozen=True)
class MeasuredOn:
    """Where a latency was measured. A figure of this machine is never called the board's."""

    board: str
    runtime: str
    delegate: str
    threads: int
    cpu: str
    emulated: bool = False


@dataclasses.dataclass(frozen=True)
class Report:
    """What one step measured; its fields are the keys of ``report.json``. ``None``: not measured (yet).

    Units: ``accuracy`` 0..100, ``init_s`` seconds, ``latency_ms`` milliseconds, the rest bytes and counts.
    """

    accuracy: float | None = None
    metric: str | None = None
    accuracy_interval: tuple[float, float] | None = None
    accuracy_parts: Mapping[str, float] | None = None
    accuracy_examples: int | None = None
    keras_accuracy: float | None = None
    init_s: float | None = None
    latency_ms: Latency | None = None
    size_bytes: int | None = None
    zip_bytes: int | None = None
    peak_memory_bytes: int | None = None
    macs: int | None = None
    params: int | None = None
    activation_bytes: int | None = None
    measured_on: MeasuredOn | None = None

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values.

        >>> Report(size_bytes=10, accuracy_interval=(1.0, 2.0)).to_json()["accuracy_interval"]
        [1.0, 2.0]
        """
        record = dataclasses.asdict(self)
        if self.accuracy_interval is not None:
            record["accuracy_interval"] = list(self.accuracy_interval)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Report:
        """The inverse of `to_json`. Unknown keys are an `InputError`: a newer version wrote them."""
        unknown = sorted(set(record) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise InputError(f"A report holds keys this version does not know. Received: {unknown}")
        values = dict(record)
        if values.get("accuracy_interval") is not None:
            low, high = values["accuracy_interval"]
            values["accuracy_interval"] = (low, high)
        if values.get("latency_ms") is not None:
            values["latency_ms"] = Latency(**values["latency_ms"])
        if values.get("measured_on") is not None:
            values["measured_on"] = MeasuredOn(**values["measured_on"])
        return cls(**values)


# [B, ...] float32 -> [B, ...] float32: a Keras model or an interpreter behind one signature.
Predictor = Callable[["np.ndarray"], "np.ndarray"]


class Task(Protocol):
    """One problem: everything that training and the measurements need to know of it."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch."""

    def train_data(self, *, seed: int, start_step: int = 0) -> tf.data.Dataset:
        """Endless training batches; the first one is batch `start_step`."""

    def validation_data(self) -> tf.data.Dataset:
        """The test part once, in batches."""

    def loss(self) -> keras.losses.Loss:
        """What training makes small."""

    def calibration(self, count: int, *, seed: int = 0) -> Sequence[np.ndarray]:
        """`count` training inputs without augmentation, each with a batch dimension of 1."""

    def score(self, predict: Predictor) -> Accuracy:
        """How good the predictions for the test part are."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """What the target can bear. ``None``: no limit.

    Attributes:
      max_latency_ms: p50 of one inference, milliseconds.
      max_size_kib: of the ``.tflite`` file, in units of 1,024 bytes.
      max_zip_kib: of the same file compressed (deflate), as it is sent or stored.
      max_peak_memory_mib: by which a process grows that loads and runs the file, in units of 1,024 x 1,024 bytes.
      max_accuracy_drop: points that the accuracy may lie below that of the unmodified network, 0..100.

    Example:
      >>> Budget(max_latency_ms=350).max_accuracy_drop
      3.0

    Raises:
      InputError: no limit on anything that costs, or one that is not a positive number.
    """

    max_latency_ms: float | None = None
    max_size_kib: float | None = None
    max_zip_kib: float | None = None
    max_peak_memory_mib: float | None = None
    max_accuracy_drop: float = 3.0

    def __post_init__(self) -> None:
        costs = ("max_latency_ms", "max_size_kib", "max_zip_kib", "max_peak_memory_mib")
        if all(getattr(self, name) is None for name in costs):
            raise InputError(f"A budget needs one limit or more of {', '.join(costs)}. Received: none of them")
        for name in costs:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"Argument `{name}` must be a number above 0. Received: {value!r}")
        if not 0 <= self.max_accuracy_drop <= 100:
            raise InputError(f"Argument `max_accuracy_drop` must lie in 0..100. Received: {self.max_accuracy_drop!r}")


class Verdict(str, enum.Enum):
    """What became of a step."""

    TAKEN = "taken"
    SKIPPED = "skipped"
    TOO_LOSSY = "too lossy"
    NO_GAIN = "no gain"


@dataclasses.dataclass(frozen=True)
class LedgerEntry:
    """One line of ``ledger.jsonl``: a step, whether it was taken and why, what it measured, and the seconds spent."""

    name: str
    clause: str
    verdict: Verdict
    why: str
    report: Report
    seconds: float
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values."""
        return {
            "name": self.name,
            "clause": self.clause,
            "verdict": self.verdict.value,
            "why": self.why,
            "report": self.report.to_json(),
            "seconds": self.seconds,
            "details": dict(self.details),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> LedgerEntry:
        """The inverse of `to_json`."""
        return cls(
            name=record["name"],
            clause=record["clause"],
            verdict=Verdict(record["verdict"]),
            why=record["why"],
            report=Report.from_json(record["report"]),
            seconds=record["seconds"],
            details=record.get("details", {}),
        )
