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


TRAIN_LABELS = "train-labels.idx1-ubyte.gz"


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
        ("t10k-labels.idx1-ubyte.gz", gzip.compress(idx(LABELS["t10k"])) + b"more", "cannot be read"),
        ("t10k-images-idx3-ubyte", idx(PICTURES["t10k"][:0]), "must hold pictures. Received: 0 x 4 x 5"),
        ("t10k-labels.idx1-ubyte.gz", gzip.compress(idx(np.uint8([0, 12]))), "0..9. Received: 12 of picture 1"),
    ],
    # Bytes make poor names, and those of a .gz file hold the time.
    ids=[
        "short",
        "long",
        "empty",
        "floats",
        "labels_for_pictures",
        "two_pictures",
        "other_size",
        "cut_gz",
        "long_gz",
        "no_pictures",
        "label_12",
    ],
)
def test_damaged_files_of_mnist(mnist_folder, name, data, words):
    (mnist_folder / name).write_bytes(data)
    with pytest.raises(InputError, match=words):
        mnist.read_mnist(mnist_folder)


def test_a_folder_without_mnist(mnist_folder, tmp_path):
    (mnist_folder / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz.*Received: none"):
        mnist.read_mnist(mnist_folder)
    for path, words in ((tmp_path / "nowhere", "which is not there"), (mnist_folder / TRAIN_LABELS, "a file")):
        with pytest.raises(InputError, match=f"its four files.*{words}"):
            mnist.read_mnist(path)


def test_the_published_head_of_mnist(tmp_path):
    """As the tables of its page have it: 0x00000803, 60000, 28, 28, and 0x00000801, 60000, the highest byte first."""
    file = tmp_path / "head"
    file.write_bytes(bytes.fromhex("00000803 0000ea60 0000001c 0000001c") + bytes(range(256)) * 183750)
    pictures = mnist.read_idx(file, 3)
    assert pictures.shape == (60000, 28, 28)
    # Pixels are row by row: the second row begins with byte 28, the second picture with byte 784 (784 - 3 x 256 = 16).
    assert (pictures[0, 0, 1], pictures[0, 1, 0], pictures[1, 0, 0]) == (1, 28, 16)
    file.write_bytes(gzip.compress(bytes.fromhex("00000801 0000ea60") + bytes(60000), 1))
    assert mnist.read_idx(file, 1).shape == (60000,)
    # What a product in 64 bits would take for 0.
    file.write_bytes(bytes.fromhex("00000803 00010000 00010000 80000000") + b"")
    with pytest.raises(InputError, match=f"Expected: {16 + 2**63} bytes. Received: 16"):
        mnist.read_idx(file, 3)


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


def text(word):
    """A string as Python 2 pickles it: SHORT_BINSTRING, its length, its bytes."""
    return b"U" + bytes([len(word)]) + word


def test_a_batch_as_python_2_wrote_it(tmp_path):
    """The opcodes of protocol 2 by hand: the files on the page of CIFAR-10 come from Python 2's cPickle."""
    rows = PLANES[:2].reshape(2, -1)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
        # Its state: version, shape (2, 3072), dtype u1, whether in Fortran's order, the bytes (BINSTRING).
        b"(K\x01(K\x02M\x00\x0ctcnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR(K\x03" + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", rows.size) + rows.tobytes() + b"tb"
    )  # fmt: skip
    pairs = [
        (b"batch_label", text(b"training batch 1 of 5")), (b"labels", b"](K\x06K\x09e"), (b"data", array),
        (b"filenames", b"](" + text(b"leptodactylus_pentadactylus_s_000004.png") + text(b"camion_s_000148.png") + b"e"),
    ]  # fmt: skip
    file = tmp_path / "data_batch_1"
    file.write_bytes(b"\x80\x02}(" + b"".join(text(key) + value for key, value in pairs) + b"u.")
    assert pickle.loads(file.read_bytes(), encoding="bytes")[b"labels"] == [6, 9]
    pictures, labels = cifar10.read_python(file)
    np.testing.assert_array_equal(pictures, PLANES[:2].transpose(0, 2, 3, 1))
    assert labels.tolist() == [6, 9]


def test_no_folder_of_cifar10(tmp_path):
    archive = tmp_path / "cifar-10-binary.tar.gz"
    archive.write_bytes(b"")
    for path, words in ((tmp_path / "nowhere", "which is not there"), (archive, "an archive must be unpacked")):
        with pytest.raises(InputError, match=words):
            cifar10.read_cifar10(path)


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
