"""Clocks: a deadline that is watched, with what is told at 50, 100 and 150 per cent of it; and the policy that sets them."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from typing import Protocol


class Urgency(Enum):
    """How soon; it sets the deadlines."""

    NORMAL = "normal"
    URGENT = "urgent"
    EMERGENCY = "emergency"
    IMMEDIATE = "immediate"

    @property
    def rank(self) -> int:
        """0 for normal up to 3 for immediate."""
        return list(Urgency).index(self)


class DeadlineKind(Enum):
    """What is waited for."""

    ACKNOWLEDGE = "acknowledge"
    DECIDE = "decide"
    FIRST_CONTACT = "first_contact"
    REVIEW = "review"
    SILENCE = "silence"
    CLOSE = "close"
    OVERRIDE_CONFIRM = "override_confirm"
    OVERRIDE_END = "override_end"
    REPLACE = "replace"
    ANSWER = "answer"
    DELETION = "deletion"


class Calendar(Protocol):
    """Knows the working days of a country."""

    def is_working_day(self, day: date) -> bool:
        """Whether offices are open."""


LEVELS = (50, 100, 150)
EXPIRE_PERCENT = 200
"""Of DECIDE: nobody answered, and the referral ends so that another service can be asked. Its receiver was reminded and both desks and the coordination told before."""
SOON = timedelta(hours=4)
"""What is due within it, and not yet late, is due soon."""

# Deadlines by urgency: the network's policy. Two working days are counted by the calendar; "same day" is 12 hours, so that a call at 23:50 has a
# deadline that can be met.
POLICY: dict[Urgency, dict[DeadlineKind, timedelta | int]] = {
    Urgency.IMMEDIATE: {
        DeadlineKind.ACKNOWLEDGE: timedelta(minutes=15),
        DeadlineKind.DECIDE: timedelta(hours=1),
        DeadlineKind.FIRST_CONTACT: timedelta(hours=12),
    },
    Urgency.EMERGENCY: {
        DeadlineKind.ACKNOWLEDGE: timedelta(hours=1),
        DeadlineKind.DECIDE: timedelta(hours=24),
        DeadlineKind.FIRST_CONTACT: timedelta(hours=24),
    },
    Urgency.URGENT: {
        DeadlineKind.ACKNOWLEDGE: timedelta(hours=24),
        DeadlineKind.DECIDE: timedelta(hours=72),
        DeadlineKind.FIRST_CONTACT: timedelta(hours=72),
    },
    Urgency.NORMAL: {DeadlineKind.ACKNOWLEDGE: 2, DeadlineKind.DECIDE: timedelta(days=14), DeadlineKind.FIRST_CONTACT: timedelta(days=14)},
}
for _spans in POLICY.values():  # what came back without help is looked for elsewhere as soon as somebody would have had to decide
    _spans[DeadlineKind.REPLACE] = _spans[DeadlineKind.DECIDE]
    _spans[DeadlineKind.ANSWER] = _spans[DeadlineKind.ACKNOWLEDGE]  # a question is as soon answered as a referral is seen
# Which day it is: the network's countries keep UTC-6 all year (Panama is an hour ahead). Friday evening in Managua is Saturday in UTC.
OFFICE_TIME = timezone(timedelta(hours=-6))
SILENCE = timedelta(days=7)
SILENCE_AFTER_NEWS = timedelta(days=30)
"""In the place of SILENCE once there was news and no appointment is open."""
CLOSE = timedelta(days=14)
OVERRIDE_CONFIRM = timedelta(hours=12)
"""In which a second person confirms an override, or it opens nothing any more: the next shift is there by then."""
OVERRIDE_END = timedelta(hours=72)
DELETION = timedelta(hours=72)
"""In which whoever received something confirms that it holds nothing more of a person who took her consent back."""
_FIXED = {
    DeadlineKind.DELETION: DELETION,
    DeadlineKind.SILENCE: SILENCE,
    DeadlineKind.CLOSE: CLOSE,
    DeadlineKind.OVERRIDE_CONFIRM: OVERRIDE_CONFIRM,
    DeadlineKind.OVERRIDE_END: OVERRIDE_END,
}


def policy() -> list[tuple[Urgency | None, DeadlineKind, timedelta | int]]:
    """The whole policy: for which urgency (None: any), what is waited for, how long (a number: of working days)."""
    by_urgency: list[tuple[Urgency | None, DeadlineKind, timedelta | int]] = [
        (urgency, kind, span) for urgency, spans in POLICY.items() for kind, span in spans.items()
    ]
    return by_urgency + [(None, kind, span) for kind, span in _FIXED.items()]


def due_time(kind: DeadlineKind, urgency: Urgency, start: datetime, calendar: Calendar) -> datetime:
    """When a clock started now is due."""
    if kind in _FIXED:
        return start + _FIXED[kind]
    span = POLICY[urgency][kind]
    if isinstance(span, timedelta):
        return start + span
    end = start
    while span:
        end += timedelta(days=1)
        if calendar.is_working_day(end.astimezone(OFFICE_TIME).date()):
            span -= 1
    return end


@dataclass
class Deadline:
    """One deadline of one referral."""

    kind: DeadlineKind
    start_time: datetime
    due_time: datetime
    stop_time: datetime | None = None
    pause_time: datetime | None = None
    fired_percent: int = 0

    @property
    def running(self) -> bool:
        """Neither stopped nor paused."""
        return self.stop_time is None and self.pause_time is None

    @property
    def next_percent(self) -> int | None:
        """The level that is told next; None after the last."""
        levels = (*LEVELS, EXPIRE_PERCENT) if self.kind is DeadlineKind.DECIDE else LEVELS
        return next((level for level in levels if level > self.fired_percent), None)

    @property
    def next_time(self) -> datetime | None:
        """When the next level is reached; None when nothing is to be told any more."""
        if not self.running or self.next_percent is None:
            return None
        return self.start_time + (self.due_time - self.start_time) * self.next_percent / 100

    def stop(self, now: datetime) -> None:
        """It is no longer waited for."""
        if self.stop_time is None:
            self.stop_time = now

    def pause(self, now: datetime) -> None:
        """The wait is somebody else's for a while."""
        if self.running:
            self.pause_time = now

    def resume(self, now: datetime) -> None:
        """The time of the pause is given back."""
        if self.pause_time is not None:
            shift = now - self.pause_time
            self.start_time += shift
            self.due_time += shift
            self.pause_time = None

    def restart(self, start: datetime, due: datetime) -> None:
        """It is counted anew, and its levels are told again."""
        self.start_time, self.due_time, self.fired_percent = start, due, 0

    def go_on(self) -> None:
        """It is waited for after all, until the same time."""
        self.stop_time = None

    def fire(self, now: datetime) -> int | None:
        """Notes the highest level that is reached by now and not yet told; None when there is none. A level that was slept through is not told late."""
        reached = None
        while (moment := self.next_time) is not None and moment <= now:
            reached = self.next_percent
            self.fired_percent = reached or 0
        return reached
