"""Counts of people for publication: small counts are left out, and other counts are rounded."""

from datetime import datetime, timedelta

SMALLEST = 10
"""The smallest count that is published; a smaller count could point to a person."""


STEP = 5
"""The unit to which counts are rounded.

A reader who knows one part of a count can't compute the other part from a rounded count.
"""


FEW = -1
"""Stands for an unpublished count, so that zero and nine look the same."""


def published_count(count: int) -> int:
    """Returns a count rounded down to a multiple of STEP; FEW if it is below SMALLEST."""
    return count - count % STEP if count >= SMALLEST else FEW


STEP_OF_TIME = timedelta(hours=6)
"""How often a published count may change, if readers can look it up at any time.

Such a count is taken at the start of the present interval, and rounded to a multiple of STEP, so
that it does not reveal that one person comes or goes.
"""


def round_up(count: int) -> int:
    """Returns a count rounded up to a multiple of STEP; 0 for none."""
    return -(-count // STEP) * STEP


def time_step_of(now: datetime) -> datetime:
    """Returns the start of the present interval: 00:00, 06:00, 12:00 or 18:00 UTC."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (now - midnight) // STEP_OF_TIME * STEP_OF_TIME
