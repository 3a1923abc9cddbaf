"""Notes the words of names of files from before there was a search by name, and limits that
search.
"""

from datetime import timedelta

from chassis import audit, log, metrics
from chassis.audit import Entry
from chassis.clock import Clock
from chassis.db import LOST, Database
from chassis.errors import Unavailable
from chassis.guesses import Budget
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from services.referrals.files.store.people import People as Files

MOST_FOUND = 20
OF_A_SEARCHER = Budget(20, timedelta(minutes=5), timedelta(0))
"""Enough for a busy night; of the usual given names of a country a worker can try 300 a day, and
each try is on record.
"""
_BATCH = 50
_PAUSE = 600.0  # seconds between two looks when there is nothing to note


class NameNoter:
    """Opens each file whose words were not noted yet, once; several processes share the work by
    claiming rows.
    """

    def __init__(self, files: Files, database: Database, clock: Clock) -> None:
        self._files = files
        self._database = database
        self._clock = clock

    def loop(self) -> Loop:
        """Until stopped; a database that went away is waited for."""
        return Loop("names", self._work, waits_for=LOST)

    def note(self) -> int:
        """A batch; returns how many files it has looked at, none when all are done."""
        with self._database.transaction(SYSTEM, timeout=30) as tx:
            people = self._files.without_names(tx, _BATCH)
            trail = []
            for person in people:
                try:
                    with tx.transaction():
                        self._files.note_names(tx, person, self._clock.now())
                except (
                    *LOST,
                    Unavailable,
                ):  # not now: the keys, or who was erased since a copy, are not known yet
                    raise
                except (
                    Exception
                ) as error:  # one that does not open must not keep the others from being found
                    metrics.ROWS_PUT_ASIDE.labels("names").inc()
                    log.get().error("names_put_aside", person_id=person.id, fault=log.fault(error))
                    self._files.put_names_aside(tx, person)
                trail.append(Entry("note_names", person.id))
            audit.record(tx, SYSTEM, self._clock.now(), trail)
        return len(people)

    def _work(self, loop: Loop) -> None:
        while loop.turn():
            if not self.note():
                loop.wait(_PAUSE)
