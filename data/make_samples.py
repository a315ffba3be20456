"""Draw the tiny synthetic samples in data/samples: stick figures in the formats of LSP, LSPET, MPII and COCO.

    python data/make_samples.py --out data/samples

The same version of Pillow writes the same bytes each time.
"""

from __future__ import annotations

import argparse
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from PIL import Image, ImageDraw

from tta_lite.datasets.pose_set import COCO17, LSP14, MPII16, JointSet

SIZE = (96, 112)  # width, height
_SEED = 20190812

Body = dict[str, tuple[float, float]]


def make_body(seed: int, center_x: float = 48.0, height: float = 84.0) -> Body:
    """-> joint's name -> (x, y): a standing person of `height` pixels with random arms and legs."""
    rng = np.random.default_rng((_SEED, seed))
    unit = height / 84
    top = 12.0 + rng.uniform(-2, 2)

    def at(x: float, y: float) -> tuple[float, float]:
        return round(center_x + x * unit, 2), round(top + y * unit, 2)

    body = {
        "head_top": at(0, 0), "nose": at(0, 8), "neck": at(0, 15), "upper_neck": at(0, 15), "thorax": at(0, 18),
        "pelvis": at(0, 44),
    }  # fmt: skip
    # The person looks at the viewer: the right side is on the left of the picture.
    for side, sign in (("r", -1), ("l", 1)):
        body[f"{side}_eye"] = at(2 * sign, 6)
        body[f"{side}_ear"] = at(5 * sign, 7)
        body[f"{side}_shoulder"] = at(9 * sign, 19)
        body[f"{side}_hip"] = at(6 * sign, 44)
        elbow = rng.uniform(11, 19), rng.uniform(24, 34)
        body[f"{side}_elbow"] = at(elbow[0] * sign, elbow[1])
        body[f"{side}_wrist"] = at((elbow[0] + rng.uniform(-5, 8)) * sign, elbow[1] + rng.uniform(-10, 13))
        knee = rng.uniform(5, 11)
        body[f"{side}_knee"] = at(knee * sign, 62)
        body[f"{side}_ankle"] = at((knee + rng.uniform(-3, 4)) * sign, 80)
    return body


def draw(bodies: Sequence[Body], seed: int) -> Image.Image:
    """-> a picture of stick figures on a plain ground."""
    rng = np.random.default_rng((_SEED, seed, 1))
    picture = Image.new("RGB", SIZE, tuple(int(v) for v in rng.integers(150, 230, 3)))
    pen = ImageDraw.Draw(picture)
    for body in bodies:
        colour = tuple(int(v) for v in rng.integers(10, 110, 3))
        for a, b in MPII16.bones:
            pen.line([body[MPII16.names[a]], body[MPII16.names[b]]], fill=colour, width=3)
        (x, top), (_, neck) = body["head_top"], body["neck"]
        pen.ellipse([x - (neck - top) / 3, top, x + (neck - top) / 3, neck - 2], fill=colour)
    return picture


def joints_of(body: Body, joint_set: JointSet) -> np.ndarray:
    """-> [J, 2], from 0."""
    return np.array([body[name] for name in joint_set.names])


def struct_array(records: Sequence[dict[str, Any]]) -> np.ndarray:
    """-> what `scipy.io.savemat` writes as a MATLAB struct array, [1, N]."""
    array = np.empty((1, len(records)), dtype=[(name, object) for name in records[0]])
    for place, record in enumerate(records):
        for name, value in record.items():
            array[0, place][name] = value
    return array


def write_mat(path: Path, content: dict[str, Any]) -> None:
    """Write a MATLAB file whose header holds no date."""
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, content)
    _write(path, b"MATLAB 5.0 MAT-file, synthetic sample".ljust(116) + buffer.getvalue()[116:])


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".partial")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


def _write_picture(path: Path, bodies: Sequence[Body], seed: int) -> None:
    buffer = io.BytesIO()
    draw(bodies, seed).save(buffer, "JPEG", quality=80)
    _write(path, buffer.getvalue())


def make_lsp(folder: Path, count: int = 4) -> None:
    """LSP: 3 x 14 x N, the third row 1 for a hidden joint."""
    joints = np.zeros((3, len(LSP14), count))
    for i in range(count):
        body = make_body(i)
        joints[:2, :, i] = joints_of(body, LSP14).T
        joints[2, 6 + i, i] = 1
        _write_picture(folder / "images" / f"im{i + 1:04d}.jpg", [body], i)
    write_mat(folder / "joints.mat", {"joints": joints})


def make_lspet(folder: Path, count: int = 4) -> None:
    """LSPET: 14 x 3 x N, the third column 1 for an annotated joint; 0, 0 where there is none."""
    joints = np.zeros((len(LSP14), 3, count))
    for i in range(count):
        body = make_body(10 + i)
        joints[:, :2, i] = joints_of(body, LSP14)
        joints[:, 2, i] = 1
        joints[i, :, i] = 0
        _write_picture(folder / "images" / f"im{i + 1:05d}.jpg", [body], 10 + i)
    # The last one is not scored: it has no head top.
    joints[13, :, count - 1] = 0
    write_mat(folder / "joints.mat", {"joints": joints})


def make_mpii(folder: Path) -> None:
    """MPII: 3 training pictures, one with two people and one with someone without joints, and a test picture."""
    pictures = [
        ("000000001.jpg", [make_body(20)]),
        ("000000002.jpg", [make_body(21, 26, 80), make_body(22, 70, 78)]),
        ("000000003.jpg", [make_body(23), make_body(24, 80, 50)]),
        ("000000004.jpg", [make_body(25)]),
    ]
    annotations = []
    for number, (name, bodies) in enumerate(pictures):
        is_test, one_unmarked = name == "000000004.jpg", name == "000000003.jpg"
        rects = [_mpii_rect(body, bare=is_test or (one_unmarked and i == 1)) for i, body in enumerate(bodies)]
        annotations.append(
            {
                "image": struct_array([{"name": name}]),
                "annorect": struct_array(rects),
                "frame_sec": np.zeros((1, 0)),
                "vididx": np.zeros((1, 0)),
            }
        )
        _write_picture(folder / "images" / name, bodies, 20 + number)
    release = {
        "annolist": struct_array(annotations),
        "img_train": np.array([[1, 1, 1, 0]], np.uint8),
        "version": "synthetic",
        "single_person": np.array(
            [[np.array([[1]])], [np.zeros((0, 0))], [np.array([[1]])], [np.zeros((0, 0))]], object
        ),
        "act": struct_array([{"cat_name": "", "act_name": "", "act_id": -1}] * 4),
        "video_list": np.zeros((1, 0)),
    }
    write_mat(folder / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release})
    _write(folder / "valid_images.txt", b"000000003.jpg\n")


def _mpii_rect(body: Body, *, bare: bool) -> dict[str, Any]:
    """One `annorect`, counting from 1. A bare one has no joints."""
    (x, top), (_, neck) = body["head_top"], body["upper_neck"]
    height = body["r_ankle"][1] - top
    points = [
        {
            "x": joint_x + 1,
            "y": joint_y + 1,
            "id": place,
            # The real file leaves the flag of the head's two points empty, and writes others as text.
            "is_visible": np.zeros((0, 0)) if place in (8, 9) else "1" if place % 2 else 1,
        }
        for place, (joint_x, joint_y) in enumerate(joints_of(body, MPII16))
        if place != 15  # One joint is missing.
    ]
    return {
        "x1": x + 1 - 5, "y1": top + 1, "x2": x + 1 + 5, "y2": neck + 1,
        "annopoints": np.zeros((0, 0)) if bare else struct_array([{"point": struct_array(points)}]),
        "scale": height / 200,
        "objpos": struct_array([{"x": round(body["pelvis"][0]) + 1, "y": round(body["pelvis"][1]) + 1}]),
    }  # fmt: skip


def make_coco(folder: Path) -> None:
    """COCO: two pictures a split; in `train2017` also a crowd and someone without keypoints."""
    for start, split in ((30, "train"), (40, "val")):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for place in range(2):
            bodies = [make_body(start + place, 28, 80)] + ([make_body(start + 5, 70, 76)] if place else [])
            name = f"{start + place:012d}.jpg"
            images.append({"id": start + place, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
            annotations += [
                _coco_person(body, start + place, len(annotations) + i + 1) for i, body in enumerate(bodies)
            ]
            _write_picture(folder / f"{split}2017" / name, bodies, start + place)
        if split == "train":
            crowd = {**annotations[0], "id": 90, "iscrowd": 1}
            unmarked = {**annotations[0], "id": 91, "keypoints": [0] * 51, "num_keypoints": 0}
            annotations += [crowd, unmarked]
        content = {
            "info": {"description": "Synthetic stick figures in the format of COCO keypoints."},
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "person", "supercategory": "person", "keypoints": list(COCO17.names)}],
        }
        text = json.dumps(content) + "\n"
        _write(folder / "annotations" / f"person_keypoints_{split}2017.json", text.encode())


def _coco_person(body: Body, image_id: int, number: int) -> dict[str, Any]:
    joints = joints_of(body, COCO17)
    marks = np.full(len(COCO17), 2)
    marks[3], marks[9] = 0, 1  # An ear that is not marked, and a hidden wrist.
    keypoints = np.where(marks[:, None] > 0, joints, 0)
    low, high = joints.min(axis=0) - 2, joints.max(axis=0) + 2
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "area": round(float((high - low).prod()) / 2, 2),
        "bbox": [round(float(v), 2) for v in (*low, *(high - low))],
        "num_keypoints": int((marks > 0).sum()),
        "keypoints": [round(float(v), 2) for row in np.column_stack([keypoints, marks]) for v in row],
    }


def make_all(out: Path) -> None:
    """Write the four samples."""
    make_lsp(out / "lsp")
    make_lspet(out / "lspet")
    make_mpii(out / "mpii")
    make_coco(out / "coco")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the synthetic samples.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "samples")
    make_all(parser.parse_args().out)
