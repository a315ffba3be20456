"""What can this board do? Answers from its profile alone, each with the reason and where it stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tta_lite.boards.features import DTYPES, FEATURES, HALF_PRECISION, INTEGER_PRODUCTS
from tta_lite.boards.ops import op_codes
from tta_lite.boards.records import BoardProfile, Cores
from tta_lite.boards.runtime import Runtime
from tta_lite.types import InputError

# An inference of G1+G2 of the case study at 128 x 128: docs/boards.md, "The emulated board".
COUNTED = (
    "executed instructions of one network: 90 million in float32 and 70 in int8 on an emulated Cortex-A72; 30 in "
    "int8 on a Cortex-A76, which has a dot product"
)


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer to one question.

    Attributes:
      yes: None: the profile does not tell, or it depends on the network (`code` ends with ``_if``).
      code: of the reason, for programs: as ``op_missing``.
      why: the reason, in words.
      source: where it stands.
    """

    yes: bool | None
    code: str
    why: str
    source: str = ""

    def __str__(self) -> str:
        return f"{self.verdict}: {self.why}"

    @property
    def verdict(self) -> str:
        """As ``no``."""
        if self.code.endswith("_if"):
            return "it depends"
        return "not known" if self.yes is None else "yes" if self.yes else "no"


def can_run(
    runtime: Runtime, op: str, dtype: str | None = None, version: int | None = None, inputs: int | None = None
) -> Answer:
    """Does a runtime take an op, in this type and version?

    Shapes and options can still be refused: what was asked was one file an op and type.

    Args:
      runtime: of a board.
      op: as TFLite's schema names it, ``CONV_2D``.
      dtype: of the tensors that it computes with, ``int8``; None: any.
      version: that the file asks for; None: any.
      inputs: how many tensors it reads; None: as many as it takes.

    Raises:
      InputError: there is no such op or type.

    Example:
      >>> from tta_lite.boards.profile import get_runtime
      >>> str(can_run(get_runtime("armnn-20.08"), "DEPTH_TO_SPACE"))
      'no: armnn 20.08 has no DEPTH_TO_SPACE'
    """
    if op not in op_codes():
        raise InputError(f"An op must be named as in TFLite's schema, as CONV_2D. Received: {op!r}")
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"A type must be one of {', '.join(DTYPES)}. Received: {dtype!r}")
    known, name = runtime.known_ops(), runtime.title
    if known and op not in known:
        return Answer(False, "op_missing", f"{name} has no {op}", runtime.source)
    if inputs is not None and inputs > (most := runtime.max_inputs.get(op, inputs)):
        return Answer(
            False, "op_inputs", f"{name} takes {op} with {most} inputs, and this one has {inputs}", runtime.source
        )
    if version is not None and version > (newest := runtime.op_versions.get(op, version)):
        why = f"{name} has {op} up to version {newest}, and the file asks for {version}"
        return Answer(False, "op_version", why, runtime.asked)
    if dtype is None:
        if known:
            return Answer(True, "op_taken", f"{name} has {op}", runtime.source)
        return Answer(None, "op_unasked", f"{name} is asked itself, with the file", runtime.source)
    if dtype in runtime.dtypes.get(op, ()):
        return Answer(True, "op_taken", f"{name} takes {op} in {dtype}", runtime.asked)
    if dtype in runtime.slow_dtypes.get(op, ()):
        return Answer(True, "op_slow", f"{name} runs {op} in {dtype}, by slower kernels", runtime.asked)
    if dtype in runtime.refused_dtypes.get(op, ()):
        return Answer(False, "op_dtype", f"{name} refused {op} in {dtype}", runtime.asked)
    return Answer(None, "op_unasked", f"{name} was not asked for {op} in {dtype}", runtime.asked or runtime.source)


def fp16_pays(board: BoardProfile, runtime: str | None = None, cluster: str = "all") -> Answer:
    """Would a network run faster in half precision than in float32? Yes: measure it (clause 6.2.2).

    Args:
      board: the target.
      runtime: one of the board's; its first if None.
      cluster: ``big``, ``little`` or ``all``: any of its cores.

    Raises:
      InputError: the board has no such runtime or cluster.

    Example:
      >>> from tta_lite.boards.profile import get_board
      >>> fp16_pays(get_board("rk3399")).yes, fp16_pays(get_board("rk3588")).yes
      (False, True)
    """
    chosen, cores = board.runtime(runtime), board.cluster(cluster)
    able = [one for one in cores if set(HALF_PRECISION) & set(one.features)]
    if not able:
        gpu = board.gpu.name if board.gpu and board.gpu.fp16 else ""
        return Answer(
            False,
            "no_fp16",
            f"{_names(cores)} {_of(cores)} no arithmetic in half precision; what is gained is the size of the file"
            + (f". The {gpu} has it, and {chosen.name} does not use it" if gpu else ""),
            _sources(cores),
        )
    if chosen.computes and "float16" not in chosen.computes:
        return Answer(
            False,
            "no_fp16_kernels",
            f"{_names(able)} {_of(able)} arithmetic in half precision, and {chosen.title} has no kernels for it",
            chosen.arithmetic_source,
        )
    when = f", {chosen.half_precision}" if chosen.half_precision else ""
    return Answer(
        True,
        "fp16",
        f"{_names(able)} {_of(able)} arithmetic in half precision; {chosen.title} uses it{when}",
        chosen.arithmetic_source or _sources(able),
    )


def integer_products(board: BoardProfile, runtime: str | None = None, cluster: str = "all") -> tuple[str, ...]:
    """-> what the cores have, and the runtime uses, to multiply int8 faster than float32.

    >>> from tta_lite.boards.profile import get_board
    >>> integer_products(get_board("rk3399")), integer_products(get_board("cortex_m55"))
    ((), ('dsp', 'mve'))
    """
    chosen = board.runtime(runtime)
    has = {feature for cores in board.cluster(cluster) for feature in cores.features}
    # A runtime of a user's own that says nothing of its kernels is taken to use what there is.
    used = chosen.integer_features if chosen.computes else INTEGER_PRODUCTS
    return tuple(feature for feature in FEATURES if feature in has and feature in used)


def int8_pays(board: BoardProfile, runtime: str | None = None, cluster: str = "all") -> Answer:
    """Would a network run better in int8 than in float32? `code` tells which gain: ``int8`` or ``int8_without_dot``.

    Args:
      board: the target.
      runtime: one of the board's; its first if None.
      cluster: ``big``, ``little`` or ``all``: any of its cores.

    Raises:
      InputError: the board has no such runtime or cluster.

    Example:
      >>> from tta_lite.boards.profile import get_board
      >>> int8_pays(get_board("rk3399")).code, int8_pays(get_board("raspberry_pi_5")).code
      ('int8_without_dot', 'int8')
    """
    chosen, cores = board.runtime(runtime), board.cluster(cluster)
    if not {"int8", "dynamic"} & set(chosen.presets) or (chosen.computes and "int8" not in chosen.computes):
        return Answer(False, "no_int8", f"{chosen.title} runs files of {', '.join(chosen.presets)}", chosen.source)
    found = integer_products(board, runtime, cluster)
    if found:
        able = [one for one in cores if set(found) & set(one.features)]
        means = "; ".join(f"{feature}, {FEATURES[feature]}" for feature in found)
        return Answer(
            True,
            "int8",
            f"in arithmetic, size and memory traffic: {_names(able)} {_of(able)} {means}, and {chosen.title} uses it",
            chosen.arithmetic_source or _sources(able),
        )
    # What was counted is XNNPACK on A-profile cores; of others it says nothing.
    counted = f" ({COUNTED})" if chosen.ask and board.architecture == "aarch64" else ""
    return Answer(
        True,
        "int8_without_dot",
        f"in size and memory traffic more than in arithmetic: {_names(cores)} {_of(cores)} no integer product that "
        f"{chosen.title} uses{counted}",
        _sources(cores),
    )


def sparsity_pays(board: BoardProfile, runtime: str | None = None) -> Answer:
    """Would a network with zero weights run faster? The compressed file is smaller in any case (clause 6.2.3).

    >>> from tta_lite.boards.profile import get_board
    >>> sparsity_pays(get_board("cortex_m7")).yes
    False
    """
    chosen = board.runtime(runtime)
    if chosen.sparsity:
        return Answer(None, "sparse_if", f"{chosen.title} skips zeros {chosen.sparsity}", chosen.arithmetic_source)
    if chosen.computes:
        return Answer(False, "sparse_none", f"{chosen.title} multiplies zeros as any other number", chosen.source)
    return Answer(None, "sparse_unknown", f"nothing is known of {chosen.title} and zeros", chosen.source)


def loads(board: BoardProfile, needs_glibc: str, system: str | None = None) -> Answer:
    """Does a library that needs this version of glibc load on the board?

    Args:
      board: the target.
      needs_glibc: as ``2.34``.
      system: the name of one of the board's; the assumed one if None.

    Raises:
      InputError: the board has no such system, or that is no version.

    Example:
      >>> from tta_lite.boards.profile import get_board
      >>> str(loads(get_board("rk3399"), "2.34"))
      'no: it needs glibc 2.34, and Ubuntu 18.04 has 2.27; Debian 12 would do'
    """
    needed = _version(needs_glibc)
    if not board.systems:
        return Answer(None, "libc_unknown", f"the profile of {board.title} names no system")
    named = [one for one in board.systems if system in (None, one.name)]
    if not named:
        raise InputError(
            f"Board {board.name} has the systems {', '.join(one.name for one in board.systems)}. Received: {system!r}"
        )
    chosen = named[0]
    if chosen.libc == "other" or (chosen.libc == "glibc" and not chosen.libc_version):
        return Answer(None, "libc_unknown", f"the C library of {chosen.name} is not known", chosen.source)
    if chosen.libc == "glibc" and _version(chosen.libc_version) >= needed:
        return Answer(
            True, "libc", f"it needs glibc {needs_glibc}, and {chosen.name} has {chosen.libc_version}", chosen.source
        )
    has = chosen.libc_version if chosen.libc == "glibc" else f"no glibc ({chosen.libc})"
    others = [one.name for one in board.systems if one.libc == "glibc" and _version(one.libc_version) >= needed]
    help_ = f"; {', '.join(others)} would do" if others else ""
    return Answer(False, "libc", f"it needs glibc {needs_glibc}, and {chosen.name} has {has}{help_}", chosen.source)


def runtime_loads(board: BoardProfile, runtime: str | None = None, system: str | None = None) -> Answer:
    """-> whether the library of a runtime loads on the board; see `loads`."""
    chosen = board.runtime(runtime)
    if not chosen.needs_glibc:
        return Answer(None, "libc_unknown", f"what {chosen.title} needs is not known", chosen.source)
    return loads(board, chosen.needs_glibc, system)


def _version(text: str) -> tuple[int, ...]:
    parts = text.split(".")
    if not all(part.isdigit() for part in parts):
        raise InputError(f'A version must be given as "2.34". Received: {text!r}')
    return tuple(map(int, parts))


def _names(cores: Sequence[Cores]) -> str:
    return " and ".join(one.name for one in cores)


def _of(cores: Sequence[Cores]) -> str:
    return "have" if len(cores) > 1 else "has"


def _sources(cores: Sequence[Cores]) -> str:
    return "; ".join(dict.fromkeys(one.source for one in cores))
