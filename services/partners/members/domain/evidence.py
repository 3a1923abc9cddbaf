"""The evidence that the coordination has of an organisation before its approval.

It includes the agreement and its last day.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from services.partners.network.domain.check import Check

WARNED_AT = (60, 30, 7)
"""The numbers of days before an agreement's end at which a warning is given, once each."""
LONGEST = timedelta(days=5 * 366)
"""The longest term of an agreement: a later date must be a typing mistake."""


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

    `reference`: the number or link by which it can be found again; `seen_date`: the day on which it
    was checked; `worker_id`: the worker who recorded it. Only an agreement has a last day.
    """

    kind: EvidenceKind
    reference: str
    seen_date: date
    expire_date: date | None
    worker_id: str
    time: datetime

    def check(self, today: date) -> None:
        """Raises Invalid if the date or the reference is wrong.

        An agreement must have a last day that has not passed.
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
        """Tells whether the agreement's last day has passed."""
        return self.expire_date is not None and self.expire_date < today


def warning(days_left: int, warned: int | None) -> int | None:
    """Returns the warning that is due, in days; None if it was given already, or none is due.

    After a long pause only the warning for the fewest days is due; earlier warnings no longer
    matter.
    """
    due = min((days for days in WARNED_AT if days_left <= days), default=None)
    return None if due is None or (warned is not None and warned <= due) else due
