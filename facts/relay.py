"""The relay: tells the outbox's facts to Kafka, one process at a time, for as long as it takes;
what is new goes before what is told again.

Read, send and mark are three steps without a lock held while sending: a crash between them repeats
facts and never skips one. A broker of another cluster has another memory: everything is told again.
So is everything, under a new epoch, when the store was restored from a copy.
"""

import math

from chassis import log, metrics
from chassis.clock import Clock
from chassis.db import LOST, Database, Transaction, holding_turn, try_turn, wait_for_notice
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from facts import outbox
from facts.envelope import Unreadable, is_subject, pack, unpack
from facts.kafka import REPLAYS, Broker, BrokerLost, Consumer, Producer, read, read_from
from facts.outbox import Fact
from keys.sealing import Signer

_BATCH = 500
_SLOW_POLL = 1.0  # seconds; behind LISTEN, which can be missed while reconnecting
_BEGINNING = ("", 0)
_COUNTED_WITHIN = 2.0  # seconds


class Relay:
    """One loop a service process; the advisory lock lets one of all processes work."""

    def __init__(
        self,
        name: str,
        topic: str,
        database: Database,
        broker: Broker,
        signer: Signer,
        clock: Clock,
    ) -> None:
        self._source = f"enlace/{name}"
        self._turn = f"relay/{name}"
        self._topic = topic
        self._database = database
        self._broker = broker
        self._signer = signer
        self._clock = clock
        self._epoch: int | None = None
        # how far the pass through what is told again has come
        self._repeated: tuple[str, int] = _BEGINNING

    def loop(self) -> Loop:
        """The loop that turns it.

        From now on the backlog is counted whenever the metric is read.
        """
        metrics.OUTBOX_BACKLOG.set_function(self._backlog)
        return Loop("relay", self._work, waits_for=(*LOST, BrokerLost))

    def _work(self, loop: Loop) -> None:
        with self._database.dedicated() as connection:
            connection.execute(f"LISTEN {outbox.CHANNEL}")
            while loop.turn():
                if try_turn(connection, self._turn):
                    with holding_turn(connection):
                        self._serve(loop, connection)
                loop.wait(_SLOW_POLL)

    def _backlog(self) -> float:
        """The number of facts that wait, or NaN where the database does not say in time: the other
        metrics must not wait for it, or fail.
        """
        try:
            with self._database.transaction(SYSTEM, timeout=_COUNTED_WITHIN) as tx:
                return outbox.backlog(tx)
        except Exception:
            return math.nan

    def _serve(self, loop: Loop, connection: Transaction) -> None:
        self._epoch = None
        while loop.turn():
            self._meet_store(connection)  # also notices a lost database while the broker is away
            cluster_id = self._broker.wait(0.5)
            if cluster_id is None:
                continue
            if outbox.meet_cluster(connection, cluster_id):
                log.get().warning("relay_tells_all_again", cluster_id=cluster_id)
            self._repeated = _BEGINNING
            try:
                self._tell_all(loop, connection, cluster_id)
            except BrokerLost:
                self._broker.failed("relay")
                raise

    def _tell_all(self, loop: Loop, connection: Transaction, cluster_id: str) -> None:
        self.look_back(connection, loop)
        producer = Producer(self._broker.settings)
        try:
            while loop.turn() and self._broker.cluster_id == cluster_id:
                told = self.tell(connection, producer)
                self._broker.worked("relay")
                if not told:
                    wait_for_notice(connection, _SLOW_POLL)
        finally:
            producer.discard()

    def look_back(self, connection: Transaction, loop: Loop) -> None:
        """Reads what the topic holds beyond what this store knows it told: a fact of ours that the
        outbox does not have was told by a lost future of it.

        So a disk that was put back as it was a while ago shows, though nothing in the database has
        changed. A crash between sending and marking leaves such records too; those the outbox has.
        """
        trusted_signers = {self._source: self._signer.check()}
        ends, lost, epochs = dict[int, int](), 0, [0]
        for records in read_from(self._broker.settings, self._topic, outbox.offsets(connection)):
            loop.turn()
            for record in records:
                ends[record.partition] = record.offset + 1
                try:
                    fact = unpack(record.headers, record.value, trusted_signers)
                except Unreadable:
                    continue
                if not outbox.knows(connection, fact):
                    lost += 1
                    epochs.append(fact.epoch)
        with connection.transaction():
            if lost:
                log.get().warning("relay_store_went_back", count=lost)
                outbox.begin_epoch(connection, self._clock, after=max(epochs))
            outbox.note_offsets(connection, ends)

    def tell(self, connection: Transaction, producer: Producer) -> int:
        """Tells the next facts; returns how many, 0 when all are told."""
        self._meet_store(connection)
        told_round = outbox.current_round(connection)
        facts = outbox.new_facts(connection, _BATCH) or self._next_to_repeat(connection)
        if facts:
            offsets = producer.send_all(
                self._topic, [pack(fact, self._source, self._signer) for fact in facts]
            )
            outbox.mark_published(connection, facts, told_round, offsets)
            metrics.FACTS_TOLD.inc(len(facts))
        return len(facts)

    def _next_to_repeat(self, connection: Transaction) -> list[Fact]:
        facts = list[Fact]()
        if outbox.anything_to_repeat(connection):
            # Or they were marked behind the place that the pass had reached.
            facts = outbox.facts_to_repeat(
                connection, _BATCH, self._repeated
            ) or outbox.facts_to_repeat(connection, _BATCH, _BEGINNING)
        self._repeated = (facts[-1].subject, facts[-1].version) if facts else _BEGINNING
        return facts

    def _meet_store(self, connection: Transaction) -> None:
        epoch = outbox.meet_store(connection, self._clock)
        if (self._epoch is not None and epoch != self._epoch) or (self._epoch is None and epoch):
            log.get().warning("relay_epoch", epoch=epoch)
        self._epoch = epoch


class Replays:
    """Hears who misses facts of this service's topic and has them told again."""

    def __init__(self, name: str, topic: str, database: Database, broker: Broker) -> None:
        self._group = f"replays-{name}"
        self._topic = topic.encode()
        self._database = database
        self._broker = broker

    def loop(self) -> Loop:
        """The loop that turns it."""
        return Loop("replays", self._work, waits_for=(BrokerLost,))

    def _work(self, loop: Loop) -> None:
        while loop.turn():
            cluster_id = self._broker.wait(0.5)
            if cluster_id is None:
                continue
            consumer = Consumer(self._broker.settings, self._group, [REPLAYS])
            try:
                while loop.turn() and self._broker.cluster_id == cluster_id:
                    records = read(self._broker, self._group, consumer)
                    # A request that is lost is made again by who still misses the fact. One subject
                    # asked for a hundred times is told once.
                    for subject in {
                        record.value or b"" for record in records if record.key == self._topic
                    }:
                        if not subject or is_subject(subject):  # anybody can write to the topic
                            self._republish(subject.decode())
                    if records:
                        consumer.commit(records)
            finally:
                consumer.close()

    def _republish(self, subject: str) -> None:
        """An empty subject stands for all: asked by a consumer whose store was restored."""
        with self._database.transaction(SYSTEM) as tx:
            if subject:
                outbox.repeat_subject(tx, subject)
            else:
                outbox.repeat_all(tx)
        log.get().info("told_again", subject=subject)
