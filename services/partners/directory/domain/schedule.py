"""When people are received: the parts of an RFC 5545 rule (HSDS schedule), in the local time of the
place, which whoever asks brings along.

Public holidays close, unless a schedule says that it holds then, too. Limit: no hour exists twice;
a change of the clock by night is not looked at.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from itertools import pairwise
from typing import Any

from services.partners.network.domain.check import Check

DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_MONTHLY = re.compile(r"^(-1|[1-5])(MO|TU|WE|TH|FR|SA|SU)\Z")
_DAY = timedelta(days=1)
_LAST = -1
_ANY_DAY = date(2024, 1, 1)
_FIRST = date(1900, 1, 1)  # before it nobody says anything
# in fourteen months each month has begun on most days of the week
_EACH_WEEK, _EACH_MONTH = 8 * _DAY, 430 * _DAY


class Frequency(StrEnum):
    """How often."""

    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"


@dataclass(frozen=True)
class Schedule:
    """From an hour to another, which is no longer in it, on some days.

    An end before the beginning is the next day's; the same: for 24 hours.
    """

    freq: Frequency
    opens_at: time
    closes_at: time
    byday: tuple[str, ...] = ()
    valid_from: date | None = None
    valid_to: date | None = None
    holidays: bool = False

    def check(self, check: Check, path: str) -> None:
        """Notes what is wrong."""
        for number, day in enumerate(self.byday):
            if not (_MONTHLY.match(day) if self.freq is Frequency.MONTHLY else day in DAYS):
                check.say(f"{path}.byday.{number}", "unknown_code")
        if self.freq is Frequency.MONTHLY and not self.byday:
            check.say(f"{path}.byday", "required")
        if self.valid_from and self.valid_to and self.valid_to < self.valid_from:
            check.say(f"{path}.valid_to", "out_of_range")

    def is_of(self, day: date) -> bool:
        """Whether it begins on this day, were it no holiday."""
        if (self.valid_from and day < self.valid_from) or (self.valid_to and day > self.valid_to):
            return False
        name = DAYS[day.weekday()]
        if self.freq is Frequency.WEEKLY:
            return not self.byday or name in self.byday
        of_month = {f"{(day.day - 1) // 7 + 1}{name}"}
        if (day + 7 * _DAY).month != day.month:
            of_month.add(f"{_LAST}{name}")
        return not of_month.isdisjoint(self.byday)

    def times_of(self, day: date) -> tuple[datetime, datetime]:
        """From when to when, if it begins on this day."""
        ends = day if self.closes_at > self.opens_at else day + _DAY
        return datetime.combine(day, self.opens_at), datetime.combine(ends, self.closes_at)

    def said(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "freq": self.freq,
            "byday": list(self.byday),
            "opens_at": f"{self.opens_at:%H:%M}",
            "closes_at": f"{self.closes_at:%H:%M}",
            "valid_from": self.valid_from.isoformat() if self.valid_from else None,
            "valid_to": self.valid_to.isoformat() if self.valid_to else None,
            "holidays": self.holidays,
        }

    @classmethod
    def kept(cls, said: dict[str, Any]) -> "Schedule":
        """Of what was kept."""
        first, last = (
            date.fromisoformat(said[name]) if said[name] else None
            for name in ("valid_from", "valid_to")
        )
        opens, closes = (time.fromisoformat(said[name]) for name in ("opens_at", "closes_at"))
        return cls(
            Frequency(said["freq"]),
            opens,
            closes,
            tuple(said["byday"]),
            first,
            last,
            said["holidays"],
        )


def check_schedules(schedules: Sequence[Schedule], check: Check, path: str) -> None:
    """Notes what is wrong with each, and which say the same hours twice: of two that contradict
    each other nobody knows which holds.
    """
    for number, schedule in enumerate(schedules):
        schedule.check(check, f"{path}.{number}")
    for number in sorted(_twice(schedules)):
        check.say(f"{path}.{number}", "overlaps")


def hours(
    schedules: Sequence[Schedule],
    first: date,
    last: date,
    zone: tzinfo,
    is_holiday: Callable[[date], bool],
) -> list[tuple[datetime, datetime]]:
    """From when to when people are received on these days and the night before them, in their
    order; the times of two schedules may touch.
    """
    return sorted(
        (begins.replace(tzinfo=zone), ends.replace(tzinfo=zone))
        for day in _days(first - _DAY, last)
        for schedule in schedules
        if schedule.is_of(day) and (schedule.holidays or not is_holiday(day))
        for begins, ends in (schedule.times_of(day),)
    )


def _twice(schedules: Sequence[Schedule]) -> set[int]:
    """The numbers of those that begin while an earlier one holds.

    Two meet first where the later of them becomes valid, or after ever: it is looked from there, so
    far that each pattern of days comes up.
    """
    span = (
        _EACH_WEEK
        if all(schedule.freq is Frequency.WEEKLY for schedule in schedules)
        else _EACH_MONTH
    )
    ends = [schedule.valid_to for schedule in schedules if schedule.valid_to]
    starts = {
        schedule.valid_from or min([_ANY_DAY, *(max(end, _FIRST) - span for end in ends)])
        for schedule in schedules
    }
    twice = set()
    for start in starts:
        held = sorted(
            (*schedule.times_of(day), number)
            for day in _days(start - _DAY, start + span)
            for number, schedule in enumerate(schedules)
            if schedule.is_of(day)
        )
        twice |= {
            max(one, other)
            for (_, ends_at, one), (begins, _, other) in pairwise(held)
            if begins < ends_at
        }
    return twice


def _days(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += _DAY
