"""The folder that one run of a recipe writes, and goes on from after a kill."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tta_lite.files import TEMPORARY_PREFIX, atomic_write, to_json_text
from tta_lite.types import InputError, LedgerEntry

RECIPE = "recipe.json"
LEDGER = "ledger.jsonl"


class RunFolder:
    """One run: ``recipe.json``, ``ledger.jsonl``, ``steps/<NN-name>/`` and what a recipe adds.

    Attributes:
      path: the folder.
      recipe: what ``recipe.json`` holds: ``flags``, ``seed``, ``packages``, ``git_commit``, ``machine``.
      notices: what a user should be told: a torn ledger line, packages that changed since the run began.
    """

    def __init__(self, path: str | Path, recipe: Mapping[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.recipe: dict[str, Any] = dict(recipe or {})
        self.notices: list[str] = []

    @classmethod
    def open(
        cls,
        path: str | Path,
        recipe: Mapping[str, Any],
        *,
        display_flags: Iterable[str] = (),
        defaults: Mapping[str, Any] | None = None,
    ) -> RunFolder:
        """Creates the folder, or resumes the run that it holds.

        Args:
          path: the folder.
          recipe: see `tta_lite.report.environment.describe_run`; its ``flags`` and ``seed`` decide what is resumed.
          display_flags: names of flags that steer only what is shown, and may differ from the first run's.
          defaults: flag -> its default, for those that a run of an older version did not know: it counts as one that
            had the default.

        Raises:
          InputError: the folder holds another run; names every flag that differs.
        """
        folder = cls(path)
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The run folder cannot be created: {error.strerror}. Received: {folder.path}") from error
        folder._remove_temporaries()
        file = folder.path / RECIPE
        # What is compared and kept is what a later run will read back.
        received = json.loads(to_json_text(recipe))
        if not file.exists():
            orphans = [name for name in (LEDGER, "steps") if (folder.path / name).exists()]
            if orphans:
                raise InputError(
                    f"{folder.path} holds {' and '.join(orphans)} but no {RECIPE}, so nobody can tell what made them. "
                    f"Expected: an empty or new folder, or a whole run. Received: {folder.path}"
                )
            folder.recipe = received
            folder.write_json(RECIPE, received)
            return folder
        folder.recipe = _read_recipe(file)
        known = json.loads(to_json_text(dict(defaults or {})))
        older = {**folder.recipe, "flags": {**known, **folder.recipe["flags"]}}
        _check_same_run(file, older, received, frozenset(display_flags))
        folder.notices += _changes(folder.recipe, received)
        return folder

    def write_text(self, name: str, text: str) -> Path:
        """Writes `text` to the file `name` (relative to the folder) as a whole or not at all; -> its path."""
        return atomic_write(self._inside(name), text)

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Writes `data` to the file `name` (relative to the folder) as a whole or not at all; -> its path."""
        return atomic_write(self._inside(name), data)

    def write_json(self, name: str, record: Any) -> Path:
        """Writes `record` as strict JSON (NaN becomes null) to the file `name`; -> its path."""
        return self.write_text(name, to_json_text(record, indent=2) + "\n")

    def step_dir(self, index: int, name: str) -> Path:
        """-> ``steps/<NN-name>/``, created.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     RunFolder(folder).step_dir(2, "G1+G2").name
        '02-g1-g2'
        """
        path = self.path / "steps" / f"{index:02d}-{slug(name)}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def read_ledger(self) -> list[LedgerEntry]:
        """-> the entries written so far. A torn last line is left out, with a notice.

        Raises:
          InputError: any other line cannot be read; names the file and the line.
        """
        file = self.path / LEDGER
        if not file.exists():
            return []
        data = file.read_bytes()
        lines = data.split(b"\n")
        entries = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                entries.append(LedgerEntry.from_json(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                # Every whole line ends in a line feed: only a line without one can be torn.
                if number == len(lines):
                    self._notice(f"{file}, line {number} is torn and left out: the run was killed while it was written")
                    break
                raise InputError(
                    f"{file}, line {number} is not a ledger entry ({type(error).__name__}: {error}). Expected: one "
                    f"JSON object with name, clause, verdict, why, report, seconds. Received: {line[:80]!r}"
                ) from error
        return entries

    def write_ledger(self, entries: Iterable[LedgerEntry]) -> None:
        """Replaces ``ledger.jsonl`` as a whole."""
        self.write_text(LEDGER, "".join(to_json_text(entry.to_json()) + "\n" for entry in entries))

    def _remove_temporaries(self) -> None:
        """What killed runs left half written. A worker's folder inside this one is that worker's own."""
        for place in ("", "steps/**/", "plots/", "artifact/"):
            for file in self.path.glob(f"{place}{TEMPORARY_PREFIX}*"):
                file.unlink(missing_ok=True)

    def _notice(self, text: str) -> None:
        if text not in self.notices:
            self.notices.append(text)

    def _inside(self, name: str) -> Path:
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"A file of the run folder needs a relative name inside it. Received: {name!r}")
        return self.path / name


def slug(name: str) -> str:
    """-> the name of a row as that of its folder.

    >>> slug("G1+G2")
    'g1-g2'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "step"


def _read_recipe(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(
            f"{file} is not readable JSON ({error}). Expected: what a run wrote. Received: {file}"
        ) from error
    if not isinstance(record, dict) or not isinstance(record.get("flags"), dict):
        raise InputError(f"{file} must hold an object with `flags`. Received: {str(record)[:80]}")
    return record


def _check_same_run(file: Path, kept: dict[str, Any], received: dict[str, Any], display_flags: frozenset[str]) -> None:
    def what_matters(recipe: dict[str, Any]) -> dict[str, Any]:
        flags = {f"--{name}": value for name, value in recipe.get("flags", {}).items() if name not in display_flags}
        return {**flags, "the recipe": recipe.get("recipe"), "the seed": recipe.get("seed")}

    old, new = what_matters(kept), what_matters(received)
    differing = [name for name in sorted({*old, *new}) if old.get(name, "unset") != new.get(name, "unset")]
    if differing:
        lines = "\n".join(
            f"  {name}: expected {old.get(name, 'unset')!r}, received {new.get(name, 'unset')!r}" for name in differing
        )
        raise InputError(
            f"{file} is of a run with other flags. Expected: the same command, or another --out.\n{lines}\n"
            f"Received: {len(differing)} that differ{'s' if len(differing) == 1 else ''}"
        )


def _changes(kept: dict[str, Any], received: dict[str, Any]) -> list[str]:
    """One text a thing that changed since the run began and may make its rows unlike each other."""
    notices = []
    old, new = kept.get("packages") or {}, received.get("packages") or {}
    changed = [
        f"{name} {old.get(name)} -> {new.get(name)}" for name in sorted({*old, *new}) if old.get(name) != new.get(name)
    ]
    if changed:
        notices.append(f"Packages changed since this run began: {', '.join(changed)}")
    if kept.get("git_commit") != received.get("git_commit"):
        notices.append(
            f"The source changed since this run began: {kept.get('git_commit')} -> {received.get('git_commit')}"
        )
    machines = [recipe.get("machine") or {} for recipe in (kept, received)]
    if any(machines[0].get(key) != machines[1].get(key) for key in ("cpu", "architecture", "cores", "board")):
        notices.append("The machine changed since this run began: latencies before and after do not compare")
    return notices
