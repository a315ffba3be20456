"""Optuna, loaded when it is needed: it comes with the extra ``search``."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType

from tta_lite.types import InputError


def optuna() -> ModuleType:
    """-> the package, which says only what is wrong.

    Raises:
      InputError: it is not installed.
    """
    return load("optuna")


def load(name: str) -> ModuleType:
    """-> a package of the extra ``search``.

    Raises:
      InputError: it is not installed.
    """
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"A search needs the package {name.partition('.')[0]}: pip install tta_lite[search]. Received: {error}"
        ) from error
    if name == "optuna":
        module.logging.set_verbosity(module.logging.WARNING)
        # Multivariate TPE, groups and Redis are called experimental; they are pinned and tested.
        warnings.filterwarnings("ignore", category=module.exceptions.ExperimentalWarning)
    return module
