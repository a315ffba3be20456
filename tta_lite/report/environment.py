"""What a run depended on: flags, package versions, the source's commit, the machine."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.measure.machine import PACKAGES, describe_machine


def package_versions(names: Sequence[str] = PACKAGES) -> dict[str, str | None]:
    """-> the installed version of each distribution; ``None``: not installed.

    >>> package_versions(["no-such-distribution"])
    {'no-such-distribution': None}
    """
    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def git_commit(source: str | Path | None = None) -> str | None:
    """-> the commit of `source` (a folder; default: this package's), with ``-dirty`` after local changes.

    ``None`` where git does not know the files: an installed package, also one that lies inside somebody's checkout.
    """
    folder = Path(source) if source is not None else Path(__file__).resolve().parents[1]
    # Without this check a package installed into a checkout's .venv would be taken for that checkout.
    if not _git(folder, "ls-files", "--", "."):
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    return f"{commit}-dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".") else commit


def describe_run(
    flags: Mapping[str, Any], *, recipe: str, seed: int | None = None, packages: Sequence[str] = PACKAGES
) -> dict[str, Any]:
    """-> the record of ``recipe.json``, for `RunFolder.open`.

    Args:
      flags: every flag with its resolved value, defaults too.
      recipe: the recipe's name.
      seed: what the run's random numbers came from.
      packages: the distributions whose versions are kept.
    """
    # The versions stand once, under `packages`, with those that a caller adds.
    machine = {key: value for key, value in describe_machine().items() if key not in ("packages", "python")}
    return {
        "recipe": recipe,
        "flags": dict(flags),
        "seed": seed,
        "packages": {"python": platform.python_version(), **package_versions(packages)},
        "git_commit": git_commit(),
        "machine": machine,
    }


def _git(folder: Path, *arguments: str) -> str:
    """-> what git printed; empty where there is no git, no checkout or no such file."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
