"""A clock that a test sets."""

from datetime import datetime, timedelta


class SettableClock:
    """A clock that stands still until a test sets it."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """Returns the time to which the clock was last set."""
        return self._now

    def set(self, moment: datetime) -> None:
        """Sets the clock forwards or back to a time."""
        self._now = moment

    def advance(self, step: timedelta) -> None:
        """Moves the clock by a step."""
        self._now += step
