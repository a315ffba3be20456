"""Show what a board measured, and bring it into the report of the run that the network came from.

  tta-lite import-results results.json
  tta-lite import-results results.json --run=runs/case_study

The first prints it. The second also keeps it in the run folder (boards/) and puts it into report.html, if the network
is that of the run's artifact. Where the kit ran under an emulator, its times are left out: they say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from recipes import _app
from tta_lite.types import InputError

_RUN = flags.DEFINE_string("run", None, "The run folder whose artifact was measured.")


def main(argv: Sequence[str]) -> None:
    """Reads, prints, keeps."""
    from rich.console import Console

    from tta_lite.measure.device.results import read_results
    from tta_lite.report import boards

    if len(argv) != 2:
        raise InputError(f"Expected one results.json. Received: {', '.join(argv[1:]) or 'none'}")
    results = read_results(argv[1])
    record = boards.record_of(results, boards.artifact_of(_RUN.value, results))
    page = boards.keep(_RUN.value, record) if _RUN.value else None
    boards.print_record(record, Console())
    if page:
        print(f"report: {page}")


if __name__ == "__main__":
    _app.run(main, words=1)
