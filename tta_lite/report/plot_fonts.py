"""Which fonts draw the labels of a plot in a language."""

from __future__ import annotations

import functools

from matplotlib import font_manager

from tta_lite.report.language import ENGLISH, Language

LATIN = "DejaVu Sans"
# Fonts with Hangul. Of a file with faces for several languages Matplotlib knows the first only, perhaps the Japanese
# one: it holds the same Hangul.
HANGUL = (
    "Noto Sans CJK KR", "Noto Sans KR", "Noto Sans CJK JP", "Noto Sans CJK SC", "NanumGothic", "NanumBarunGothic",
    "Apple SD Gothic Neo", "AppleGothic", "Malgun Gothic", "UnDotum", "Baekmuk Dotum", "Source Han Sans KR",
)  # fmt: skip


@functools.cache
def hangul() -> str | None:
    """-> the font here that has Hangul, if there is one."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in HANGUL if name in installed), None)


def drawable(say: Language) -> Language:
    """-> the language in which labels can be drawn here: English where letters would come out as empty boxes."""
    return ENGLISH if say.code == "ko" and hangul() is None else say


def families(say: Language) -> list[str]:
    """-> fonts for the labels; the second draws what the first lacks.

    >>> families(ENGLISH)
    ['DejaVu Sans']
    """
    font = hangul() if say.code == "ko" else None
    return [LATIN, font] if font else [LATIN]
