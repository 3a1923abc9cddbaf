"""Housekeeping of the service's tables and of this process's index.

Housekeeping deletes what is no longer needed, such as ended sessions, old guesses, and expired
invitations and links; runtime.sweeper deletes answered requests. Housekeeping also ends holds and
proposals that are due, enforces the deadlines of agreements and applications, recomputes the search
words of services when the taxonomy has changed, computes opening hours as days pass, and keeps this
process's index of services up to date, so that callers rarely wait for the index.
"""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime

from chassis import guesses
from chassis.announcements import READ_AGAIN, listen, wait_for_work
from chassis.clock import Clock
from chassis.db import LOST, Database, Transaction
from chassis.supervisor import Loop
from keys.sealing import Keyring
from services.partners.directory.store import imports, open_hours, promises, services
from services.partners.directory.store.directory_index import CHANGES, DirectoryIndex
from services.partners.members.store import invitations, provenance, workers
from services.partners.members.usecases.membership import end_proposals, enforce_deadlines
from services.partners.sign_in.store import password_resets, second_factors, sign_in_providers

# Minimum number of seconds between two refreshes. Queries also read changes, but because of this
# loop they find only a few.
_REFRESH_INTERVAL = 1.0


def sweep(tx: Transaction, now: datetime) -> int:
    """Deletes or updates rows that are due; returns the number of rows."""
    deleted_count = (
        workers.forget_sessions(tx, now)
        + second_factors.forget(tx, now)
        + guesses.forget(tx, now)
        + invitations.forget(tx, now)
    )
    deleted_count += (
        promises.forget(tx, now)
        + sign_in_providers.forget(tx, now)
        + password_resets.forget(tx, now)
    )
    deleted_count += imports.forget(tx, now) + provenance.forget(tx, now)
    return (
        services.refresh_outdated(tx, now)
        + open_hours.refresh_ending(tx, now)
        + enforce_deadlines(tx, now, services.refresh_all_of)
        + deleted_count
    )


def full_sweep(mail: Keyring) -> Callable[[Transaction, datetime], int]:
    """Returns a function that ends holds and proposals that are due and then calls `sweep`.

    When a hold ends, managers are notified by e-mails that `mail` seals.
    """
    return lambda tx, now: end_proposals(tx, mail, now, services.refresh_all_of) + sweep(tx, now)


def refreshing_index(
    database: Database, clock: Clock, index: DirectoryIndex, *, read_again: float = READ_AGAIN
) -> Loop:
    """Returns the loop that reads the directory into the index, and then keeps reading changes."""

    def work(loop: Loop) -> None:
        with database.dedicated() as connection:
            listen(connection, CHANGES)
            while loop.turn():
                index.keep_up(lambda: nullcontext(connection), clock.now())
                loop.wait(_REFRESH_INTERVAL)
                wait_for_work(
                    loop,
                    connection,
                    lambda: index.has_due(clock.now()),
                    read_again=read_again,
                )

    return Loop("directory-index", work, waits_for=LOST)
