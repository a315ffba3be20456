from __future__ import annotations

import dataclasses
import io
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.report.test_page import Reader
from tta_lite.compat import keras
from tta_lite.datasets.image_folder import read_image_folder
from tta_lite.datasets.synthetic import synthetic_pose
from tta_lite.export.tflite import export_tflite
from tta_lite.models.backbones import Normalisation
from tta_lite.report import page, samples, skeletons
from tta_lite.report.plots import PALETTE
from tta_lite.tasks.classification import PIXELS, ClassificationTask
from tta_lite.tasks.pose import PoseTask
from tta_lite.types import FP32, InputError

SHADES = {"black": 0, "grey": 128, "white": 255}


def file_of(path, layer, shape):
    image = keras.Input(shape, name="image")
    path.write_bytes(export_tflite(keras.Model(image, layer(image)), FP32))
    return path


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).astype(int)


def rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


@pytest.fixture
def shades(tmp_path) -> ClassificationTask:
    """Four pictures of one shade each class, in 0..1."""
    for part in ("train", "test"):
        for name, value in SHADES.items():
            (tmp_path / part / name).mkdir(parents=True)
            for place in range(4):
                Image.new("RGB", (8, 8), (value,) * 3).save(tmp_path / part / name / f"{place}.png")
    train, test = read_image_folder(tmp_path)
    return ClassificationTask(train, test, PIXELS["0..1"], (8, 8), from_logits=True, batch_size=4)


def shade_file(path, weights, biases):
    """Scores are the mean brightness times a weight, and a bias."""
    image = keras.Input((8, 8, 3), name="image")
    mean = keras.layers.GlobalAveragePooling2D()(image)
    dense = keras.layers.Dense(3, name="scores")
    model = keras.Model(image, dense(mean))
    dense.set_weights([np.repeat([weights], 3, axis=0) / 3, np.array(biases)])
    path.write_bytes(export_tflite(model, FP32))
    return path


def test_classes_are_those_of_the_file_with_their_probability(tmp_path, shades, ladder):
    # At brightness 0, 0.5 and 1: black 4, grey 0 to 8, white -8 to 12.
    good = shade_file(tmp_path / "good.tflite", [0, 10, 22], [4, 0, -8])
    blind = shade_file(tmp_path / "blind.tflite", [0, 0, 0], [0, 0, np.log(2)])
    found = samples.samples(shades, {"none": good, "G1": blind}, count=3).classes
    # Of 12 pictures in the order of their classes: the first, the sixth and the last.
    assert found.truth == ("black", "grey", "white")
    assert [name for name, _ in found.found["none"]] == ["black", "grey", "white"]
    # softmax of (4, 5.02, 3.04) at 128 / 255.
    b = 128 / 255
    powers = np.exp([4, 10 * b, 22 * b - 8])
    assert found.found["none"][1][1] == pytest.approx(100 * powers[1] / powers.sum(), abs=0.01)
    assert found.found["G1"] == [("white", pytest.approx(50.0, abs=0.01))] * 3
    assert [tuple(pixels(png)[5, 5, :3]) for png in found.pictures] == [(v,) * 3 for v in SHADES.values()]
    view = samples.samples_view(samples.Samples(classes=found), ladder)
    reader = Reader(page.render_page("A title", ladder, context=view))
    shown = " ".join(" ".join(reader.texts).split())
    assert "\N{BALLOT X} wrong white 50" in shown and "\N{CHECK MARK} right grey" in shown
    assert shown.count("\N{BALLOT X}") == 2
    assert [attrs["alt"] for attrs in reader.all("img")][-3:] == [f"Test picture of class {n}" for n in SHADES]


def test_probabilities_are_left_as_they_are(shades):
    scores = np.array([[0.25, 0.75, 0.0]], np.float32)
    assert dataclasses.replace(shades, from_logits=False).probabilities(scores) is scores
    assert shades.probabilities(np.array([[1000.0, 1000.0, -1000.0]])).tolist() == [[0.5, 0.5, 0.0]]


@pytest.mark.parametrize("flip_test", [False, True])
def test_people_get_the_joints_that_the_score_finds(tmp_path, flip_test):
    people = synthetic_pose(9, seed=1, picture_size=48)
    task = PoseTask(people, people, PIXELS["0..1"], input_size=32, batch_size=8, flip_test=flip_test)
    layer = keras.layers.Conv2D(len(people.joint_set), 4, strides=4, name="heatmaps")
    file = file_of(tmp_path / "pose.tflite", layer, (32, 32, 3))
    strips = samples.samples(task, {"none": file}, count=4).people
    chosen = np.array([0, 2, 5, 8])
    whole = task.predict_joints(samples.TFLitePredictor(file.read_bytes()))
    assert strips == {"none": skeletons.people_strip(people, chosen, whole[chosen])}


class OwnTask:
    """Pictures [4, 6, 2]; brightness in the first channel is class 1, in the second class 0."""

    normalisation = Normalisation((0.0,) * 3, (255.0,) * 3)

    def __init__(self, labels=True):
        rng = np.random.default_rng(0)
        self.inputs = rng.uniform(0, 1, (30, 4, 6, 3)).astype(np.float32)
        self.labels = (self.inputs[..., 0] > 0.5).astype(np.int32)
        self.labelled = labels

    def validation_data(self):
        parts = (self.inputs, self.labels) if self.labelled else (self.inputs, np.zeros((30, 2), np.float32))
        return tf.data.Dataset.from_tensor_slices(parts).batch(7)


@pytest.fixture
def two_maps(tmp_path):
    """[4, 6, 3] -> [4, 6, 2]: ground is 1 less the red, class 1 is the red."""
    layer = keras.layers.Conv2D(2, 1, name="classes")
    image = keras.Input((4, 6, 3), name="image")
    model = keras.Model(image, layer(image))
    layer.set_weights([np.array([[[[-1, 1], [0, 0], [0, 0]]]], float), np.array([1.0, 0.0])])
    path = tmp_path / "maps.tflite"
    path.write_bytes(export_tflite(model, FP32))
    return path


def test_maps_of_classes_are_coloured_beside_input_and_truth(two_maps):
    task = OwnTask()
    strips = samples.samples(task, {"none": two_maps}, count=3).pictures
    assert list(strips) == ["inputs", "truth", "none"]
    truth, drawn = pixels(strips["truth"]), pixels(strips["none"])
    # A perfect network.
    assert (truth == drawn).all()
    # 32 pixels for each of a map's; the clear gap follows after 6 x 32.
    assert truth.shape == (128, 3 * 192 + 16, 4) and (truth[:, 192:200, 3] == 0).all()
    colours = np.array([rgb(samples.GROUND), rgb(PALETTE[0])])
    assert (truth[16::32, 16:192:32, :3] == colours[task.labels[0]]).all()
    # Of 30 examples every fourth is kept; the last is number 28.
    assert (truth[16::32, 400 + 16 : 592 : 32, :3] == colours[task.labels[28]]).all()
    # To within what a palette loses.
    inputs = pixels(strips["inputs"])[16::32, 16:192:32, :3]
    assert np.abs(inputs - 255 * task.inputs[0]).max() < 12


def test_labels_of_another_shape_are_no_truth(two_maps):
    assert list(samples.samples(OwnTask(labels=False), {"none": two_maps}).pictures) == ["inputs", "none"]


def test_a_task_draws_its_own(two_maps):
    task = OwnTask()
    seen = []

    def show(inputs, outputs):
        seen.append((inputs.shape, outputs.shape))
        return np.full((len(inputs), 5, 5, 3), 77, np.uint8)

    task.show = show
    strips = samples.samples(task, {"none": two_maps}).pictures
    assert set(seen) == {((6, 4, 6, 3), (6, 4, 6, 2))}
    assert (pixels(strips["none"])[:, :100, :3] == 77).all()


@pytest.mark.parametrize(
    "show",
    [
        lambda inputs, outputs: outputs[..., :1],
        lambda inputs, outputs: np.zeros((6, 4, 6, 3)),
        lambda inputs, outputs: np.zeros((5, 4, 6, 3), np.uint8),
        lambda inputs, outputs: None,
        lambda inputs: inputs,
        lambda inputs, outputs: 1 / 0,
    ],
)
def test_what_a_task_draws_wrongly_is_said(two_maps, show):
    task = OwnTask()
    task.show = show
    with pytest.raises(InputError, match=r"^show\(inputs, outputs\) must give pictures.*Received"):
        samples.samples(task, {"none": two_maps})


def test_outputs_that_are_no_maps_are_not_shown(tmp_path):
    image = keras.Input((4, 6, 3), name="image")
    path = tmp_path / "vector.tflite"
    path.write_bytes(export_tflite(keras.Model(image, keras.layers.Flatten()(image)), FP32))
    assert samples.samples(OwnTask(), {"none": path}) == samples.Samples()
    empty = types.SimpleNamespace(validation_data=lambda: tf.data.Dataset.from_tensor_slices((np.zeros((0, 4, 6, 3)),)))
    with pytest.raises(InputError, match="must hold an example"):
        samples.samples(empty, {"none": path})


def test_one_map_goes_from_black_to_white():
    maps = np.linspace(-3, 5, 12).reshape(1, 3, 4, 1)
    drawn = samples._maps(maps, maps)
    assert drawn.shape == (1, 3, 4, 3) and drawn[0, 0, 0].tolist() == [0] * 3 and drawn[0, 2, 3].tolist() == [255] * 3
    assert samples._maps(maps, np.full_like(maps, np.nan)).max() == 0


def test_large_pictures_become_small():
    assert samples._tile(np.zeros((600, 300, 3), np.uint8)).size == (96, 192)
    assert samples._tile(np.zeros((100, 50, 3), np.uint8)).size == (50, 100)
