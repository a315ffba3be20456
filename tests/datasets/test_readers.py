from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from tta_lite.datasets.pose_set import COCO17, LSP14, MPII16
from tta_lite.datasets.readers import READERS, SPLITS, read_train_and_test
from tta_lite.types import InputError

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
INDEX = "image,split,upright\n1,train,1\n2,test,1\n3,test,0\n4,train,0\n"


@pytest.fixture
def lspet(tmp_path):
    """LSPET with a test split."""
    shutil.copytree(SAMPLES / "lspet", tmp_path / "lspet")
    (tmp_path / "lspet" / "index.csv").write_text(INDEX)
    return tmp_path / "lspet"


def test_every_reader_has_its_two_splits():
    assert set(READERS) == {"lsp", "lspet", "mpii", "coco"} == set(SPLITS)
    assert SPLITS["lsp"] == SPLITS["lspet"] == ("train", "test")
    assert SPLITS["mpii"] == ("train", "valid")
    assert SPLITS["coco"] == ("train", "val")


def test_lsp_is_halved_as_published():
    train, test = read_train_and_test("lsp", SAMPLES / "lsp")
    truth = scipy.io.loadmat(SAMPLES / "lsp" / "joints.mat")["joints"]
    assert (train.name, test.name, train.joint_set) == ("lsp train", "lsp test", LSP14)
    np.testing.assert_allclose(train.joints, truth[:2].transpose(2, 1, 0)[:2], rtol=1e-6)
    np.testing.assert_allclose(test.joints, truth[:2].transpose(2, 1, 0)[2:], rtol=1e-6)
    assert test.load(0).shape == (112, 96, 3)


def test_lspet_is_split_by_its_index(lspet):
    truth = scipy.io.loadmat(lspet / "joints.mat")["joints"].transpose(2, 0, 1)
    train, test = read_train_and_test("lspet", str(lspet))
    for people, items in ((train, [0, 3]), (test, [1, 2])):
        known = truth[items, :, 2] == 1
        assert people.annotated.tolist() == known.tolist()
        np.testing.assert_allclose(people.joints[known], truth[items][known][:, :2], rtol=1e-6)
    train, test = read_train_and_test("lspet", lspet, upright=True)
    assert (len(train), len(test)) == (1, 1)


def test_lspet_without_a_test_split_says_so():
    with pytest.raises(InputError, match=r"LSPET has no official test split.*index\.csv.*Received: split='test'"):
        read_train_and_test("lspet", SAMPLES / "lspet")


def test_mpii_holds_out_the_listed_pictures():
    train, test = read_train_and_test("mpii", SAMPLES / "mpii")
    held_out = (SAMPLES / "mpii" / "valid_images.txt").read_text().split()
    assert train.joint_set == test.joint_set == MPII16
    assert len(train) and all(any(name in item for name in held_out) for item in test.items)
    assert not any(name in item for item in train.items for name in held_out)


def test_coco_scores_its_val_split():
    train, test = read_train_and_test("coco", SAMPLES / "coco")
    assert train.joint_set == test.joint_set == COCO17
    for people, split in ((train, "train"), (test, "val")):
        content = json.loads((SAMPLES / "coco" / "annotations" / f"person_keypoints_{split}2017.json").read_text())
        wanted = [e for e in content["annotations"] if not e["iscrowd"] and e["area"] > 0 and any(e["keypoints"][2::3])]
        known = np.array([entry["keypoints"] for entry in wanted]).reshape(-1, 17, 3)[..., 2] > 0
        assert people.annotated.tolist() == known.tolist()


def test_on_bad_example_reaches_the_reader(lspet):
    picture = lspet / "images" / "im00004.jpg"
    picture.write_bytes(picture.read_bytes()[:300])
    with pytest.raises(InputError, match=r"1 of 2 examples.*\n.*im00004\.jpg"):
        read_train_and_test("lspet", lspet)
    train, test = read_train_and_test("lspet", lspet, on_bad_example="skip")
    assert (len(train), len(train.skipped), len(test), len(test.skipped)) == (1, 1, 2, 0)
    assert "im00004.jpg" in train.skipped[0]


def test_an_unknown_set_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"one of lsp, lspet, mpii, coco. Received: 'cocoo'"):
        read_train_and_test("cocoo", tmp_path)


@pytest.mark.parametrize("folder", [None, "", "no/such/folder"])
def test_a_missing_folder_is_refused(folder):
    with pytest.raises(InputError, match=r"The folder of mpii must exist; data/README\.md says how.*Received: "):
        read_train_and_test("mpii", folder)


def test_a_file_is_no_folder(lspet):
    with pytest.raises(InputError, match="must exist"):
        read_train_and_test("lspet", lspet / "joints.mat")
