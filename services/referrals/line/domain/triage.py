"""Rules that derive the urgency and the help from a caller's answers.

The rules are a table. Each rule has a condition on the answers, and the urgency, the medicine and
the pathway (the standard order of help) that follow from the condition.
"""

from dataclasses import dataclass, fields
from typing import TypeVar

from services.referrals.network.domain.deadline import HEALTH, DeadlineKind, Urgency

YES, NO, DID_NOT_SAY, NOT_ASKED = "yes", "no", "did_not_say", ""
Value = TypeVar("Value")
PROTECTION = "protection_on_the_line"
ASSAULT = "sexual_violence_120h"
CHILD = "child"
RETURN = "return_and_reintegration"


@dataclass(frozen=True)
class Rule:
    """A rule of triage.

    The rule applies if `question` has the answer `answer`. `unless` is another question with an
    answer: if that question has that answer, the rule does not apply.
    """

    question: str
    answer: str
    urgency: Urgency
    pathway: str
    unless: tuple[str, str] = ("", "")
    health: tuple[DeadlineKind, ...] = ()  # treatments that can still be started


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
"""The questions that can raise the urgency by themselves.

`wants_out` is not among them: whether the caller wants to get out matters only while she is held.
"""
PRECEDENCE = (CHILD, ASSAULT, PROTECTION, RETURN)
"""The pathways by precedence: if the answers open several, the first in this list is chosen."""


@dataclass(frozen=True)
class Triage:
    """A caller's answers: yes, no, did_not_say, or "" for not asked."""

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
        """Returns the urgency of the most urgent rule that applies.

        A missing answer never lowers the urgency. If no rule applies, returns NORMAL if the urgency
        can't rise any more (see _if_final), and None otherwise.
        """
        return max(
            (rule.urgency for rule in self._applying_rules()),
            key=lambda urgency: urgency.rank,
            default=self._if_final(Urgency.NORMAL),
        )

    def pathway(self) -> str:
        """Returns the pathway that the answers open; "" as long as there is no urgency."""
        pathways = {rule.pathway for rule in self._applying_rules()}
        return next(
            (pathway for pathway in PRECEDENCE if pathway in pathways), self._if_final(RETURN) or ""
        )

    def treatments(self) -> list[DeadlineKind]:
        """Returns the treatments that can still be started, according to the answers."""
        return list(dict.fromkeys(kind for rule in self._applying_rules() for kind in rule.health))

    def _applying_rules(self) -> list[Rule]:
        return [
            rule
            for rule in RULES
            if self._answer_to(rule.question) == rule.answer
            and (not rule.unless[0] or self._answer_to(rule.unless[0]) != rule.unless[1])
        ]

    def unanswered(self) -> list[str]:
        """Returns the questions that can still change the urgency.

        These questions have been neither answered nor declined.
        """
        relevant = DECIDING | {
            rule.unless[0]
            for rule in RULES
            if rule.unless[0] and self._answer_to(rule.question) in (rule.answer, NOT_ASKED)
        }
        return [
            question.name
            for question in fields(self)
            if question.name in relevant and self._answer_to(question.name) == NOT_ASKED
        ]

    def _if_final(self, value: Value) -> Value | None:
        """Returns the value if the urgency can't rise any more, otherwise None.

        The urgency can't rise any more once every deciding question has been answered or declined,
        and at least one has been answered.
        """
        return (
            value
            if not self.unanswered()
            and any(self._answer_to(name) in (YES, NO) for name in DECIDING)
            else None
        )

    def _answer_to(self, question: str) -> str:
        return str(getattr(self, question))
