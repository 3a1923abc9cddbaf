"""Searches the trail for anomalies."""

from datetime import timedelta

from chassis.announcements import READ_AGAIN, listen, wait_for_work
from chassis.clock import Clock
from chassis.db import LOST, Database, Row, Transaction
from chassis.ids import new_id
from chassis.local_time import zone_of
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from services.referrals.network.store import members
from services.referrals.people.domain.anomaly import (
    DUTY_DAYS,
    Anomaly,
    day_of,
    find_anomalies,
    ids_on_duty,
    on_duty,
    span_of,
)
from services.referrals.people.store import anomalies

# Minimum number of seconds between two searches, so that one search covers many accesses. The
# auditor is notified within a minute.
_PAUSE = 5.0


class Anomalies:
    """The search for anomalies.

    The search reads the trail, which also records refused accesses. Several processes take turns.
    """

    def __init__(self, database: Database, clock: Clock, *, read_again: float = READ_AGAIN) -> None:
        self._database = database
        self._clock = clock
        self._read_again = read_again

    def loop(self) -> Loop:
        """Returns the loop that searches; the loop waits while the database is down."""
        return Loop("anomalies", self._work, waits_for=LOST)

    def search(self) -> None:
        """Searches all new rows of the trail."""
        has_more = True
        while has_more:
            with self._database.transaction(SYSTEM, timeout=30) as tx:
                after, until = anomalies.claim_rows(tx)
                for actor in anomalies.actors_with_accesses(tx, after, until):
                    self._judge(tx, actor, after, until)
            has_more = until > after

    def _judge(self, tx: Transaction, actor: Row, after: int, until: int) -> None:
        """Judges each day from the first to the last access of an actor in these rows.

        A day is judged by all its allowed accesses, including those in earlier rows. `actor` is a
        worker or an API key.
        """
        organization_id, worker_id = actor["organization_id"], actor["actor_id"]
        zone = zone_of(*members.place(tx, organization_id))
        refused_openings = anomalies.refused_by_quota(tx, worker_id, after, until)
        day, last_day = day_of(actor["first"], zone), day_of(actor["last"], zone)
        while day <= last_day:
            start, end = span_of(day, zone)
            acts = anomalies.duty_acts(tx, worker_id, start - timedelta(days=DUTY_DAYS), end)
            # software works at night, too
            is_on_duty = actor["actor_kind"] == "key" or on_duty(acts, zone)
            openings = [
                *anomalies.openings(tx, worker_id, start, end),
                *(opening for opening in refused_openings if start <= opening.time < end),
            ]
            counts = find_anomalies(
                openings,
                organization_id,
                zone,
                on_duty_at_night=is_on_duty,
                duty_ids=ids_on_duty(acts, day, zone),
            )
            for kind, count in counts.items():
                anomalies.save(
                    tx,
                    Anomaly(
                        new_id(), kind, worker_id, organization_id, day, count, self._clock.now()
                    ),
                )
            day += timedelta(days=1)

    def _work(self, loop: Loop) -> None:
        with self._database.dedicated() as connection:
            listen(connection, anomalies.CHANNEL)
            while loop.turn():
                self.search()
                loop.wait(_PAUSE)
                while loop.turn() and not (
                    wait_for_work(loop, connection, read_again=self._read_again)
                    or anomalies.has_new_rows(connection)
                ):
                    pass
