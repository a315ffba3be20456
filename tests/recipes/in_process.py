"""A recipe within the tests' own process, where other recipes define flags of the same names."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

from absl import flags


@contextlib.contextmanager
def recipe(name: str) -> Iterator[ModuleType]:
    """-> ``recipes.<name>``, imported anew, alone with its flags; afterwards absl's table is what it was."""
    before = {flag: flags.FLAGS[flag] for flag in _of_recipes()}
    loaded = {module: sys.modules.pop(module) for module in list(sys.modules) if _is_recipe(module)}
    for flag in before:
        delattr(flags.FLAGS, flag)
    try:
        module = importlib.import_module(f"recipes.{name}")
        if not flags.FLAGS.is_parsed():
            flags.FLAGS(["test"])
        yield module
    finally:
        for flag in _of_recipes():
            delattr(flags.FLAGS, flag)
        for flag, kept in before.items():
            flags.FLAGS[flag] = kept
        for module_name in [one for one in sys.modules if _is_recipe(one)]:
            del sys.modules[module_name]
        sys.modules.update(loaded)


def _of_recipes() -> list[str]:
    return [flag for flag in flags.FLAGS if _is_recipe(str(flags.FLAGS.find_module_defining_flag(flag)))]


def _is_recipe(module: str) -> bool:
    return module.startswith("recipes.")
