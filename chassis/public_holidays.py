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
    """Returns the holidays of one year. A calendar of the library is not shared by threads: it adds
    a year when it is first asked about it, and two years at once get mixed up.
    """
    if country not in holidays.list_supported_countries():
        return frozenset()
    return frozenset(holidays.country_holidays(country, years=year))
