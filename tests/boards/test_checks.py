"""Questions to a profile: the answers are known from the instruction sets and the runtimes' own sources."""

from __future__ import annotations

import dataclasses

import pytest

from tta_lite.boards.checks import can_run, fp16_pays, int8_pays, integer_products, loads, runtime_loads, sparsity_pays
from tta_lite.boards.profile import get_board, get_runtime
from tta_lite.boards.runtime import Runtime
from tta_lite.types import InputError

LITERT, ARMNN, MICRO = (get_runtime(name) for name in ("litert-xnnpack-2.3.0", "armnn-20.08", "tflite-micro"))


@pytest.mark.parametrize(
    ("runtime", "question", "yes", "code"),
    [
        # XNNPACK has no int16 at all; LiteRT's own kernels do.
        (LITERT, ("CONV_2D", "float32"), True, "op_taken"),
        (LITERT, ("CONV_2D", "int16"), True, "op_slow"),
        # HARD_SWISH in int8 is what makes MobileNetV3 slow (docs/networks.md).
        (LITERT, ("HARD_SWISH", "int8"), True, "op_slow"),
        # lite/core/kernels/register.cc registers CONV_2D up to version 8.
        (LITERT, ("CONV_2D", "float32", 8), True, "op_taken"),
        (LITERT, ("CONV_2D", "float32", 9), False, "op_version"),
        (ARMNN, ("DEPTH_TO_SPACE",), False, "op_missing"),
        (ARMNN, ("TRANSPOSE_CONV", "float32", 3, 3), True, "op_taken"),
        (ARMNN, ("TRANSPOSE_CONV", "float32", 3, 4), False, "op_inputs"),
        (ARMNN, ("TRANSPOSE_CONV", "int8", 3, 3), False, "op_dtype"),
        (ARMNN, ("CONV_2D", "int8", 99), True, "op_taken"),
        (ARMNN, ("CONV_2D",), True, "op_taken"),
        # exp.cc of TensorFlow Lite Micro: "input->type != kTfLiteFloat32".
        (MICRO, ("EXP", "int8"), False, "op_dtype"),
        (MICRO, ("CONV_3D",), False, "op_missing"),
        (MICRO, ("CAST", "int8"), None, "op_unasked"),
    ],
)
def test_can_it_run(runtime, question, yes, code):
    answer = can_run(runtime, *question)
    assert (answer.yes, answer.code) == (yes, code)
    assert answer.source and question[0] in answer.why


def test_what_is_asked_itself_and_has_no_table_is_not_known():
    runtime = Runtime("own", "1", ("fp32",), "me", ask="litert")
    assert can_run(runtime, "CONV_2D").yes is None
    assert can_run(runtime, "CONV_2D", "int8").yes is None


@pytest.mark.parametrize(("words", "said"), [(("CONV",), "Received: 'CONV'"), (("ADD", "int9"), "Received: 'int9'")])
def test_a_question_that_makes_no_sense(words, said):
    with pytest.raises(InputError, match=said):
        can_run(ARMNN, *words)


@pytest.mark.parametrize(
    ("board", "yes", "code"),
    [
        ("rk3399", False, "no_fp16"),
        ("raspberry_pi_4", False, "no_fp16"),
        ("rk3588", True, "fp16"),
        ("raspberry_pi_5", True, "fp16"),
        # Helium computes in half precision; the kernels of TensorFlow Lite Micro do not.
        ("cortex_m55", False, "no_fp16_kernels"),
        ("cortex_m7", False, "no_fp16"),
    ],
)
def test_does_half_precision_pay(board, yes, code):
    answer = fp16_pays(get_board(board))
    assert (answer.yes, answer.code) == (yes, code) and answer.source


def test_a_gpu_that_no_runtime_uses_is_told():
    assert "The Mali-T860 MP4 has it, and litert-xnnpack does not use it" in fp16_pays(get_board("rk3399")).why
    assert "Mali" not in fp16_pays(get_board("raspberry_pi_4")).why


@pytest.mark.parametrize(
    ("board", "code", "products"),
    [
        ("rk3399", "int8_without_dot", ()),
        ("i_mx8m_plus", "int8_without_dot", ()),
        ("rk3588", "int8", ("dotprod",)),
        ("cortex_m55", "int8", ("dsp", "mve")),
        ("cortex_m7", "int8", ("dsp",)),
    ],
)
def test_does_int8_pay(board, code, products):
    board = get_board(board)
    answer = int8_pays(board)
    assert (answer.yes, answer.code, integer_products(board)) == (True, code, products)


def test_a_pc_with_avx2_multiplies_integers_in_pairs():
    # vpmaddwd: 16 products of 16-bit integers in one instruction, where one of float32 has 8.
    cores = dataclasses.replace(get_board("rk3399").cores[0], isa="x86-64", features=("avx2", "fma", "f16c"))
    board = dataclasses.replace(get_board("rk3399"), architecture="x86_64", cores=(cores,), gpu=None)
    assert int8_pays(board).code == "int8" and integer_products(board) == ("avx2",)
    # F16C converts, and does not compute.
    assert fp16_pays(board).code == "no_fp16"


def test_a_cluster_is_asked_alone():
    board = get_board("rk3588")
    newer, older = board.cores
    older = dataclasses.replace(older, isa="armv8.0-a", features=("neon",))
    mixed = dataclasses.replace(board, cores=(newer, older))
    assert fp16_pays(mixed).yes and fp16_pays(mixed, cluster="big").yes and not fp16_pays(mixed, cluster="little").yes
    assert int8_pays(mixed, cluster="big").code == "int8"
    assert int8_pays(mixed, cluster="little").code == "int8_without_dot"
    with pytest.raises(InputError, match="Received: 'middle'"):
        fp16_pays(mixed, cluster="middle")


def test_a_runtime_of_floats_alone_gains_nothing_from_integers():
    board = get_board("rk3588")
    floats = dataclasses.replace(board, runtimes=(Runtime("floats", "1", ("fp32",), "me", ops=frozenset({"ADD"})),))
    assert (int8_pays(floats).yes, int8_pays(floats).code) == (False, "no_int8")
    # Of kernels that it says nothing about the cores alone decide.
    assert fp16_pays(floats).yes and sparsity_pays(floats).yes is None


def test_counts_are_told_where_they_were_counted_alone():
    assert "70 in int8" in int8_pays(get_board("rk3399")).why
    assert "70 in" not in int8_pays(get_board("rk3399"), "armnn").why


def test_does_sparsity_pay():
    # XNNPACK has sparse kernels for a certain kind of network; the other two have none.
    answer = sparsity_pays(get_board("rk3399"))
    assert answer.yes is None and str(answer).startswith("it depends: ") and "1x1" in answer.why
    assert sparsity_pays(get_board("rk3399"), "armnn").yes is False
    assert sparsity_pays(get_board("cortex_m55")).yes is False


@pytest.mark.parametrize(
    ("board", "needs", "system", "yes"),
    [
        # tflite-runtime 2.14 needs glibc 2.27, ai-edge-litert 2.3.0 needs 2.34 (symbols of their aarch64 wheels).
        ("rk3399", "2.27", None, True),
        ("rk3399", "2.34", None, False),
        ("rk3399", "2.34", "Debian 12", True),
        # 2.4 is older than 2.27.
        ("rk3399", "2.4", None, True),
        ("jetson_nano", "2.34", None, False),
        ("raspberry_pi_5", "2.34", None, True),
        ("cortex_m7", "2.4", None, False),
    ],
)
def test_does_a_library_load(board, needs, system, yes):
    answer = loads(get_board(board), needs, system)
    assert answer.yes is yes and needs in answer.why and answer.source


def test_what_is_not_known_of_libraries_is_said():
    board = get_board("rk3399")
    assert loads(dataclasses.replace(board, systems=()), "2.34").yes is None
    other = dataclasses.replace(board.systems[0], libc="other", libc_version="")
    assert loads(dataclasses.replace(board, systems=(other,)), "2.34").yes is None
    assert runtime_loads(get_board("cortex_m7")).yes is None
    assert runtime_loads(board).yes is False and "Debian 12 would do" in runtime_loads(board).why
    with pytest.raises(InputError, match="Received: 'Plan 9'"):
        loads(board, "2.34", "Plan 9")
    with pytest.raises(InputError, match=r"Received: 'glibc 2\.34'"):
        loads(board, "glibc 2.34")
