"""The relay: tells the outbox's facts to Kafka, one process at a time, for as long as it takes.

Read, send and mark are three steps without a lock held while sending: a crash between them repeats facts and never skips one. A broker of another
cluster has another memory: everything is told again.
"""

import threading

from chassis import log, metrics, outbox
from chassis.db import LOST as DATABASE_LOST
from chassis.db import Database, Transaction, try_turn, wait_for_notice
from chassis.envelope import pack
from chassis.errors import Refusal
from chassis.kafka import LOST, REPLAYS, Broker, Consumer, Producer
from chassis.sealing import Signer
from chassis.tokens import SYSTEM

_BATCH = 500
_SLOW_POLL = 1.0  # seconds; behind LISTEN, which can be missed while reconnecting


class Relay(threading.Thread):
    """One thread a service process; the advisory lock lets one of all processes work."""

    def __init__(self, name: str, topic: str, database: Database, broker: Broker, signer: Signer) -> None:
        super().__init__(name="relay", daemon=True)
        self._source = f"enlace/{name}"
        self._turn = f"relay/{name}"
        self._topic = topic
        self._database = database
        self._broker = broker
        self._signer = signer
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ends after the batch under way."""
        self._stopping.set()

    def run(self) -> None:
        """Until stopped: whatever breaks is made anew."""
        while not self._stopping.is_set():
            try:
                with self._database.dedicated() as connection:
                    connection.execute(f"LISTEN {outbox.CHANNEL}")
                    if not try_turn(connection, self._turn):
                        self._stopping.wait(_SLOW_POLL)
                        continue
                    self._serve(connection)
            except DATABASE_LOST as error:
                log.get().warning("relay_waits", where="database", error=type(error).__name__)
                self._stopping.wait(0.5)

    def _serve(self, connection: Transaction) -> None:
        while not self._stopping.is_set():
            cluster_id = self._broker.wait(0.5)
            if cluster_id is None:
                connection.execute("SELECT 1")  # notice a lost database also while the broker is away
                continue
            if outbox.meet_cluster(connection, cluster_id):
                log.get().warning("relay_tells_all_again", cluster_id=cluster_id)
            producer = None
            try:
                producer = Producer(self._broker.settings)
                self._tell(connection, producer, cluster_id)
            except LOST as error:
                log.get().warning("relay_waits", where="broker", error=type(error).__name__)
                self._stopping.wait(0.3)
            finally:
                if producer is not None:
                    producer.discard()

    def _tell(self, connection: Transaction, producer: Producer, cluster_id: str) -> None:
        while not self._stopping.is_set() and self._broker.cluster_id == cluster_id:
            facts = outbox.unpublished(connection, _BATCH)
            if not facts:
                metrics.OUTBOX_BACKLOG.set(0)
                wait_for_notice(connection, _SLOW_POLL)
                continue
            metrics.OUTBOX_BACKLOG.set(len(facts))
            producer.send_all(self._topic, [pack(fact, self._source, self._signer) for fact in facts])
            outbox.mark_published(connection, facts)
            metrics.FACTS_TOLD.inc(len(facts))


class Replays(threading.Thread):
    """Hears who misses facts of this service's topic and has them told again."""

    def __init__(self, name: str, topic: str, database: Database, broker: Broker) -> None:
        super().__init__(name="replays", daemon=True)
        self._group = f"replays-{name}"
        self._topic = topic.encode()
        self._database = database
        self._broker = broker
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ends after the requests under way."""
        self._stopping.set()

    def run(self) -> None:
        """Until stopped; a request that is lost is made again by who still misses the fact."""
        while not self._stopping.is_set():
            cluster_id = self._broker.wait(0.5)
            if cluster_id is None:
                continue
            consumer = None
            try:
                consumer = Consumer(self._broker.settings, self._group, [REPLAYS], hurry=False)
                while not self._stopping.is_set() and self._broker.cluster_id == cluster_id:
                    records = consumer.poll(0.5)
                    for record in records:
                        if record.key == self._topic and record.value:
                            self._tell_again(record.value.decode("ascii", "replace"))
                    if records:
                        consumer.commit()
            except (*LOST, Refusal) as error:
                log.get().info("replays_again", error=type(error).__name__)
                self._stopping.wait(0.5)
            finally:
                if consumer is not None:
                    consumer.close()

    def _tell_again(self, subject: str) -> None:
        with self._database.transaction(SYSTEM) as tx:
            count = outbox.tell_again(tx, subject=subject)
            outbox.wake(tx)
        log.get().info("told_again", subject=subject, count=count)
