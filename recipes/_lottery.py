"""What `tta-lite lottery` does beside the search: two runs from one step, and masks without training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tta_lite.report.run_folder import RunFolder
    from tta_lite.training.lottery import LotterySearch
    from tta_lite.types import Task

# Training batches on which the loss of every point of a line is computed, at most, and how many examples at once.
TRAIN_BATCHES, AT_ONCE = 100, 500


def nearest_round(lefts: Sequence[float], share: float) -> int:
    """-> the number of the round whose share of weights left is nearest to `share`.

    >>> nearest_round([0.8, 0.64, 0.512], 0.6)
    2
    """
    return 1 + min(range(len(lefts)), key=lambda place: abs(lefts[place] - share))


def connectivity(
    searches: Sequence[LotterySearch], task: Task, steps: Sequence[int], share: float, folder: RunFolder
) -> str:
    """Writes connectivity.md and two plots -> the table.

    Args:
      searches: one a seed, done.
      task: what they learn.
      steps: at which two runs part.
      share: of weights left in the ticket that is held beside the dense network.
      folder: the run's.
    """
    from tta_lite.report import lottery_lines
    from tta_lite.training.lottery_stability import mean_loss, part

    predict, loss = searches[0].training.predictor(), task.loss()
    train = list(task.train_data(seed=0).take(min(task.steps_per_epoch, TRAIN_BATCHES)).rebatch(AT_ONCE))
    measures = {
        "train loss": lambda: mean_loss(predict, train, loss),
        "test loss": lambda: mean_loss(predict, task.validation_data(), loss),
    }
    if hasattr(task, "correct"):
        measures["test error"] = lambda: 100 - searches[0].score()
    rounds = searches[0].lottery.rounds
    number = nearest_round(rounds, share)
    kinds = {"dense": 0, f"ticket of {100 * rounds[number - 1]:.3g} %": number}
    norms = [inputs for inputs, _ in train]
    lines = {
        name: [
            [part(search, step, measures, round_number=which, batches=lambda: norms) for search in searches]
            for step in steps
        ]
        for name, which in kinds.items()
    }
    table = lottery_lines.barrier_table(lines, steps)
    folder.write_text("connectivity.md", table)
    folder.write_bytes("plots/barrier.png", lottery_lines.barrier_plot(lines, steps))
    folder.write_bytes("plots/lines.png", lottery_lines.line_plot(lines, steps))
    return table


def supermasks(searches: Sequence[LotterySearch], task: Task, folder: RunFolder, *, jit: bool) -> str:
    """Writes supermasks.md -> the table.

    Args:
      searches: one a seed, done.
      task: what they learn.
      folder: the run's.
      jit: compile with XLA.
    """
    from tta_lite.report.lottery import untrained_markdown
    from tta_lite.training.lottery_untrained import LEARNED, untrained
    from tta_lite.training.supermask import SupermaskTraining

    training = searches[0].training
    learners = {
        name: SupermaskTraining(training.model, task.loss(), layers=[*training.kernels], rescale=rescale, jit=jit)
        for name, rescale in LEARNED.items()
    }
    found = [[(one.name, one.left, one.score) for one in untrained(search, learners)] for search in searches]
    table = untrained_markdown(found, getattr(task, "metric", "top-1 accuracy"))
    folder.write_text("supermasks.md", table)
    return table
