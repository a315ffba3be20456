"""What a network costs on paper, as a table: the records that `counting` and `tflite_counting` fill."""

from __future__ import annotations

import dataclasses
import warnings

NOT_COUNTED = "not counted"


@dataclasses.dataclass(frozen=True)
class LayerCount:
    """One call of a layer, or one op of a file. A layer that is called twice has two, its parameters with the first.

    Attributes:
      name: the layer's name, ``outer/inner`` inside a nested model; in a file, the name of the op's output.
      op: its class, or the op's name.
      output_shape: [1, H, W, C]; the first output if there are several.
      macs: multiply-accumulates; None if the op table does not know the layer.
      params: weights in all.
      trainable_params: of these, the ones training changes.
      activation_bytes: of all its outputs.
      traffic_bytes: inputs, weights and outputs, each once: what one call must read and write at least.
    """

    name: str
    op: str
    output_shape: tuple[int, ...]
    macs: int | None
    params: int
    trainable_params: int
    activation_bytes: int
    traffic_bytes: int

    @property
    def intensity(self) -> float | None:
        """Arithmetic intensity: MACs a byte of `traffic_bytes`; None if the MACs are not known."""
        return None if self.macs is None else self.macs / max(1, self.traffic_bytes)


@dataclasses.dataclass(frozen=True)
class Counts:
    """What a network costs on paper; `definition` says what is counted.

    Attributes:
      definition: what each figure means.
      layers: in the order of execution.
      macs: multiply-accumulates of one inference, without the layers of `uncounted`.
      params: trainable and non-trainable parameters.
      trainable_params: the ones training changes.
      activation_bytes: peak of the activation memory.
      traffic_bytes: of all layers.
      uncounted: layers that the op table does not know, with their class; their MACs are missing in the sum.
    """

    definition: str
    layers: tuple[LayerCount, ...]
    macs: int
    params: int
    trainable_params: int
    activation_bytes: int
    traffic_bytes: int
    uncounted: tuple[str, ...] = ()

    @property
    def non_trainable_params(self) -> int:
        """Parameters that training does not change by gradients."""
        return self.params - self.trainable_params

    @property
    def intensity(self) -> float:
        """Arithmetic intensity of the whole: MACs a byte of `traffic_bytes`."""
        return self.macs / max(1, self.traffic_bytes)

    def table(self) -> str:
        """-> plain text: the definition, one line a layer, the sums."""
        head = ("layer", "op", "output", "MACs", "params", "bytes", "MACs a byte")
        rows = [
            (
                layer.name,
                layer.op,
                "x".join(map(str, layer.output_shape[1:])),
                NOT_COUNTED if layer.macs is None else f"{layer.macs:,}",
                f"{layer.params:,}",
                f"{layer.activation_bytes:,}",
                "" if layer.intensity is None else f"{layer.intensity:.1f}",
            )
            for layer in self.layers
        ]
        total = (
            "total", "", "", f"{self.macs:,}", f"{self.params:,}", f"peak {self.activation_bytes:,}",
            f"{self.intensity:.1f}",
        )  # fmt: skip
        widths = [max(map(len, column)) for column in zip(head, *rows, total, strict=True)]
        rule = tuple("-" * width for width in widths)
        lines = [
            "  ".join(
                cell.ljust(width) if place < 3 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (head, rule, *rows, rule, total)
        ]
        notes = [f"Parameters: {self.trainable_params:,} trainable, {self.non_trainable_params:,} not."]
        if self.uncounted:
            notes.append(f"MACs not counted, and missing in the sum: {', '.join(self.uncounted)}.")
        return "\n".join([self.definition, "", *lines, "", *notes])


class NotCountedWarning(UserWarning):
    """The op table does not know a layer, so that the sum of MACs is too small."""


def summed(definition: str, layers: tuple[LayerCount, ...], peak_bytes: int) -> Counts:
    """-> the layers and their sums; warns of those whose MACs are not known."""
    uncounted = tuple(f"{layer.name} ({layer.op})" for layer in layers if layer.macs is None)
    if uncounted:
        warnings.warn(
            f"MACs are not counted for {len(uncounted)} layers that the op table does not know: "
            f"{', '.join(uncounted[:5])}{', ...' if len(uncounted) > 5 else ''}",
            NotCountedWarning,
            stacklevel=3,
        )
    return Counts(
        definition=definition,
        layers=layers,
        macs=sum(layer.macs or 0 for layer in layers),
        params=sum(layer.params for layer in layers),
        trainable_params=sum(layer.trainable_params for layer in layers),
        activation_bytes=peak_bytes,
        traffic_bytes=sum(layer.traffic_bytes for layer in layers),
        uncounted=uncounted,
    )
