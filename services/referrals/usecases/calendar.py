"""Working days by country, from the `holidays` library; offices are taken to be closed on Saturdays and Sundays."""

from datetime import date
from functools import cache

import holidays
from holidays import HolidayBase


class CountryCalendar:
    """The calendar of one country; an unknown one has weekends only."""

    def __init__(self, country: str) -> None:
        self._holidays = _of(country if country in holidays.list_supported_countries() else "")

    def is_working_day(self, day: date) -> bool:
        """Whether offices are open."""
        return day.weekday() < 5 and (self._holidays is None or day not in self._holidays)


@cache
def _of(country: str) -> HolidayBase | None:
    return holidays.country_holidays(country) if country else None
