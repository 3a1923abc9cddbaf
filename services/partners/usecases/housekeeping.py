"""What is taken away when its time is over: ended sessions, old guesses, invitations that ran out. Answered requests are chassis.sweeper's.

And what follows a new taxonomy or the days that pass: the words by which services are found, and the hours in which they are open.
"""

from datetime import datetime

from chassis import guesses
from chassis.db import Transaction
from services.partners.store import invitations, open_hours, promises, second_factors, services, workers


def sweep(tx: Transaction, now: datetime) -> int:
    """Takes it away, or makes it anew; returns how many rows."""
    gone = workers.forget_sessions(tx, now) + second_factors.forget(tx, now) + guesses.forget(tx, now) + invitations.forget(tx, now)
    return services.refresh_outdated(tx) + open_hours.refresh_ending(tx, now) + promises.forget(tx, now) + gone
