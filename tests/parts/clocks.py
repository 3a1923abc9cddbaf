"""A clock that a test sets."""

from datetime import datetime, timedelta


class SettableClock:
    """A clock that stands still until a test sets it."""

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
