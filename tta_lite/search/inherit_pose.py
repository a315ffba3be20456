"""Pose nets from a trained one: which backbones are alike, and which layers of two heads do the same."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tta_lite.compat import keras
from tta_lite.search.inherit import Inherited, inherit

HEAD = re.compile(r"(?P<kind>pconv|deconv|heatmaps)(?P<number>\d*)")


def inherit_pose(model: keras.Model, donor: keras.Model) -> Inherited | None:
    """Puts weights of a trained pose net into another one -> what was taken; None: of another family, and nothing was.

    Args:
      model: of `tta_lite.models.pose.pose_resnet` or `tta_lite.search.pose_space.pose_net`; changed in place.
      donor: the same.
    """
    ours, its = ([layer.name for layer in net.layers if layer.weights] for net in (model, donor))
    return inherit(model, donor, of_the_head(ours, its)) if of_one_family(ours, its) else None


def of_one_family(names: Sequence[str], donors: Sequence[str]) -> bool:
    """-> whether half of a backbone's layers or more are in the donor too, by their names.

    >>> of_one_family(["block_1", "block_2", "extra", "deconv1"], ["block_1", "block_2", "block_3"])
    True
    >>> of_one_family(["stem", "stage2", "Conv_1", "deconv1"], ["block_1", "Conv_1", "deconv1"])
    False
    """
    backbone = [name for name in names if not HEAD.match(name)]
    return 2 * len(set(backbone) & set(donors)) >= max(1, len(backbone))


def of_the_head(names: Sequence[str], donors: Sequence[str]) -> dict[str, str]:
    """-> layer of the head -> that of the donor which is as far from the heat maps: there they do the same.

    A PConv that reads other features than its counterpart finds no layer.

    >>> of_the_head(["pconv1", "deconv1", "deconv2", "deconv2_bn"], ["deconv1", "deconv2", "deconv3"])
    {'pconv1': '', 'deconv1': 'deconv2', 'deconv2': 'deconv3', 'deconv2_bn': 'deconv3_bn'}
    """
    ours, its = (len([name for name in layers if re.fullmatch(r"deconv\d+", name)]) for layers in (names, donors))
    found = {}
    for name in names if ours != its else ():
        if (match := HEAD.match(name)) and match["number"]:
            number = int(match["number"])
            other = f"{match['kind']}{number + its - ours}{name[match.end() :]}"
            found[name] = "" if match["kind"] == "pconv" and number == 1 else other
    return found
