"""The factorised hierarchical search space of MnasNet, and the classifier of each of its points.

Tan et al., *MnasNet: Platform-Aware Neural Architecture Search for Mobile*, CVPR 2019, section 4.1,
https://arxiv.org/abs/1807.11626. The network is cut into blocks; all layers of a block are alike, and blocks differ.

What the paper leaves open is decided here. Channels are multiples of 4: with 8, three quarters of 16 and of 24 channels
would be the same as all of them. The expansion of 3 or 6 makes two ops of the inverted bottleneck, so that a block has
the paper's 432 forms. A block keeps one layer or more. A skip by pooling is 3 x 3 average pooling with the layer's own
stride, where the channels are the same. The squeeze is of the channels that the layer gets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tta_lite.compat import keras
from tta_lite.models.blocks import conv_bn, depthwise_bn, pooled_head
from tta_lite.models.mnasnet import squeeze_excite
from tta_lite.search.space import Choice, Point, Space, Value
from tta_lite.types import InputError

L = keras.layers


class Reference(NamedTuple):
    """A block of MobileNetV2 (its table 2), which sizes are relative to."""

    filters: int
    layers: int
    stride: int


BLOCKS = (
    Reference(16, 1, 1), Reference(24, 2, 2), Reference(32, 3, 2), Reference(64, 4, 2), Reference(96, 3, 1),
    Reference(160, 3, 2), Reference(320, 1, 1),
)  # fmt: skip
STEM, LAST = 32, 1280
# Op -> expansion of the inverted bottleneck; the others have none.
OPS = {"conv": 0, "dwsconv": 0, "mbconv3": 3, "mbconv6": 6}
KERNELS = (3, 5)
EXCITES = (0.0, 0.25)
SKIPS = ("none", "identity", "pool")
FILTERS = (0.75, 1.0, 1.25)
LAYERS = (-1, 0, 1)
NAMES = ("op", "kernel", "excite", "skip", "filters", "layers")


def mnasnet_space(*, filters: Sequence[float] = FILTERS) -> Space:
    """-> for each of the seven blocks ``block<number>.op``, ``kernel``, ``excite``, ``skip``, ``filters``, ``layers``.

    ``filters`` is relative to MobileNetV2, ``layers`` the difference to it.

    Args:
      filters: the paper's values, or others.

    Example:
      >>> space = mnasnet_space()
      >>> space.size() == 432**5 * 288**2  # the first and the last block have one layer or two
      True
    """
    found = []
    for number, block in enumerate(BLOCKS, start=1):
        values: dict[str, Sequence[Value]] = {
            "op": tuple(OPS), "kernel": KERNELS, "excite": EXCITES, "skip": SKIPS, "filters": tuple(filters),
            "layers": tuple(more for more in LAYERS if block.layers + more > 0),
        }  # fmt: skip
        found += [Choice(f"block{number}.{name}", tuple(values[name])) for name in NAMES]
    return Space("mnasnet", tuple(found))


def point_of(blocks: Sequence[Mapping[str, Value]]) -> Point:
    """-> the point whose blocks are these; what a block does not say is as in MobileNetV2.

    Example:
      >>> point = point_of([{}, {"op": "mbconv3"}, {}, {}, {}, {}, {}])
      >>> point["block1.op"], point["block2.op"], point["block3.op"], point["block3.kernel"]
      ('dwsconv', 'mbconv3', 'mbconv6', 3)
    """
    if len(blocks) != len(BLOCKS):
        raise InputError(f"There are {len(BLOCKS)} blocks. Received: {len(blocks)}")
    found: dict[str, Value] = {}
    for number, block in enumerate(blocks, start=1):
        if unknown := sorted(set(block) - set(NAMES)):
            raise InputError(f"A block has {', '.join(NAMES)}. Received: {unknown[0]!r}")
        usual = {
            "op": "dwsconv" if number == 1 else "mbconv6", "kernel": 3, "excite": 0.0, "skip": "identity",
            "filters": 1.0, "layers": 0,
        }  # fmt: skip
        found |= {f"block{number}.{name}": block.get(name, usual[name]) for name in NAMES}
    return found


MOBILENET_V2 = point_of([{}] * len(BLOCKS))
# Figure 7. All of it is in the space but the channels of its fifth block: 112 are 7/6 of MobileNetV2's 96, and the
# paper's space has 3/4, 1 and 5/4. `mnasnet_space(filters=(0.75, 1.0, SEVEN_SIXTHS, 1.25))` holds it.
SEVEN_SIXTHS = 112 / 96
MNASNET_A1 = point_of([
    {},
    {},
    {"op": "mbconv3", "kernel": 5, "excite": 0.25, "filters": 1.25},
    {"filters": 1.25},
    {"excite": 0.25, "filters": SEVEN_SIXTHS, "layers": -1},
    {"kernel": 5, "excite": 0.25},
    {},
])  # fmt: skip


def mnasnet_classifier(
    point: Point, *, num_classes: int = 1000, input_size: int = 224, blocks: int | None = None, name: str = "mnasnet"
) -> keras.Model:
    """-> the network of a point: ``image`` [B, S, S, 3] to [B, classes], not normalised.

    Args:
      point: of `mnasnet_space`, or of one with other values.
      num_classes: how many.
      input_size: S in pixels.
      blocks: the first so many only, for small pictures; None: all. Then there is no last convolution either, if they
        are fewer.
      name: of the model.

    Raises:
      InputError: a choice is missing, or a value that there is not.

    Example:
      >>> mnasnet_classifier(MOBILENET_V2, num_classes=10, input_size=32, blocks=2).output_shape
      (None, 10)
    """
    count = len(BLOCKS) if blocks is None else blocks
    if type(count) is not int or not 1 <= count <= len(BLOCKS):
        raise InputError(f"Argument `blocks` must be 1 to {len(BLOCKS)}. Received: {blocks!r}")
    image = keras.Input((input_size, input_size, 3), name="image")
    x = conv_bn(image, STEM, 3, strides=2, name="stem")
    for number, reference in enumerate(BLOCKS[:count], start=1):
        form = _form(point, number, reference)
        for layer in range(1, form.layers + 1):
            x = _layer(x, form, reference.stride if layer == 1 else 1, f"block{number}_layer{layer}")
    if count == len(BLOCKS):
        x = conv_bn(x, LAST, 1, name="last")
    return keras.Model(image, pooled_head(x, num_classes), name=name)


class _Form(NamedTuple):
    op: str
    kernel: int
    excite: float
    skip: str
    filters: int
    layers: int


def _form(point: Point, number: int, reference: Reference) -> _Form:
    """-> a block in absolute numbers."""
    missing = [name for name in NAMES if f"block{number}.{name}" not in point]
    if missing:
        raise InputError(f"A point needs {', '.join(NAMES)} of each block. Received: no 'block{number}.{missing[0]}'")
    values: dict[str, Any] = {name: point[f"block{number}.{name}"] for name in NAMES}
    wanted = {
        "op": values["op"] in OPS,
        "kernel": type(values["kernel"]) is int and values["kernel"] > 0 and values["kernel"] % 2 == 1,
        "excite": 0 <= values["excite"] <= 1,
        "skip": values["skip"] in SKIPS,
        "filters": values["filters"] > 0,
        "layers": type(values["layers"]) is int and reference.layers + values["layers"] > 0,
    }
    for name, right in wanted.items():
        if not right:
            raise InputError(
                f"A block has an op of {', '.join(OPS)}, an odd kernel, an excite of 0 to 1, a skip of "
                f"{', '.join(SKIPS)}, filters above 0 and a layer or more. Received: block{number}.{name}="
                f"{values[name]!r}"
            )
    filters = int(reference.filters * values["filters"] / 4 + 0.5) * 4
    return _Form(**{**values, "filters": max(4, filters), "layers": reference.layers + values["layers"]})


def _layer(x: Any, form: _Form, stride: int, name: str) -> Any:
    channels, y = x.shape[-1], x
    if form.op == "conv":
        y = conv_bn(y, form.filters, form.kernel, strides=stride, name=f"{name}_conv")
    else:
        if OPS[form.op]:
            y = conv_bn(y, OPS[form.op] * channels, 1, name=f"{name}_expand")
        y = depthwise_bn(y, form.kernel, strides=stride, name=f"{name}_dwconv")
    if form.excite:
        y = squeeze_excite(y, max(1, int(channels * form.excite)), name=f"{name}_se")
    if form.op != "conv":
        # The projection stays linear: a ReLU here would destroy information.
        y = conv_bn(y, form.filters, 1, act=None, name=f"{name}_project")
    if form.skip == "none" or channels != form.filters or (form.skip == "identity" and stride > 1):
        return y
    if form.skip == "pool":
        x = L.AveragePooling2D(3, strides=stride, padding="same", name=f"{name}_pool")(x)
    return L.Add(name=f"{name}_add")([x, y])
