"""What is taken away when its time is over: ended sessions, old guesses, invitations that ran out; agreements end. Answered requests are chassis.sweeper's.

And what follows a new taxonomy: the words by which services are found.
"""

from datetime import datetime

from chassis import guesses
from chassis.db import Transaction
from services.partners.store import invitations, second_factors, services, workers
from services.partners.usecases.membership import watch_membership


def sweep(tx: Transaction, now: datetime) -> int:
    """Takes it away, or makes it anew; returns how many rows."""
    gone = workers.forget_sessions(tx, now) + second_factors.forget(tx, now) + guesses.forget(tx, now) + invitations.forget(tx, now)
    return services.refresh_outdated(tx) + watch_membership(tx, now) + gone
