"""One line for each layer class that Keras 3 and `tf_keras` share: where their settings differ.

Both directions read the same table. A setting that one of them lacks is only translated when it has the value that
means the same as its absence.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from typing import Any

from tta_lite.compat import OF_APPLICATIONS, keras

L = keras.layers


class _Any:
    """Every value means the same for the outputs."""


ANY = _Any()


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a layer class is written in both.

    Attributes:
      layer: the class of `tf_keras`.
      renamed: Keras 3's name of a setting -> that of `tf_keras`.
      only3: settings that `tf_keras` lacks -> the value that can be read.
      only2: settings that Keras 3 lacks -> the value that can be written.
      module: Keras 3's.
    """

    layer: type[keras.layers.Layer]
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    only3: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    only2: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    module: str = "keras.layers"

    @functools.cached_property
    def settings(self) -> frozenset[str]:
        """What the class of `tf_keras` can be given."""
        found = inspect.signature(self.layer.__init__).parameters
        return frozenset({*found, "name", "trainable", "dtype"} - {"self", "args", "kwargs"})

    @property
    def class_name(self) -> str:
        """In both."""
        return self.layer.__name__


_FORMAT = {"data_format": "channels_last"}
_RANDOM2 = {"rng_type": ANY}
_SEPARABLE2 = {"groups": 1, "kernel_initializer": ANY, "kernel_regularizer": ANY, "kernel_constraint": ANY}
_NOISE2 = {"noise_shape": ANY, "trainable": ANY}
_APPLICATIONS = "keras.src.applications"

RULES: dict[str, Rule] = {rule.class_name: rule for rule in (
    # Sums, products, joints.
    *(Rule(one) for one in (
        L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum, L.Concatenate, L.Dot,
    )),
    # With weights.
    *(Rule(one) for one in (L.Conv1D, L.Conv2D, L.Conv3D)),
    *(Rule(one, only2={"groups": 1}) for one in (
        L.Conv1DTranspose, L.Conv2DTranspose, L.DepthwiseConv1D, L.DepthwiseConv2D,
    )),
    *(Rule(one, only2=_SEPARABLE2) for one in (L.SeparableConv1D, L.SeparableConv2D)),
    Rule(L.Dense, only3={"quantization_config": None, "lora_rank": None, "lora_alpha": None},
         only2={"activity_regularizer": None}),
    Rule(L.PReLU),
    Rule(L.BatchNormalization, only3={"renorm": False, "renorm_clipping": ANY, "renorm_momentum": ANY}),
    Rule(L.LayerNormalization, only3={"rms_scaling": False}),
    *(Rule(one) for one in (L.GroupNormalization, L.UnitNormalization, L.Normalization)),
    # Pooling, shapes, sizes.
    *(Rule(one) for one in (
        L.MaxPooling1D, L.MaxPooling2D, L.MaxPooling3D, L.AveragePooling1D, L.AveragePooling2D, L.AveragePooling3D,
        L.GlobalAveragePooling1D, L.GlobalAveragePooling2D, L.GlobalMaxPooling1D, L.GlobalMaxPooling2D,
        L.Flatten, L.Reshape, L.Permute, L.RepeatVector, L.ZeroPadding2D, L.Cropping1D, L.Cropping2D,
        L.UpSampling1D, L.UpSampling2D, L.Rescaling,
    )),
    Rule(L.ZeroPadding1D, only3=_FORMAT),
    Rule(L.CenterCrop, only3=_FORMAT),
    Rule(L.Resizing, only3=_FORMAT | {
        "pad_to_aspect_ratio": False, "fill_mode": ANY, "fill_value": ANY, "antialias": False,
    }),
    # Activations.
    *(Rule(one) for one in (L.Activation, L.ReLU, L.ELU, L.Softmax, L.Identity)),
    Rule(L.LeakyReLU, renamed={"negative_slope": "alpha"}),
    # Of training only.
    *(Rule(one) for one in (L.Dropout, L.GaussianDropout, L.GaussianNoise, L.ActivityRegularization)),
    Rule(L.AlphaDropout, only3={"noise_shape": None}),
    Rule(L.SpatialDropout1D, only3={"seed": ANY}, only2=_NOISE2),
    Rule(L.SpatialDropout2D, only3={"seed": ANY}, only2=_NOISE2),
    *(Rule(one, only3=_FORMAT, only2=_RANDOM2) for one in (
        L.RandomFlip, L.RandomRotation, L.RandomZoom, L.RandomTranslation, L.RandomBrightness,
    )),
    Rule(L.RandomContrast, only3=_FORMAT | {"value_range": ANY}, only2=_RANDOM2),
    # Layers of the applications alone.
    Rule(OF_APPLICATIONS["LayerScale"], module=f"{_APPLICATIONS}.convnext"),
    Rule(OF_APPLICATIONS["StochasticDepth"], module=f"{_APPLICATIONS}.convnext"),
    Rule(OF_APPLICATIONS["CustomScaleLayer"], module=f"{_APPLICATIONS}.inception_resnet_v2"),
)}  # fmt: skip


def rule_of(record: Mapping[str, Any]) -> Rule | None:
    """-> the rule for a layer of a file of Keras 3, or None if it is none of Keras's own or not known."""
    rule = RULES.get(str(record.get("class_name")))
    module, own = str(record.get("module")), record.get("registered_name")
    if rule is None or own not in (None, rule.class_name):
        return None
    ours = module == rule.module or (rule.module == "keras.layers" and module.startswith("keras.src.layers"))
    return rule if ours else None
