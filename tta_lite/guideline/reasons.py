"""Why was a step taken or not? One sentence a code, so that a report can say it in another language."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tta_lite.types import InputError

ENGLISH: dict[str, str] = {
    "start": "the network as it is, to compare with: {standing}",
    # Taken, or tried and not kept.
    "taken": "by {label}: {gains}; {metric} {accuracy}, and {floor} had to be kept; now {standing}",
    "too_lossy": (
        "with {label}, {metric} falls to {accuracy}, below the {floor} that had to be kept ({first} less {drop})"
    ),
    "no_numbers": "with {label}: {fault}",
    "no_gain": "of {count} tried, {label} comes nearest, and brings the budget no nearer than noise may: {gains}",
    "all_faulty": "none of {count} settings can be used here: {fault}",
    # Skipped.
    "met": "the budget was met by {row}: {standing}",
    "no_training": "needs training ({clause}), and the task has no training data",
    "left_out": "left out on request",
    "no_deconv": "the network has no Deconv of stride 2 or more (6.1.2)",
    "no_memory_limit": "pruning is for memory alone (6.2.3), and no limit on the file or the memory is broken",
    "no_latency_limit": "channels are removed for speed (6.2.3), and no limit on the latency is broken",
    "pruning_no_help": (
        "the {what} is over its limit, but a zero takes as much room there as any other weight: pruning makes only the "
        "compressed file smaller (6.2.3)"
    ),
    "int8_is_enough": (
        "with 8-bit weights (G3) the compressed file is expected at {expected} of {limit} KiB: pruning is not needed "
        "(6.2.3)"
    ),
    "no_int8": "{runtime} on {board} runs files of {presets} only (6.2.1)",
    "g3_was_fine": (
        "G3 was taken at {change} points, and {drop} may be lost: reduced precision is for a network that loses too "
        "much in it (6.2.2)"
    ),
    "no_fp16": "{cores} of {board} do not compute in FP16, so that half precision would not run faster (6.2.2)",
    "no_fp16_kernels": (
        "{runtime} has no kernels that compute in FP16, so that half precision would not run faster on {board} (6.2.2)"
    ),
    # What a step can bring here, known before anything is measured.
    "outlook_g1": "the layers up to {cut} hold {share} of the MACs; a light backbone can take their place (6.1.1)",
    "outlook_no_cut": "no backbone is found that could be replaced (6.1.1): {fault}",
    "outlook_g2": (
        "{count} convolutions of 5 % of the MACs or more hold {share} of them; the costliest is {layer} with {most} "
        "(6.1.2)"
    ),
    "outlook_subpixel": "Deconvs hold {share} of the MACs; as convolutions and DEPTH_TO_SPACE they compute the same",
    "outlook_channels": "{count} of {total} groups of channels may lose some, for speed (6.2.3)",
    "outlook_no_channels": "no channel can leave: {fault}",
    "outlook_g5": "makes the compressed file smaller, and nothing faster (6.2.3)",
    "outlook_no_int8": "no integer file of this network runs there (6.2.1): {fault}",
    "outlook_g3": "the board's cores have an integer dot product; {integers}",
    "outlook_g3_no_dot": (
        "the board's cores have no integer dot product, so that 8 bits gain less than on newer ones; {integers}"
    ),
    "outlook_g4": "the board's cores compute in FP16 (6.2.2)",
    "quantisable_whole": "all {total} ops become integer ops ({preset}), without a boundary to FP32 (6.2.1)",
    "quantisable_partly": (
        "{count} of {total} ops stay in float32: {ops}; {crossings} boundaries of FP32 and integers, over which {kib} "
        "KiB pass an inference; they {cost} (6.2.1)"
    ),
    "quantisable_left": "{count} of them are not for {runtime}, or for its slower kernels: {ops}; they {cost}",
    "quantisable_slower": "in all the integer file takes {integers} ms, and one of float32 {floats}: nothing is gained",
    "quantisable_cost": "cost {cost} of {latency} ms as measured on this machine",
    "quantisable_predicted": "cost {cost} of {latency} ms as predicted",
    "quantisable_unknown": "have a cost that is not known",
    # Advice, if the budget is not met (6.2).
    "lighten_macs": (
        "lighten the structure further: {share} less {what} are needed; if it goes with the MACs, {target} million "
        "instead of {macs} (milliseconds a billion MACs in the rows: {rows})"
    ),
    "lighten_params": (
        "lighten the structure further: the {what} must lose {share}; if it goes with the parameters, {target} million "
        "instead of {params}"
    ),
    "lighten": "lighten the structure further: {share} less {what} are needed",
    "smaller_input": (
        "smaller pictures: {smaller} instead of {side} pixels leave {share} of the MACs and activations; the network "
        "must be trained for them"
    ),
    "input_too_small": (
        "smaller pictures alone cannot do it: less than {stride} of the {side} pixels would be left on a side"
    ),
    "another_network": (
        "another network: {label} (tried as {row}: {status}) stood at {standing}; a longer training or a wider limit "
        "on the accuracy may make it usable"
    ),
    "another_board": "another board: one that is {times} times as fast as the {board} ({cores})",
    "no_fp16_files": "{runtime} on {board} runs files of {presets} only (6.2.2)",
    # What stands in the gaps of others.
    "what_latency": "latency",
    "what_size": "file",
    "what_zip": "compressed file",
    "what_memory": "peak memory",
    "what_accuracy": "accuracy",
    "standing_within": "{what} {figure} of {limit} {unit} (within the limit)",
    "standing_over": "{what} {figure} of {limit} {unit} ({times} times the limit)",
    "gain_latency": "{what} divided by {median} ({least} to {most} over {rounds} rounds)",
    "gain_predicted": "{what} divided by {median}, as predicted ({least} to {most})",
    "gain": "{what} divided by {times}",
    "accuracy_interval": "{accuracy} ({low} to {high})",
    "and": "{first} and {second}",
    "then": "{first} {second}",
    "cores_of": "{count} {name} at {mhz} MHz",
    "cores_unclocked": "{count} {name}",
    # What became of a step or a setting.
    "status_taken": "taken",
    "status_skipped": "skipped",
    "status_too_lossy": "too lossy",
    "status_no_gain": "no gain",
    "status_promising": "promising",
    "status_not_tried_further": "not tried further",
    "status_not_chosen": "not chosen",
    "status_cannot_be_used": "cannot be used",
    # What a setting is.
    "label_pretrained": "{name} (pretrained)",
    "label_random": "{name} (from random weights)",
    "label_factors": "bottlenecks, {share} of the MACs",
    "label_subpixel": "Deconvs as convolutions and DEPTH_TO_SPACE",
    "label_channels": "channels removed, {share} of the MACs left",
    "label_sparsity": "{share} of the weights zero",
    "label_int8": "full integers (int8)",
    "label_int8_corrected": "full integers (int8), ranges of the least squared error and biases corrected",
    "label_int8_equalised": "full integers (int8), weights equalised across layers and biases corrected",
    "label_int8_rounded": "full integers (int8), rounding chosen on calibration pictures",
    "label_int8_worst": "full integers (int8), biases corrected, the {count} worst layers in float32",
    "label_quantization_aware": "full integers (int8), after quantisation-aware training",
    "label_int16x8": "full integers, activations of 16 bits (int16x8)",
    "label_weight_only_int8": "8-bit weights, float arithmetic (weight_only_int8)",
    "label_weight_only_int4": "4-bit and 8-bit weights, float arithmetic (weight_only_int4)",
    "label_dynamic": "8-bit weights, float arithmetic at the edges of each op (dynamic)",
    "label_fp16": "16-bit float weights (fp16)",
    "label_mixed": "16-bit float weights, after training in mixed precision ({precision})",
    "label_file": "{label}, {preset}",
    "label_scratch": "{name} (from scratch)",
    "label_pconv": "{label} + PConv {channels}",
    "label_weight_bits": "{label}, weights of {bits} bits",
    "label_sparse": "{label}, {share} sparse",
    # What a row's reader should know.
    "note_zeros": "{share} of the weights of convolutions are zero.",
    "note_taught": "Trained with {row} as its teacher (distillation, weight {weight}).",
    "note_taught_gain": (
        "Trained with {row} as its teacher (distillation, weight {weight}), which brought {gain} points: {taught} with "
        "it, {alone} without, by the same training."
    ),
    "note_taught_loss": (
        "Trained without a teacher: with {row} as its teacher (distillation, weight {weight}) it gained {gain} points, "
        "{taught} instead of {alone} by the same training."
    ),
    "note_no_teacher": "Trained without a teacher: {fault}",
    "note_trained": "Trained in {policy} ({why}).",
    "note_uncounted": "MACs are not counted for {ops}.",
    "note_undelegated": (
        "XNNPACK did not take {count} of {total} ops ({ops}). The runtime's own kernels run them, often several times "
        "slower, and the graph is cut in pieces at each of them."
    ),
    # What a runtime takes.
    "takes": "yes ({count})",
    "takes_not": "NO ({missed} of {count}: {layers})",
    "takes_slower": "slower kernels ({missed} of {count}: {layers})",
    "runs_only": "runs {presets} only",
    # Why a setting cannot be used.
    "fault_preset": "{runtime} does not run {preset} files",
    "fault_ops": "{runtime} does not take {ops}",
    "fault_backbone": (
        "Every op of a backbone must be supported on the target ({board}, {runtime}, {preset}). Light networks that "
        "would pass: {passing}. Received: {name} with {ops}"
    ),
    "fault_subpixel": "No Deconv becomes faster as convolutions and DEPTH_TO_SPACE here. Received: {deconvs}",
    "deconv_missing": "{layer}: the board does not take {ops}",
    "deconv_slow": "{layer}: not faster in every round",
    "op_of_layer": "{op} of layer {layer}",
    "op_of_layer_why": "{op} of layer {layer} ({why})",
    "op_missing": "{runtime} has no {op}",
    "op_inputs": "{runtime} takes {op} with {most} inputs, and this one has {count}",
    "op_version": "{runtime} has {op} up to version {newest}, and the file asks for {version}",
    "op_dtype": "{runtime} does not take {op} in {dtype}",
    "also": "{first}; {second}",
    "and_more": "{first}; and {count} more ({ops})",
    "none_tried": "none of those that were tried",
}  # fmt: skip

NO_TEXTS: Mapping[str, str] = {}


@dataclasses.dataclass(frozen=True)
class Reason:
    """One sentence: its code, and what stands in its gaps: a text for every language, or other reasons.

    Example:
      >>> str(Reason("left_out"))
      'left out on request'
      >>> str(Reason("lighten", {"what": Reason("what_zip"), "share": "12%"}))
      'lighten the structure further: 12% less compressed file are needed'
    """

    code: str
    values: Mapping[str, Said] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return self.text(ENGLISH)

    def text(self, sentences: Mapping[str, str], texts: Mapping[str, str] = NO_TEXTS) -> str:
        """-> the sentence in the language of `sentences`, one like `ENGLISH`; for `texts` see `spoken`."""
        gaps = {gap: spoken(value, sentences, texts) for gap, value in self.values.items()}
        return sentences[self.code].format_map(gaps)

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values."""
        return {"code": self.code, "values": {gap: to_plain(value) for gap, value in self.values.items()}}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Reason:
        """The inverse of `to_json`."""
        return cls(record["code"], {gap: from_plain(value) for gap, value in record["values"].items()})


# A text that is the same in every language, a reason, or several that are listed.
Said = str | Reason | tuple[Reason, ...]


def spoken(said: Said, sentences: Mapping[str, str] = ENGLISH, texts: Mapping[str, str] = NO_TEXTS) -> str:
    """-> the text in another language.

    >>> spoken((Reason("what_size"), Reason("what_memory")))
    'file, peak memory'

    Args:
      said: what to say.
      sentences: code -> sentence, like `ENGLISH`.
      texts: English text -> what it is called, for plain texts that another room wrote.
    """
    if isinstance(said, str):
        return texts.get(said, said)
    parts = [said] if isinstance(said, Reason) else said
    return ", ".join(one.text(sentences, texts) for one in parts)


def to_plain(said: Said) -> Any:
    """-> plain JSON values."""
    if isinstance(said, str):
        return said
    return said.to_json() if isinstance(said, Reason) else to_details(said)


def from_plain(value: Any) -> Said:
    """The inverse of `to_plain`."""
    if isinstance(value, Mapping):
        return Reason.from_json(value)
    return tuple(Reason.from_json(one) for one in value) if isinstance(value, (list, tuple)) else str(value)


def reason(code: str, **values: object) -> Reason:
    """-> the reason with its gaps filled.

    >>> str(reason("no_training", clause="6.1.1"))
    'needs training (6.1.1), and the task has no training data'
    """
    return Reason(code, {gap: v if isinstance(v, (Reason, tuple)) else str(v) for gap, v in values.items()})


class UnusableError(InputError):
    """A setting that cannot be used.

    Attributes:
      said: why, as a reason; the error's text is its English one.
    """

    def __init__(self, said: Reason):
        super().__init__(str(said))
        self.said = said


def fault_of(error: Exception) -> Said:
    """-> why, as a reason if the error knows one, else its text on one line."""
    said = getattr(error, "said", None)
    return said if isinstance(said, Reason) else " ".join(str(error).split())


def status(text: str) -> Reason:
    """-> what became of a step or a setting, such as ``"too lossy"``, as a reason.

    >>> status("too lossy").code
    'status_too_lossy'
    """
    return Reason(f"status_{text.replace(' ', '_')}")


def all_of(parts: Iterable[Said], code: str = "and") -> Said:
    """-> parts that hold together, without the empty ones.

    >>> spoken(all_of(["Cortex-A72", "Cortex-A53"])), spoken(all_of(["One.", "", "Two."], "then"))
    ('Cortex-A72 and Cortex-A53', 'One. Two.')
    """
    first, *rest = [part for part in parts if part] or [""]
    return functools.reduce(lambda one, other: reason(code, first=one, second=other), rest, first)


def with_said(key: str, said: Said) -> dict[str, Any]:
    """-> what a record of plain JSON values keeps of `said`: the English text and, beside it, what it was made of.

    >>> with_said("label", "a")
    {'label': 'a'}
    """
    texts = {key: spoken(said)}
    return texts if isinstance(said, str) else {**texts, f"{key}_said": to_plain(said)}


def said_in(record: Mapping[str, Any], key: str) -> Said:
    """The inverse of `with_said`; nothing if there is none.

    >>> said_in(with_said("label", Reason("label_int8")), "label").code
    'label_int8'
    """
    return from_plain(record[f"{key}_said"] if f"{key}_said" in record else record.get(key) or "")


def sentence(reasons: Sequence[Reason]) -> str:
    """-> all of them as one text with a capital and a full stop.

    >>> sentence([Reason("left_out")])
    'Left out on request.'
    """
    text = "; ".join(str(one) for one in reasons)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def to_details(reasons: Iterable[Reason]) -> list[dict[str, Any]]:
    """-> what goes into a ledger entry's details."""
    return [one.to_json() for one in reasons]
