from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tta_lite.datasets.images import CachedLoader, check_image, decode_image
from tta_lite.types import InputError


def noise(width=40, height=30, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def truncated(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def test_png_pixels_come_back_in_rgb_order(tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = 250, 100, 20
    decoded = decode_image(save(tmp_path / "a.png", pixels))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels)


def test_grey_is_repeated_over_the_channels(tmp_path):
    grey = noise()[..., 0]
    decoded = decode_image(save(tmp_path / "a.png", grey))
    np.testing.assert_array_equal(decoded, np.stack([grey] * 3, axis=-1))


def test_cmyk_is_converted(tmp_path):
    # Cyan and magenta full, yellow and key empty: blue.
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[..., :2] = 255
    Image.fromarray(pixels, "CMYK").save(tmp_path / "a.jpg", quality=100)
    decoded = decode_image(tmp_path / "a.jpg")
    assert decoded.shape == (16, 16, 3)
    np.testing.assert_allclose(decoded[8, 8], (0, 0, 255), atol=4)


def test_alpha_is_dropped_not_blended(tmp_path):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[..., 0], pixels[..., 3] = 200, 0
    assert decode_image(save(tmp_path / "a.png", pixels))[0, 0].tolist() == [200, 0, 0]


def test_exif_orientation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # Turn by 90 degrees.
    save(tmp_path / "a.jpg", noise(40, 30), exif=exif)
    assert decode_image(tmp_path / "a.jpg").shape == (30, 40, 3)
    assert check_image(tmp_path / "a.jpg") == (40, 30)


def test_16_bit_is_refused(tmp_path):
    save(tmp_path / "a.png", np.full((4, 4), 60000, np.uint16))
    with pytest.raises(InputError, match=r"a\.png must have 8 bits a channel\. Received: mode I"):
        decode_image(tmp_path / "a.png")


@pytest.mark.parametrize("read", [decode_image, check_image])
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_file(tmp_path, read, name, share):
    path = truncated(save(tmp_path / name, noise(200, 160)), share)
    with pytest.raises(InputError) as error:
        read(path)
    assert str(path) in str(error.value)
    assert "truncated or damaged" in str(error.value)
    assert f"Received: {path.stat().st_size} bytes" in str(error.value)


@pytest.mark.parametrize("read", [decode_image, check_image])
def test_missing_text_and_empty_files(tmp_path, read):
    with pytest.raises(InputError, match=r"none\.jpg is missing\. Expected: a file\. Received: nothing at that path"):
        read(tmp_path / "none.jpg")
    with pytest.raises(InputError, match="Received: a folder"):
        read(tmp_path)
    for content in (b"", b"not a picture"):
        (tmp_path / "text.jpg").write_bytes(content)
        with pytest.raises(InputError, match=rf"text\.jpg is not a picture.*Received: {len(content)} bytes"):
            read(tmp_path / "text.jpg")


def test_check_gives_width_and_height(tmp_path):
    assert check_image(save(tmp_path / "a.jpg", noise(400, 30))) == (400, 30)


def test_loader_decodes_a_file_once_and_it_cannot_be_changed(tmp_path):
    path = save(tmp_path / "a.png", noise())
    loader = CachedLoader([path, path])
    first = loader(0)
    path.unlink()
    assert loader(0) is first
    assert loader(1) is first
    assert loader.held_bytes == 40 * 30 * 3
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0, 0] = 1


def test_loader_keeps_no_more_than_its_limit(tmp_path):
    paths = [save(tmp_path / f"{i}.png", noise(seed=i)) for i in range(3)]
    loader = CachedLoader(paths, limit_bytes=2 * 3600)
    for i in range(3):
        assert loader.check(i) == (40, 30)
    assert loader.held_bytes == 2 * 3600
    for i in range(3):
        np.testing.assert_array_equal(loader(i), noise(seed=i))
    assert loader.held_bytes == 2 * 3600


def test_a_full_loader_still_finds_a_truncated_file(tmp_path):
    paths = [save(tmp_path / f"{i}.jpg", noise(200, 160, i)) for i in range(2)]
    truncated(paths[1])
    loader = CachedLoader(paths, limit_bytes=0)
    assert loader.check(0) == (200, 160)
    with pytest.raises(InputError, match=r"1\.jpg is truncated"):
        loader.check(1)


def test_loader_from_many_threads(tmp_path):
    paths = [save(tmp_path / f"{i}.png", noise(seed=i)) for i in range(8)]
    loader = CachedLoader(paths, limit_bytes=5 * 3600)
    order = np.random.default_rng(0).integers(0, 8, 400).tolist()
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(loader, order))
    expected = [noise(seed=i) for i in range(8)]
    assert all(np.array_equal(picture, expected[i]) for picture, i in zip(pictures, order, strict=True))
    assert loader.held_bytes == 5 * 3600
