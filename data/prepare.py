"""Turn the official downloads of a data set into the folder that its reader takes.

    python data/prepare.py lsp --downloads ~/Downloads --out ~/data/lsp

Nothing is downloaded: data/README.md says where the archives are and on what terms. Sizes and checksums are compared
where they are published; the number of pictures and of annotations always. `--other_version` accepts archives that
differ from the official ones. The folder gets its name when all of it is there.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
import scipy.io

from tta_lite.types import InputError

_CHUNK_BYTES = 1 << 20
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OSError, NotImplementedError, RuntimeError)


@dataclasses.dataclass(frozen=True)
class Archive:
    """One official download.

    Attributes:
      name: of the file.
      keep: what is unpacked: a pattern of member names -> the path in the folder (`re.Match.expand`).
      size_bytes: None: not published.
      sha256: None: not published.
    """

    name: str
    keep: Mapping[str, str]
    size_bytes: int | None = None
    sha256: str | None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set: its downloads, and how many of what must come out.

    Attributes:
      archives: all are needed.
      count: folder -> what was found in it, by name.
      official: what `count` must give for the official version.
      matched: names in `count` that must be equal in any version.
    """

    archives: tuple[Archive, ...]
    count: Callable[[Path], dict[str, int]]
    official: Mapping[str, int]
    matched: tuple[tuple[str, str], ...] = ()


def _files(folder: Path, ending: str = ".jpg") -> int:
    return sum(1 for path in folder.glob(f"*{ending}"))


def _count_lsp(folder: Path) -> dict[str, int]:
    joints = scipy.io.loadmat(folder / "joints.mat")["joints"]
    return {"pictures": _files(folder / "images"), "annotated pictures": joints.shape[-1]}


def _count_mpii(folder: Path) -> dict[str, int]:
    release = scipy.io.loadmat(folder / "mpii_human_pose_v1_u12_1.mat", struct_as_record=False)["RELEASE"][0, 0]
    listed = {str(np.ravel(np.ravel(entry.image)[0].name)[0]) for entry in np.ravel(release.annolist)}
    found = {path.name for path in (folder / "images").glob("*.jpg")}
    return {"annotated pictures": len(listed), "of them present": len(listed & found)}


def _count_coco(folder: Path) -> dict[str, int]:
    counts = {}
    for split in ("train", "val"):
        counts[f"{split} pictures"] = _files(folder / f"{split}2017")
        text = (folder / "annotations" / f"person_keypoints_{split}2017.json").read_text(encoding="utf-8")
        counts[f"{split} pictures in the annotations"] = len(json.loads(text)["images"])
    return counts


_LSP_KEEP = {r"(?:[^/]+/)?(joints\.mat|images/im\d+\.jpg)": r"\1"}
_COCO = "person_keypoints_{}2017.json"

# Sizes and SHA-256 of COCO's archives: published with TensorFlow Datasets (url_checksums/coco.txt). The authors of LSP
# and MPII publish none.
SOURCES = {
    "lsp": Source(
        (Archive("lsp_dataset.zip", _LSP_KEEP),),
        _count_lsp,
        {"pictures": 2000, "annotated pictures": 2000},
        (("pictures", "annotated pictures"),),
    ),
    "lspet": Source(
        (Archive("lspet_dataset.zip", _LSP_KEEP),),
        _count_lsp,
        {"pictures": 10000, "annotated pictures": 10000},
        (("pictures", "annotated pictures"),),
    ),
    "mpii": Source(
        (
            Archive("mpii_human_pose_v1_u12_2.zip", {r"(?:[^/]+/)?(mpii_human_pose_v1_u12_1\.mat)": r"\1"}),
            Archive("mpii_human_pose_v1.tar.gz", {r"(?:\./)?(?:[^/]+/)?(images/[^/]+\.jpg)": r"\1"}),
        ),
        _count_mpii,
        {},
    ),
    "coco": Source(
        (
            Archive(
                "annotations_trainval2017.zip",
                {r"(annotations/person_keypoints_(?:train|val)2017\.json)": r"\1"},
                252907541,
                "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
            ),
            Archive(
                "val2017.zip",
                {r"(val2017/[^/]+\.jpg)": r"\1"},
                815585330,
                "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
            ),
            Archive(
                "train2017.zip",
                {r"(train2017/[^/]+\.jpg)": r"\1"},
                19336861798,
                "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
            ),
        ),
        _count_coco,
        {
            "train pictures": 118287,
            "train pictures in the annotations": 118287,
            "val pictures": 5000,
            "val pictures in the annotations": 5000,
        },
        (
            ("train pictures", "train pictures in the annotations"),
            ("val pictures", "val pictures in the annotations"),
        ),
    ),
}


def prepare(source: Source, downloads: Path, out: Path, *, other_version: bool = False) -> dict[str, int]:
    """Unpack what a reader needs into `out`. -> what was counted there.

    Raises:
      InputError: an archive is missing, damaged, unsafe or another one, or `out` holds something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"Argument `out` must be a new or an empty folder. Received: {out}")
    for archive in source.archives:
        check_archive(downloads / archive.name, archive, other_version=other_version)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as name:
        unfinished = Path(name) / "folder"
        unfinished.mkdir()
        for archive in source.archives:
            print(f"Unpacking {archive.name}", file=sys.stderr)
            unpack(downloads / archive.name, archive.keep, unfinished)
        counts = source.count(unfinished)
        check_counts(source, counts, other_version=other_version)
        if out.exists():
            out.rmdir()
        os.replace(unfinished, out)
    return counts


def check_archive(path: Path, archive: Archive, *, other_version: bool = False) -> None:
    """`InputError` unless the file is there and, where they are published, its size and SHA-256 are right."""
    if not path.is_file():
        raise InputError(
            f"The download {path} is missing. Expected: {archive.name}, see data/README.md. Received: no file"
        )
    if other_version:
        return
    size = path.stat().st_size
    if archive.size_bytes is not None and size != archive.size_bytes:
        raise InputError(f"The download {path} must have {archive.size_bytes} bytes. Received: {size}")
    if archive.sha256 is not None:
        print(f"Checking {archive.name}", file=sys.stderr)
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        if digest.hexdigest() != archive.sha256:
            raise InputError(f"The SHA-256 of {path} must be {archive.sha256}. Received: {digest.hexdigest()}")


def check_counts(source: Source, counts: Mapping[str, int], *, other_version: bool = False) -> None:
    """`InputError` unless the counts agree with each other and, for the official version, with the known ones."""
    wanted = {} if other_version else dict(source.official)
    for one, other in source.matched:
        wanted.setdefault(one, counts[other])
    wrong = {name: counts[name] for name, number in wanted.items() if counts[name] != number}
    if wrong or 0 in counts.values():
        raise InputError(
            f"The archives are incomplete or of another version. Expected: {wanted}. Received: {dict(counts)}"
        )


def unpack(path: Path, keep: Mapping[str, str], folder: Path) -> int:
    """Write the members that match `keep`. -> how many.

    Raises:
      InputError: a member would be written outside the folder or is no ordinary file, two have one name, nothing
        matches, or the archive is damaged.
    """
    patterns = [(re.compile(pattern), target) for pattern, target in keep.items()]
    written: set[str] = set()
    try:
        for name, is_file, open_member in _members(path):
            check_member_name(path, name)
            match, target = next(
                ((found, target) for pattern, target in patterns if (found := pattern.fullmatch(name))), (None, "")
            )
            if match is None:
                continue
            if not is_file:
                raise InputError(f"{path}: the member {name} must be an ordinary file. Received: a link or a device")
            place = match.expand(target)
            if place in written:
                raise InputError(f"{path} must hold {place} once. Received: it twice")
            written.add(place)
            destination = folder / place
            destination.parent.mkdir(parents=True, exist_ok=True)
            with open_member() as member, destination.open("xb") as file:
                shutil.copyfileobj(member, file, _CHUNK_BYTES)
    except _DAMAGED as error:
        raise InputError(
            f"The download {path} is truncated or damaged: download it again. Expected: an archive that unpacks. "
            f"Received: {path.stat().st_size} bytes ({type(error).__name__}: {error})"
        ) from error
    if not written:
        raise InputError(f"{path} must hold members like {list(keep)}. Received: none")
    return len(written)


def check_member_name(archive: Path, name: str) -> None:
    """`InputError` for a name that could lead out of the folder, on any system."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name:
        raise InputError(f"{archive} is not safe to unpack. Expected: names inside the archive. Received: {name!r}")


def _members(path: Path) -> Iterator[tuple[str, bool, Callable[[], IO[bytes]]]]:
    """-> name, whether it is an ordinary file, and how to open it; folders are left out."""
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if not info.is_dir():
                    yield info.filename, kind in (0, stat.S_IFREG), lambda info=info: archive.open(info)  # type: ignore
        return
    # Not `r|gz`: that takes a file which ends too early for one that is complete.
    with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            if not member.isdir():
                yield member.name, member.isreg(), lambda member=member: tar.extractfile(member)  # type: ignore
        while stream.read(_CHUNK_BYTES):
            pass


def main() -> int:
    """-> the exit code: 0, or 2 for something that the user gave."""
    parser = argparse.ArgumentParser(description="Turn official downloads into the folder that a reader takes.")
    parser.add_argument("name", choices=sorted(SOURCES))
    parser.add_argument("--downloads", type=Path, required=True, help="the folder that holds the archives")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--other_version", action="store_true", help="accept archives that are not the official ones")
    args = parser.parse_args()
    try:
        counts = prepare(
            SOURCES[args.name],
            args.downloads.expanduser(),
            args.out.expanduser(),
            other_version=args.other_version,
        )
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{args.out}: " + ", ".join(f"{number} {name}" for name, number in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
