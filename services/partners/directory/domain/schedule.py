"""The hours at which people are received, as the parts of an RFC 5545 rule (HSDS schedule).

Times are the local time of the place, and the caller passes the time zone. A schedule does not
apply on public holidays unless it states that it does. A time that does not exist because the
clocks go forward counts as the time an hour later. Limitation: an hour that occurs twice because
the clocks go back gets no special treatment.
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
_FIRST_DAY = date(1900, 1, 1)  # no schedule starts before this day
# 430 days: of fourteen months in a row, at least one begins on each day of the week
_WEEKLY_SPAN, _MONTHLY_SPAN = 8 * _DAY, 430 * _DAY


class Frequency(StrEnum):
    """The period in which a schedule repeats."""

    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"


@dataclass(frozen=True)
class Schedule:
    """Hours on some days, from the opening time up to, but not including, the closing time.

    A closing time before the opening time is on the next day. Equal times mean 24 hours.
    """

    freq: Frequency
    opens_at: time
    closes_at: time
    byday: tuple[str, ...] = ()
    valid_from: date | None = None
    valid_to: date | None = None
    holidays: bool = False

    def check(self, check: Check, path: str) -> None:
        """Records in `check` what is wrong with the schedule."""
        for number, day in enumerate(self.byday):
            if not (_MONTHLY.match(day) if self.freq is Frequency.MONTHLY else day in DAYS):
                check.refuse(f"{path}.byday.{number}", "unknown_code")
        if self.freq is Frequency.MONTHLY and not self.byday:
            check.refuse(f"{path}.byday", "required")
        if self.valid_from and self.valid_to and self.valid_to < self.valid_from:
            check.refuse(f"{path}.valid_to", "out_of_range")

    def begins_on(self, day: date) -> bool:
        """Returns whether the hours begin on this day. Holidays are not considered."""
        if (self.valid_from and day < self.valid_from) or (self.valid_to and day > self.valid_to):
            return False
        name = DAYS[day.weekday()]
        if self.freq is Frequency.WEEKLY:
            return not self.byday or name in self.byday
        names_in_month = {f"{(day.day - 1) // 7 + 1}{name}"}
        if (day + 7 * _DAY).month != day.month:
            names_in_month.add(f"{_LAST}{name}")
        return not names_in_month.isdisjoint(self.byday)

    def times_of(self, day: date) -> tuple[datetime, datetime]:
        """Returns the opening and closing times of hours that begin on this day."""
        closing_day = day if self.closes_at > self.opens_at else day + _DAY
        return datetime.combine(day, self.opens_at), datetime.combine(closing_day, self.closes_at)

    def to_dict(self) -> dict[str, Any]:
        """Returns the schedule as a JSON object, the form in which it is stored."""
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
    def from_dict(cls, fields: dict[str, Any]) -> "Schedule":
        """Returns the schedule in an object that `to_dict` returned."""
        valid_from, valid_to = (
            date.fromisoformat(fields[name]) if fields[name] else None
            for name in ("valid_from", "valid_to")
        )
        return cls(
            Frequency(fields["freq"]),
            time.fromisoformat(fields["opens_at"]),
            time.fromisoformat(fields["closes_at"]),
            tuple(fields["byday"]),
            valid_from,
            valid_to,
            fields["holidays"],
        )


def check_schedules(schedules: Sequence[Schedule], check: Check, path: str) -> None:
    """Records what is wrong with each schedule. If schedules overlap, records at least one of them.

    If two schedules overlap, nobody knows which one applies.
    """
    for number, schedule in enumerate(schedules):
        schedule.check(check, f"{path}.{number}")
    for number in sorted(_overlapping(schedules)):
        check.refuse(f"{path}.{number}", "overlaps")


def hours(
    schedules: Sequence[Schedule],
    first: date,
    last: date,
    zone: tzinfo,
    is_holiday: Callable[[date], bool],
) -> list[tuple[datetime, datetime]]:
    """Returns the (opening, closing) times of hours that begin on these days, in order.

    The day before `first` is included because its hours may go past midnight. One schedule may open
    at the moment when another closes. Hours that vanish because the clocks go forward are left out.
    """
    times = sorted(
        (opening_time.replace(tzinfo=zone), closing_time.replace(tzinfo=zone))
        for day in _days(first - _DAY, last)
        for schedule in schedules
        if schedule.begins_on(day) and (schedule.holidays or not is_holiday(day))
        for opening_time, closing_time in (schedule.times_of(day),)
    )
    # Python compares datetimes of one zone as local times, so the moments are compared instead.
    return [
        (opening_time, closing_time)
        for opening_time, closing_time in times
        if opening_time.timestamp() < closing_time.timestamp()
    ]


def _overlapping(schedules: Sequence[Schedule]) -> set[int]:
    """Returns numbers of schedules that overlap a schedule with a smaller number.

    Only consecutive hours are compared: if any schedules overlap, at least one of them is returned,
    but not necessarily all. Two schedules can overlap only from the day on which the later one
    becomes valid. So the check starts on that day, and covers enough days for each pattern of days
    to occur.
    """
    span = (
        _WEEKLY_SPAN
        if all(schedule.freq is Frequency.WEEKLY for schedule in schedules)
        else _MONTHLY_SPAN
    )
    ends = [schedule.valid_to for schedule in schedules if schedule.valid_to]
    starts = {
        schedule.valid_from or min([_ANY_DAY, *(max(end, _FIRST_DAY) - span for end in ends)])
        for schedule in schedules
    }
    overlapping = set()
    for start in starts:
        spans = sorted(
            (*schedule.times_of(day), number)
            for day in _days(start - _DAY, start + span)
            for number, schedule in enumerate(schedules)
            if schedule.begins_on(day)
        )
        overlapping |= {
            max(number_before, number_after)
            for (_, ends_at, number_before), (begins, _, number_after) in pairwise(spans)
            if begins < ends_at
        }
    return overlapping


def _days(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += _DAY
