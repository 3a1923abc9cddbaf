"""Anomalies: a worker's unusual accesses on one day, for an auditor to review.

An anomaly proves nothing by itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from enum import Enum

from chassis.errors import Conflict, Stale

OUTSIDE = 20
"""The maximum number of other organisations' files that a worker opens in a day without an anomaly.

Even the whole network receives fewer persons in a day.
"""
ACROSS = 5
"""The number of other organisations whose files a worker must open in a day for an anomaly.

An organisation that receives persons from so many others has several workers at its desk.
"""
NIGHT = range(22, 29)
"""The hours of the night, from 22:00 to 05:00.

Hours after midnight are counted as 24 to 28, since a day begins at five in the morning. So a whole
night belongs to one day.
"""
DUTY_NIGHTS, DUTY_DAYS = 2, 14
DUTY = (
    "create_contact",
    "update_contact",
    "create_person",
    "send",
    "send_override",
    "acknowledge_referral",
    "accept_referral",
    "answer_referral",
    "start_referral",
)
"""The actions that show that a worker is on duty, on the line or to receive people at night."""
_MORNING = timedelta(hours=5)


class AnomalyKind(Enum):
    """The kind of an anomaly."""

    OUTSIDE_FILES = "outside_files"
    ACROSS_ORGANIZATIONS = "across_organizations"
    AT_NIGHT = "at_night"
    OPENING_QUOTA = "opening_quota"


@dataclass(frozen=True)
class Opening:
    """An access to a person or contact.

    `organization_id` is the organisation of the person's file; it is "" for a contact, and if the
    access was refused. `refused` is True if the quota refused the access.
    """

    object_id: str
    organization_id: str
    time: datetime
    refused: bool = False


@dataclass
class Anomaly:
    """An anomaly of one worker or API key on one day.

    An anomaly is published once, even if more such accesses follow that day.
    """

    id: str
    kind: AnomalyKind
    worker_id: str
    organization_id: str
    day: date
    count: int
    create_time: datetime
    version: int = 1
    review_time: datetime | None = None
    reviewed_by_worker_id: str = ""
    review_code: str = ""

    def review(self, worker_id: str, code: str, version: int, now: datetime) -> None:
        """Records the review by an auditor; a second review is refused."""
        if self.version != version:
            raise Stale
        if self.review_time is not None:
            raise Conflict("nothing_to_review")
        self.review_time, self.reviewed_by_worker_id, self.review_code = now, worker_id, code
        self.version += 1


def day_of(time: datetime, zone: tzinfo) -> date:
    """Returns the local day to which a time belongs; a day begins at five in the morning."""
    return _local(time, zone).date()


def span_of(day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """Returns the start and the end of a day."""
    start = datetime(day.year, day.month, day.day, tzinfo=zone) + _MORNING
    return start, start + timedelta(days=1)


def is_night(time: datetime, zone: tzinfo) -> bool:
    """Returns whether the time is in the local night."""
    return _local(time, zone).hour + 5 in NIGHT


def on_duty(acts: Iterable[datetime], day: date, zone: tzinfo) -> bool:
    """Returns whether a worker with duty actions at these times counts as on duty this night.

    `acts` are the times since fourteen days before the day. She counts as on duty if she acted in
    the night of the day, or in at least two of these nights.
    """
    nights = {day_of(time, zone) for time in acts if is_night(time, zone)}
    return day in nights or len(nights) >= DUTY_NIGHTS


def find_anomalies(
    openings: Iterable[Opening], own: str, zone: tzinfo, *, at_night_on_duty: bool
) -> dict[AnomalyKind, int]:
    """Returns the kinds of anomaly in a worker's accesses on one day, each with its count.

    `own` is the worker's organisation. If `at_night_on_duty` is True, accesses at night are no
    anomaly.
    """
    allowed = [opening for opening in openings if not opening.refused]
    others = {
        opening.object_id: opening.organization_id
        for opening in allowed
        if opening.organization_id not in ("", own)
    }
    counts = {
        AnomalyKind.OUTSIDE_FILES: len(others) if len(others) > OUTSIDE else 0,
        AnomalyKind.ACROSS_ORGANIZATIONS: len(set(others.values()))
        if len(set(others.values())) >= ACROSS
        else 0,
        AnomalyKind.AT_NIGHT: 0
        if at_night_on_duty
        else len({o.object_id for o in allowed if is_night(o.time, zone)}),
        AnomalyKind.OPENING_QUOTA: sum(opening.refused for opening in openings),
    }
    return {kind: count for kind, count in counts.items() if count}


def _local(time: datetime, zone: tzinfo) -> datetime:
    return time.astimezone(zone) - _MORNING
