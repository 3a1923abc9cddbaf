"""The evidence that the coordination has of an organisation before its approval.

It includes the agreement and its last day.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from services.partners.network.domain.check import Check

WARNED_AT = (60, 30, 7)
"""The days before the end of an agreement at which a warning is given, each once."""
LONGEST = timedelta(days=5 * 366)
"""The longest term of an agreement: a later date is a slip of the hand."""


class EvidenceKind(StrEnum):
    """The kinds of evidence that an approval needs."""

    REGISTRATION = "REGISTRATION"
    REFERENCES = "REFERENCES"
    SAFEGUARDING_POLICY = "SAFEGUARDING_POLICY"
    AGREEMENT = "AGREEMENT"

    @property
    def needed(self) -> int:
        """The number of pieces, with different references, that are needed."""
        return 2 if self is EvidenceKind.REFERENCES else 1


@dataclass(frozen=True)
class Evidence:
    """A piece of evidence.

    `reference`: the mark by which it is found again; `seen_date`: when it was seen; `worker_id`:
    who recorded it. Only an agreement has a last day.
    """

    kind: EvidenceKind
    reference: str
    seen_date: date
    expire_date: date | None
    worker_id: str
    time: datetime

    def check(self, today: date) -> None:
        """Raises Invalid if the date or the reference is wrong.

        An agreement must have an end that is not over.
        """
        check = Check("evidence")
        if not self.reference:
            check.say("reference", "required")
        if self.seen_date > today:
            check.say("seen_date", "out_of_range")
        if self.kind is not EvidenceKind.AGREEMENT:
            if self.expire_date is not None:
                check.say("expire_date", "out_of_range")
        elif self.expire_date is None:
            check.say("expire_date", "required")
        elif not today <= self.expire_date <= today + LONGEST:
            check.say("expire_date", "out_of_range")
        check.done()

    def is_over(self, today: date) -> bool:
        """Tells whether its last day has passed."""
        return self.expire_date is not None and self.expire_date < today


def warning(days_left: int, warned: int | None) -> int | None:
    """Returns the warning that is due; None if it was given, or none is.

    After a long pause only the nearest warning is due: those before it no longer matter.
    """
    due = min((days for days in WARNED_AT if days_left <= days), default=None)
    return None if due is None or (warned is not None and warned <= due) else due
