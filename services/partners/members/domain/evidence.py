"""What somebody of the coordination has seen of an organisation before it is approved, and until
when its agreement holds.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from services.partners.network.domain.check import Check

WARNED_AT = (60, 30, 7)
"""So many days before an agreement ends it is said, each once."""
LONGEST = timedelta(days=5 * 366)
"""No agreement is made for longer: a date beyond it is a slip of the hand."""


class EvidenceKind(StrEnum):
    """What has to be seen."""

    REGISTRATION = "REGISTRATION"
    REFERENCES = "REFERENCES"
    SAFEGUARDING_POLICY = "SAFEGUARDING_POLICY"
    AGREEMENT = "AGREEMENT"

    @property
    def needed(self) -> int:
        """How many have to be seen that are found again by different references."""
        return 2 if self is EvidenceKind.REFERENCES else 1


@dataclass(frozen=True)
class Evidence:
    """One thing that was seen: by what it is found again, when it was seen, and by whom it was
    noted. An agreement has a last day, nothing else has.
    """

    kind: EvidenceKind
    reference: str
    seen_date: date
    expire_date: date | None
    worker_id: str
    time: datetime

    def check(self, today: date) -> None:
        """Refuses what can't have been seen, and an agreement that has no end, or one that is
        over.
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
        """Whether its last day has passed."""
        return self.expire_date is not None and self.expire_date < today


def warning(days_left: int, warned: int | None) -> int | None:
    """Which of the warnings is due; None if it was given, or none is.

    After a long pause only the nearest one: those before it say nothing any more.
    """
    due = min((days for days in WARNED_AT if days_left <= days), default=None)
    return None if due is None or (warned is not None and warned <= due) else due
