"""The current date and time, read through an interface that tests can replace."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

MAX_CLOCK_DIFFERENCE = timedelta(minutes=1)
"""The largest difference expected between the clocks of two processes. If a stored time lies
further in the future, a clock was wrong.
"""


class Clock(Protocol):
    """Supplies the current time.

    Rules that depend on the time take a Clock, so that tests control the time.
    """

    def now(self) -> datetime:
        """Returns the current time in UTC, with its zone."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Returns the current time in UTC, with its zone."""
        return datetime.now(UTC)
