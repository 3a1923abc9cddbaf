"""What is taken away when its time is over: ended sessions, old guesses, invitations that ran out. Answered requests are chassis.sweeper's."""

from datetime import datetime

from chassis import guesses
from chassis.db import Transaction
from services.partners.store import invitations, workers


def sweep(tx: Transaction, now: datetime) -> int:
    """Takes it away; returns how many rows."""
    return workers.forget_sessions(tx, now) + guesses.forget(tx, now) + invitations.forget(tx, now)
