"""Announces deadlines to the schedulers that wait for them (usecases/deadlines.py)."""

from datetime import datetime

from chassis import announcements
from chassis.db import Transaction


def channel(name: str) -> str:
    """Returns the channel of the scheduler called `name`."""
    return f"deadlines_{name}"


def announce(tx: Transaction, name: str, *times: datetime | None) -> None:
    """Tells a scheduler, at the commit of the transaction, the earliest of the saved times."""
    announcements.announce(tx, channel(name), *times)
