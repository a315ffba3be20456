"""The weights of a binary network in as many bytes as they need: one bit a weight, eight to a byte.

No runtime of this house reads it: TensorFlow Lite has no kernels for bits. It is what a firmware team that has such
kernels would store, and the size that may be called the size of a binary network.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.models.binary_layers import BINARY
from tta_lite.types import InputError

MAGIC = b"TTABITS1"


@dataclasses.dataclass(frozen=True)
class PackedSize:
    """Where the bytes of `pack` go.

    Attributes:
      bits: weights of one bit.
      bit_bytes: what they take.
      scale_bytes: their alphas.
      float_bytes: all other weights, batch norm and its statistics among them.
      total_bytes: the whole file with its list of contents.
    """

    bits: int
    bit_bytes: int
    scale_bytes: int
    float_bytes: int
    total_bytes: int


def pack(model: keras.Model) -> bytes:
    """-> the weights with which a network computes; `unpack` reads them.

    ``TTABITS1``, the length of the list of contents (uint32), that list (JSON: of each weight its name, its shape, and
    how many scales it has), and the weights in that order, all little endian. A binary kernel is its scales (float32;
    one an output channel, or none for -1 and 1) and then its bits in C order, the first in the highest place of its
    byte, 1 for a positive weight; any other weight is float32.

    Args:
      model: with layers of `tta_lite.models.binary_layers`.

    Raises:
      InputError: no layer of it is binary.
    """
    contents: list[dict[str, Any]] = []
    parts: list[bytes] = []
    bits = 0
    for name, values, is_binary in _weights(model):
        if not is_binary:
            contents.append({"name": name, "shape": list(values.shape)})
            parts.append(values.astype("<f4").tobytes())
            continue
        bits += values.size
        scales = _scales(values)
        contents.append({"name": name, "shape": list(values.shape), "scales": len(scales)})
        parts += [scales.astype("<f4").tobytes(), np.packbits(values.reshape(-1) > 0).tobytes()]
    if not bits:
        raise InputError(
            f"A network to pack must have binary layers (tta_lite.training.binary.binarize). Received: {model.name!r} "
            "without any"
        )
    header = json.dumps(contents, separators=(",", ":")).encode()
    return b"".join([MAGIC, struct.pack("<I", len(header)), header, *parts])


def unpack(packed: bytes) -> dict[str, np.ndarray]:
    """-> name -> the values with which the network computes, float32: those of `pack`, bit by bit.

    A name is ``<layer>/<weight>``, as ``stage1_conv1/kernel``.

    Raises:
      InputError: no such file, or one that is torn.
    """
    contents, place = _contents(packed)
    found = {}
    for entry in contents:
        shape = tuple(entry["shape"])
        count = math.prod(shape)
        if "scales" not in entry:
            found[entry["name"]] = np.frombuffer(packed, "<f4", count, place).reshape(shape).astype(np.float32)
            place += 4 * count
            continue
        scales = np.frombuffer(packed, "<f4", entry["scales"], place).astype(np.float32)
        place += 4 * len(scales)
        length = -(-count // 8)
        signs = np.unpackbits(np.frombuffer(packed, np.uint8, length, place), count=count).reshape(shape)
        place += length
        kernel = np.where(signs == 1, np.float32(1), np.float32(-1))
        found[entry["name"]] = kernel * _spread(scales, shape) if len(scales) else kernel
    return found


def packed_size(packed: bytes) -> PackedSize:
    """-> where the bytes go.

    Raises:
      InputError: no such file, or one that is torn.
    """
    contents, _ = _contents(packed)
    binary = [entry for entry in contents if "scales" in entry]
    bits = [math.prod(entry["shape"]) for entry in binary]
    return PackedSize(
        bits=sum(bits),
        bit_bytes=sum(-(-count // 8) for count in bits),
        scale_bytes=4 * sum(entry["scales"] for entry in binary),
        float_bytes=4 * sum(math.prod(entry["shape"]) for entry in contents if "scales" not in entry),
        total_bytes=len(packed),
    )


def _contents(packed: bytes) -> tuple[list[dict[str, Any]], int]:
    """-> the list of contents, and where the first weight begins."""
    start = len(MAGIC) + 4
    if packed[: len(MAGIC)] != MAGIC or len(packed) < start:
        raise InputError(f"Packed weights must begin with {MAGIC.decode()}. Received: {bytes(packed[:8])!r}")
    (length,) = struct.unpack("<I", packed[len(MAGIC) : start])
    try:
        contents = json.loads(packed[start : start + length])
        size = sum(_bytes_of(entry) for entry in contents)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"The list of contents of packed weights cannot be read. Received: {error}") from error
    if len(packed) != start + length + size:
        raise InputError(
            f"Packed weights with these contents must have {start + length + size} bytes. Received: {len(packed)}"
        )
    return contents, start + length


def _bytes_of(entry: dict[str, Any]) -> int:
    count = math.prod(entry["shape"])
    return 4 * entry["scales"] + -(-count // 8) if "scales" in entry else 4 * count


def _weights(model: keras.Model) -> list[tuple[str, np.ndarray, bool]]:
    """-> name, the values that are computed with, and whether they are bits."""
    found = []
    for layer in model.layers:
        for weight in layer.weights:
            # Keras writes `stem/kernel:0`; a layer that was copied within a scope has more parts before that.
            name = f"{layer.name}/{weight.name.rpartition('/')[2].partition(':')[0]}"
            is_binary = isinstance(layer, BINARY) and weight is layer.latent
            values = layer.binary_kernel() if is_binary else weight
            found.append((name, np.asarray(values, np.float32), is_binary))
    names = [name for name, _, _ in found]
    assert len(set(names)) == len(names)
    return found


def _scales(kernel: np.ndarray) -> np.ndarray:
    """-> |kernel| of each output channel; none if all are 1."""
    if (np.abs(kernel) == 1).all():
        return np.zeros(0, np.float32)
    # [KH, KW, C, M] of a depthwise kernel has C x M of them, [..., F] of any other F: they are the axes along which
    # the size changes.
    size = np.abs(kernel)
    per_channel = size[(0,) * (kernel.ndim - 1)]
    if (size == per_channel).all():
        return per_channel
    return size[0, 0].reshape(-1)


def _spread(scales: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return scales if len(scales) == shape[-1] else scales.reshape(shape[2:])
