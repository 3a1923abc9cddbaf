"""The relay: publishes the outbox's facts to Kafka, in one process at a time. New facts are
published before repeated facts.

Reading, sending and marking are three steps, and no lock is held during sending. A crash between
two steps repeats facts and never skips any. If the broker's cluster has changed, the broker has
lost its state, and all facts are published again. After the store was restored from a copy, all
facts are also published again, under a new epoch.
"""

import math
import time
from contextlib import suppress

from chassis import log, metrics
from chassis.announcements import listen, read_notifications, wait_for_work
from chassis.clock import Clock
from chassis.db import LOST, Database, Transaction
from chassis.limits import Limiter
from chassis.locks import keeping_lock, try_advisory_lock
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from facts import outbox
from facts.broker import Broker, read
from facts.envelope import Unreadable, is_subject, pack, unpack
from facts.kafka import REPLAYS, BrokerLost, Consumer, Producer, read_from
from facts.outbox import Fact
from keys.sealing import Signer

_BATCH = 500
_LOCK_RETRY_PAUSE = 1.0  # seconds between two attempts to get the lock
# Maximum passes over the outbox per second under sustained load. A pass costs relay, broker and
# subscribers as much as ten facts do, so under load facts are sent together, up to 40 ms later. A
# single fact is sent at once, and so are the facts of the first two seconds of load.
_PASSES_PER_SECOND = 25
# A pass with at least this number of facts (a hundred facts per second) is followed by a pause, so
# that the cost of the next pass is small in comparison with that of its facts.
_MANY = 4
_PAUSE_AFTER_MANY = 0.08  # seconds
_BEGINNING = ("", 0)
_COUNT_TIMEOUT = 2.0  # seconds that counting the backlog may take


class Relay:
    """Publishes a service's facts in a loop. Runs in each replica; an advisory lock lets only one
    replica work at a time.
    """

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
        self._lock_name = f"relay/{name}"
        self._topic = topic
        self._database = database
        self._broker = broker
        self._signer = signer
        self._clock = clock
        self._epoch: int | None = None
        self._pause_until = -math.inf  # time.monotonic() before which no pass begins
        # the (subject, version) that the pass through the facts to be repeated has reached
        self._repeat_position: tuple[str, int] = _BEGINNING

    def loop(self) -> Loop:
        """Returns the loop that publishes.

        After this call, the backlog is counted whenever the metric is read.
        """
        metrics.OUTBOX_BACKLOG.set_function(self._backlog)
        return Loop("relay", self._work, waits_for=(*LOST, BrokerLost))

    def _work(self, loop: Loop) -> None:
        with self._database.dedicated() as connection:
            listen(connection, outbox.CHANNEL)
            while loop.turn():
                if try_advisory_lock(connection, self._lock_name):
                    with keeping_lock(connection):
                        self._serve(loop, connection)
                loop.wait(_LOCK_RETRY_PAUSE)

    def _backlog(self) -> float:
        """Returns the number of facts to be published; NaN if the database does not respond in
        time, so that the other metrics neither wait nor fail.
        """
        try:
            with self._database.transaction(SYSTEM, timeout=_COUNT_TIMEOUT) as tx:
                return outbox.backlog(tx)
        except Exception:
            return math.nan

    def _serve(self, loop: Loop, connection: Transaction) -> None:
        self._epoch = None
        while loop.turn():
            self._refresh_epoch(connection)  # also detects a lost database while the broker is down
            cluster_id = self._broker.wait(0.5)
            if cluster_id is None:
                continue
            if outbox.note_cluster(connection, cluster_id):
                log.get().warning("relay_tells_all_again", cluster_id=cluster_id)
            self._repeat_position = _BEGINNING
            try:
                self._publish_all(loop, connection, cluster_id)
            except BrokerLost:
                self._broker.note_failure("relay")
                raise

    def _publish_all(self, loop: Loop, connection: Transaction, cluster_id: str) -> None:
        self.detect_restored_snapshot(connection, loop)
        producer = Producer(self._broker.settings)
        # If a crash of the database server loses a mark, the fact is published again, which is
        # always allowed.
        connection.execute("SET synchronous_commit = off")
        try:
            pace = Limiter(_PASSES_PER_SECOND)
            while loop.turn() and self._broker.cluster_id == cluster_id:
                while self.publish(connection, producer) and loop.turn():
                    pass
                self._broker.note_success("relay")
                wait_for_work(loop, connection, lambda: self._broker.cluster_id != cluster_id)
                while (seconds := pace.take(self._topic).wait) and not loop.wait(seconds):
                    pass
                loop.wait(max(0.0, self._pause_until - time.monotonic()))
                read_notifications(connection, 0.0)  # the next pass reads everything
        finally:
            producer.discard()
            with suppress(*LOST):
                connection.execute("SET synchronous_commit = on")

    def detect_restored_snapshot(self, connection: Transaction, loop: Loop) -> None:
        """Reads the records after the offsets that this store knows. A fact of this service that
        the outbox lacks shows that the store has gone back in time; a new epoch then begins.

        This detects a restored snapshot of the disk, which leaves the store's identity unchanged. A
        crash between sending and marking also leaves records after those offsets, but their facts
        are in the outbox.
        """
        trusted_signers = {self._source: self._signer.verifier()}
        ends, lost_count, epochs = dict[int, int](), 0, [0]
        for records in read_from(self._broker.settings, self._topic, outbox.offsets(connection)):
            loop.turn()
            for record in records:
                ends[record.partition] = record.offset + 1
                try:
                    fact = unpack(record.headers, record.value, trusted_signers)
                except Unreadable:
                    continue
                if not outbox.knows(connection, fact):
                    lost_count += 1
                    epochs.append(fact.epoch)
        with connection.transaction():
            if lost_count:
                log.get().warning("relay_store_went_back", count=lost_count)
                outbox.begin_epoch(connection, self._clock, after=max(epochs))
            if outbox.note_offsets(connection, ends):
                self._log_loss(connection)

    def publish(self, connection: Transaction, producer: Producer) -> int:
        """Publishes the next facts. Returns how many it published, or 0 if no facts are left.

        Facts that are written in the meantime come with a notification of their own.
        """
        batch = outbox.next_batch(connection, _BATCH)
        if not batch.same_store or batch.epoch != self._epoch:
            self._refresh_epoch(connection)
            batch = outbox.next_batch(connection, _BATCH)
        facts = batch.facts or (self._next_to_repeat(connection) if batch.repeat else [])
        if facts:
            offsets = producer.send_all(
                self._topic, [pack(fact, self._source, self._signer) for fact in facts]
            )
            if outbox.mark_published(connection, facts, batch.round, offsets):
                self._log_loss(connection)
            metrics.FACTS_PUBLISHED.inc(len(facts))
        if _MANY <= len(facts) < _BATCH:
            self._pause_until = time.monotonic() + _PAUSE_AFTER_MANY
        return len(facts) if len(facts) == _BATCH or batch.repeat else 0

    def _log_loss(self, connection: Transaction) -> None:
        """Logs that the broker lost records, so that all facts are published again."""
        log.get().warning(
            "relay_tells_all_again",
            cluster_id=self._broker.cluster_id,
            topic=self._topic,
            count=outbox.count(connection),
        )

    def _next_to_repeat(self, connection: Transaction) -> list[Fact]:
        # Facts before the position of the pass may have been marked in the meantime, so at its end
        # the pass starts over.
        facts = outbox.facts_to_repeat(
            connection, _BATCH, self._repeat_position
        ) or outbox.facts_to_repeat(connection, _BATCH, _BEGINNING)
        self._repeat_position = (facts[-1].subject, facts[-1].version) if facts else _BEGINNING
        return facts

    def _refresh_epoch(self, connection: Transaction) -> None:
        epoch = outbox.ensure_epoch(connection, self._clock)
        if (self._epoch is not None and epoch != self._epoch) or (self._epoch is None and epoch):
            log.get().warning("relay_epoch", epoch=epoch)
        self._epoch = epoch


class Replays:
    """Handles requests to publish facts of this service's topic again."""

    def __init__(self, name: str, topic: str, database: Database, broker: Broker) -> None:
        self._group = f"replays-{name}"
        self._topic = topic.encode()
        self._database = database
        self._broker = broker

    def loop(self) -> Loop:
        """Returns the loop that handles requests."""
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
                    # If a request is lost, the consumer that misses the fact repeats the request. A
                    # subject that is requested a hundred times is published once.
                    for subject in {
                        record.value or b"" for record in records if record.key == self._topic
                    }:
                        if not subject or is_subject(
                            subject
                        ):  # other programs may write to the topic
                            self._mark_for_repeat(subject.decode())
                    if records:
                        consumer.commit(records)
            finally:
                consumer.close()

    def _mark_for_repeat(self, subject: str) -> None:
        """Marks a subject's facts to be published again. An empty subject means all facts, which a
        consumer requests after its store was restored from a copy.
        """
        with self._database.transaction(SYSTEM) as tx:
            if subject:
                outbox.repeat_subject(tx, subject)
            else:
                outbox.repeat_all(tx)
        log.get().info("told_again", subject=subject)
