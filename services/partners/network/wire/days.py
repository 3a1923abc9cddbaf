"""Dates between messages and the domain."""

from datetime import date

from chassis.errors import Invalid


def day(path: str, text: str) -> date | None:
    """Returns the date, or None for an empty text. Raises Invalid."""
    if not text:
        return None
    try:
        value = date.fromisoformat(text)
    except ValueError as error:
        raise Invalid((path, "malformed")) from error
    # RFC 5545 repeats forever; a year 9999 would be counted through day by day
    if not 1900 <= value.year <= 2200:
        raise Invalid((path, "out_of_range"))
    return value
