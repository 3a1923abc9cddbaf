"""Advice cards: texts for an operator to read out, opened by a caller's answers or need."""

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
    """One version of an advice card; a version never changes.

    An operator reads the card in the operator's own language, or in Spanish if the card has no text
    in that language; the caller may speak a different language. Any of the answers in `opened_by`
    opens the card. So does the need `need_code`; if it is the code of a group, so does any need in
    that group.
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
        need_matches = bool(self.need_code) and (
            need_code == self.need_code or need_code.startswith(f"{self.need_code}.")
        )
        return need_matches or any(
            answer and answer == getattr(answers, question)
            for question, answer in vars(self.opened_by).items()
        )

    def check(self) -> None:
        """Refuses an incomplete text, texts with different numbers of lines, and an unknown need.

        If a line was not translated, some callers would not be told its content.
        """
        check = Check()
        line_count = len(self.texts[SOURCE].lines)
        for language, text in self.texts.items():
            check.require(bool(text.title), f"card.{language}.title", "required")
            check.require(
                bool(text.lines) and all(text.lines), f"card.{language}.lines", "required"
            )
            check.require(len(text.lines) == line_count, f"card.{language}.lines", "not_translated")
        check.need("card.need_code", self.need_code)
        check.done()
