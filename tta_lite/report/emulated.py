"""What the rows of a run execute on an emulated processor: counted once a file, kept in the run folder, and shown.

Never as times: a core does several instructions a clock, or waits a hundred clocks for a line of memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tta_lite.files import atomic_write, digest, to_json_text
from tta_lite.measure.device.counters import count_model
from tta_lite.measure.device.emulator import Emulated
from tta_lite.measure.device.executed import GROUPS, Counts, Tally
from tta_lite.report import columns as cols
from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.run_folder import slug

FOLDER, PREFIX, FORMAT = "boards", "counts-", 1
HEADS = {
    "multiply": "multiply-add, SIMD",
    "simd": "other SIMD",
    "load": "loads",
    "store": "stores",
    "rest": "the rest",
}


def count_rows(
    run: str | Path,
    files: Mapping[str, Path],
    board: Emulated,
    *,
    write: Callable[[str], Any] = print,
    count: Callable[..., Counts] = count_model,
) -> dict[str, Any]:
    """Counts the file of each row on an emulated processor, unless that was done before -> the record that is kept.

    Args:
      run: the run folder.
      files: row -> ``.tflite`` file.
      board: not entered yet.
      write: where progress goes.
      count: as `count_model`.

    Raises:
      DeviceError: the emulator failed.
    """
    path = Path(run) / FOLDER / f"{PREFIX}{slug(board.cpu)}.json"
    kept = _kept(path)
    rows: list[dict[str, Any]] = []
    with board:
        for row, file in files.items():
            key = digest(file)
            found = next((one for one in kept if one["sha256"] == key), None)
            if found is None:
                write(f"counting what {row} executes on an emulated {board.cpu}")
                counts = count(board, file, by_op=False)
                found = {"sha256": key, "runtime": counts.runtime, "tally": vars(counts.inference)}
            rows.append({**found, "row": row})
            record = {"format": FORMAT, "title": board.title, "rows": rows}
            atomic_write(path, to_json_text(record, indent=1) + "\n")
    return record


def _kept(path: Path) -> list[dict[str, Any]]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        rows = record["rows"] if record["format"] == FORMAT else []
        # One that cannot be read is counted again.
        return [one for one in rows if isinstance(one["sha256"], str) and Tally(**one["tally"])]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def counts_view(run: str | Path, say: Language = ENGLISH) -> list[dict[str, Any]]:
    """-> one table a processor: what the page shows."""
    views = []
    for path in sorted((Path(run) / FOLDER).glob(f"{PREFIX}*.json")):
        rows = [(one["row"], Tally(**one["tally"]), one["runtime"]) for one in _kept(path)]
        if not rows:
            continue
        title = json.loads(path.read_text(encoding="utf-8"))["title"]
        most = max(tally.total for _, tally, _ in rows)
        views.append({
            "title": title,
            "runtime": rows[0][2],
            "heads": [say(HEADS[name]) for name in (*GROUPS, "rest")],
            "lines": [
                {
                    "row": row,
                    "total": _millions(tally.total),
                    "share": f"{100 * tally.total / most:.1f}",
                    "groups": [_millions(count) for count in tally.grouped().values()],
                    "rest": [
                        _millions(count)
                        for count in (tally.bytes_loaded, tally.bytes_stored, tally.l1_misses, tally.l2_misses)
                    ],
                }
                for row, tally, _ in rows
            ],
        })  # fmt: skip
    return views


def _millions(count: int) -> str:
    return cols.number(count / 1e6, 1 if count >= 1e7 else 2)
