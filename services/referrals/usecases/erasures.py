"""Keeps erasures outside of the database, and applies them to one that was restored from a copy before it shows anybody."""

from collections.abc import Callable

from chassis import audit, log
from chassis.audit import Entry
from chassis.clock import Clock
from chassis.db import Database
from chassis.envelope import Unreadable, pack, unpack
from chassis.kafka import Broker, BrokerLost, Producer, read_from
from chassis.outbox import Fact
from chassis.sealing import Signer
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from services.referrals.domain.erasure import Erasure
from services.referrals.store import erasures
from services.referrals.usecases.erasing import Erasing
from services.referrals.wire import facts

TOPIC = "enlace.erasures.v1"
"""Kept for ever; key = the erasure, body = its fact (`ErasureFact`, enlace.erasure.done.v1)."""
_SOURCE = "enlace/referrals"
_PAUSE = 2.0  # seconds between two looks: how long an erasure is in the database alone


class Erasures:
    """One loop a service process; several do the same, and what is said twice is one erasure."""

    def __init__(self, erasing: Erasing, database: Database, broker: Broker, signer: Signer, clock: Clock) -> None:
        self._erasing = erasing
        self._database = database
        self._broker = broker
        self._signer = signer
        self._clock = clock
        self._cluster = ""
        self._offsets: dict[int, int] = {}
        self._said: dict[str, Erasure] = {}  # by id, all that the topic holds

    def loop(self) -> Loop:
        """The loop that turns it."""
        return Loop("erasures", self._work, waits_for=(BrokerLost,))

    def _work(self, loop: Loop) -> None:
        while loop.turn():
            if self._broker.wait(0.5) is not None:
                self.turn(lambda: loop.turn())
                loop.wait(_PAUSE)

    def turn(self, going_on: Callable[[], object] = lambda: None) -> int:
        """Hears what is kept, applies it where it is needed, and says what is not kept yet; returns how many files were erased again. Raises BrokerLost."""
        self._hear(going_on)
        again = self._apply()
        self._say()
        return again

    def _hear(self, going_on: Callable[[], object]) -> None:
        cluster = self._broker.cluster_id or ""
        if cluster != self._cluster:  # another memory: what it lacks is said again
            self._cluster, self._offsets, self._said = cluster, {}, {}
        trusted = {_SOURCE: self._signer.check()}
        for records in read_from(self._broker.settings, TOPIC, self._offsets):
            going_on()
            for record in records:
                try:
                    erasure = facts.erasure_of(unpack(record.headers, record.value, trusted))
                    self._said[erasure.id] = erasure
                except Unreadable:
                    log.get().warning("erasure_unreadable", topic=TOPIC, partition=record.partition, offset=record.offset)
            self._offsets |= {record.partition: record.offset + 1 for record in records}

    def _apply(self) -> int:
        """To the store as it is now, which may be another than a moment ago."""
        with self._database.transaction(SYSTEM) as tx:
            lacking = erasures.not_applied(tx, [each.person_id for each in self._said.values()])
        again = 0
        for erasure in [each for each in self._said.values() if each.person_id in lacking]:
            with self._database.transaction(SYSTEM, timeout=30) as tx:
                now = self._clock.now()
                if self._erasing.again(tx, now, erasure):
                    again += 1
                    log.get().warning("erased_again", person_id=erasure.person_id)
                audit.record(tx, SYSTEM, now, [Entry("erase_again", erasure.person_id, "", (f"erasure:{erasure.id}",))])
        with self._database.transaction(SYSTEM) as tx:
            erasures.note_witnessed(tx, list(self._said), self._clock.now())
            erasures.caught_up(tx)
        return again

    def _say(self) -> None:
        with self._database.transaction(SYSTEM) as tx:
            unsaid: list[Fact] = [facts.erasure_fact(erasure, "done") for erasure in erasures.unwitnessed(tx, list(self._said))]
        if unsaid:
            producer = Producer(self._broker.settings)
            try:
                producer.send_all(TOPIC, [pack(fact, _SOURCE, self._signer) for fact in unsaid])
            finally:
                producer.discard()
