"""Anomalies: a worker's unusual accesses on one day, for an auditor to review.

An anomaly proves nothing by itself.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from enum import Enum

from chassis.errors import Conflict, Stale
from chassis.second import Second, check_second

MAX_OTHER_FILES = 20
"""The number of other organisations' files that a worker may open in a day without an anomaly.

No worker should need more: the whole network receives fewer people in a day.
"""
MANY_ORGANIZATIONS = 5
"""A worker who opens files of at least this many other organisations in a day is reported.

An organisation that receives people from so many others has several workers at its desk, so one
worker alone seldom opens files from all of them.
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
"""The actions that show that a worker is on duty, at the line or receiving people."""
_MORNING = timedelta(hours=5)


class AnomalyKind(Enum):
    """The kind of an anomaly."""

    OUTSIDE_FILES = "outside_files"
    ACROSS_ORGANIZATIONS = "across_organizations"
    AT_NIGHT = "at_night"
    OPENING_QUOTA = "opening_quota"


@dataclass(frozen=True)
class Opening:
    """One access to a person's file or to a contact.

    `organization_id` is the organisation that holds the file; it is "" for a contact and for a
    refused access. `refused` is True if the quota refused the access.
    """

    object_id: str
    organization_id: str
    time: datetime
    refused: bool = False


@dataclass(frozen=True)
class DutyAct:
    """An action that shows that a worker is on duty, and the people and contacts it concerns."""

    time: datetime
    object_ids: tuple[str, ...]


@dataclass
class Anomaly:
    """An anomaly of one worker or API key on one day.

    An anomaly is published once. If its count grows later, the anomaly waits for a review again.
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

    def review(self, reviewer: Second, code: str, version: int, now: datetime) -> None:
        """Records the review by an auditor.

        Refuses an auditor who may be the person whose accesses are unusual, and a second review.
        """
        if self.review_time is not None:
            raise Conflict("nothing_to_review")
        if self.version != version:
            raise Stale
        check_second(reviewer, self.worker_id, self.create_time)
        self.review_time, self.reviewed_by_worker_id, self.review_code = now, reviewer.id, code
        self.version += 1


def day_of(time: datetime, zone: tzinfo) -> date:
    """Returns the local day to which a time belongs; a day begins at five in the morning."""
    return _five_hours_earlier(time, zone).date()


def span_of(day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """Returns the start and the end of a local day, both at five in the morning."""
    start = datetime(day.year, day.month, day.day, tzinfo=zone) + _MORNING
    return start, start + timedelta(days=1)


def is_night(time: datetime, zone: tzinfo) -> bool:
    """Returns whether the time is in the local night."""
    return _five_hours_earlier(time, zone).hour + 5 in NIGHT


def on_duty(acts: Iterable[DutyAct], zone: tzinfo) -> bool:
    """Returns whether a worker counts as on duty: she acted on at least two nights.

    `acts` are her actions on the day and on the fourteen days before.
    """
    nights = {day_of(act.time, zone) for act in acts if is_night(act.time, zone)}
    return len(nights) >= DUTY_NIGHTS


def ids_on_duty(acts: Iterable[DutyAct], day: date, zone: tzinfo) -> frozenset[str]:
    """Returns the people and contacts that a worker's actions on the night of `day` concern."""
    return frozenset(
        id
        for act in acts
        if is_night(act.time, zone) and day_of(act.time, zone) == day
        for id in act.object_ids
    )


def find_anomalies(
    openings: Iterable[Opening],
    own_organization_id: str,
    zone: tzinfo,
    *,
    on_duty_at_night: bool,
    duty_ids: Collection[str] = (),
) -> dict[AnomalyKind, int]:
    """Returns the anomalies in a worker's accesses on one day, as counts by kind.

    OUTSIDE_FILES counts files, ACROSS_ORGANIZATIONS organisations, AT_NIGHT files and contacts, and
    OPENING_QUOTA refused accesses. Kinds that did not occur are left out. `own_organization_id` is
    the worker's organisation. AT_NIGHT leaves out `duty_ids`, and does not occur if
    `on_duty_at_night` is True.
    """
    allowed_openings = [opening for opening in openings if not opening.refused]
    other_files = {
        opening.object_id: opening.organization_id
        for opening in allowed_openings
        if opening.organization_id not in ("", own_organization_id)
    }
    counts = {
        AnomalyKind.OUTSIDE_FILES: len(other_files) if len(other_files) > MAX_OTHER_FILES else 0,
        AnomalyKind.ACROSS_ORGANIZATIONS: len(set(other_files.values()))
        if len(set(other_files.values())) >= MANY_ORGANIZATIONS
        else 0,
        AnomalyKind.AT_NIGHT: 0
        if on_duty_at_night
        else len(
            {opening.object_id for opening in allowed_openings if is_night(opening.time, zone)}
            - set(duty_ids)
        ),
        AnomalyKind.OPENING_QUOTA: sum(opening.refused for opening in openings),
    }
    return {kind: count for kind, count in counts.items() if count}


def _five_hours_earlier(time: datetime, zone: tzinfo) -> datetime:
    """Returns the local time five hours earlier, so that a day begins at 00:00 and not at 05:00."""
    return time.astimezone(zone) - _MORNING
