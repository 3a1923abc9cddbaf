"""Emergency access: one worker opens a person's data that no consent opens, for an hour at most.

Every emergency access is published at once, and somebody else must review it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis.errors import Conflict, Stale
from chassis.second import Second, check_second
from services.referrals.files.domain.consent import OVERRIDE_GROUPS, Grant
from services.referrals.files.domain.person import FieldGroup

DURATION = timedelta(minutes=60)
EXPLAINED = "explained"
REVIEW_WITHIN = timedelta(hours=72)
"""How long somebody else has to review an emergency access.

While the review is overdue, the organisation that opened the data gets no further emergency access.
"""


@dataclass
class EmergencyAccess:
    """An emergency access to a person's data.

    The access opens at most the field groups that an override opens, which contain nothing of the
    person's story, family or papers.
    """

    id: str
    person_id: str
    referral_id: str
    organization_id: str  # the organisation of the worker who opens the data
    worker_id: str
    file_organization_id: str
    reason_code: str
    create_time: datetime
    end_time: datetime
    review_due_time: datetime
    version: int = 1
    ended: bool = False
    overdue: bool = False  # True once the review has been recorded as overdue
    review_time: datetime | None = None
    reviewed_by_worker_id: str = ""
    review_code: str = ""

    def grant_for(self, worker_id: str, groups: frozenset[FieldGroup], now: datetime) -> Grant:
        """Returns a grant for these field groups; called at every read.

        Raises Conflict for other workers, when the access is not live, and for groups that no
        override opens.
        """
        if not self.is_live(now) or worker_id != self.worker_id:
            raise Conflict("receipt_missing")
        if not groups <= OVERRIDE_GROUPS:
            raise Conflict("receipt_field_group_differs")
        return Grant(self.person_id, groups, (f"emergency:{self.id}",))

    def is_live(self, now: datetime) -> bool:
        """Returns whether the emergency access opens anything now."""
        return self.create_time <= now < self.end_time

    @property
    def next_time(self) -> datetime | None:
        """Returns the time of the next event: the end, or the due time of the review.

        Returns None if no event is left.
        """
        if not self.ended:
            return self.end_time
        return None if self.overdue or self.review_time else self.review_due_time

    def fire(self, now: datetime) -> str:
        """Records an event that has become due, and returns the event's name.

        The name is ended or review_overdue, or "" if no event is due.
        """
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
        """Ends the emergency access early, because the person has withdrawn a consent."""
        self.end_time, self.ended = min(self.end_time, now), True
        self.version += 1

    def review(
        self, reviewer: Second, organization_id: str, code: str, version: int, now: datetime
    ) -> None:
        """Records a review by a worker of the file's organisation or by an auditor.

        An access that the review does not find explained opens nothing from then on. Refuses a
        reviewer from the organisation that opened the data, a reviewer who may be the same person
        as the worker who opened it, and a second review. Raises Stale or Conflict.
        """
        if self.review_time is not None:
            raise Conflict("nothing_to_review")
        if self.version != version:
            raise Stale
        if organization_id == self.organization_id:
            raise Conflict("second_person_required")
        check_second(reviewer, self.worker_id, self.create_time)
        self.review_time, self.reviewed_by_worker_id, self.review_code = now, reviewer.id, code
        if code != EXPLAINED:
            self.end_time = min(self.end_time, now)
        self.version += 1
