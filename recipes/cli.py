"""The ``tta-lite`` command: ``tta-lite <recipe> [flags]`` is ``python -m recipes.<recipe> [flags]``.

A recipe is imported only when it was chosen, so that the list and mistakes come at once.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import runpy
import sys
from collections.abc import Mapping, Sequence

import tta_lite

RECIPES: Mapping[str, str] = {
    "guideline": "recipes.guideline",
    "case_study": "recipes.case_study",
    "swap_backbone": "recipes.swap_backbone",
    "factorize": "recipes.factorize",
    "remove-channels": "recipes.remove_channels",
    "remove-layers": "recipes.remove_layers",
    "netadapt": "recipes.netadapt",
    "train": "recipes.train",
    "distill": "recipes.distill",
    "prune": "recipes.prune",
    "sparse": "recipes.sparse",
    "lottery": "recipes.lottery",
    "quantize": "recipes.quantize",
    "check-quantization": "recipes.check_quantization",
    "debug-quantization": "recipes.debug_quantization",
    "quantize-aware-train": "recipes.quantize_aware_train",
    "scale": "recipes.scale",
    "benchmark": "recipes.benchmark",
    "compare": "recipes.compare",
    "verify": "recipes.verify",
    "export_onnx": "recipes.export_onnx",
    "boards": "recipes.boards",
    "board-kit": "recipes.board_kit",
    "import-results": "recipes.import_results",
    "setup-emulator": "recipes.setup_emulator",
    "counts": "recipes.counts",
    "check-runtime": "recipes.check_runtime",
    "predict": "recipes.predict",
    "search": "recipes.search",
    "adapt": "recipes.adapt",
    "adaptive-simulate": "recipes.adaptive_simulate",
}
USER_MISTAKE = 2


def one_line(module: str) -> str:
    """-> the first line of a module's docstring, read without running the module.

    >>> one_line("recipes.cli")
    'The ``tta-lite`` command: ``tta-lite <recipe> [flags]`` is ``python -m recipes.<recipe> [flags]``.'
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return "(not installed)"
    with open(spec.origin, encoding="utf-8") as source:
        docstring = ast.get_docstring(ast.parse(source.read())) or ""
    return docstring.split("\n", maxsplit=1)[0]


def usage() -> str:
    """-> the list of recipes, one line each."""
    width = max(map(len, RECIPES))
    lines = [f"  {name.ljust(width)}  {one_line(module)}" for name, module in RECIPES.items()]
    return "\n".join(
        [
            "tta-lite <recipe> [flags]",
            "",
            "Recipes:",
            *lines,
            "",
            "tta-lite <recipe> --help shows the flags of one recipe; tta-lite --version the version.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a recipe by name -> the exit code; a recipe may also end the process itself, as absl does.

    Args:
      argv: the words after ``tta-lite``; those of the command line if None.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("help", "-h", "--help"):
        print(usage())
        return 0
    if words[0] == "--version":
        print(f"tta-lite {tta_lite.__version__}")
        return 0
    typed, *flags = words
    # A hyphen is as good as an underscore.
    name = next((known for known in RECIPES if known.replace("-", "_") == typed.replace("-", "_")), typed)
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f"; {near[0]} is the nearest" if near else ""
        print(f"error: The recipe must be one of {', '.join(RECIPES)}{hint}. Received: {name}", file=sys.stderr)
        return USER_MISTAKE
    sys.argv = [f"tta-lite {name}", *flags]
    # absl shows the flags and the docstring of the module that is `__main__`.
    runpy.run_module(RECIPES[name], run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
