from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tta_lite.datasets.images import decode_image
from tta_lite.datasets.readers import READERS
from tta_lite.types import InputError

DATA = Path(__file__).parents[2] / "data"
SAMPLES = DATA / "samples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, DATA / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


prepare = load("prepare")
make_samples = load("make_samples")


def zip_folder(archive, folder, top="", extra=()):
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, f"{top}{path.relative_to(folder).as_posix()}")
        for name in extra:
            file.writestr(name, b"x")
    return archive


def tar_images(archive, folder):
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, "images")
    return archive


@pytest.fixture
def downloads(tmp_path):
    """The samples, packed as the official archives are."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    zip_folder(folder / "lsp_dataset.zip", SAMPLES / "lsp", extra=["README.txt", "visualized/im0001.jpg"])
    zip_folder(folder / "lspet_dataset.zip", SAMPLES / "lspet", top="lspet_dataset/")
    with zipfile.ZipFile(folder / "mpii_human_pose_v1_u12_2.zip", "w") as file:
        name = "mpii_human_pose_v1_u12_1.mat"
        file.write(SAMPLES / "mpii" / name, f"mpii_human_pose_v1_u12_2/{name}")
        file.writestr("mpii_human_pose_v1_u12_2/README.md", "x")
    tar_images(folder / "mpii_human_pose_v1.tar.gz", SAMPLES / "mpii" / "images")
    for split in ("train2017", "val2017"):
        zip_folder(folder / f"{split}.zip", SAMPLES / "coco" / split, top=f"{split}/")
    zip_folder(
        folder / "annotations_trainval2017.zip",
        SAMPLES / "coco" / "annotations",
        top="annotations/",
        extra=["annotations/captions_val2017.json"],
    )
    return folder


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["lsp", "lspet", "mpii", "coco"])
def test_what_comes_out_is_what_the_reader_takes(downloads, tmp_path, name):
    out = tmp_path / "data" / name
    prepare.prepare(prepare.SOURCES[name], downloads, out, other_version=True)
    expected = [path for path in files(SAMPLES / name) if path != "valid_images.txt"]
    assert files(out) == expected
    assert all((out / path).read_bytes() == (SAMPLES / name / path).read_bytes() for path in expected)
    people = READERS[name](out, "train")
    assert len(people) > 0
    assert os.listdir(out.parent) == [name]


def test_the_counts_are_reported(downloads, tmp_path):
    counts = prepare.prepare(prepare.SOURCES["coco"], downloads, tmp_path / "out", other_version=True)
    assert counts == {
        "train pictures": 2, "train pictures in the annotations": 2, "val pictures": 2,
        "val pictures in the annotations": 2,
    }  # fmt: skip


def refused(name, downloads, out, **options):
    with pytest.raises(InputError) as error:
        prepare.prepare(prepare.SOURCES[name], downloads, out, **options)
    assert not out.exists()
    # Nothing unfinished stays behind.
    assert not [path for path in out.parent.iterdir() if path.name.startswith(f".{out.name}-")]
    return str(error.value)


def test_another_version_is_refused_unless_asked_for(downloads, tmp_path):
    message = refused("lsp", downloads, tmp_path / "out")
    assert "Expected: {'pictures': 2000, 'annotated pictures': 2000}" in message
    assert "Received: {'pictures': 4, 'annotated pictures': 4}" in message
    message = refused("coco", downloads, tmp_path / "out")
    size = (downloads / "annotations_trainval2017.zip").stat().st_size
    assert message.endswith(f"annotations_trainval2017.zip must have 252907541 bytes. Received: {size}")


def test_checksum(downloads):
    path = downloads / "val2017.zip"
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    archive = prepare.Archive("val2017.zip", {}, path.stat().st_size, right)
    prepare.check_archive(path, archive)
    with pytest.raises(InputError, match=rf"SHA-256 of .*val2017\.zip must be {'0' * 64}\. Received: {right}"):
        prepare.check_archive(path, dataclasses.replace(archive, sha256="0" * 64))


def test_a_missing_archive(downloads, tmp_path):
    (downloads / "mpii_human_pose_v1.tar.gz").unlink()
    message = refused("mpii", downloads, tmp_path / "out")
    assert "mpii_human_pose_v1.tar.gz is missing" in message
    assert message.endswith("Received: no file")


@pytest.mark.parametrize(
    ("name", "archive"),
    [("lsp", "lsp_dataset.zip"), ("mpii", "mpii_human_pose_v1.tar.gz"), ("mpii", "mpii_human_pose_v1_u12_2.zip")],
)
@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_a_truncated_archive(downloads, tmp_path, name, archive, share):
    path = downloads / archive
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    message = refused(name, downloads, tmp_path / "out", other_version=True)
    assert f"{path} is truncated or damaged" in message
    assert f"Received: {int(len(content) * share)} bytes" in message


def test_a_changed_byte(downloads, tmp_path):
    path = downloads / "lsp_dataset.zip"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert "truncated or damaged" in refused("lsp", downloads, tmp_path / "out", other_version=True)


EVIL = ["../evil.jpg", "images/../../evil.jpg", "/evil.jpg", "..\\evil.jpg", "C:\\evil.jpg", "C:evil.jpg"]


@pytest.mark.parametrize("name", EVIL)
def test_a_zip_that_leads_out_of_the_folder(downloads, tmp_path, name):
    zip_folder(downloads / "lsp_dataset.zip", SAMPLES / "lsp", extra=[name])
    message = refused("lsp", downloads, tmp_path / "out", other_version=True)
    assert "lsp_dataset.zip is not safe to unpack" in message
    assert message.endswith(f"Received: {name!r}")
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("name", EVIL)
def test_a_tar_that_leads_out_of_the_folder(downloads, tmp_path, name):
    with tarfile.open(downloads / "mpii_human_pose_v1.tar.gz", "w:gz") as file:
        member = tarfile.TarInfo(name)
        member.size = 1
        file.addfile(member, io.BytesIO(b"x"))
    message = refused("mpii", downloads, tmp_path / "out", other_version=True)
    assert "mpii_human_pose_v1.tar.gz is not safe to unpack" in message
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(downloads, tmp_path, kind):
    with tarfile.open(downloads / "mpii_human_pose_v1.tar.gz", "w:gz") as file:
        member = tarfile.TarInfo("images/a.jpg")
        member.type, member.linkname = kind, "/etc/hostname"
        file.addfile(member)
    message = refused("mpii", downloads, tmp_path / "out", other_version=True)
    assert "images/a.jpg must be an ordinary file. Received: a link or a device" in message


def test_a_link_in_a_zip_is_refused(downloads, tmp_path):
    link = zipfile.ZipInfo("images/im0009.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(downloads / "lsp_dataset.zip", "a") as file:
        file.writestr(link, "/etc/hostname")
    assert "must be an ordinary file" in refused("lsp", downloads, tmp_path / "out", other_version=True)


def test_a_name_that_is_there_twice(downloads, tmp_path):
    zip_folder(downloads / "lsp_dataset.zip", SAMPLES / "lsp", extra=["lsp/joints.mat"])
    assert "must hold joints.mat once" in refused("lsp", downloads, tmp_path / "out", other_version=True)


def test_an_archive_of_something_else(downloads, tmp_path):
    zip_folder(downloads / "lsp_dataset.zip", SAMPLES / "coco")
    assert message_of_nothing(refused("lsp", downloads, tmp_path / "out", other_version=True))


def message_of_nothing(message):
    return "must hold members like" in message and message.endswith("Received: none")


def test_pictures_that_are_missing(downloads, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(SAMPLES / "lsp", folder)
    (folder / "images" / "im0002.jpg").unlink()
    zip_folder(downloads / "lsp_dataset.zip", folder)
    message = refused("lsp", downloads, tmp_path / "out", other_version=True)
    assert "Expected: {'pictures': 4}. Received: {'pictures': 3, 'annotated pictures': 4}" in message


def test_a_folder_that_holds_something_is_left_alone(downloads, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"`out` must be a new or an empty folder\. Received: .*out"):
        prepare.prepare(prepare.SOURCES["lsp"], downloads, out, other_version=True)
    assert files(out) == ["mine.txt"]
    (out / "mine.txt").unlink()
    prepare.prepare(prepare.SOURCES["lsp"], downloads, out, other_version=True)
    assert "joints.mat" in files(out)


def test_the_command(downloads, tmp_path):
    def run(*arguments):
        command = [sys.executable, str(DATA / "prepare.py"), *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(DATA.parent)}
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    arguments = ["lsp", "--downloads", downloads, "--out", tmp_path / "out"]
    refused_run = run(*arguments)
    assert refused_run.returncode == 2
    assert "Expected: {'pictures': 2000" in refused_run.stderr
    assert "Traceback" not in refused_run.stderr
    done = run(*arguments, "--other_version")
    assert done.returncode == 0
    assert "4 pictures, 4 annotated pictures" in done.stdout


def test_samples_are_what_their_script_draws(tmp_path):
    make_samples.make_all(tmp_path)
    assert files(tmp_path) == files(SAMPLES)
    for path in files(tmp_path):
        if path.endswith(".jpg"):
            # Another libjpeg may write other bytes for the same picture.
            drawn, kept = (decode_image(folder / path).astype(float) for folder in (tmp_path, SAMPLES))
            assert abs(drawn - kept).mean() < 1, path
        else:
            assert (tmp_path / path).read_bytes() == (SAMPLES / path).read_bytes(), path


def test_samples_are_small():
    assert sum((SAMPLES / path).stat().st_size for path in files(SAMPLES)) < 100_000
