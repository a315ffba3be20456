from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.datasets.pose_set import JointSet, PoseSet
from tta_lite.datasets.synthetic import synthetic_pose
from tta_lite.models.backbones import MINUS_ONE_TO_ONE, Normalisation
from tta_lite.models.pose import pose_resnet
from tta_lite.tasks.crop import Augmentation
from tta_lite.tasks.pose import PoseTask
from tta_lite.types import InputError

FOUR = JointSet("four", ("head", "belly", "l_hand", "r_hand"), ((2, 3),), (0, 1, 2, 3), ((0, 1),))
PIXELS = Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
STILL = Augmentation(scale=0, rotation=0, rotation_probability=0, flip_probability=0)
SIZE, PICTURE = 32, 80


def people(count=8, seed=0):
    """Person k's picture is (20 k + 20) red everywhere, and green from its middle column to the right."""
    rng = np.random.default_rng(seed)
    center = np.full((count, 2), (PICTURE - 1) / 2, np.float32)
    annotated = np.ones((count, 4), bool)
    annotated[1, 2] = False
    joints = rng.uniform(28, 46, (count, 4, 2))
    joints[:, 2:, 0] = rng.uniform([[42, 28]], [[46, 32]], (count, 2))

    def load(index):
        picture = np.zeros((PICTURE, PICTURE, 3), np.uint8)
        picture[:, :, 0] = 20 * index + 20
        picture[:, PICTURE // 2 :, 1] = 200
        return picture

    return PoseSet(
        name=f"people {seed}",
        joint_set=FOUR,
        joints=(joints * annotated[..., None]).astype(np.float32),
        annotated=annotated,
        center=center,
        box=rng.uniform(38, 50, count).astype(np.float32),
        head_size=np.full(count, 12, np.float32),
        items=tuple(f"item {k}" for k in range(count)),
        load=load,
    )


def task(**changes):
    values = {"train": people(), "test": people(5, 1), "normalisation": PIXELS, "input_size": SIZE, "batch_size": 4}
    return PoseTask(**{**values, **changes})


def batches(dataset, count):
    return [tuple(part.numpy() for part in batch) for batch in dataset.take(count)]


def who(images):
    """-> the number of the person in each image, read from its middle."""
    return [round(float(image[SIZE // 2, SIZE // 2, 0]) / 20) - 1 for image in images]


def in_heat_map(poses, index):
    """[J, 2]: the joints of a crop without augmentation, by the rule of three."""
    share = (poses.joints[index].astype(np.float64) - poses.center[index]) / poses.box[index]
    return (share + 0.5) * SIZE / 4


def test_shapes_and_types():
    ((images, labels),) = batches(task().train_data(seed=0), 1)
    assert images.shape == (4, SIZE, SIZE, 3) and images.dtype == np.float32
    assert labels.shape == (4, 4, 3) and labels.dtype == np.float32
    assert task().steps_per_epoch == 2


def test_batch_k_is_the_first_of_a_training_that_starts_at_k():
    whole = batches(task().train_data(seed=7), 5)
    for start in (1, 2, 4):
        ((images, labels),) = batches(task().train_data(seed=7, start_step=start), 1)
        np.testing.assert_array_equal(images, whole[start][0])
        np.testing.assert_array_equal(labels, whole[start][1])


def test_another_seed_gives_another_order_and_augmentation():
    (one,), (other,) = (batches(task(batch_size=8).train_data(seed=seed), 1) for seed in (0, 1))
    assert who(one[0]) != who(other[0])
    assert not np.array_equal(np.sort(one[1], axis=0), np.sort(other[1], axis=0))


def test_an_epoch_holds_everyone_once_in_an_order_of_its_own():
    orders = [who(images) for images, _ in batches(task(batch_size=8).train_data(seed=3), 4)]
    assert all(sorted(order) == list(range(8)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_nobody_is_left_out_for_ever():
    # 8 people in batches of 3: six of them an epoch.
    three = task(batch_size=3)
    assert three.steps_per_epoch == 2
    epochs = np.array([who(images) for images, _ in batches(three.train_data(seed=0), 24)]).reshape(12, 6)
    assert all(len(set(epoch)) == 6 for epoch in epochs)
    assert set(epochs.ravel()) == set(range(8))


def test_the_same_person_is_augmented_anew():
    two = batches(task(batch_size=8).train_data(seed=0), 2)
    first, second = (labels[np.argsort(who(images))] for images, labels in two)
    assert (np.abs(first - second).max(axis=(1, 2)) > 0.01).all()


def test_labels_without_augmentation():
    poses = people()
    ((images, labels),) = batches(task(augmentation=STILL, batch_size=8).train_data(seed=0), 1)
    for person, joints in zip(who(images), labels, strict=True):
        marked = poses.annotated[person]
        np.testing.assert_array_equal(joints[:, 2], marked)
        np.testing.assert_allclose(joints[marked, :2], in_heat_map(poses, person)[marked], atol=1e-4)
        assert (joints[~marked] == 0).all()


def test_labels_of_a_mirrored_example():
    # The crop's middle stays, left becomes right, and the left hand is where the right hand was.
    poses, mirror = people(), dataclasses.replace(STILL, flip_probability=1)
    ((images, labels),) = batches(task(augmentation=mirror, batch_size=8).train_data(seed=0), 1)
    for image, person, joints in zip(images, who(images), labels, strict=True):
        expected = (in_heat_map(poses, person) * [-1, 1] + [SIZE / 4, 0])[[0, 1, 3, 2]]
        marked = poses.annotated[person][[0, 1, 3, 2]]
        np.testing.assert_array_equal(joints[:, 2], marked)
        np.testing.assert_allclose(joints[marked, :2], expected[marked], atol=1e-4)
        assert image[16, 4, 1] > 100 > image[16, 28, 1]


def test_validation_has_everyone_once_in_order():
    poses = people(5, 1)
    parts = batches(task().validation_data(), 9)
    assert [who(images) for images, _ in parts] == [[0, 1, 2, 3], [4]]
    labels = np.concatenate([labels for _, labels in parts])
    for person in range(5):
        marked = poses.annotated[person]
        np.testing.assert_allclose(labels[person, marked, :2], in_heat_map(poses, person)[marked], atol=1e-4)


def test_normalisation():
    scaled = Normalisation(mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0))
    ((plain, _),) = batches(task(test=people(4, 1)).validation_data(), 1)
    ((images, _),) = batches(task(test=people(4, 1), normalisation=scaled).validation_data(), 1)
    np.testing.assert_allclose(images, (plain - np.float32([10, 20, 30])) / np.float32([2, 4, 8]), rtol=1e-6)


def test_calibration_images_are_training_crops_as_validation_makes_them():
    scaled = Normalisation(mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0))
    same = task(test=people(), normalisation=scaled, batch_size=8)
    ((expected, _),) = batches(same.validation_data(), 1)
    images = same.calibration(3, seed=5)
    assert [image.shape for image in images] == [(1, SIZE, SIZE, 3)] * 3
    assert all(image.dtype == np.float32 for image in images)
    chosen = [next(k for k in range(8) if np.allclose(image[0], expected[k], atol=1e-5)) for image in images]
    assert len(set(chosen)) == 3
    for image, again in zip(images, same.calibration(3, seed=5), strict=True):
        np.testing.assert_array_equal(image, again)


def test_no_more_calibration_images_than_people():
    assert len(task().calibration(100)) == 8


def oracle(poses, shift=0.0):
    """A network that reads the person and the side from the colours and knows the joints; `shift` in head sizes."""

    def predict(images):
        maps = np.zeros((len(images), SIZE // 4, SIZE // 4, 4), np.float32)
        y, x = np.mgrid[: SIZE // 4, : SIZE // 4]
        for maps_of_one, image, person in zip(maps, images, who(images), strict=True):
            joints = in_heat_map(poses, person)
            joints[:, 0] += shift * poses.head_size[person] / poses.box[person] * SIZE / 4
            if image[16, 4, 1] > 100:
                # In a mirrored picture, x in pixels of the crop becomes 31 - x.
                joints = ((4 * joints * [-1, 1] + [SIZE - 1, 0]) / 4)[[0, 1, 3, 2]]
            for j, (joint_x, joint_y) in enumerate(joints):
                maps_of_one[:, :, j] = np.exp(-((x - joint_x) ** 2 + (y - joint_y) ** 2) / 8)
        return maps

    return predict


@pytest.mark.parametrize("flip_test", [False, True])
def test_a_network_that_knows_the_joints_scores_100(flip_test):
    poses = people(5, 1)
    perfect = task(flip_test=flip_test)
    score = perfect.score(oracle(poses))
    assert score.value == 100 and score.metric == "PCKh@0.5" and score.examples == 5
    joints = perfect.predict_joints(oracle(poses))
    # A quarter of a heat-map pixel after the shift, or half a pixel where there is none; one is at most 50 / 8 pixels.
    assert np.abs(joints - poses.joints)[poses.annotated].max() <= 0.5 * 50 / 8 + 0.1


def test_a_network_that_is_a_head_off_scores_0():
    assert task().score(oracle(people(5, 1), shift=1.0)).value == 0


def test_an_untrained_network_scores_under_5_on_the_synthetic_people():
    people = synthetic_pose(100, seed=1, picture_size=96)
    task = PoseTask(people, people, MINUS_ONE_TO_ONE, input_size=64, batch_size=4)
    keras.utils.set_random_seed(0)
    model = pose_resnet("mobilenet_v1_0.25", input_size=64, bottleneck=16)
    assert task.score(lambda images: model(images, training=False).numpy()).value < 5


def test_swapped_hands_are_found_by_the_score():
    def swapped(images):
        return oracle(people(5, 1))(images)[..., [0, 1, 3, 2]]

    parts = task().score(swapped).parts
    assert parts["head"] == parts["belly"] == 100
    assert parts["l_hand"] == parts["r_hand"] == 0


def bad_load(poses, bad):
    def load(index):
        if index == bad:
            raise InputError(f"{poses.items[index]}: the picture must be whole. Received: half of it")
        return poses.load(index)

    return dataclasses.replace(poses, load=load)


def test_a_bad_picture_is_named_by_the_score():
    with pytest.raises(InputError) as error:
        task(test=bad_load(people(5, 1), 3)).score(oracle(people(5, 1)))
    assert str(error.value) == "item 3: the picture must be whole. Received: half of it"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, r"`batch_size` must be 1 to 8, the people of people 0. Received: 0"),
        ({"batch_size": 9}, r"`batch_size` must be 1 to 8.* Received: 9"),
        ({"input_size": 48}, r"`input_size` must be a positive multiple of 32. Received: 48"),
        ({"input_size": 0}, r"`input_size` .* Received: 0"),
        ({"sigma": 0}, r"`sigma` must be above 0. Received: 0"),
        ({"sigma": math.nan}, r"`sigma` must be above 0. Received: nan"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(InputError, match=message):
        task(**changes)


def test_joint_sets_that_differ():
    other = dataclasses.replace(people(5, 1), joint_set=dataclasses.replace(FOUR, name="other", flip_pairs=()))
    with pytest.raises(InputError, match=r"must have the same joints. Received: four and other"):
        task(test=other)
