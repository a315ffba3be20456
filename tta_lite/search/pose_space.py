"""The space of pose nets: a light backbone in many forms, and the head of PoseResNet in many sizes.

One point of it is the network of the guideline's case study (chapter 7 of the report): `CASE_STUDY`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tta_lite.compat import keras
from tta_lite.models.backbones import Backbone, get_backbone
from tta_lite.models.mobilenet import MOBILENETS, mobilenet
from tta_lite.models.pose import pose_resnet
from tta_lite.search.inherit import inherit
from tta_lite.search.inherit_pose import inherit_pose
from tta_lite.search.mobilenet_stages import LAST_OF_STRIDE_16, ROWS, StageForm, mobilenet_stages
from tta_lite.search.space import Choice, Point, Space, Value, When
from tta_lite.tasks.classification import PIXELS
from tta_lite.transforms.subpixel import subpixel
from tta_lite.types import InputError

V2 = "mobilenet_v2"
V3S = ("mobilenet_v3_small", "mobilenet_v3_large")
MNASNETS = ("mnasnet_a1", "mnasnet_b1")
SHUFFLENET = "shufflenet_v2"
FAMILIES = (V2, *V3S, SHUFFLENET, *MNASNETS)

# MobileNetV2 1.0, a PConv to 64 channels before each of three Deconvs of 256: rows G1+G2 of the report's table 1.
# Whatever a point does not say is as here.
CASE_STUDY: Mapping[str, Value] = {
    "resolution": 256,
    "family": V2,
    "head.deconvs": 3,
    f"{V2}.width": 1.0,
    "kernel": 3,
    "expand": 6,
    "depth": 0,
    "excite": 0.0,
    "last": True,
    "head.bottleneck": 64,
    "head.filters": 256,
    "head.taper": 1.0,
    "head.subpixel": False,
}
# What changes the picture or the file, and no weight.
OF_NO_WEIGHT = ("resolution", "head.subpixel")
# Of families that are scaled as a whole.
SCALES: Mapping[str, Value] = {
    "mobilenet_v3.width": 1.0, f"{SHUFFLENET}.width": 1.0, f"{SHUFFLENET}.depth": 1.0, "mnasnet.width": 1.0,
    "mnasnet.depth": 1.0,
}  # fmt: skip


def pose_space(*, per_stage: bool = False) -> Space:
    """-> the space of pose nets; `Space.narrowed` leaves some of it out.

    ``resolution``: side of the crop in pixels. ``family``: of the backbone. MobileNetV2 has the most choices:
    ``mobilenet_v2.width``; ``kernel``, ``expand``, ``depth`` (blocks more than in the paper, at least one is left) and
    ``excite`` of all stages alike; ``last``: whether the backbone ends with the convolution to 1280 channels. The
    other families have a width and, where they can, a depth. ``head.bottleneck``: channels to which a PConv cuts the
    input of each Deconv, 0 for none. ``head.filters``: of the first Deconv; ``head.taper``: of each next one, over
    those of the one before. ``head.deconvs``: 2 for a backbone that ends at 1/16 of the size, after five stages. The
    heat maps always have 1/4. ``head.subpixel``: whether the Deconvs are deployed as convolutions, see `deployed`.

    Args:
      per_stage: MobileNetV2's stages 2 to 7 each have their own ``stage<number>.kernel``, ``.expand``, ``.depth`` (how
        many blocks) and ``.excite``.

    Example:
      >>> pose_space().size(), pose_space(per_stage=True).size() > 10**11
      (130752, True)
    """
    v2: When = (("family", (V2,)),)
    full: When = (*v2, ("head.deconvs", (3,)))
    return Space(
        "pose nets, by stage" if per_stage else "pose nets",
        (
            Choice("resolution", (96, 128, 160, 192, 224, 256)),
            Choice("family", FAMILIES),
            Choice("head.deconvs", (2, 3), v2),
            Choice(f"{V2}.width", MOBILENETS[V2].imagenet_widths, v2),
            *(_by_stage(v2, full) if per_stage else _alike(v2)),
            Choice("last", (False, True), full),
            Choice("mobilenet_v3.width", MOBILENETS[V3S[0]].imagenet_widths, (("family", V3S),)),
            Choice(f"{SHUFFLENET}.width", (0.5, 1.0, 1.5), (("family", (SHUFFLENET,)),)),
            Choice(f"{SHUFFLENET}.depth", (0.5, 1.0), (("family", (SHUFFLENET,)),)),
            Choice("mnasnet.width", (0.5, 0.75, 1.0), (("family", MNASNETS),)),
            Choice("mnasnet.depth", (0.5, 1.0), (("family", MNASNETS),)),
            Choice("head.bottleneck", (0, 32, 64, 128)),
            Choice("head.filters", (64, 128, 256)),
            Choice("head.taper", (0.5, 1.0)),
            Choice("head.subpixel", (False, True)),
        ),
    )


def _alike(when: When) -> list[Choice]:
    return [
        Choice("kernel", (3, 5), when),
        Choice("expand", (3, 6), when),
        Choice("depth", (-1, 0, 1), when),
        Choice("excite", (0.0, 0.25), when),
    ]


def _by_stage(v2: When, full: When) -> list[Choice]:
    found = []
    for stage, row in ROWS.items():
        if stage == 1:
            continue
        when = v2 if stage <= LAST_OF_STRIDE_16 else full
        depths = tuple(depth for depth in (row.depth - 1, row.depth, row.depth + 1) if depth)
        found += [
            Choice(f"stage{stage}.kernel", (3, 5), when),
            Choice(f"stage{stage}.expand", (3, 6), when),
            Choice(f"stage{stage}.depth", depths, when),
            Choice(f"stage{stage}.excite", (0.0, 0.25), when),
        ]
    return found


def case_study_point(space: Space) -> Point:
    """-> the case study's network as a point of a space of `pose_space`, or of a narrowed one that holds it.

    It has 256 pixels and Deconvs that are deployed as such, where the space has these values; else the largest
    resolution that there is, and the other form: the weights would be the same.

    Raises:
      InputError: the space does not hold it.
    """
    values = _everything()
    for choice in space.choices:
        if choice.name == "resolution" and values["resolution"] not in choice.values:
            values["resolution"] = choice.values[-1]
    for name, value in space.fixed:
        if name in CASE_STUDY and name not in OF_NO_WEIGHT and value != CASE_STUDY[name]:
            raise InputError(f"The case study has {name}={CASE_STUDY[name]!r}. Received: {value!r}, which is fixed")
    return space.check({choice.name: values[choice.name] for choice in space.choices})


def _everything() -> dict[str, Value]:
    """-> every name that a point may have -> what holds without it."""
    found = {**CASE_STUDY, **SCALES}
    for stage, row in ROWS.items():
        if stage > 1:
            found |= {f"stage{stage}.kernel": 3, f"stage{stage}.expand": 6}
            found |= {f"stage{stage}.depth": row.depth, f"stage{stage}.excite": 0.0}
    return found


def backbone_of(point: Point) -> Backbone:
    """-> the backbone of a point, with its stride and what its images must go through first.

    Raises:
      InputError: the point has a name or a value that there is not.

    Example:
      >>> found = backbone_of({"head.deconvs": 2})
      >>> found.name, found.stride, found.normalisation.mean
      ('mobilenet_v2_stages', 16, (127.5, 127.5, 127.5))
    """
    known = _everything()
    if unknown := [name for name in point if name not in known]:
        raise InputError(f"A pose net is made of {', '.join(known)}. Received: {unknown[0]!r}")
    family = point.get("family", V2)
    if family == V2:
        wanted = {**CASE_STUDY, **point}
        stages = len(ROWS) if _deconvs(point) == 3 else LAST_OF_STRIDE_16
        build = functools.partial(
            _build_stages,
            forms=tuple(_form(point, stage) for stage in ROWS if stage > 1),
            width=float(wanted[f"{V2}.width"]),
            # The features of five stages go to the head as they are.
            last=bool(wanted["last"]) and stages == len(ROWS),
            stages=stages,
        )
        stride = 32 if stages == len(ROWS) else 16
        return dataclasses.replace(get_backbone(V2), name=f"{V2}_stages", build=build, stride=stride)
    if family in V3S:
        return get_backbone(str(family), width=_number(point, "mobilenet_v3.width"))
    prefix = SHUFFLENET if family == SHUFFLENET else "mnasnet"
    if family not in FAMILIES:
        raise InputError(f"The family must be one of {', '.join(FAMILIES)}. Received: {family!r}")
    return get_backbone(str(family), width=_number(point, f"{prefix}.width"), depth=_number(point, f"{prefix}.depth"))


def _build_stages(x: Any, weights: str | Path | None = None, *, width: float, **options: Any) -> Any:
    y = mobilenet_stages(x, width=width, **options)
    if weights is not None:
        image = keras.Input(x.shape[1:])
        donor = keras.Model(image, mobilenet(image, V2, width=width, weights=weights))
        inherit(keras.Model(keras.utils.get_source_inputs(x), y), donor)
    return y


def _form(point: Point, stage: int) -> StageForm:
    def of(name: str) -> Any:
        return point.get(f"stage{stage}.{name}", point.get(name, CASE_STUDY[name]))

    depth = point.get(f"stage{stage}.depth", max(1, ROWS[stage].depth + int(point.get("depth", 0))))
    return StageForm(kernel=of("kernel"), expand=of("expand"), depth=int(depth), excite=of("excite"))


def _deconvs(point: Point) -> int:
    count = point.get("head.deconvs", 3) if point.get("family", V2) == V2 else 3
    if count not in (2, 3):
        raise InputError(f"A pose net has 2 or 3 Deconvs. Received: {count!r}")
    return int(count)


def _number(point: Point, name: str) -> float:
    return float(point.get(name, SCALES[name]))


def pixels_of(point: Point) -> str:
    """-> what a point's network expects of its pixels, a key of `tta_lite.tasks.classification.PIXELS`.

    >>> pixels_of({}), pixels_of({"family": "shufflenet_v2"})
    ('-1..1', 'imagenet')
    """
    wanted = backbone_of(point).normalisation
    return next(key for key, normalisation in PIXELS.items() if normalisation == wanted)


def trained_part(point: Point) -> Point:
    """-> what a point's training hangs on: all but how it is deployed.

    >>> trained_part({"head.filters": 64, "head.subpixel": True})
    {'head.filters': 64}
    """
    return {name: value for name, value in point.items() if name != "head.subpixel"}


def pose_net(
    point: Point,
    *,
    joints: int = 16,
    weights: str | Path | keras.Model | Mapping[str, str | Path | keras.Model] | None = None,
    name: str = "pose_net",
) -> keras.Model:
    """-> the network of a point, for training: ``image`` [B, S, S, 3] to ``heatmaps`` [B, S/4, S/4, joints].

    Args:
      point: of `pose_space`; what it does not say is as in `CASE_STUDY`.
      joints: how many heat maps.
      weights: None for random ones; ``"imagenet"`` or a file: of the published backbone of the same family and width,
        from which the layers of MobileNetV2's other forms inherit what fits; or a trained pose net, from which points
        of its family do, whatever their width (`tta_lite.search.inherit`). By family, if there are several.
      name: of the model.

    Raises:
      InputError: the point has a name or a value that there is not, or the weights do not fit.
    """
    backbone = backbone_of(point)
    wanted = {**CASE_STUDY, **point}
    if isinstance(weights, Mapping):
        weights = weights.get(str(wanted["family"]))
    first, taper = int(wanted["head.filters"]), float(wanted["head.taper"])
    donor = weights if isinstance(weights, keras.Model) else None
    model = pose_resnet(
        backbone,
        joints=joints,
        input_size=int(wanted["resolution"]),
        weights=None if isinstance(weights, keras.Model) else weights,
        bottleneck=int(wanted["head.bottleneck"]) or None,
        deconv_filters=[int(first * taper**place) for place in range(_deconvs(point))],
        name=name,
    )
    if donor is not None:
        inherit_pose(model, donor)
    return model


def deployed(model: keras.Model, point: Point) -> keras.Model:
    """-> what is exported of a trained network of a point: its Deconvs as convolutions if ``head.subpixel`` says so.

    The outputs are the same, so that only the latency depends on that choice.
    """
    return subpixel(model).model if point.get("head.subpixel", False) else model
