"""FitNets' first stage in the house's `fit`: a network up to its hinted layer learns from features alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tta_lite.compat import keras
from tta_lite.training import precision as precisions
from tta_lite.training.distillation import Distillation
from tta_lite.training.distillation_features import feature_tensors
from tta_lite.training.distillation_terms import Hint
from tta_lite.training.fit import FitSettings, fit
from tta_lite.training.teachers import Teacher, as_teacher
from tta_lite.transforms.graph import check_graph
from tta_lite.types import Candidate, InputError, Task


@dataclasses.dataclass(frozen=True)
class Unlabelled:
    """A task's pictures for a network that does not answer yet: no loss, and nothing to validate."""

    task: Task

    def loss(self) -> None:
        """None: what is learnt comes from the teacher."""

    def validation_data(self) -> None:
        """None."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.task, name)


def hinted(student: keras.Model, teacher: keras.Model | Teacher, hint: Hint | None = None) -> tuple[keras.Model, Hint]:
    """-> the student up to its hinted layer, of the student's own layers, and the one pair of that hint.

    Args:
      student: a graph of layers.
      teacher: with features.
      hint: None: the middle one of the sizes that both have.

    Raises:
      InputError: see `Hint.bind`; or several pairs.
    """
    check_graph(student)
    hint = Hint() if hint is None else hint
    pairs = hint.bind(student, as_teacher(teacher)).pairs
    if len(pairs) != 1:
        raise InputError(f"The first stage of FitNets has one pair of layers. Received: {pairs}")
    ((mine, theirs),) = pairs
    first = keras.Model(student.inputs, feature_tensors(student)[mine], name=f"{student.name}_to_{mine}")
    return first, Hint(hint.weight, {mine: theirs})


def without_hint(learns: Distillation) -> tuple[Distillation | None, Hint]:
    """-> what the second stage learns from the teacher, None: nothing; and what the first does.

    Raises:
      InputError: there is not one hint among its terms.
    """
    hints = [term for term in learns.terms if isinstance(term, Hint)]
    if len(hints) != 1:
        raise InputError(f"FitNets' first stage needs one `Hint` among the terms. Received: {len(hints)}")
    rest = tuple(term for term in learns.terms if not isinstance(term, Hint))
    if not rest and not learns.weight:
        return None, hints[0]
    return dataclasses.replace(learns, terms=rest), hints[0]


def fit_hints(
    candidate: Candidate,
    teacher: keras.Model | Teacher,
    hint: Hint | None,
    task: Task,
    settings: FitSettings,
    workdir: str | Path,
    *,
    label: str = "hints",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    write: Callable[[str], object] | None = None,
) -> Candidate:
    """The first of FitNets' two stages; `fit` of what it returns is the second.

    Romero et al., ICLR 2015, section 2.3, https://arxiv.org/abs/1412.6550. Labels are not looked at, layers after the
    hinted one are neither run nor changed, and the regressor is dropped.

    Args:
      candidate: its model is copied and not changed.
      teacher: with features, and the inputs of the candidate's model.
      hint: see `hinted`; its weight scales the loss.
      task: whose pictures it sees.
      settings: epochs and rate of this stage; it neither prunes nor quantises, whatever they say.
      workdir: of this stage alone; a call with the same one goes on where a killed one stopped.
      label: what progress lines begin with.
      callbacks: as for `fit`.
      write: where progress lines go; standard error if None.

    Returns:
      the candidate with a model whose layers up to the hint have learnt.

    Raises:
      InputError: see `hinted` and `fit`.
    """
    first, pair = hinted(candidate.model, teacher, hint)
    learns = Distillation(teacher, weight=0.0, terms=(pair,))
    stage = dataclasses.replace(settings, distillation=learns, pruning=None, quantization=None)
    learnt = fit(
        Candidate(first), Unlabelled(task), stage, workdir, label=label, callbacks=callbacks, write=write
    ).model  # fmt: skip
    whole = precisions.with_policy(candidate.model, "float32")
    for layer in learnt.layers:
        whole.get_layer(layer.name).set_weights(layer.get_weights())
    return dataclasses.replace(candidate, model=whole)
