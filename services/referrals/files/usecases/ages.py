"""Keeps the age bands of files up to date, by each person's local date.

Erased files are not updated.
"""

from chassis import audit, log, metrics
from chassis.audit import Entry
from chassis.clock import Clock
from chassis.db import LOST, Database, savepoint
from chassis.errors import Unavailable
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from services.referrals.files.store.people import People as Files

_BATCH = 50
_PAUSE = 600.0  # seconds between two rounds, and so the longest delay of an update
_DAYS_BACK = 1100  # days, so that a service that was down for three years can catch up


class AgeBandUpdater:
    """Opens the files whose age band has ended, stores the present band, and records each access.

    Several processes share the work by locking rows.
    """

    def __init__(self, files: Files, database: Database, clock: Clock) -> None:
        self._files = files
        self._database = database
        self._clock = clock
        self._after = ""  # the id of the last file of a full batch; "" after the last batch

    def loop(self) -> Loop:
        """Returns the loop that does the work; the loop waits while the database is down."""
        return Loop("ages", self._work, waits_for=LOST)

    def update_batch(self) -> int:
        """Handles one batch of files; returns the number of files in it."""
        now, handled = self._clock.now(), 0
        with self._database.transaction(SYSTEM, timeout=30) as tx:
            files, self._after = self._files.with_ended_band(
                tx, now, _DAYS_BACK, _BATCH, self._after
            )
            for person in files:
                try:
                    with savepoint(tx):
                        self._files.update_age_band(tx, person, now)
                except (*LOST, Unavailable):
                    raise
                except (
                    Exception
                    # a file that can't be opened must not prevent other files from being updated
                ) as error:
                    metrics.ROWS_PUT_ASIDE.labels("ages").inc()
                    log.get().error("ages_put_aside", person_id=person.id, fault=log.fault(error))
                    self._files.put_age_aside(tx, person)
                handled += 1
                audit.record(tx, SYSTEM, now, [Entry("note_age", person.id)])
        return handled

    def _work(self, loop: Loop) -> None:
        while loop.turn():
            self.update_batch()
            if not self._after:
                loop.wait(_PAUSE)
