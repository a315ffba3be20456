"""Why was a step taken or not? One sentence a code, so that a report can say it in another language."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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
    # What a step can bring here, known before anything is measured.
    "outlook_g1": "the layers up to {cut} hold {share} of the MACs; a light backbone can take their place (6.1.1)",
    "outlook_no_cut": "no backbone is found that could be replaced (6.1.1): {fault}",
    "outlook_g2": (
        "{count} convolutions of 5 % of the MACs or more hold {share} of them; the costliest is {layer} with {most} "
        "(6.1.2)"
    ),
    "outlook_subpixel": "Deconvs hold {share} of the MACs; as convolutions and DEPTH_TO_SPACE they compute the same",
    "outlook_g5": "makes the compressed file smaller, and nothing faster (6.2.3)",
    "outlook_no_int8": "no integer file of this network runs there (6.2.1): {fault}",
    "outlook_g3": (
        "the board's cores have an integer dot product; ops at the border of float and integer: {boundary} (6.2.1)"
    ),
    "outlook_g3_no_dot": (
        "the board's cores have no integer dot product, so that 8 bits gain less than on newer ones; ops at the border "
        "of float and integer: {boundary} (6.2.1)"
    ),
    "outlook_g4": "the board's cores compute in FP16 (6.2.2)",
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
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Reason:
    """One sentence: its code, and what stands in its gaps.

    Example:
      >>> str(Reason("left_out"))
      'left out on request'
    """

    code: str
    values: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return self.text(ENGLISH)

    def text(self, sentences: Mapping[str, str]) -> str:
        """-> the sentence in the language of `sentences`, one like `ENGLISH`."""
        return sentences[self.code].format_map(self.values)

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values."""
        return {"code": self.code, "values": dict(self.values)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Reason:
        """The inverse of `to_json`."""
        return cls(record["code"], record["values"])


def reason(code: str, **values: object) -> Reason:
    """-> the reason with its gaps filled.

    >>> str(reason("no_training", clause="6.1.1"))
    'needs training (6.1.1), and the task has no training data'
    """
    return Reason(code, {name: str(value) for name, value in values.items()})


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
