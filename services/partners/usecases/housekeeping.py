"""What is taken away when its time is over: ended sessions, old failures, invitations that ran out. Answered requests are chassis.sweeper's."""

from datetime import datetime

from chassis.db import Transaction
from services.partners.store import attempts, invitations, workers


def sweep(tx: Transaction, now: datetime) -> int:
    """Takes it away; returns how many rows."""
    return workers.forget_sessions(tx, now) + attempts.forget(tx, now) + invitations.forget(tx, now)
