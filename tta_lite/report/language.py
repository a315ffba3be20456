"""The language of the page. The English text is the key, so that the code reads as the page does."""

from __future__ import annotations

import dataclasses
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any

from tta_lite.guideline import reasons
from tta_lite.guideline.reasons import Reason, Said
from tta_lite.report import korean, korean_reasons
from tta_lite.types import LedgerEntry


@dataclasses.dataclass(frozen=True)
class Language:
    """One language.

    Attributes:
      code: as in ``<html lang="...">``.
      texts: English text of the page, with its gaps -> the same in this language; English where there is none.
      sentences: code of a reason -> its sentence, like `tta_lite.guideline.reasons.ENGLISH`.
    """

    code: str
    texts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    sentences: Mapping[str, str] = dataclasses.field(default_factory=lambda: reasons.ENGLISH)

    def __call__(self, text: str, **gaps: object) -> str:
        """-> a text of the page, its gaps filled.

        >>> ENGLISH("at least {floor}", floor=3), KOREAN("at least {floor}", floor=3)
        ('at least 3', '3 이상')
        """
        found = self.texts.get(text, text)
        return found.format_map(gaps) if gaps else found

    def known(self, text: str) -> str:
        """-> what a text is called here that may be one of ours and may be a name: braces in it mean nothing.

        >>> KOREAN.known("accuracy"), KOREAN.known("PCKh@0.5")
        ('정확도', 'PCKh@0.5')
        """
        return self.texts.get(text, text)

    def said(self, said: Said) -> str:
        """-> a reason, several, or a plain text.

        >>> KOREAN.said(Reason("left_out"))
        '요청에 따라 제외함'
        """
        return reasons.spoken(said, self.sentences, self.texts)

    def status(self, text: str) -> str:
        """-> what became of a step or a setting.

        >>> KOREAN.status("too lossy")
        '정확도 미달'
        """
        code = reasons.status(text).code
        return self.sentences.get(code, text)

    def why(self, entry: LedgerEntry) -> str:
        """-> why a step was taken or not: from the codes in the ledger, or else the text there."""
        codes = entry.details.get("why")
        if self.sentences is reasons.ENGLISH or not codes:
            return self.known(entry.why)
        return f"{'; '.join(self.said(Reason.from_json(one)) for one in codes)}."

    def listed(self, saids: Sequence[Said]) -> list[str]:
        """-> each of them."""
        return [self.said(one) for one in saids]

    def in_record(self, record: Mapping[str, Any], key: str) -> str:
        """-> a text that a ledger holds in English and beside it as codes, such as ``label``."""
        return self.said(reasons.said_in(record, key))


ENGLISH = Language("en")
# What a table lacks is said in English: a run of hours must not end for want of a word.
KOREAN = Language("ko", korean.TEXTS, ChainMap(korean_reasons.SENTENCES, reasons.ENGLISH))
LANGUAGES = {language.code: language for language in (ENGLISH, KOREAN)}
