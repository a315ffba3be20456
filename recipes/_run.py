"""The run folder that a recipe writes: its flag, and how it is opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from recipes import _app

if TYPE_CHECKING:
    from tta_lite.report.run_folder import RunFolder

OUT = flags.DEFINE_string("out", None, "The run folder.", required=True)

FLAGS = [OUT]


def open_folder(
    recipe: str,
    holders: Sequence[flags.FlagHolder[Any]],
    *,
    seed: int | None = None,
    display_flags: Iterable[str] = (),
) -> RunFolder:
    """-> the folder, new or of the same run that was stopped.

    Args:
      recipe: its name.
      holders: its flags, whose values are written down.
      seed: of what is left to chance; None if nothing is.
      display_flags: names of flags that may differ from the first run's.

    Raises:
      InputError: the folder is of a run with other flags.
    """
    from tta_lite.report.environment import describe_run
    from tta_lite.report.run_folder import RunFolder

    values = {holder.name: holder.value for holder in holders}
    record = describe_run(values, recipe=recipe, seed=seed)
    return RunFolder.open(OUT.value, record, display_flags=display_flags, defaults=_app.defaults(holders))
