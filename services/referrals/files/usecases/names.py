"""Stores the words of names for files that lack them, and limits the number of searches.

Files that are older than the search by name, or than its present rules, lack the words.
"""

from datetime import timedelta

from chassis import audit, log, metrics
from chassis.audit import Entry
from chassis.clock import Clock
from chassis.db import LOST, Database, savepoint
from chassis.errors import Unavailable
from chassis.guesses import Budget
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from services.referrals.files.store.people import People as Files

MAX_RESULTS = 20
SEARCH_BUDGET = Budget(20, timedelta(minutes=5), timedelta(0))
"""The searches that one worker or key may make: enough for a busy night.

The budget keeps anybody from trying out all common given names of a country unnoticed: only about
300 searches a day are possible, and each of them is on the trail.
"""
_BATCH = 50
_PAUSE = 600.0  # seconds between two rounds when there is nothing to store


class NameIndexer:
    """Opens each file whose names are not stored as words yet, once, and stores the words.

    Several processes share the work by locking rows.
    """

    def __init__(self, files: Files, database: Database, clock: Clock) -> None:
        self._files = files
        self._database = database
        self._clock = clock

    def loop(self) -> Loop:
        """Returns the loop that does the work; the loop waits while the database is down."""
        return Loop("names", self._work, waits_for=LOST)

    def index_batch(self) -> int:
        """Handles one batch; returns the number of files in it, 0 when none is left."""
        with self._database.transaction(SYSTEM, timeout=30) as tx:
            people = self._files.without_names(tx, _BATCH)
            trail = []
            for person in people:
                try:
                    with savepoint(tx):
                        self._files.index_names(tx, person, self._clock.now())
                except (
                    *LOST,
                    Unavailable,
                ):  # tried again later, once the keys and the latest erasures are available
                    raise
                except (
                    Exception
                    # a file that can't be opened must not prevent other files from being found
                ) as error:
                    metrics.ROWS_PUT_ASIDE.labels("names").inc()
                    log.get().error("names_put_aside", person_id=person.id, fault=log.fault(error))
                    self._files.put_names_aside(tx, person)
                trail.append(Entry("note_names", person.id))
            audit.record(tx, SYSTEM, self._clock.now(), trail)
        return len(people)

    def _work(self, loop: Loop) -> None:
        while loop.turn():
            if not self.index_batch():
                loop.wait(_PAUSE)
