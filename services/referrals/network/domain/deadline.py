"""Clocks: a deadline that is watched, with what is told at 50, 100 and 150 per cent of it; and the
policy that sets them.
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
    """How soon; it sets the deadlines."""

    NORMAL = "normal"
    URGENT = "urgent"
    EMERGENCY = "emergency"
    IMMEDIATE = "immediate"

    @property
    def rank(self) -> int:
        """0 for normal up to 3 for immediate."""
        return list(Urgency).index(self)


def check_urgency(urgency: Urgency, answers: Urgency | None, reason_code: str) -> None:
    """Refuses an urgency below the one that her answers on the line give, without a coded reason.

    `answers`: None where nothing decides it.
    """
    if answers is not None and urgency.rank < answers.rank and not reason_code:
        raise Invalid(("urgency_reason_code", "required"))


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
    DRAFT = "draft"
    CONTACT = "contact"
    HIV_PROPHYLAXIS = "hiv_prophylaxis"
    EMERGENCY_CONTRACEPTION = "emergency_contraception"
    CALLBACK = "callback"


class Calendar(Protocol):
    """Knows the working days of a country, and how long its network gives."""

    def is_working_day(self, moment: datetime) -> bool:
        """Whether offices are open on the day that it is there: Friday evening in Managua is
        Saturday in UTC.
        """

    def policy(self, version: int = 0) -> "Policy":
        """One version of the network's policy; 0: the newest."""


LEVELS = (50, 100, 150)
EXPIRE_PERCENT = 200
"""Of DECIDE: nobody answered, and the referral ends so that another service can be asked.

Its receiver was reminded and both desks and the coordination told before.
"""
SOON = timedelta(hours=4)
"""What is due within it, and not yet late, is due soon."""

SILENCE_AFTER_NEWS = timedelta(days=30)
"""In the place of SILENCE once there was news and no appointment is open."""
OVERRIDE_CONFIRM = timedelta(hours=12)
"""In which a second person confirms an override, or it opens nothing any more: the next shift is
there by then.
"""
OVERRIDE_END = timedelta(hours=72)
DELETION = timedelta(hours=72)
"""In which whoever received something confirms that it holds nothing more of a person who took her
consent back.
"""
Span = timedelta | int
"""How long; a number is of working days."""
SPAN_BY_URGENCY = (DeadlineKind.ACKNOWLEDGE, DeadlineKind.DECIDE, DeadlineKind.FIRST_CONTACT)
SPAN_FOR_ANY = (DeadlineKind.SILENCE, DeadlineKind.CLOSE)
# What came back without help is looked for elsewhere as soon as somebody would have had to decide;
# a question is answered, a draft sent, and a contact of the line seen to, as soon as a referral is
# seen.
AS_LONG_AS = {
    DeadlineKind.REPLACE: DeadlineKind.DECIDE,
    DeadlineKind.ANSWER: DeadlineKind.ACKNOWLEDGE,
    DeadlineKind.DRAFT: DeadlineKind.ACKNOWLEDGE,
    DeadlineKind.CONTACT: DeadlineKind.ACKNOWLEDGE,
}
BY_URGENCY = frozenset({*SPAN_BY_URGENCY, *AS_LONG_AS})
"""Clocks that go by the urgency."""
# From an assault on: until then medicine against HIV, and against a pregnancy, can be begun (WHO,
# Responding to children and adolescents who have been sexually abused, 2017, and its clinical
# handbook of 2014: 72 hours and 120).
HEALTH = {
    DeadlineKind.HIV_PROPHYLAXIS: timedelta(hours=72),
    DeadlineKind.EMERGENCY_CONTRACEPTION: timedelta(hours=120),
}
# What guards a person, and no policy makes longer.
FIXED = {
    DeadlineKind.DELETION: DELETION,
    DeadlineKind.OVERRIDE_CONFIRM: OVERRIDE_CONFIRM,
    DeadlineKind.OVERRIDE_END: OVERRIDE_END,
    **HEALTH,
}
SHORTEST, LONGEST = timedelta(minutes=5), timedelta(days=90)
_DAY = timedelta(days=1)
# Whoever may publish a policy can be wrong, or bought: in danger nobody is left to wait for longer
# than this.
LONGEST_IN_DANGER = {Urgency.IMMEDIATE: _DAY, Urgency.EMERGENCY: 3 * _DAY}
Key = tuple[Urgency | None, DeadlineKind]
"""For which urgency (None: for any), and what is waited for."""
KEYS: tuple[Key, ...] = (
    *((urgency, kind) for urgency in Urgency for kind in SPAN_BY_URGENCY),
    *((None, kind) for kind in SPAN_FOR_ANY),
)
"""What a policy says."""


@dataclass(frozen=True)
class Policy:
    """How long the network gives for what is waited for.

    A version never changes; a clock goes by the one under which it began.
    """

    version: int
    spans: Mapping[Key, Span]

    def span(self, kind: DeadlineKind, urgency: Urgency) -> Span:
        """How long there is."""
        if kind in FIXED:
            return FIXED[kind]
        kind = AS_LONG_AS.get(kind, kind)
        return self.spans[None if kind in SPAN_FOR_ANY else urgency, kind]

    def all(self) -> list[tuple[Key, Span]]:
        """All spans, also those that follow from others or are fixed; first what a policy says."""
        follow = [
            ((urgency, kind), self.span(kind, urgency))
            for urgency in Urgency
            for kind in AS_LONG_AS
        ]
        return [
            *((key, self.spans[key]) for key in KEYS),
            *follow,
            *(((None, kind), span) for kind, span in FIXED.items()),
        ]

    def check(self) -> None:
        """Refuses what is not whole, is too short or too long, gives more time for what is more
        urgent, or less to decide than to acknowledge.
        """
        wrong = [(path_of(key), "required") for key in KEYS if key not in self.spans]
        wrong += [(path_of(key), "unknown_code") for key in self.spans if key not in KEYS]
        for key, span in self.spans.items():
            # Nobody in danger waits until Monday.
            by_days = isinstance(span, int) and (key[0] is None or key[0] in LONGEST_IN_DANGER)
            longest = LONGEST_IN_DANGER.get(key[0], LONGEST) if key[0] else LONGEST
            if by_days or not SHORTEST <= _at_least(span) <= longest:
                wrong.append((path_of(key), "out_of_range"))
        if not wrong:
            longer = [
                ((more, kind), (less, kind))
                for less, more in pairwise(Urgency)
                for kind in SPAN_BY_URGENCY
            ]
            longer += [
                ((urgency, DeadlineKind.ACKNOWLEDGE), (urgency, DeadlineKind.DECIDE))
                for urgency in Urgency
            ]
            wrong += [
                (path_of(key), "not_in_order")
                for key, other in longer
                if _at_least(self.spans[key]) > _at_least(self.spans[other])
            ]
        if wrong:
            raise Invalid(*dict.fromkeys(wrong))

    def check_following(self, said: Mapping[Key, Span], before: "Policy") -> None:
        """Refuses what is said to follow from this policy and does neither, nor from the one
        before: a fixed span, above all, is nobody's to change.
        """
        possible = [dict(before.all()), dict(self.all())]
        wrong = [
            (path_of(key), "out_of_range")
            for key, span in said.items()
            if all(span != spans[key] for spans in possible)
        ]
        if wrong:
            raise Invalid(*wrong)


def follows(key: Key) -> bool:
    """Whether how long there is for this is no word of a policy's own: it is as long as another, or
    fixed.
    """
    urgency, kind = key
    return kind in (AS_LONG_AS if urgency else FIXED)


def path_of(key: Key) -> str:
    """How a refusal names what a policy says."""
    return f"deadlines.{key[0].value}.{key[1].value}" if key[0] else f"deadlines.{key[1].value}"


def _at_least(span: Span) -> timedelta:
    return span if isinstance(span, timedelta) else span * _DAY


def _first() -> Policy:
    # Two working days are counted by the calendar; "same day" is 12 hours, so that a call at 23:50
    # has a deadline that can be met.
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


FIRST_POLICY = _first()
"""Version 1, which every network begins with."""


def due_time(
    kind: DeadlineKind, urgency: Urgency, start: datetime, calendar: Calendar, version: int = 0
) -> datetime:
    """When a clock that starts now is due, by a version of the policy; 0: the newest."""
    span = calendar.policy(version).span(kind, urgency)
    if isinstance(span, timedelta):
        return start + span
    end = start
    while span:
        end += _DAY
        if calendar.is_working_day(end):
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
    policy_version: int = 1

    @property
    def running(self) -> bool:
        """Neither stopped nor paused."""
        return self.stop_time is None and self.pause_time is None

    @property
    def next_percent(self) -> int | None:
        """The level that is told next; None after the last.

        Of a health clock none: what befell her is in no fact or message.
        """
        if self.kind in HEALTH:
            return None
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

    def recount(self, now: datetime, urgency: Urgency, calendar: Calendar) -> None:
        """As long as it lasts by another urgency, under its own version: shorter, it begins anew,
        so that it isn't over before anybody knew.
        """
        due = partial(due_time, self.kind, urgency, calendar=calendar, version=self.policy_version)
        if due(self.start_time) > self.due_time:
            self.due_time = due(self.start_time)
        elif (sooner := due(self.pause_time or now)) < self.due_time:
            self.restart(self.pause_time or now, sooner)

    def restart(self, start: datetime, due: datetime) -> None:
        """It is counted anew, and its levels are told again."""
        self.start_time, self.due_time, self.fired_percent = start, due, 0

    def go_on(self) -> None:
        """It is waited for after all, until the same time."""
        self.stop_time = None

    def fire(self, now: datetime) -> int | None:
        """Notes the highest level that is reached by now and not yet told; None when there is none.

        A level that was slept through is not told late.
        """
        reached = None
        while (moment := self.next_time) is not None and moment <= now:
            reached = self.next_percent
            self.fired_percent = reached or 0
        return reached


def recent(assault_time: datetime | None, now: datetime) -> datetime | None:
    """When an assault was, while a health clock could run."""
    return assault_time if assault_time and now - assault_time < max(HEALTH.values()) else None


def assault_to_the_hour(
    path: str, time: datetime, now: datetime, known: datetime | None
) -> datetime:
    """No more is known, and no more than is needed is kept.

    Refuses what is to come, or so long ago that no health clock runs any more; what is known
    already may be said again, as a form does.
    """
    hour = time.replace(minute=0, second=0, microsecond=0)
    if hour != known:
        check_between(path, now - max(HEALTH.values()), time, now)
    return hour


CLOCK = [each.name for each in fields(Deadline) if each.name != "kind"]
"""What is kept of a deadline, under the same names."""
