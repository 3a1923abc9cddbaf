"""Public holidays of the countries of the region, from the `holidays` library."""

from datetime import date
from functools import cache

import holidays


def is_public_holiday(country: str, day: date) -> bool:
    """Returns True if the day is a public holiday in the whole country; False for an unknown
    country.
    """
    return day in _holidays(country, day.year)


@cache
def _holidays(country: str, year: int) -> frozenset[date]:
    """Returns the holidays of one year, from a separate calendar. A shared calendar of the library
    adds each year on demand, and mixes up years that two threads add at once.
    """
    if country not in holidays.list_supported_countries():
        return frozenset()
    return frozenset(holidays.country_holidays(country, years=year))
