"""Advice cards: what an operator may say, opened by what the caller answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.referrals.line.domain.triage import Triage
from services.referrals.network.domain.codes import Check

LANGUAGES = ("es", "en", "fr")
"""In which every card is said: the operator reads it in hers, and a caller may speak another."""


@dataclass(frozen=True)
class Text:
    """A card in one language; a line is a sentence or two."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class AdviceCard:
    """One version of it, which never changes.

    `opened_by`: one of these answers opens it; `need_code`: this need or one of this group does.
    """

    id: str
    version: int
    texts: Mapping[str, Text]
    opened_by: Triage = field(default_factory=Triage)
    need_code: str = ""
    retired: bool = False
    publish_time: datetime | None = None

    def opens(self, said: Triage, need_code: str) -> bool:
        """Whether what was answered calls for it."""
        needed = bool(self.need_code) and (
            need_code == self.need_code or need_code.startswith(f"{self.need_code}.")
        )
        return needed or any(
            answer and answer == getattr(said, question)
            for question, answer in vars(self.opened_by).items()
        )

    def check(self) -> None:
        """Refuses what is missing in a language, or longer in one than in another: a sentence that
        was not translated is one that is not said.
        """
        check, lengths = (
            Check(),
            {language: len(self.texts[language].lines) for language in LANGUAGES},
        )
        for language, text in self.texts.items():
            check.that(bool(text.title), f"card.{language}.title", "required")
            check.that(bool(text.lines) and all(text.lines), f"card.{language}.lines", "required")
            check.that(
                lengths[language] == lengths[LANGUAGES[0]],
                f"card.{language}.lines",
                "not_translated",
            )
        check.need("card.need_code", self.need_code)
        check.done()
