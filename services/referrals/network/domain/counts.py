"""Counts of people for publication: small ones are left out, others are rounded to steps."""

from datetime import datetime, timedelta

SMALLEST = 10
"""The smallest count that is published; a smaller one could point to a person."""


STEP = 5
"""The step of published counts.

A reader who knows a part of a count can't compute the rest of the count.
"""


FEW = -1
"""Stands for an unpublished count; none and nine look the same."""


def published_count(count: int) -> int:
    """Returns a count in its published form; FEW below ten."""
    return count - count % STEP if count >= SMALLEST else FEW


STEP_OF_TIME = timedelta(hours=6)
"""The interval at which counts change that can be read again and again.

Such a count is taken as of the start of the present interval, and rounded to a multiple of STEP, so
that it does not reveal that one person comes or goes.
"""


def at_most(count: int) -> int:
    """Returns a count rounded up to a multiple of STEP; 0 for none."""
    return -(-count // STEP) * STEP


def time_step_of(now: datetime) -> datetime:
    """Returns the start of the present step of time: 00:00 UTC, 06:00, and so on."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (now - midnight) // STEP_OF_TIME * STEP_OF_TIME
