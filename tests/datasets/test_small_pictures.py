"""MNIST, CIFAR-10 and scikit-learn's digits: files of a few pictures made here, and damaged ones."""

from __future__ import annotations

import gzip
import pickle
import struct

import numpy as np
import pytest

from tta_lite.datasets import cifar10, mnist
from tta_lite.datasets.digits import read_digits
from tta_lite.datasets.picture_arrays import PictureArrays
from tta_lite.types import InputError

RNG = np.random.default_rng(0)
LABELS = {"train": np.uint8([3, 1, 9]), "t10k": np.uint8([0, 2])}
PICTURES = {part: RNG.integers(0, 256, (len(labels), 4, 5), dtype=np.uint8) for part, labels in LABELS.items()}


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def mnist_folder(tmp_path):
    for part, labels in LABELS.items():
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(PICTURES[part]))
        (tmp_path / f"{part}-labels.idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return tmp_path


def test_mnist(mnist_folder):
    train, test = mnist.read_mnist(mnist_folder)
    for part, found in (("train", train), ("t10k", test)):
        np.testing.assert_array_equal(found.pictures[..., 0], PICTURES[part])
        np.testing.assert_array_equal(found.labels, LABELS[part])
    assert train.load(1).shape == (4, 5, 3)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("train-images-idx3-ubyte", idx(PICTURES["train"])[:-1], r"3 x 4 x 5\. Expected: 76 bytes\. Received: 75"),
        ("train-images-idx3-ubyte", idx(PICTURES["train"]) + b"x", "Expected: 76 bytes. Received: 77"),
        ("train-images-idx3-ubyte", b"", "an empty file"),
        ("train-images-idx3-ubyte", b"\x00\x00\x0d\x03" + bytes(12), "Received: 00 00 0d 03"),
        ("train-images-idx3-ubyte", idx(LABELS["train"]), "begins with 00 00 08 03"),
        ("train-images-idx3-ubyte", idx(PICTURES["t10k"]), "for each of the 2 pictures"),
        ("t10k-images-idx3-ubyte", idx(PICTURES["t10k"].swapaxes(1, 2)), r"of one size, \[4, 5\]"),
        ("t10k-labels.idx1-ubyte.gz", gzip.compress(idx(LABELS["t10k"]))[:-9], "cannot be read"),
        ("t10k-labels.idx1-ubyte.gz", gzip.compress(idx(np.uint8([0, 12]))), "0..9. Received: 12 of picture 1"),
    ],
    # Bytes make poor names, and those of a .gz file hold the time.
    ids=["short", "long", "empty", "floats", "labels_for_pictures", "two_pictures", "other_size", "cut_gz", "label_12"],
)
def test_damaged_files_of_mnist(mnist_folder, name, data, words):
    (mnist_folder / name).write_bytes(data)
    with pytest.raises(InputError, match=words):
        mnist.read_mnist(mnist_folder)


def test_a_folder_without_mnist(mnist_folder, tmp_path):
    (mnist_folder / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz.*Received: none"):
        mnist.read_mnist(mnist_folder)
    with pytest.raises(InputError, match="must exist"):
        mnist.read_mnist(tmp_path / "nowhere")


NAMES = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
# Two pictures a file, as red, green and blue planes.
PLANES = RNG.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
CLASSES = np.uint8(RNG.integers(0, 10, 12))


@pytest.fixture(params=["binary", "python"])
def cifar_folder(request, tmp_path):
    inner = tmp_path / ("cifar-10-batches-bin" if request.param == "binary" else "")
    inner.mkdir(exist_ok=True)
    for place, name in enumerate(NAMES):
        planes, labels = PLANES[2 * place : 2 * place + 2], CLASSES[2 * place : 2 * place + 2]
        if request.param == "binary":
            rows = np.concatenate([labels[:, None], planes.reshape(2, -1)], axis=1)
            (inner / f"{name}.bin").write_bytes(rows.tobytes())
        else:
            whole = {b"data": planes.reshape(2, -1), b"labels": labels.tolist(), b"batch_label": b"made here"}
            (inner / name).write_bytes(pickle.dumps(whole, protocol=2))
    return tmp_path


def test_cifar10(cifar_folder):
    train, test = cifar10.read_cifar10(cifar_folder)
    pictures, labels = (
        np.concatenate([getattr(part, name) for part in (train, test)]) for name in ("pictures", "labels")
    )
    assert len(train) == 10 and len(test) == 2
    np.testing.assert_array_equal(labels, CLASSES)
    assert all(pictures[n, y, x, c] == PLANES[n, c, y, x] for n, y, x, c in RNG.integers(0, (12, 32, 32, 3), (200, 4)))


def test_cifar10_with_a_file_missing_or_cut(cifar_folder):
    file = next(path for path in cifar_folder.rglob("data_batch_3*"))
    whole = file.read_bytes()
    for length in (0, 100, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(InputError, match="truncated or damaged"):
            cifar10.read_cifar10(cifar_folder)
    file.unlink()
    with pytest.raises(InputError, match=f"Received: no {file.name}"):
        cifar10.read_cifar10(cifar_folder)


class Evil:
    def __reduce__(self):
        return print, ("a pickle ran code",)


def test_a_pickle_that_wants_to_run_code_is_not_opened(tmp_path, capsys):
    file = tmp_path / "data_batch_1"
    file.write_bytes(pickle.dumps({"data": Evil(), "labels": []}, protocol=2))
    with pytest.raises(InputError, match=r"asks for (__builtin__|builtins)\.print"):
        cifar10.read_python(file)
    assert capsys.readouterr().out == ""
    for whole, words in (
        ([1, 2], "must hold `data`"),
        ({"data": np.zeros((2, 5), np.uint8), "labels": [1, 2]}, r"Received: \(2, 5\)"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, "for each of its 2 pictures. Received: 1"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [10]}, "0..9. Received: 10 of picture 0"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": ["cat"]}, "a list of numbers"),
    ):
        file.write_bytes(pickle.dumps(whole, protocol=2))
        with pytest.raises(InputError, match=words):
            cifar10.read_python(file)
    with pytest.raises(InputError, match="Received: none of them"):
        (file.rename(tmp_path / "other"), cifar10.read_cifar10(tmp_path))


def test_digits_are_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets")
    train, test = read_digits()
    whole = np.concatenate([train.pictures, test.pictures])[..., 0]
    known = datasets.load_digits()
    # Every picture is there once: as multisets of rows.
    assert sorted(map(bytes, np.uint8(np.rint(known.images * 255 / 16)))) == sorted(map(bytes, whole))
    np.testing.assert_array_equal(np.bincount(known.target), np.bincount(train.labels) + np.bincount(test.labels))


def test_fewer_digits_to_learn_from_are_more_to_score():
    pytest.importorskip("sklearn")
    (many, few), (most, rest) = zip(read_digits(), read_digits(100), strict=True)
    assert (len(few), len(rest)) == (100, 1697)
    np.testing.assert_array_equal(few.pictures, many.pictures[-100:])
    np.testing.assert_array_equal(rest.labels, np.concatenate([most.labels, many.labels[:-100]]))
    for count in (0, 1797):
        with pytest.raises(InputError, match=f"1 to 1796 .*Received: {count}"):
            read_digits(count)


def test_arrays_that_are_no_pictures():
    good, labels = np.zeros((2, 4, 4, 1), np.uint8), np.zeros(2, int)
    for pictures, of_them, words in (
        (good.astype(float), labels, "float64"),
        (good[..., 0], labels, "1 or 3"),
        (good, labels[:1], "as many labels as pictures, 2. Received: 1"),
        (good, labels - 1, "Received: -1 of picture 0"),
    ):
        with pytest.raises(InputError, match=words):
            PictureArrays("dots", pictures, of_them, ("dot",))
