"""Who has which point? Answered from the list of all tries, in the order in which they began.

A storage keeps one order of tries for all workers, and a try comes into it whole, with its point. So no lock is needed:

- The points of a search are the first N different ones in this order. A try at another point is one too many.
- A point belongs to the first of its tries that is not dead. Later ones are dead: whoever asked at the same moment
  looks at the list after its own try is in it, sees the earlier one, and asks again.
- A point whose tries are all dead is owed: whoever sees that tries it once more, by the same rules.

Pure functions; nothing here reads or writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tta_lite.search.trial import State, Trial

# So many workers may end within a trial, before it has reported a step, until the point counts as failed.
MOST_DEATHS = 3


def standing(trials: Sequence[Trial], total: int) -> dict[str, Trial | None]:
    """-> for each point of the search, in order: the try that has it; None: it is owed.

    Args:
      trials: all, in order.
      total: how many points the search has.

    Example: the worker of try 0 was killed; 1 and 2 were asked for at one moment.

      >>> a, b = {"width": 1}, {"width": 2}
      >>> tries = [Trial(0, a, State.DEAD), Trial(1, b, State.RUNNING), Trial(2, b, State.RUNNING)]
      >>> {key: found and found.number for key, found in standing(tries, 5).items()}
      {'{"width":1}': None, '{"width":2}': 1}
    """
    found: dict[str, Trial | None] = {}
    for trial in trials:
        if trial.key not in found:
            if len(found) == total:
                continue
            found[trial.key] = None
        if found[trial.key] is None and trial.state is not State.DEAD:
            found[trial.key] = trial
    return found


def settled(found: Mapping[str, Trial | None]) -> bool:
    """-> whether every point there is finished."""
    return all(trial is not None and trial.state.finished for trial in found.values())


def deaths(trials: Sequence[Trial], key: str) -> int:
    """-> how many workers ended within a try at this point that had not come to its first step.

    One that gave its try back is not counted, and so does a try that came second.
    """
    return sum(
        trial.key == key and trial.state is State.DEAD and not trial.paused and not trial.steps for trial in trials
    )
