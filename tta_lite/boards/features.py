"""What instruction sets bring to a network: the names that profiles use, and what each must and cannot hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# Of a core, as the profiles call it -> what it means for a network.
FEATURES: Mapping[str, str] = {
    "neon": "128-bit vectors of floats and integers",
    "fp16": "arithmetic in half precision, twice as many numbers in a vector",
    "bf16": "products of bfloat16",
    "dotprod": "an int8 dot product of four pairs in one instruction (SDOT)",
    "i8mm": "int8 products of 2 x 8 matrices in one instruction (SMMLA)",
    "sve": "vectors whose length the core chooses",
    "sve2": "the same for integers",
    "dsp": "two products of 16-bit integers, added up, in one instruction",
    "fpu": "float32 arithmetic, one number at a time",
    "mve": "Helium: 128-bit vectors of integers, dot products included",
    "mve_fp": "Helium: 128-bit vectors of float32 and float16",
    "avx2": "256-bit vectors of integers, products of 16-bit ones added up in pairs",
    "fma": "256-bit products and sums of float32 in one instruction",
    "f16c": "conversion from and to float16, no arithmetic in it",
    "avx512": "512-bit vectors",
    "avx512_fp16": "arithmetic in half precision",
    "vnni": "an int8 dot product of four pairs in one instruction",
}
# Output channels that XNNPACK's float32 kernels compute side by side: a channel more costs as much as so many more.
# `nr` of f32_gemm_config in https://github.com/google/XNNPACK/blob/master/src/configs/gemm-config.c.
CHANNEL_TILES: Mapping[str, int] = {"neon": 8, "fma": 16, "avx512": 16}
# With any of these a core computes in half precision, or multiplies int8 faster than by widening each number.
HALF_PRECISION = ("fp16", "mve_fp", "avx512_fp16")
INTEGER_PRODUCTS = ("dotprod", "i8mm", "mve", "avx2", "vnni")

# Instruction set -> features that it cannot have, for a profile that claims them is wrong. SDOT came as an option with
# Armv8.2-A, as did half precision; SMMLA with Armv8.2-A too, made mandatory by Armv8.6-A.
# Arm Architecture Reference Manual for A-profile (DDI 0487), A2.2 to A2.3; for M-profile (DDI 0553), B1.
_VECTORS_FROM_8_2 = frozenset({"fp16", "bf16", "dotprod", "i8mm", "sve", "sve2"})
_A_PROFILE = frozenset({"neon", "fp16", "bf16", "dotprod", "i8mm", "sve", "sve2"})
_M_PROFILE = frozenset({"dsp", "fpu", "mve", "mve_fp"})
_X86 = frozenset({"avx2", "fma", "f16c", "avx512", "avx512_fp16", "vnni"})
ISA_CAN_HAVE: Mapping[str, frozenset[str]] = {
    "armv7-a": frozenset({"neon"}),
    "armv8.0-a": _A_PROFILE - _VECTORS_FROM_8_2,
    "armv8.1-a": _A_PROFILE - _VECTORS_FROM_8_2,
    "armv8.2-a": _A_PROFILE - {"sve2"},
    "armv8.3-a": _A_PROFILE - {"sve2"},
    "armv8.4-a": _A_PROFILE - {"sve2"},
    "armv8.5-a": _A_PROFILE - {"sve2"},
    "armv8.6-a": _A_PROFILE - {"sve2"},
    "armv9.0-a": _A_PROFILE,
    "armv9.2-a": _A_PROFILE,
    "armv7e-m": frozenset({"dsp", "fpu"}),
    "armv8-m": frozenset({"dsp", "fpu"}),
    "armv8.1-m": _M_PROFILE,
    "x86-64": _X86,
}
# What `uname -m` says, or what a compiler calls a core without an operating system.
ARCHITECTURES = ("aarch64", "armv7l", "armv7e-m", "armv8.1-m", "riscv64", "x86_64")
# The types that a TFLite tensor of a network has; `contents.Tensor.dtype` calls them so.
DTYPES = ("float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool")


def channel_multiple(features: Iterable[str], default: int = 8) -> int:
    """-> of what number a layer's channels should be a multiple on cores with these features.

    >>> channel_multiple(("neon", "dotprod")), channel_multiple(("avx2", "fma")), channel_multiple(("mve",))
    (8, 16, 8)
    """
    return max((CHANNEL_TILES[one] for one in features if one in CHANNEL_TILES), default=default)
