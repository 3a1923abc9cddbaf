"""Rules that derive the urgency and the help from a caller's answers: a table of conditions.

Each condition has the urgency, the medicine and the standard order of help (the pathway) that
follow from it.
"""

from dataclasses import dataclass, fields
from typing import TypeVar

from services.referrals.network.domain.deadline import HEALTH, DeadlineKind, Urgency

YES, NO, DID_NOT_SAY, NOT_ASKED = "yes", "no", "did_not_say", ""
Value = TypeVar("Value")
PROTECTION, ASSAULT, CHILD, RETURN = (
    "protection_on_the_line",
    "sexual_violence_120h",
    "child",
    "return_and_reintegration",
)


@dataclass(frozen=True)
class Rule:
    """A condition on the answers.

    The condition holds if the question has this answer, unless another question has the answer in
    `unless`.
    """

    question: str
    answer: str
    urgency: Urgency
    pathway: str
    unless: tuple[str, str] = ("", "")
    health: tuple[DeadlineKind, ...] = ()  # medicine that may still be begun


RULES = (
    Rule("danger_now", YES, Urgency.IMMEDIATE, PROTECTION),
    Rule("escape_under_way", YES, Urgency.IMMEDIATE, PROTECTION),
    Rule("child_unsafe", YES, Urgency.IMMEDIATE, CHILD),
    Rule("medical_emergency", YES, Urgency.IMMEDIATE, PROTECTION),
    Rule("wants_protection", YES, Urgency.IMMEDIATE, PROTECTION),
    Rule("still_held", YES, Urgency.IMMEDIATE, PROTECTION, unless=("wants_out", NO)),
    Rule("safe_place_tonight", NO, Urgency.EMERGENCY, RETURN),
    Rule("exploiters_looking", YES, Urgency.EMERGENCY, RETURN),
    Rule("sexual_violence_120h", YES, Urgency.EMERGENCY, ASSAULT, health=tuple(HEALTH)),
    Rule("need_within_days", YES, Urgency.URGENT, RETURN),
    Rule("still_held", YES, Urgency.URGENT, RETURN),
)
DECIDING = frozenset(rule.question for rule in RULES)
"""The questions with an answer that can raise the urgency.

Whether the caller wants to get out matters only if she is still held.
"""
FIRST = (CHILD, ASSAULT, PROTECTION, RETURN)
"""The order of precedence: of several pathways the first in this list is opened."""


@dataclass(frozen=True)
class Triage:
    """The answers of a caller: yes, no, did_not_say, or "" for not asked."""

    danger_now: str = ""
    still_held: str = ""
    wants_out: str = ""
    escape_under_way: str = ""
    child_unsafe: str = ""
    medical_emergency: str = ""
    safe_place_tonight: str = ""
    exploiters_looking: str = ""
    sexual_violence_120h: str = ""
    need_within_days: str = ""
    safe_to_talk: str = ""
    wants_protection: str = ""

    def urgency(self) -> Urgency | None:
        """Returns the urgency of the most urgent rule that holds.

        A missing answer never lowers the urgency. If no rule holds, returns normal once the urgency
        can no longer rise (see _calm), and None before.
        """
        return max(
            (rule.urgency for rule in self._holding()),
            key=lambda urgency: urgency.rank,
            default=self._calm(Urgency.NORMAL),
        )

    def pathway(self) -> str:
        """Returns the pathway that the answers open; "" while there is no urgency."""
        opened = {rule.pathway for rule in self._holding()}
        return next((pathway for pathway in FIRST if pathway in opened), self._calm(RETURN) or "")

    def health(self) -> list[DeadlineKind]:
        """Returns the medicine that, according to the answers, may still be begun."""
        return list(dict.fromkeys(kind for rule in self._holding() for kind in rule.health))

    def _holding(self) -> list[Rule]:
        return [
            rule
            for rule in RULES
            if self._said(rule.question) == rule.answer
            and (not rule.unless[0] or self._said(rule.unless[0]) != rule.unless[1])
        ]

    def unanswered(self) -> list[str]:
        """Returns the questions that can still change the urgency.

        These questions were neither answered nor declined.
        """
        relevant = DECIDING | {
            rule.unless[0]
            for rule in RULES
            if rule.unless[0] and self._said(rule.question) in (rule.answer, NOT_ASKED)
        }
        return [
            question.name
            for question in fields(self)
            if question.name in relevant and self._said(question.name) == NOT_ASKED
        ]

    def _calm(self, value: Value) -> Value | None:
        """Returns the value once the urgency can no longer rise, else None.

        By then, each deciding question was answered or declined, and at least one was answered.
        """
        return (
            value
            if not self.unanswered() and any(self._said(name) in (YES, NO) for name in DECIDING)
            else None
        )

    def _said(self, question: str) -> str:
        return str(getattr(self, question))
