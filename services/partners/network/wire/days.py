"""Converts the dates in messages to dates of the domain."""

from datetime import date

from chassis.errors import Invalid


def day(path: str, text: str) -> date | None:
    """Returns the date; None for an empty text.

    Raises Invalid if the text is not a date, or the year is not between 1900 and 2200.
    """
    if not text:
        return None
    try:
        result = date.fromisoformat(text)
    except ValueError as error:
        raise Invalid((path, "malformed")) from error
    # schedules are computed day by day: a year such as 9999 would take too long
    if not 1900 <= result.year <= 2200:
        raise Invalid((path, "out_of_range"))
    return result
