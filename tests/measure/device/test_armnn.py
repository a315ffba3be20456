"""What Arm NN says: first a stand-in with every fault that was met, then the real one under emulation."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import single_op_files as one
from tests.measure.device.ssh_server import NEEDS_SSHD, running
from tta_lite.boards.profile import get_board
from tta_lite.export.for_runtime import for_runtime
from tta_lite.measure.device import armnn_setup
from tta_lite.measure.device.armnn import ask_armnn, ask_each, check_armnn
from tta_lite.measure.device.armnn_driver import values
from tta_lite.measure.device.armnn_jobs import Job
from tta_lite.measure.device.local import Local
from tta_lite.measure.device.transport import DeviceError, Finished
from tta_lite.types import InputError

# Stands for PyArmNN. It computes by LiteRT; what it does wrong is set by {op name: behaviour}.
FAKE = """
import os, sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter

BEHAVIOUR = {behaviour!r}
BACKENDS = {backends!r}
ARMNN_VERSION = "22.0.0"
print("Your library does not support other parsers")

class CreationOptions: pass
class OptimizerOptions: pass

def BackendId(name):
    return name

class Spec:
    def GetSupportedBackends(self):
        return BACKENDS

class ITfLiteParser:
    def CreateNetworkFromBinaryFile(self, path):
        self.net = Interpreter(model_path=path)
        self.net.allocate_tensors()
        self.kinds = [op["op_name"] for op in self.net._get_ops_details()]
        for kind in self.kinds:
            how = BEHAVIOUR.get(kind, "")
            if how == "refuse":
                raise RuntimeError("Failed to parse operator #0 within subgraph #0 error: no " + kind
                                   + " opcode:\\x05.  at function Parse [./src/P.cpp:1]")
            if how == "crash":
                sys.stderr.write("qemu: uncaught target signal 6 (Aborted)\\n")
                sys.stderr.flush()
                os.abort()
            if how == "hang":
                time.sleep(600)
        return self
    def GetNetworkInputBindingInfo(self, graph, name):
        return next(one for one in self.net.get_input_details() if one["name"] == name)
    def GetSubgraphOutputTensorNames(self, graph):
        return [one["name"] for one in self.net.get_output_details()]
    def GetNetworkOutputBindingInfo(self, graph, name):
        return next(one for one in self.net.get_output_details() if one["name"] == name)

def Optimize(network, backends, spec, options):
    for kind in network.kinds:
        how = BEHAVIOUR.get(kind, "")
        said = "WARNING: Layer of type " + kind + " is not supported on requested backend CpuAcc (reason: why)"
        if how == "fallback" and "CpuRef" not in backends or how == "unsupported":
            raise RuntimeError(said + ", falling back to the next backend.ERROR: Layer is not supported on any backend")
        if how == "fallback":
            return network, (said + ", falling back to the next backend.",)
    return network, ()

def make_input_tensors(bindings, values):
    return list(zip(bindings, values))

def make_output_tensors(bindings):
    return bindings

def workload_tensors_to_ndarray(bindings):
    return [one["value"] for one in bindings]

class IRuntime:
    alive = 0
    def __init__(self, options):
        IRuntime.alive += 1
        assert IRuntime.alive == 1
    def GetDeviceSpec(self):
        return Spec()
    def LoadNetwork(self, parser):
        self.parser = parser
        return 0, ""
    def UnloadNetwork(self, number):
        pass
    def EnqueueWorkload(self, number, inputs, outputs):
        net = self.parser.net
        for binding, value in inputs:
            net.set_tensor(binding["index"], value)
        net.invoke()
        for binding in outputs:
            value = net.get_tensor(binding["index"])
            for kind in self.parser.kinds:
                how = BEHAVIOUR.get(kind, "")
                if how == "wrong":
                    value = value + value.dtype.type(5)
                if how == "narrow":
                    value = value[:, :-1]
                if how == "full disk":
                    raise OSError(28, "No space left on device")
                if how == "lost":
                    raise RuntimeError("cannot run")
            binding["value"] = value
"""


class Board:
    """A machine with the stand-in: the command that has it, and what it will do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = [str(folder), *(path for path in sys.path if "site-packages" in path)]
        # A bare environment, as a board's: no settings of this machine's leak in.
        self.python = ("env", "-i", f"PYTHONPATH={':'.join(paths)}", sys.executable)

    def does(self, backends: tuple[str, ...] = ("CpuAcc", "CpuRef"), **behaviour: str) -> None:
        (self.folder / "pyarmnn.py").write_text(FAKE.format(behaviour=behaviour, backends=backends))


@pytest.fixture
def board(tmp_path):
    board = Board(tmp_path)
    board.does()
    return board


def chain() -> bytes:
    """TRANSPOSE_CONV, then an ADD with itself, then PAD, then DEPTH_TO_SPACE."""
    file = one.File()
    x, up, sum_, wide, out = (
        file.tensor(shape) for shape in ((1, 2, 2, 3), (1, 4, 4, 4), (1, 4, 4, 4), (1, 5, 4, 4), (1, 10, 8, 1))
    )
    size = file.constant(np.array([1, 4, 4, 4], np.int32))
    weights = file.constant(np.random.default_rng(0).normal(size=(4, 2, 2, 3)).astype(np.float32))
    pads = file.constant(np.array([(0, 0), (0, 1), (0, 0), (0, 0)], np.int32))
    file.op("TRANSPOSE_CONV", [size, weights, x], [up], 1, kind="TransposeConvOptions", strideW=2, strideH=2)
    file.op("ADD", [up, up], [sum_], kind="AddOptions")
    file.op("PAD", [sum_, pads], [wide], kind="PadOptions")
    file.op("DEPTH_TO_SPACE", [wide], [out], kind="DepthToSpaceOptions", blockSize=2)
    return file.to_bytes([x], [out])


def answers(board: Board, **keywords):
    with Local() as transport:
        found = ask_armnn(chain(), transport, board.python, **keywords)
    return found, {op.op: op.answer for op in found.ops}


def test_a_board_that_takes_everything(board):
    found, by_op = answers(board)
    assert found.runs and found.runtime == "Arm NN 20.08" and found.device == "this machine"
    assert list(by_op) == ["TRANSPOSE_CONV", "ADD", "PAD", "DEPTH_TO_SPACE"]
    assert {answer.answer for answer in by_op.values()} == {"taken"}
    # The stand-in is LiteRT itself.
    assert found.whole.answer == "taken" and found.whole.difference == 0
    assert found.to_json()["runs"] is True and found.to_json()["ops"][0]["layer"] == "layer1"


def test_each_fault_is_one_ops_and_no_other_answer_is_lost(board):
    board.does(TRANSPOSE_CONV="refuse", ADD="crash", PAD="wrong", DEPTH_TO_SPACE="hang")
    found, by_op = answers(board, op_limit_s=4)
    assert not found.runs and found.whole is None
    # Neither its place in the file of one op nor a byte that is no text.
    assert by_op["TRANSPOSE_CONV"].words == "no TRANSPOSE_CONV opcode: ."
    assert by_op["TRANSPOSE_CONV"].answer == "refused"
    assert by_op["ADD"].answer == "crashed"
    assert by_op["ADD"].words.startswith("exit code 134: ")
    assert by_op["ADD"].words.endswith("qemu: uncaught target signal 6 (Aborted)")
    assert by_op["PAD"].answer == "differs" and "in 100 % of the outputs" in by_op["PAD"].words
    assert by_op["DEPTH_TO_SPACE"].answer == "too slow" and by_op["DEPTH_TO_SPACE"].words == "it took more than 4 s"


def test_the_reference_kernels_are_no_full_answer(board):
    board.does(ADD="fallback", PAD="narrow", TRANSPOSE_CONV="lost")
    found, by_op = answers(board)
    assert by_op["ADD"].answer == "fallback" and by_op["ADD"].difference == 0
    assert by_op["ADD"].words == "Layer of type ADD is not supported on requested backend CpuAcc (reason: why)."
    assert by_op["PAD"].answer == "differs" and "[[1, 5, 4, 4]]" in by_op["PAD"].words
    assert by_op["TRANSPOSE_CONV"].answer == "refused" and by_op["TRANSPOSE_CONV"].words == "cannot run"
    board.does(ADD="fallback")
    found, by_op = answers(board)
    # The whole file is run, and is no success.
    assert found.whole.answer == "fallback" and found.whole.difference == 0 and not found.runs
    board.does(ADD="unsupported")
    found, by_op = answers(board)
    assert by_op["ADD"].answer == "refused" and found.whole is None


def test_a_board_without_what_is_needed(board, tmp_path):
    with Local() as transport:
        with pytest.raises(DeviceError, match=r"PyArmNN, and NumPy\. Expected there: python3-pyarmnn.*No module"):
            check_armnn(transport, ("env", "-i", sys.executable, "-S", "-E"))
        with pytest.raises(DeviceError, match=r"Expected there: python3\. Received: exit code 127"):
            check_armnn(transport, ("no-such-python",))
        board.does(backends=("CpuRef",))
        with pytest.raises(DeviceError, match=r"backend CpuAcc \(package libarmnn-.*\).*Received: CpuRef"):
            check_armnn(transport, board.python)


def test_a_full_disk_is_no_answer_of_the_runtime(board):
    board.does(ADD="full disk")
    with pytest.raises(DeviceError, match=r"cannot keep what Arm NN gave.*No space left"):
        answers(board)


class Fails(Local):
    """A transport of which something is lost."""

    def __init__(self, **fails) -> None:
        super().__init__()
        self.fails = fails

    def run(self, argv, *, timeout_s):
        if argv[-4:-3] == ["run"] or "run" in argv:
            if "run" in self.fails:
                raise DeviceError("the connection was lost")
            if "ended" in self.fails:
                return Finished(137, "", "Killed\n")
        return super().run(argv, timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("fails", "said"),
    [("run", "the connection was lost"), ("ended", r"must not end before it has been asked\. Received: exit code 137")],
)
def test_a_broken_board_is_one_clear_error(board, fails, said):
    with Fails(**{fails: True}) as transport, pytest.raises(DeviceError, match=said):
        ask_armnn(chain(), transport, board.python)
    assert not Path(transport.folder).exists()


@NEEDS_SSHD
def test_a_board_behind_a_real_ssh_server(board, tmp_path):
    board.does(ADD="crash")
    (tmp_path / "sshd").mkdir()
    with running(tmp_path / "sshd") as server, server.transport() as transport:
        found = ask_armnn(chain(), transport, board.python)
        assert found.device == server.address and transport.folder.startswith(str(server.temporary))
    assert [op.answer.answer for op in found.ops] == ["taken", "crashed", "taken", "taken"]
    assert not list(server.temporary.iterdir())


def test_an_open_batch_and_bytes_that_are_no_file_are_refused_before_the_board_is_asked():
    with pytest.raises(InputError, match=r"cannot be run as a \.tflite file"):
        ask_armnn(b"none", None)
    file = one.File()
    x, y = file.tensor((1, 2)), file.tensor((1, 2))
    file.graph.tensors[x].shapeSignature = np.array([-1, 2], np.int32)
    file.op("ADD", [x, x], [y], kind="AddOptions")
    with pytest.raises(InputError, match=r"fixed shapes\. Received: \[\(-1, 2\)\]"):
        ask_armnn(file.to_bytes([x], [y]), None)


def test_inputs_by_chance_cover_the_codes_or_are_real_numbers():
    file = one.deconv(int8=True, size=(40, 40))
    [drawn], [real] = Job(file, real=False).inputs, Job(file, real=True).inputs
    assert "scale" not in drawn and real["scale"] == pytest.approx(0.03)
    assert len(np.unique(values(np, drawn))) == 256
    numbers = (values(np, real).astype(float) - real["zero_point"]) * real["scale"]
    assert abs(numbers.mean()) < 0.1 and 0.9 < numbers.std() < 1.1


SET_UP = armnn_setup.armnn_root().exists() and shutil.which(armnn_setup.QEMU)


@pytest.mark.skipif(not SET_UP, reason=f"needs Arm NN for arm64: {armnn_setup.SETUP} (Debian 12, package qemu-user)")
def test_the_real_arm_nn_takes_what_is_rewritten_and_refuses_what_the_converter_writes():
    armnn = get_board("rk3399").runtime("armnn")
    given = {
        "deconv": one.deconv(),
        "int8 deconv": one.deconv(int8=True),
        "shuffle": one.depth_to_space(1, 3, 4, 2, 2),
        "int8 shuffle": one.depth_to_space(1, 3, 4, 2, 3, int8=True),
        "int8 pad": one.pad((1, 3, 4, 2), [(0, 0), (1, 0), (0, 2), (0, 0)], zero_point=-7),
        "split": one.split(-1),
        "activation": one.deconv(size=(4, 4), bias=False),
    }
    files = [*given.values(), *(for_runtime(tflite, armnn) for tflite in given.values())]
    transport, python = armnn_setup.emulated_armnn()
    with transport:
        assert check_armnn(transport, python) == "Arm NN 20.08"
        found = ask_each(files, transport, python, limit_s=120)
    said = [(answer.answer, answer.words) for answer in found[:7]]
    refused = ("refused", "inputs.size() = 4 is not valid, not in {3}.")
    assert said[:2] == [refused, refused]
    assert all(answer == "refused" and "DEPTH_TO_SPACE" in words for answer, words in said[2:4])
    # It pads with the stored 0, whatever the zero point is.
    assert said[4][0] == "differs" and found[4].difference == 7
    # An axis from the end ends the process; those after it are asked in another one.
    assert said[5][0] == "crashed" and "Segmentation fault" in said[5][1]
    # It takes a fused activation and does nothing about it.
    assert said[6][0] == "differs"
    assert [answer.answer for answer in found[7:]] == ["taken"] * 7
    deconv, int8_deconv, shuffle, int8_shuffle, int8_pad, split, activation = (one.difference for one in found[7:])
    assert max(deconv, activation) < 1e-5 and int8_deconv <= 1
    assert shuffle == int8_shuffle == int8_pad == split == 0
