"""What time it is: the only place that asks the machine, so that a test or a replay of history can hand over another clock."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

AHEAD = timedelta(minutes=1)
"""How far ahead of this clock another process's may have written; a time that lies further ahead was written by a clock that was wrong."""


class Clock(Protocol):
    """Whoever needs the time takes one of these."""

    def now(self) -> datetime:
        """The time in UTC, with its zone."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The time in UTC, with its zone."""
        return datetime.now(UTC)


class SettableClock:
    """A clock that stands still until it is told otherwise: for tests, and for writing history as it was."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """The time it was last set to."""
        return self._now

    def set(self, moment: datetime) -> None:
        """Jumps to a moment, forwards or back."""
        self._now = moment

    def advance(self, step: timedelta) -> None:
        """Moves on by a step."""
        self._now += step
