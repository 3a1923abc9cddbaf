"""The evidence about an organisation that the coordinators collect before they approve it.

The evidence includes the agreement and its last day.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from chassis.second import Second, check_second
from services.partners.network.domain.check import Check

WARNING_DAYS = (60, 30, 7)
"""A warning is given once at each of these numbers of days before an agreement's end."""
NOTICE = timedelta(days=max(WARNING_DAYS))
"""How long a new agreement of an approved member must last, unless it outlasts the present one.

The member then gets every warning. Otherwise one coordinator alone could put a member on probation.
"""
LONGEST_TERM = timedelta(days=5 * 366)
"""The longest time until an agreement's last day: a later day must be a typing mistake."""


class EvidenceKind(StrEnum):
    """The kinds of evidence that an approval needs."""

    REGISTRATION = "REGISTRATION"
    REFERENCES = "REFERENCES"
    SAFEGUARDING_POLICY = "SAFEGUARDING_POLICY"
    AGREEMENT = "AGREEMENT"

    @property
    def required_count(self) -> int:
        """The number of pieces of this evidence that are required, each with its own reference."""
        return 2 if self is EvidenceKind.REFERENCES else 1


@dataclass(frozen=True)
class Evidence:
    """A piece of evidence.

    `reference`: the number or link for finding the evidence again; `seen_date`: the day when the
    evidence was checked; `worker_id`: the worker who recorded it. Only an agreement has a last day.
    """

    kind: EvidenceKind
    reference: str
    seen_date: date
    expire_date: date | None
    worker_id: str
    time: datetime

    def check(self, today: date, earliest_end: date) -> None:
        """Raises Invalid if the reference is missing or a date is wrong.

        An agreement must have a last day, no earlier than today and `earliest_end`, and no later
        than LONGEST_TERM from today; other evidence must not have a last day.
        """
        check = Check("evidence")
        if not self.reference:
            check.refuse("reference", "required")
        if self.seen_date > today:
            check.refuse("seen_date", "out_of_range")
        if self.kind is not EvidenceKind.AGREEMENT:
            if self.expire_date is not None:
                check.refuse("expire_date", "out_of_range")
        elif self.expire_date is None:
            check.refuse("expire_date", "required")
        elif not max(today, earliest_end) <= self.expire_date <= today + LONGEST_TERM:
            check.refuse("expire_date", "out_of_range")
        check.done()

    def check_renewal(self, agreement: "Evidence", by: Second) -> None:
        """Raises Conflict if `by` prolongs an agreement that the same person recorded.

        Otherwise one coordinator alone could keep a member approved for ever.
        """
        if self.expire_date and agreement.expire_date and self.expire_date > agreement.expire_date:
            check_second(by, agreement.worker_id)

    def has_expired(self, today: date) -> bool:
        """Returns whether the evidence is an agreement whose last day has passed."""
        return self.expire_date is not None and self.expire_date < today


def due_warning(days_left: int, last_warning: int | None) -> int | None:
    """Returns the number in WARNING_DAYS whose warning is due now.

    Returns None if no warning is due, or if the due warning was given already. `last_warning` is
    the number whose warning was given last; None if no warning was given. If no check has run for a
    while, only the warning with the fewest days is due; skipped warnings no longer matter.
    """
    due_days = min((days for days in WARNING_DAYS if days_left <= days), default=None)
    return (
        None
        if due_days is None or (last_warning is not None and last_warning <= due_days)
        else due_days
    )
