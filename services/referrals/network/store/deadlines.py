"""Announces deadlines to the schedulers that wait for them (usecases/deadlines.py)."""

from datetime import datetime

from chassis.db import Transaction


def channel(name: str) -> str:
    """Returns the channel of the scheduler called `name`."""
    return f"deadlines_{name}"


def announce(tx: Transaction, name: str, *times: datetime | None) -> None:
    """Tells a scheduler, when the transaction commits, the earliest of the times that were saved.

    A time that was removed or postponed is not announced: the scheduler then finds nothing due.
    """
    earliest = min((time for time in times if time is not None), default=None)
    if earliest is not None:
        tx.execute("SELECT pg_notify(%s, %s)", (channel(name), earliest.isoformat()))
