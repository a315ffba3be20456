"""A recipe within the tests' own process, where other recipes define flags of the same names."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
from absl import flags
from absl.testing import flagsaver

import recipes
from recipes import _app


@contextlib.contextmanager
def recipe(name: str) -> Iterator[ModuleType]:
    """-> ``recipes.<name>``, imported anew, alone with its flags; afterwards absl's table is what it was."""
    before = {name: (flags.FLAGS[name], str(flags.FLAGS.find_module_defining_flag(name))) for name in _of_recipes()}
    loaded = _forgotten()
    for flag in before:
        delattr(flags.FLAGS, flag)
    try:
        module = importlib.import_module(f"recipes.{name}")
        # Without a look at flags that must be given.
        flags.FLAGS.mark_as_parsed()
        yield module
    finally:
        for flag in _of_recipes():
            delattr(flags.FLAGS, flag)
        for flag, (kept, where) in before.items():
            flags.FLAGS[flag] = kept
            # Or the next recipe would not know whose it is, and define it a second time.
            flags.FLAGS.register_flag_by_module(where, kept)
        _forgotten()
        sys.modules.update(loaded)
        for name, module in loaded.items():
            setattr(recipes, name.rpartition(".")[2], module)


def _forgotten() -> dict[str, ModuleType]:
    """-> the recipes that were loaded; the next import of each reads it anew, and defines its flags again."""
    loaded = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_recipe(name)}
    for name in loaded:
        # `from recipes import _task` looks here first.
        vars(recipes).pop(name.rpartition(".")[2], None)
    return loaded


def typed(module: ModuleType, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """-> runs the recipe with flags as they are typed -> its exit code, what it printed, and where.

    Args:
      module: of `recipe`.
      capfd: pytest's.
    """

    def run(*words: object) -> tuple[int, str, str]:
        with flagsaver.flagsaver():
            flags.FLAGS([module.__name__, *map(str, words)])
            code = _app.guarded(module.main, [module.__name__])
        out, errors = capfd.readouterr()
        return code, out, errors

    return run


def _of_recipes() -> list[str]:
    return [flag for flag in flags.FLAGS if _is_recipe(str(flags.FLAGS.find_module_defining_flag(flag)))]


def _is_recipe(module: str) -> bool:
    return module.startswith("recipes.")
