"""The clock: the only module that asks the machine for the time."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

AHEAD = timedelta(minutes=1)
"""How far ahead of this clock another process's may have written; a time that lies further ahead
was written by a clock that was wrong.
"""


class Clock(Protocol):
    """Supplies the current time.

    Everything that needs it takes a Clock, so that tests control it.
    """

    def now(self) -> datetime:
        """The time in UTC, with its zone."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The time in UTC, with its zone."""
        return datetime.now(UTC)
