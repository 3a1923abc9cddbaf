"""Announces deadlines to the schedulers that wait for them (usecases/deadlines.py)."""

from datetime import datetime

from chassis import announcements
from chassis.db import Transaction


def channel(name: str) -> str:
    """Returns the channel of the scheduler called `name`."""
    return f"deadlines_{name}"


def announce(tx: Transaction, name: str, *times: datetime | None) -> None:
    """Announces the earliest of the times to a scheduler when the transaction commits."""
    announcements.announce(tx, channel(name), *times)
