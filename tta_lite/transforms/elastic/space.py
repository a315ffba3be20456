"""Which networks are within an elastic one: kernels, depths and widths as data. Imports no TensorFlow.

Cai et al., *Once-for-All: Train One Network and Specialize it for Efficient Deployment*, ICLR 2020, section 3.2,
https://arxiv.org/abs/1908.09791.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True)
class Setting:
    """One network within an elastic one; `ElasticSpace.check` says whether it is in a space.

    Attributes:
      kernels: side of the kernel of each elastic depthwise convolution.
      depths: how many residual blocks of each stage are there, the first ones.
      widths: share of the channels of each elastic group, the first ones.

    Raises:
      InputError: a figure that no space has.

    Example: its text is short, and a figure that all have stands once.

      >>> str(Setting((5, 3), (2, 2), (1.0, 0.5)))
      'k5.3-d2-w100.50'
    """

    kernels: tuple[int, ...] = ()
    depths: tuple[int, ...] = ()
    widths: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("kernels", "depths", "widths"):
            # From JSON they come as lists.
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not all(type(size) is int and size > 0 and size % 2 for size in self.kernels):
            raise InputError(f"A setting's `kernels` must be odd numbers above 0. Received: {self.kernels}")
        if not all(type(count) is int and count >= 0 for count in self.depths):
            raise InputError(f"A setting's `depths` must be whole numbers, 0 or more. Received: {self.depths}")
        if not all(type(share) in (int, float) and 0 < share <= 1 for share in self.widths):
            raise InputError(f"A setting's `widths` must be shares above 0 and up to 1. Received: {self.widths}")

    def __str__(self) -> str:
        parts = (("k", self.kernels), ("d", self.depths), ("w", [round(100 * share) for share in self.widths]))
        return "-".join(
            letter + ".".join(map(str, dict.fromkeys(values) if len(set(values)) == 1 else values))
            for letter, values in parts
            if values
        )


@dataclasses.dataclass(frozen=True)
class ElasticKernel:
    """A depthwise convolution whose kernel can be smaller.

    Attributes:
      layer: its name.
      sizes: of the kernel, its own first, then down.
      pad: the name of the ZeroPadding2D before it; empty if it pads itself.
      block: the name of the residual block that it is in and leaves with; empty if none.
    """

    layer: str
    sizes: tuple[int, ...]
    pad: str = ""
    block: str = ""


@dataclasses.dataclass(frozen=True)
class ElasticStage:
    """Residual blocks in a row, each of which reads the one before: the last ones can leave.

    Attributes:
      blocks: their names, in the order of running.
      least: how many stay.
    """

    blocks: tuple[str, ...]
    least: int = 0


@dataclasses.dataclass(frozen=True)
class ElasticWidth:
    """A group of channels of which the first ones can do.

    Attributes:
      group: its name, as `channel_groups` gives it.
      shares: 1 first, then down.
      sizes: channels at these.
      block: see `ElasticKernel`.
    """

    group: str
    shares: tuple[float, ...]
    sizes: tuple[int, ...]
    block: str = ""


@dataclasses.dataclass(frozen=True)
class ElasticSpace:
    """All settings of an elastic network; `tta_lite.transforms.elastic.find.elastic_space` finds it.

    A setting is also a list of levels: for each kernel, each stage and each width, in this order, the place of what is
    chosen among its options; 0 is the largest.

    Attributes:
      kernels: that can be smaller.
      stages: that can be shorter.
      widths: that can be narrower.

    Example:
      >>> space = ElasticSpace((ElasticKernel("dw", (5, 3), block="add"),), (ElasticStage(("add",)),), ())
      >>> [str(setting) for setting in (space.largest, space.smallest)], space.size()
      (['k5-d1', 'k3-d0'], 3)
      >>> space.check(Setting((5,), (0,)))  # The block is not there, and its kernel does not matter.
      Setting(kernels=(3,), depths=(0,), widths=())
    """

    kernels: tuple[ElasticKernel, ...]
    stages: tuple[ElasticStage, ...]
    widths: tuple[ElasticWidth, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many options each kernel, stage and width has."""
        return tuple(len(one) for one in self._options)

    @property
    def largest(self) -> Setting:
        """The whole network."""
        return self.setting([0] * len(self.counts))

    @property
    def smallest(self) -> Setting:
        """The last option of everything."""
        return self.setting([count - 1 for count in self.counts])

    def between(self, share: float) -> Setting:
        """-> the setting that is so far, 0..1, on the way from the largest to the smallest, in levels."""
        return self.setting([round(share * (count - 1)) for count in self.counts])

    def setting(self, levels: Sequence[int]) -> Setting:
        """-> what some levels choose, see `check`."""
        chosen = [options[level] for options, level in zip(self._options, levels, strict=True)]
        first, second = len(self.kernels), len(self.kernels) + len(self.stages)
        return self.check(
            Setting(
                tuple(int(one) for one in chosen[:first]),
                tuple(int(one) for one in chosen[first:second]),
                tuple(chosen[second:]),
            )
        )

    def levels(self, setting: Setting) -> list[int]:
        """-> the places of a setting's figures among the options.

        Raises:
          InputError: a figure that is no option, or more or fewer figures than there are options.
        """
        found: list[int] = []
        for name, given, wanted in (
            ("kernels", setting.kernels, [one.sizes for one in self.kernels]),
            ("depths", setting.depths, [_depths(one) for one in self.stages]),
            ("widths", setting.widths, [one.shares for one in self.widths]),
        ):
            if len(given) != len(wanted):
                raise InputError(f"A setting's `{name}` must be {len(wanted)} figures. Received: {given}")
            for value, options in zip(given, wanted, strict=True):
                if value not in options:
                    raise InputError(
                        f"A setting's `{name}` must be of {', '.join(f'{one:g}' for one in options)}. "
                        f"Received: {value:g} in {given}"
                    )
                found.append(options.index(value))
        return found

    def check(self, setting: Setting) -> Setting:
        """-> the setting, where kernels and widths of blocks that are not there are as the one before: equal networks
        are equal settings.

        Raises:
          InputError: see `levels`.
        """
        self.levels(setting)
        gone = set(self.left_out(setting))
        return Setting(
            _repeated([(one.sizes, one.block in gone) for one in self.kernels], setting.kernels),
            setting.depths,
            _repeated([(one.shares, one.block in gone) for one in self.widths], setting.widths),
        )

    def left_out(self, setting: Setting) -> list[str]:
        """-> the names of the residual blocks that a setting does without."""
        pairs = zip(self.stages, setting.depths, strict=True)
        return [block for stage, depth in pairs for block in stage.blocks[depth:]]

    def sample(self, rng: np.random.Generator) -> Setting:
        """-> a setting of which each figure is drawn, all options alike."""
        return self.setting([int(rng.integers(count)) for count in self.counts])

    def size(self) -> int:
        """-> how many different settings there are; kernels and widths of blocks that are not there do not count."""
        in_block: dict[str, int] = {}
        total = 1
        blocks = {block for stage in self.stages for block in stage.blocks}
        pairs = [(one.block, len(one.sizes)) for one in self.kernels]
        for block, options in pairs + [(one.block, len(one.shares)) for one in self.widths]:
            if block in blocks:
                in_block[block] = in_block.get(block, 1) * options
            else:
                total *= options
        for stage in self.stages:
            ways = [in_block.get(block, 1) for block in stage.blocks]
            total *= sum(math.prod(ways[:depth]) for depth in _depths(stage))
        return total

    @property
    def _options(self) -> list[tuple[float, ...]]:
        kernels, widths = [one.sizes for one in self.kernels], [one.shares for one in self.widths]
        return [*kernels, *(_depths(one) for one in self.stages), *widths]


def _repeated(options: Sequence[tuple[tuple[Any, ...], bool]], values: Sequence[Any]) -> tuple[Any, ...]:
    """-> the values; in the place of one that is gone the largest option up to the one before, if there is none the
    smallest.
    """
    found: list[Any] = []
    for (own, is_gone), value in zip(options, values, strict=True):
        if is_gone:
            before = found[-1] if found else own[-1]
            value = next((option for option in own if option <= before), own[-1])
        found.append(value)
    return tuple(found)


def _depths(stage: ElasticStage) -> tuple[int, ...]:
    return tuple(range(len(stage.blocks), stage.least - 1, -1))
