from __future__ import annotations

from tta_lite.compat import keras
from tta_lite.transforms.channels.groups import ChannelGroup, channel_groups

L = keras.layers


def told(groups: tuple[ChannelGroup, ...]) -> dict[str, tuple[int, str]]:
    return {group.name: (group.size, group.why_fixed) for group in groups}


def test_a_residual_sum_ties_what_it_adds_and_a_concatenation_does_not():
    image = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(6, 3, padding="same", name="stem")(image)
    y = L.Conv2D(6, 3, padding="same", name="body")(L.ReLU()(L.BatchNormalization(name="bn")(x)))
    y = L.Concatenate()([L.Add()([x, y]), L.Conv2D(5, 1, name="side")(x)])
    net = keras.Model(image, L.Conv2D(2, 1, name="head")(y))
    groups = channel_groups(net)
    assert told(groups) == {"stem": (6, ""), "side": (5, ""), "head": (2, "an output of the model")}
    parts = {(part.layer, part.side): part.units.tolist() for part in groups[0].parts}
    assert parts == {
        ("stem", "out"): [0, 1, 2, 3, 4, 5],
        ("bn", "each"): [0, 1, 2, 3, 4, 5],
        ("body", "in"): [0, 1, 2, 3, 4, 5],
        ("body", "out"): [0, 1, 2, 3, 4, 5],
        ("side", "in"): [0, 1, 2, 3, 4, 5],
        ("head", "in"): [0, 1, 2, 3, 4, 5, -1, -1, -1, -1, -1],
    }
