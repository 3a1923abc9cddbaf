"""Openings that somebody should look at: what is unusual, by whom, and on which day, as the auditor
reviews it. No proof of anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from enum import Enum

from chassis.errors import Conflict, Stale

OUTSIDE = 20
"""Persons of others' files in a day: more than the whole network receives in one."""
ACROSS = 5
"""Organisations whose files one worker opens in a day: who receives from that many has a desk, and
not one worker.
"""
NIGHT = range(22, 29)
"""Hours of the day that begins at five in the morning, so that a night belongs to one day."""
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
"""Acts of somebody on duty: at the line, or for who comes at night."""
_MORNING = timedelta(hours=5)


class AnomalyKind(Enum):
    """What is unusual."""

    OUTSIDE_FILES = "outside_files"
    ACROSS_ORGANIZATIONS = "across_organizations"
    AT_NIGHT = "at_night"
    OPENING_QUOTA = "opening_quota"


@dataclass(frozen=True)
class Opening:
    """A look at a person or contact; `organization_id` is whose file it is, empty for a contact.

    Refused: by the quota.
    """

    object_id: str
    organization_id: str
    time: datetime
    refused: bool = False


@dataclass
class Anomaly:
    """Something unusual of one worker, or key, on one day; told once, however often it happens
    again that day.
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
        """An auditor says what it was: once."""
        if self.version != version:
            raise Stale
        if self.review_time is not None:
            raise Conflict("nothing_to_review")
        self.review_time, self.reviewed_by_worker_id, self.review_code = now, worker_id, code
        self.version += 1


def day_of(time: datetime, zone: tzinfo) -> date:
    """The day to which a moment belongs somewhere: it begins at five in the morning."""
    return _local(time, zone).date()


def span_of(day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """From when until when that day is."""
    start = datetime(day.year, day.month, day.day, tzinfo=zone) + _MORNING
    return start, start + timedelta(days=1)


def is_night(time: datetime, zone: tzinfo) -> bool:
    """Whether people sleep there."""
    return _local(time, zone).hour + 5 in NIGHT


def on_duty(acts: Iterable[datetime], day: date, zone: tzinfo) -> bool:
    """Whether whoever did this is usually there at night: tonight, or in two nights of the last
    fourteen days.
    """
    nights = {day_of(time, zone) for time in acts if is_night(time, zone)}
    return day in nights or len(nights) >= DUTY_NIGHTS


def unusual(
    openings: Iterable[Opening], own: str, zone: tzinfo, *, at_night_on_duty: bool
) -> dict[AnomalyKind, int]:
    """What is unusual in a worker's openings of one day, each with its count."""
    looked = [opening for opening in openings if not opening.refused]
    others = {
        opening.object_id: opening.organization_id
        for opening in looked
        if opening.organization_id not in ("", own)
    }
    counts = {
        AnomalyKind.OUTSIDE_FILES: len(others) if len(others) > OUTSIDE else 0,
        AnomalyKind.ACROSS_ORGANIZATIONS: len(set(others.values()))
        if len(set(others.values())) >= ACROSS
        else 0,
        AnomalyKind.AT_NIGHT: 0
        if at_night_on_duty
        else len({o.object_id for o in looked if is_night(o.time, zone)}),
        AnomalyKind.OPENING_QUOTA: sum(opening.refused for opening in openings),
    }
    return {kind: count for kind, count in counts.items() if count}


def _local(time: datetime, zone: tzinfo) -> datetime:
    return time.astimezone(zone) - _MORNING
