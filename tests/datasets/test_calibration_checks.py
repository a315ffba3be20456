from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from tta_lite.datasets.calibration_checks import Labels, check_calibration
from tta_lite.datasets.calibration_findings import refuse_errors
from tta_lite.datasets.pixel_scales import SCALES, looks_like
from tta_lite.datasets.synthetic import synthetic_pose
from tta_lite.types import InputError

SIDE = 64


@pytest.fixture(scope="module")
def pixels():
    """[120, 64, 64, 3] uint8: clothed people, all different."""
    people = synthetic_pose(120, seed=4, picture_size=SIDE)
    return np.stack([people.load(place) for place in range(len(people))])


@pytest.fixture(scope="module")
def images(pixels):
    """60 images, normalised to -1..1."""
    return list(scaled(pixels[:60], "pixels of -1..1"))


@pytest.fixture(scope="module")
def others(pixels):
    """60 more."""
    return list(scaled(pixels[60:], "pixels of -1..1"))


def scaled(pixels, name):
    mean, deviation = SCALES[name]
    return ((pixels - np.array(mean)) / np.array(deviation)).astype(np.float32)[:, None]


def codes(findings, severity=None):
    return [finding.code for finding in findings if severity in (None, finding.severity)]


def test_nothing_is_found_in_a_good_set(images, others):
    seen = np.ones((60, 2), bool)
    found = check_calibration(
        iter(images), shape=(SIDE, SIDE, 3), training=others, labels=Labels("joint", ("head", "hand"), seen)
    )
    assert found == []
    assert check_calibration(images, test=others) == []


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda images: [], "none", "no image"),
        (lambda images: [images[0], images[1][:, :32]], "shape", "image 1 with [1, 32, 64, 3] float32"),
        (lambda images: [image[..., 0] for image in images], "shape", "image 0 with [1, 64, 64] float32"),
        (lambda images: [image.astype(np.float64) for image in images], "dtype", "image 0 with float64"),
        (lambda images: [np.rint(image).astype(np.uint8) for image in images], "dtype", "0..255 that were not"),
        (lambda images: [images[0], images[1] * np.nan, images[2] * np.inf], "not_finite", "in images 1, 2"),
        (lambda images: [images[3].copy() for _ in range(60)], "same_picture", "60 times the same picture"),
        (lambda images: [images[3]] * 60, "same_array", "60 times the same array"),
        (lambda images: images[:50] + [image * 0 + 1 for image in images[50:]], "constant", "10 of 60"),
        (lambda images: [*images[:59], images[59] * 127.5 + 127.5], "mixed_scales", "in image 59"),
    ],
)  # fmt: skip
def test_what_would_make_the_ranges_wrong_is_an_error(images, change, code, said):
    found = check_calibration(change(list(images)), shape=(SIDE, SIDE, 3))
    assert codes(found, "error") == [code]
    assert said in found[0].text
    with pytest.raises(InputError, match=r"Received|of one colour"):
        refuse_errors(found)


def test_a_generator_that_fills_one_array_again_is_found_while_it_runs(images):
    def mistaken():
        array = np.empty_like(images[0])
        for image in images:
            array[:] = image
            yield array

    assert codes(check_calibration(mistaken())) == ["refilled_array"]
    # Kept first, all of it is the last image: then the array is what all of them share.
    assert codes(check_calibration(list(mistaken()))) == ["same_array"]
    # Views of one large array are no such mistake.
    whole = np.concatenate(images)
    assert check_calibration(whole[place : place + 1] for place in range(len(whole))) == []


@pytest.mark.parametrize("received", [name for name in SCALES if "-1..1" not in name])
def test_a_forgotten_or_foreign_normalisation_is_named(pixels, others, received):
    (found,) = check_calibration(scaled(pixels[:60], received), training=others)
    assert (found.code, found.severity) == ("scale", "error")
    assert f"look like {received}" in found.text and "takes pixels of -1..1" in found.text


@pytest.mark.parametrize("name", SCALES)
def test_scales_are_known_by_pixels_that_use_all_of_0_to_255(name):
    mean, deviation = (np.array(values) for values in SCALES[name])
    assert looks_like((0 - mean) / deviation, (255 - mean) / deviation) == name
    assert looks_like((12 - mean) / deviation, (240 - mean) / deviation) == name


def test_numbers_of_no_known_scale_are_told_by_their_figures(images, others):
    (found,) = check_calibration([image * 1e4 for image in images], training=others)
    assert (found.code, found.severity) == ("range", "error")
    assert "-1e+04 to 1e+04" in found.text and "instead of -1 to 1" in found.text
    (found,) = check_calibration([image * 0.3 for image in images], training=others)
    assert (found.code, found.severity) == ("range", "warning")


def test_reversed_channels_are_told(pixels):
    tinted = np.clip(pixels * np.array([1.0, 0.9, 0.75]), 0, 255)
    right, wrong = (scaled(part, "pixels of -1..1") for part in (tinted[60:], tinted[:60, ..., ::-1]))
    assert codes(check_calibration(scaled(tinted[:60], "pixels of -1..1"), training=right)) == []
    assert codes(check_calibration(wrong, training=right), "warning") == ["channels"]


def test_copies_are_told_and_what_only_looks_different_too(pixels, images):
    exact = check_calibration([*images, images[7].copy(), images[2].copy()])
    assert codes(exact) == ["duplicates"] and "2 of 62" in exact[0].text and "(images 60, 61)" in exact[0].text
    again = scaled(np.stack([*altered(pixels)]), "pixels of -1..1")
    near = check_calibration([*images, *again])
    assert codes(near) == ["near_duplicates"]
    assert "4 of 64" in near[0].text and "5 and 60, 6 and 61, 7 and 62, 8 and 63" in near[0].text


def altered(pixels):
    """A picture compressed again, one mirrored, one darker and one scaled there and back."""
    stream = io.BytesIO()
    Image.fromarray(pixels[5]).save(stream, "JPEG", quality=40)
    yield np.asarray(Image.open(stream))
    yield pixels[6, :, ::-1]
    yield (pixels[7] * 0.8).astype(np.uint8)
    yield np.asarray(Image.fromarray(pixels[8]).resize((50, 50)).resize((SIDE, SIDE)))


def test_images_that_will_be_scored_are_told_or_refused(pixels, images, others):
    few = check_calibration([*images, *others[:3]], test=others)
    assert codes(few, "warning") == ["test_images"] and "3 of 63" in few[0].text
    assert codes(check_calibration([*images[:50], *others[:10]], test=others), "error") == ["test_images"]
    again = scaled(np.stack([*altered(pixels)]), "pixels of -1..1")
    near = check_calibration([*images[20:], *again, *others], test=scaled(pixels[:20], "pixels of -1..1"))
    assert codes(near) == ["like_test_images"] and "4 of 104" in near[0].text


def test_few_images_and_classes_or_joints_on_none_are_warnings(images):
    labels = Labels.of_classes(np.array([0, 0, 2]), ["cat", "dog", "newt", "owl"])
    found = check_calibration(images[:3], labels=labels)
    assert codes(found, "warning") == ["few", "coverage"]
    assert "Received: 3" in found[0].text
    assert "2 of 4 classes are on no calibration image (dog, owl)" in found[1].text
    assert refuse_errors(found) == found
    with pytest.raises(InputError, match=r"Labels must be \[2, 4\].*Received: \[3, 4\]"):
        check_calibration(images[:2], labels=labels)


def test_two_hundred_images_take_less_than_a_second():
    many = np.random.default_rng(0).normal(size=(200, 1, 128, 128, 3)).astype(np.float32)
    began = time.process_time()
    check_calibration(many, training=many[:32] + 1, test=many[100:] * 2)
    assert time.process_time() - began < 1
