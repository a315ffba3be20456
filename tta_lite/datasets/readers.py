"""The data sets that are read from files, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tta_lite.datasets import coco, lsp, mpii
from tta_lite.datasets.pose_set import PoseSet
from tta_lite.types import InputError

READERS: dict[str, Callable[..., PoseSet]] = {
    "lsp": lsp.read_lsp,
    "lspet": lsp.read_lspet,
    "mpii": mpii.read_mpii,
    "coco": coco.read_coco,
}
# What is learnt from, and what is scored.
SPLITS = {"lsp": lsp.SPLITS, "lspet": lsp.SPLITS, "mpii": mpii.SPLITS, "coco": coco.SPLITS}


def read_train_and_test(name: str, folder: str | Path | None, **options: object) -> tuple[PoseSet, PoseSet]:
    """-> the people to learn from and the people to score.

    Args:
      name: one of `READERS`.
      folder: as ``data/README.md`` lays it out.
      **options: of the reader: ``on_bad_example``, and ``upright`` for LSPET.

    Raises:
      InputError: an unknown name, no folder, or something in it that cannot be used.
    """
    if name not in READERS:
        raise InputError(f"The data set must be one of {', '.join(READERS)}. Received: {name!r}")
    if not folder or not Path(folder).is_dir():
        raise InputError(f"The folder of {name} must exist; data/README.md says how to make it. Received: {folder!r}")
    train, test = (READERS[name](folder, split, **options) for split in SPLITS[name])
    return train, test
