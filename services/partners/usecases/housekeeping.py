"""What is taken away when its time is over: ended sessions, old failures, answered requests."""

from datetime import datetime, timedelta

from chassis import once
from chassis.db import Transaction
from services.partners.store import attempts, workers

_REQUESTS = timedelta(hours=25)  # the contract promises 24


def sweep(tx: Transaction, now: datetime) -> int:
    """Takes it away; returns how many rows."""
    return workers.forget_sessions(tx, now) + attempts.forget(tx, now) + once.forget(tx, now - _REQUESTS)
