"""Deadlines, and the policies that set their spans.

A deadline is reported at 50, 100 and 150 per cent of its span. The deadline to decide is also
reported at 200 per cent; a health deadline is never reported.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Protocol

from chassis.errors import Invalid
from services.referrals.network.domain.codes import check_between


class Urgency(Enum):
    """The urgency of a request; it sets the deadlines."""

    NORMAL = "normal"
    URGENT = "urgent"
    EMERGENCY = "emergency"
    IMMEDIATE = "immediate"

    @property
    def rank(self) -> int:
        """Returns the rank, from 0 for normal to 3 for immediate."""
        return list(Urgency).index(self)


def check_urgency(
    urgency: Urgency, answered_urgency: Urgency | None, reason_code: str, path: str = ""
) -> None:
    """Refuses an urgency below the urgency of a contact's answers, unless a reason is given.

    `answered_urgency` is the urgency that follows from the answers; None if they leave it open.
    `path` precedes the field's name in the refusal.
    """
    if answered_urgency is not None and urgency.rank < answered_urgency.rank and not reason_code:
        raise Invalid((f"{path}urgency_reason_code", "required"))


class DeadlineKind(Enum):
    """The kind of a deadline: the event that it waits for."""

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
    DRAFT = "draft"
    CONTACT = "contact"
    HIV_PROPHYLAXIS = "hiv_prophylaxis"
    EMERGENCY_CONTRACEPTION = "emergency_contraception"
    CALLBACK = "callback"


class Calendar(Protocol):
    """The working days of a country, and the deadlines of the network."""

    def after_working_days(self, start: datetime, count: int) -> datetime:
        """Returns the same local time, `count` working days later.

        The local day can differ from the day in UTC: Friday evening in Managua is Saturday in UTC.
        """

    def policy(self, version: int = 0) -> "Policy":
        """Returns one version of the network's policy; 0 means the newest."""


LEVELS = (50, 100, 150)
EXPIRE_PERCENT = 200
"""The level of DECIDE at which a referral expires, so that a different service can be asked.

By then nobody has decided, although the receiver was reminded, and both desks and the coordinators
were notified.
"""
SOON = timedelta(hours=4)
"""The remaining time below which a deadline counts as due soon."""

SILENCE_AFTER_NEWS = timedelta(days=30)
"""The span of SILENCE after news about the person, while no appointment is open."""
OVERRIDE_CONFIRM = timedelta(hours=12)
"""How long a second person has to confirm an override.

An override that is not confirmed by then opens nothing. The time is long enough to reach into the
next shift.
"""
OVERRIDE_END = timedelta(hours=72)
DELETION = timedelta(hours=72)
"""How long a receiver has to confirm that it no longer holds data about a person.

The time begins when the person withdraws her consent.
"""
Span = timedelta | int
"""A span of time; an integer is a number of working days."""
SPAN_BY_URGENCY = (DeadlineKind.ACKNOWLEDGE, DeadlineKind.DECIDE, DeadlineKind.FIRST_CONTACT)
SPAN_FOR_ANY = (DeadlineKind.SILENCE, DeadlineKind.CLOSE)
# Deadlines with the span of another deadline. A sender has as much time to replace a referral that
# came back as a receiver has to decide. The time to answer a question, send a draft, or act on a
# contact of the line is the time to acknowledge a referral.
DERIVED_FROM = {
    DeadlineKind.REPLACE: DeadlineKind.DECIDE,
    DeadlineKind.ANSWER: DeadlineKind.ACKNOWLEDGE,
    DeadlineKind.DRAFT: DeadlineKind.ACKNOWLEDGE,
    DeadlineKind.CONTACT: DeadlineKind.ACKNOWLEDGE,
}
BY_URGENCY = frozenset({*SPAN_BY_URGENCY, *DERIVED_FROM})
"""Deadlines that depend on the urgency."""
# The time after an assault within which medicine against HIV, or against pregnancy, can be started
# (WHO, Responding to children and adolescents who have been sexually abused, 2017, and its clinical
# handbook of 2014: 72 hours and 120).
HEALTH = {
    DeadlineKind.HIV_PROPHYLAXIS: timedelta(hours=72),
    DeadlineKind.EMERGENCY_CONTRACEPTION: timedelta(hours=120),
}
# The spans of deadlines that protect a person; no policy may change them.
FIXED = {
    DeadlineKind.DELETION: DELETION,
    DeadlineKind.OVERRIDE_CONFIRM: OVERRIDE_CONFIRM,
    DeadlineKind.OVERRIDE_END: OVERRIDE_END,
    **HEALTH,
}
SHORTEST, LONGEST = timedelta(minutes=5), timedelta(days=90)
_DAY = timedelta(days=1)
# The longest deadlines for people in danger. A coordinator who publishes a policy might be wrong,
# or bribed, and so might a receiver who chooses when to review its waiting list.
LONGEST_IN_DANGER = {Urgency.IMMEDIATE: _DAY, Urgency.EMERGENCY: 3 * _DAY}
Key = tuple[Urgency | None, DeadlineKind]
"""The urgency (None for any urgency) and the kind of a deadline."""
KEYS: tuple[Key, ...] = (
    *((urgency, kind) for urgency in Urgency for kind in SPAN_BY_URGENCY),
    *((None, kind) for kind in SPAN_FOR_ANY),
)
"""The keys that a policy must have."""


@dataclass(frozen=True)
class Policy:
    """One version of the network's deadline policy; a version never changes.

    A deadline keeps the version under which it was started.
    """

    version: int
    spans: Mapping[Key, Span]

    def span(self, kind: DeadlineKind, urgency: Urgency) -> Span:
        """Returns the span of a deadline."""
        if kind in FIXED:
            return FIXED[kind]
        kind = DERIVED_FROM.get(kind, kind)
        return self.spans[None if kind in SPAN_FOR_ANY else urgency, kind]

    def all(self) -> list[tuple[Key, Span]]:
        """Returns all spans: first the policy's own spans, then derived spans, then fixed spans."""
        derived_spans = [
            ((urgency, kind), self.span(kind, urgency))
            for urgency in Urgency
            for kind in DERIVED_FROM
        ]
        return [
            *((key, self.spans[key]) for key in KEYS),
            *derived_spans,
            *(((None, kind), span) for kind, span in FIXED.items()),
        ]

    def check(self) -> None:
        """Refuses a policy that is incomplete or contradictory.

        No span may be too short or too long. More urgent referrals may not get more time, and the
        time to decide may not be shorter than the time to acknowledge.
        """
        violations = [(path_of(key), "required") for key in KEYS if key not in self.spans]
        violations += [(path_of(key), "unknown_code") for key in self.spans if key not in KEYS]
        for key, span in self.spans.items():
            # spans that can concern people in danger must not count working days, so that nobody in
            # danger waits until Monday
            by_days = isinstance(span, int) and (key[0] is None or key[0] in LONGEST_IN_DANGER)
            longest = LONGEST_IN_DANGER.get(key[0], LONGEST) if key[0] else LONGEST
            if by_days or not SHORTEST <= _min_duration(span) <= longest:
                violations.append((path_of(key), "out_of_range"))
        if not violations:
            pairs = [
                ((higher, kind), (lower, kind))
                for lower, higher in pairwise(Urgency)
                for kind in SPAN_BY_URGENCY
            ]
            pairs += [
                ((urgency, DeadlineKind.ACKNOWLEDGE), (urgency, DeadlineKind.DECIDE))
                for urgency in Urgency
            ]
            violations += [
                (path_of(key), "not_in_order")
                for key, other in pairs
                if _min_duration(self.spans[key]) > _min_duration(self.spans[other])
            ]
        if violations:
            raise Invalid(*dict.fromkeys(violations))

    def check_following(self, derived: Mapping[Key, Span], previous_policy: "Policy") -> None:
        """Refuses a derived or fixed span that is neither in this policy nor in `previous_policy`.

        So nobody can change a fixed span.
        """
        possible_spans = [dict(previous_policy.all()), dict(self.all())]
        violations = [
            (path_of(key), "out_of_range")
            for key, span in derived.items()
            if all(span != spans[key] for spans in possible_spans)
        ]
        if violations:
            raise Invalid(*violations)


def is_fixed_or_derived(key: Key) -> bool:
    """Returns whether the span of a key is fixed, or derived from the span of another key."""
    urgency, kind = key
    return kind in (DERIVED_FROM if urgency else FIXED)


def path_of(key: Key) -> str:
    """Returns the path of a key's field, as a refusal names it."""
    return f"deadlines.{key[0].value}.{key[1].value}" if key[0] else f"deadlines.{key[1].value}"


def _min_duration(span: Span) -> timedelta:
    return span if isinstance(span, timedelta) else span * _DAY


def _first_policy() -> Policy:
    # The integer 2 stands for two working days. "Same day" is 12 hours, so that the deadline of a
    # call at 23:50 can be met.
    hour, day = timedelta(hours=1), _DAY
    rows: dict[Urgency, tuple[Span, Span, Span]] = {
        Urgency.IMMEDIATE: (hour / 4, hour, 12 * hour),
        Urgency.EMERGENCY: (hour, 24 * hour, 24 * hour),
        Urgency.URGENT: (24 * hour, 72 * hour, 72 * hour),
        Urgency.NORMAL: (2, 14 * day, 14 * day),
    }
    spans: dict[Key, Span] = {
        (urgency, kind): span
        for urgency, row in rows.items()
        for kind, span in zip(SPAN_BY_URGENCY, row, strict=True)
    }
    return Policy(
        1,
        MappingProxyType(
            spans | {(None, DeadlineKind.SILENCE): 7 * day, (None, DeadlineKind.CLOSE): 14 * day}
        ),
    )


FIRST_POLICY = _first_policy()
"""Version 1, which applies until a network publishes another version."""


def due_time(
    kind: DeadlineKind, urgency: Urgency, start: datetime, calendar: Calendar, version: int = 0
) -> datetime:
    """Returns the due time of a deadline that starts at `start`.

    `version` is the version of the policy; 0 means the newest.
    """
    span = calendar.policy(version).span(kind, urgency)
    if isinstance(span, timedelta):
        return start + span
    return calendar.after_working_days(start, span)


@dataclass
class Deadline:
    """A deadline of a referral, contact or callback."""

    kind: DeadlineKind
    start_time: datetime
    due_time: datetime
    stop_time: datetime | None = None
    pause_time: datetime | None = None
    fired_percent: int = 0
    policy_version: int = 1

    @property
    def running(self) -> bool:
        """Returns whether the deadline is neither stopped nor paused."""
        return self.stop_time is None and self.pause_time is None

    @property
    def next_percent(self) -> int | None:
        """Returns the next level to be reported, in per cent; None after the last level.

        A health deadline has no levels, so that no fact or notification reveals the assault.
        """
        if self.kind in HEALTH:
            return None
        return next((level for level in self._levels if level > self.fired_percent), None)

    @property
    def next_time(self) -> datetime | None:
        """Returns the time of the next level; None if none is left or the deadline does not run."""
        if not self.running or self.next_percent is None:
            return None
        return self._time_of(self.next_percent)

    @property
    def _levels(self) -> tuple[int, ...]:
        return (*LEVELS, EXPIRE_PERCENT) if self.kind is DeadlineKind.DECIDE else LEVELS

    def _time_of(self, percent: int) -> datetime:
        return self.start_time + (self.due_time - self.start_time) * percent / 100

    def stop(self, now: datetime) -> None:
        """Stops the deadline."""
        if self.stop_time is None:
            self.stop_time = now

    def pause(self, now: datetime) -> None:
        """Pauses the deadline while another side has to act."""
        if self.running:
            self.pause_time = now

    def resume(self, now: datetime) -> None:
        """Resumes the deadline if it is paused; its times move by the length of the pause."""
        if self.pause_time is not None:
            shift = now - self.pause_time
            self.start_time += shift
            self.due_time += shift
            self.pause_time = None

    def adapt(self, now: datetime, urgency: Urgency, calendar: Calendar) -> None:
        """Adapts the deadline to a new urgency, under its own version of the policy.

        A longer span prolongs the deadline. The new due time is reported when it passes, even if
        the earlier one was reported; the reminder before it is not repeated. A shorter span starts
        now, or when the deadline was paused, so that the deadline can't have passed before anybody
        knows about it. A deadline that begins later keeps its beginning. The shorter span changes
        nothing if it would end after the present due time or, once that time has passed, after the
        next report.
        """
        due_from = partial(
            due_time, self.kind, urgency, calendar=calendar, version=self.policy_version
        )
        present_time = self.pause_time or now
        start = max(present_time, self.start_time)
        if due_from(self.start_time) > self.due_time:
            self.due_time = due_from(self.start_time)
            self.fired_percent = max(
                (
                    level
                    for level in self._levels
                    if level <= self.fired_percent
                    and (level == LEVELS[0] or self._time_of(level) <= present_time)
                ),
                default=0,
            )
        elif due_from(self.start_time) < self.due_time:
            limit: datetime | None = self.due_time
            if self.due_time <= present_time:
                limit = self._time_of(self.next_percent) if self.next_percent else None
            sooner_time = due_from(start)
            if limit is None or sooner_time < limit:
                self.restart(start, sooner_time)

    def restart(self, start: datetime, due: datetime) -> None:
        """Starts the deadline again with new times; all levels will be reported again."""
        self.start_time, self.due_time, self.fired_percent = start, due, 0

    def undo_stop(self) -> None:
        """Undoes the stop of the deadline; the due time stays the same."""
        self.stop_time = None

    def fire(self, now: datetime) -> int | None:
        """Records and returns the highest level reached since the last call; None if there is none.

        Lower levels that were missed are not reported.
        """
        percent = None
        while (moment := self.next_time) is not None and moment <= now:
            percent = self.next_percent
            self.fired_percent = percent or 0
        return percent


def recent_assault_time(assault_time: datetime | None, now: datetime) -> datetime | None:
    """Returns the time of an assault as long as any health deadline could run; None after that."""
    return assault_time if assault_time and now - assault_time < max(HEALTH.values()) else None


def assault_to_the_hour(
    path: str, time: datetime, now: datetime, stored_time: datetime | None
) -> datetime:
    """Returns the time of an assault, rounded down to the hour.

    A more exact time is neither known nor needed. Refuses a time in the future, or a time so long
    ago that no health deadline runs. The stored time may always be sent again, since a form does
    that.
    """
    hour = time.replace(minute=0, second=0, microsecond=0)
    if hour != stored_time:
        check_between(path, now - max(HEALTH.values()), time, now)
    return hour


CLOCK_FIELDS = [field.name for field in fields(Deadline) if field.name != "kind"]
"""The attributes of a deadline that are stored.

Their columns have the same names, in some tables with the prefix clock_.
"""
