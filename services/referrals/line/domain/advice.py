"""Advice cards: texts for an operator to read out, opened by the answers of the caller."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from chassis.languages import SOURCE
from services.referrals.line.domain.triage import Triage
from services.referrals.network.domain.codes import Check


@dataclass(frozen=True)
class Text:
    """The text of a card in one language; each line has a sentence or two."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class AdviceCard:
    """One version of a card, which never changes.

    An operator reads the card in the operator's own language, or in Spanish if the card has no text
    in that language; the caller may speak a different language. Any of the answers in `opened_by`
    opens the card. So does the need `need_code`, or any need of that group.
    """

    id: str
    version: int
    texts: Mapping[str, Text]
    opened_by: Triage = field(default_factory=Triage)
    need_code: str = ""
    retired: bool = False
    publish_time: datetime | None = None

    def opens(self, answers: Triage, need_code: str) -> bool:
        """Returns whether any of the answers, or the need, opens the card."""
        needed = bool(self.need_code) and (
            need_code == self.need_code or need_code.startswith(f"{self.need_code}.")
        )
        return needed or any(
            answer and answer == getattr(answers, question)
            for question, answer in vars(self.opened_by).items()
        )

    def check(self) -> None:
        """Refuses a card that is incomplete in a language, or whose languages differ in length.

        If a line was not translated, some callers would not be told its content.
        """
        check, lines = Check(), len(self.texts[SOURCE].lines)
        for language, text in self.texts.items():
            check.that(bool(text.title), f"card.{language}.title", "required")
            check.that(bool(text.lines) and all(text.lines), f"card.{language}.lines", "required")
            check.that(len(text.lines) == lines, f"card.{language}.lines", "not_translated")
        check.need("card.need_code", self.need_code)
        check.done()
