"""How the templates of the page are filled."""

from __future__ import annotations

import jinja2


def environment() -> jinja2.Environment:
    """-> where the templates are; every text is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tta_lite.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["tied"] = tied
    return environment


def tied(text: str) -> str:
    """-> `text` with a number kept on one line with its percent sign, and hyphened words in one piece.

    >>> tied("95 % speed-up") == "95\\u00a0% speed\\u2011up"
    True
    """
    text = text.replace(" %", "\N{NO-BREAK SPACE}%")
    for word in ("speed-up", "top-1"):
        text = text.replace(word, word.replace("-", "\N{NON-BREAKING HYPHEN}"))
    return text
