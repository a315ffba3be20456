"""The state of a training as arrays: weights and what the optimizer keeps, in memory or in a file, for any Keras."""

from __future__ import annotations

import dataclasses
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.files import atomic_path
from tta_lite.types import InputError

_EPOCHS = "epochs_done"


@dataclasses.dataclass(frozen=True)
class State:
    """Where a training stands.

    Attributes:
      epochs_done: whole epochs.
      weights: of the model, in its order.
      optimizer: its variables: count of steps, rate, moments, loss scale.
    """

    epochs_done: int
    weights: tuple[np.ndarray, ...]
    optimizer: tuple[np.ndarray, ...]

    @property
    def finite(self) -> bool:
        """Whether all of it is numbers."""
        arrays = (*self.weights, *self.optimizer)
        return all(np.isfinite(one).all() for one in arrays if one.dtype.kind == "f")


def take(model: Any, epochs_done: int = 0) -> State:
    """-> the state of a compiled model.

    >>> from tta_lite.training.watchers.example import small
    >>> net, x, y = small()
    >>> before = take(net)
    >>> _ = net.fit(x, y, verbose=0)
    >>> put(net, before)
    >>> float(net.get_weights()[0].sum()), int(net.optimizer.iterations)
    (0.0, 0)
    """
    weights, kept = _variables(model)
    return State(epochs_done, tuple(one.numpy() for one in weights), tuple(one.numpy() for one in kept))


def put(model: Any, state: State, where: str = "The state") -> None:
    """Gives a model and its optimizer the values of a state.

    Raises:
      InputError: it is of another network or optimizer; the model is as it was.
    """
    weights, kept = _variables(model)
    for name, variables, values in (("weights", weights, state.weights), ("optimizer", kept, state.optimizer)):
        wanted, got = [tuple(one.shape) for one in variables], [one.shape for one in values]
        if wanted != got:
            place = next((k for k, pair in enumerate(zip(wanted, got, strict=False)) if pair[0] != pair[1]), None)
            differ = f"{len(got)} variables for {len(wanted)}" if place is None else f"{got[place]} for {wanted[place]}"
            raise InputError(
                f"{where} must be of the network {model.name!r} and its optimizer. Received: other {name}, {differ}"
            )
    for variable, value in zip((*weights, *kept), (*state.weights, *state.optimizer), strict=True):
        variable.assign(value)


def write(path: Path, state: State) -> None:
    """Writes an ``.npz`` file; who is killed leaves the old one or the new one."""
    arrays = {f"weight/{place:05d}": value for place, value in enumerate(state.weights)}
    arrays |= {f"optimizer/{place:05d}": value for place, value in enumerate(state.optimizer)}
    arrays[_EPOCHS] = np.asarray(state.epochs_done)
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def read(path: Path) -> State:
    """-> what `write` wrote.

    Raises:
      InputError: the file is none of these.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in sorted(file.files)}
        return State(
            int(arrays.pop(_EPOCHS)),
            tuple(value for name, value in arrays.items() if name.startswith("weight/")),
            tuple(value for name, value in arrays.items() if name.startswith("optimizer/")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"{path} must hold the state of a training. Received: {type(error).__name__}: {reason}"
        ) from error


def optimizer_of(model: Any) -> Any:
    """-> the optimizer of a compiled model; the inner one, if it scales the loss.

    Raises:
      InputError: the model is not compiled, or not built.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise InputError(f"The model must be compiled. Received: {model.name!r} without an optimizer")
    if not model.built:
        raise InputError(
            f"The model must have its weights before it learns; give its first layer an input. Received: {model.name!r}"
        )
    return getattr(optimizer, "inner_optimizer", optimizer)


def _variables(model: Any) -> tuple[list[Any], list[Any]]:
    """-> the variables of the model, and those of its optimizer, which are made if it has not yet stepped."""
    inner, outer = optimizer_of(model), model.optimizer
    if hasattr(inner, "_create_all_weights"):
        # The optimizers that Keras 2 calls legacy.
        inner.iterations  # noqa: B018  (it is made when it is asked for)
        inner._create_all_weights(model.trainable_variables)
    elif not (getattr(outer, "built", False) or getattr(inner, "_built", False)):
        outer.build(model.trainable_variables)
    kept = outer.variables
    kept = list(kept() if callable(kept) else kept)
    # In Keras 2 the rate and the loss scale are not among them.
    scale = getattr(outer, "_loss_scale", None)
    others = [getattr(inner, "_learning_rate", None)]
    others += [getattr(scale, name, None) for name in ("current_loss_scale", "counter")]
    known = {id(one) for one in kept}
    kept += [one for one in others if hasattr(one, "assign") and id(one) not in known]
    return list(model.weights), kept
