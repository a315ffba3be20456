"""What can be chosen of a quantised file beside its preset and its ranges."""

from __future__ import annotations

import dataclasses

from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True)
class Options:
    """How weights are shared out, and which ops are left out. An op is named by the tensor that it writes.

    Attributes:
      per_tensor: one scale for a whole weight, instead of one for each output channel.
      keep_float: ops that stay in float32.
      keep_16x8: ops whose activations get 16 bits.
    """

    per_tensor: bool = False
    keep_float: tuple[str, ...] = ()
    keep_16x8: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        both = sorted(set(self.keep_float) & set(self.keep_16x8))
        if both:
            raise InputError(f"An op stays in float32 or gets 16 bits, not both. Received: {', '.join(both)}")
