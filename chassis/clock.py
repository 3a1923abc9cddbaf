"""The clock: the only module that reads the machine's time."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

AHEAD = timedelta(minutes=1)
"""The largest difference expected between the clocks of two processes. If a stored time lies
further in the future, a clock was wrong.
"""


class Clock(Protocol):
    """Supplies the current time.

    Everything that needs the time takes a Clock, so that tests control it.
    """

    def now(self) -> datetime:
        """Returns the current time in UTC, with its zone."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Returns the current time in UTC, with its zone."""
        return datetime.now(UTC)
