"""Emergency access: one worker opens a person without a consent, for an hour at most, in the open.

Everybody hears of it, and somebody else reviews it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis.errors import Conflict, Stale
from chassis.second import Second, check_second
from services.referrals.files.domain.consent import OVERRIDE_GROUPS, Grant
from services.referrals.files.domain.person import FieldGroup

LASTS = timedelta(minutes=60)
REVIEW = timedelta(hours=72)
"""Within which somebody else says what it was; past it the organisation gets no other until this is
done.
"""


@dataclass
class EmergencyAccess:
    """What it opens is what an override opens: nothing of her story, her family or her papers."""

    id: str
    person_id: str
    referral_id: str
    organization_id: str  # of who opens
    worker_id: str
    file_organization_id: str
    reason_code: str
    create_time: datetime
    end_time: datetime
    review_due_time: datetime
    version: int = 1
    ended: bool = False
    overdue: bool = False  # and that was told
    review_time: datetime | None = None
    reviewed_by_worker_id: str = ""
    review_code: str = ""

    def opens(self, worker_id: str, groups: frozenset[FieldGroup], now: datetime) -> Grant:
        """What is asked for, to her who declared it and while it lasts. Checked at every read."""
        if not self.is_live(now) or worker_id != self.worker_id:
            raise Conflict("receipt_missing")
        if not groups <= OVERRIDE_GROUPS:
            raise Conflict("receipt_field_group_differs")
        return Grant(self.person_id, groups, (f"emergency:{self.id}",))

    def is_live(self, now: datetime) -> bool:
        """Whether it opens anything."""
        return self.create_time <= now < self.end_time

    @property
    def next_time(self) -> datetime | None:
        """When its clock has something to say: that it is over, or that nobody has reviewed it in
        time.
        """
        if not self.ended:
            return self.end_time
        return None if self.overdue or self.review_time else self.review_due_time

    def fire(self, now: datetime) -> str:
        """What has become true by now; empty for nothing."""
        if not self.ended and now >= self.end_time:
            self.ended = True
            self.version += 1
            return "ended"
        if not self.overdue and self.review_time is None and now >= self.review_due_time:
            self.overdue = True
            self.version += 1
            return "review_overdue"
        return ""

    def end(self, now: datetime) -> None:
        """She took back what she allowed: it is over now."""
        self.end_time, self.ended = min(self.end_time, now), True
        self.version += 1

    def review(
        self, second: Second, organization_id: str, code: str, version: int, now: datetime
    ) -> None:
        """Somebody of the file's organisation, or an auditor, says what it was: nobody of those who
        opened, and once.
        """
        if self.version != version:
            raise Stale
        if self.review_time is not None:
            raise Conflict("nothing_to_review")
        if organization_id == self.organization_id:
            raise Conflict("second_person_required")
        check_second(second, self.worker_id, self.create_time)
        self.review_time, self.reviewed_by_worker_id, self.review_code = now, second.id, code
        self.version += 1
