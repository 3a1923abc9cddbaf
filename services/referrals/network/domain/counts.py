"""Counts of people as others may read them: small ones are not published, the rest in steps."""

from datetime import datetime, timedelta

SMALLEST = 10
"""A count below it could point to a person."""


STEP = 5
"""Who knows her own part of a count does not learn the rest of it."""


FEW = -1
"""Stands for a figure in which nothing is published; none and nine look the same."""


def told(count: int) -> int:
    """A count as it may be told; FEW below ten."""
    return count - count % STEP if count >= SMALLEST else FEW


STEP_OF_TIME = timedelta(hours=6)
"""Counts that somebody could read again and again are as of such a step of time, and rise by STEP,
so that they tell of nobody who comes or goes.
"""


def at_most(count: int) -> int:
    """Returns the multiple of STEP that a count does not exceed; 0 for none."""
    return -(-count // STEP) * STEP


def time_step_of(now: datetime) -> datetime:
    """Returns when the step of time began in which this moment is: 00:00 UTC, 06:00, and so on."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (now - midnight) // STEP_OF_TIME * STEP_OF_TIME
