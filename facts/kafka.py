"""Sends and reads records of Kafka: one code path for the broker of one machine, of the tests and
of a cluster.

It hides the traps of kafka-python 3.0: constructors that block, a producer that waits for ever
after a timed-out batch (it is thrown away after any failure), back-offs of 30 s. It promises no
delivery: the caller keeps its records until `send_all` returns. Topics and groups bear the prefix
of the settings on the broker and nowhere else. Raises BrokerLost only.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata

from chassis import log
from chassis.config import ServiceSettings
from chassis.supervisor import Loop

PARTITIONS = 12
RETENTION_MS = 7 * 24 * 3600 * 1000
KEPT_FOR_EVER = frozenset({"enlace.erasures.v1"})
"""Topics that are a memory of their own; all others repeat what an outbox holds."""
_RAISED = (KafkaError, OSError, ValueError, RuntimeError, AssertionError, KeyError)
# What kafka-python raises when the broker is away or has forgotten what the client knew (the last
# four come from its internals).


class BrokerLost(Exception):
    """The broker is away, or has forgotten what the client knew.

    Whatever raised it is useless from then on.
    """


class Unassigned(BrokerLost):
    """The broker answers, and gives this member of a group no partition to read."""


@contextmanager
def _noticing_loss() -> Iterator[None]:
    """Turns what the library raises into BrokerLost, so that the same classes raised elsewhere are
    still faults.
    """
    try:
        yield
    except _RAISED as error:
        raise BrokerLost(type(error).__name__) from error


REPLAYS = "enlace.replays.v1"
"""Who misses a fact asks for it on this topic: key = the fact's topic, value = its subject."""

_SILENCE_MS = 5_000  # of a broker that stands still, until the watch says that it is away

_SILENCE = 30.0
"""Seconds without progress after which the reading of a topic fails: silence is not its end."""

_POLL = 1.0
"""Seconds of one poll. kafka-python 3.0 throws away a join that ends between two polls, and joins
again: the fewer polls, the rarer.
"""

_BATCH = 50
"""Records of one poll.

A member that works on them takes part in no rebalance, so a batch is short also where its handler
is slow.
"""

_SLOWEST_BATCH = 900.0
"""Seconds that a batch may take before the group does without its member: above each record's
longest transaction.
"""

_UNASSIGNED = 30.0
"""Seconds without a partition after which a member gives up and joins anew."""

_EMPTY = 8.0
"""The same once it has joined: there are fewer processes of a service than partitions, so each has
some. kafka-python's leader shares out nothing when it has not yet heard of the topic's partitions,
and then does not always share anew.
"""

Record = tuple[bytes, bytes, list[tuple[str, bytes]]]
"""Key, value and headers of a record to be sent."""


class Received(NamedTuple):
    """A record as it was read; `topic` without the prefix."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes]]


def _common(settings: ServiceSettings) -> dict[str, Any]:
    config: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers.split(","),
        "security_protocol": settings.kafka_security_protocol,
        # The library's default of 30 s would keep a service deaf for that long after the broker is
        # back.
        "reconnect_backoff_ms": 50,
        "reconnect_backoff_max_ms": 500,
        "bootstrap_timeout_ms": 3000,
        "request_timeout_ms": 10_000,
    }
    if settings.kafka_sasl_mechanism:
        config |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": settings.kafka_sasl_password,
        }
    return config


class Broker:
    """Watches which cluster answers.

    `cluster_id` is None while none does; another id means another memory.

    A broker that answers may still take nothing (a topic that was deleted, a partition that is
    broken): who works with it says whether it does.
    """

    def __init__(
        self, settings: ServiceSettings, topics: Sequence[str], *, patience: float = 10.0
    ) -> None:
        """`patience`: seconds of failing work after which it counts as unusable; above the time in
        which clients find a broker that is back.
        """
        # The pause bounds how long a broker that is back goes unnoticed.
        self.loop = Loop("broker", self._watch, waits_for=_RAISED, longest_pause=0.5)
        self.settings = settings
        self._topics = list(topics)
        self._changed = threading.Condition()
        self._cluster_id: str | None = None
        self._patience = patience
        self._failing: dict[str, float] = {}  # who → since when

    @property
    def cluster_id(self) -> str | None:
        """The cluster that answered last, or None."""
        return self._cluster_id

    @property
    def usable(self) -> bool:
        """Whether it answers, and what is done with it does not fail again and again."""
        since = min(list(self._failing.values()), default=None)
        return self._cluster_id is not None and (
            since is None or time.monotonic() - since < self._patience
        )

    def failed(self, who: str) -> None:
        """What somebody did with it failed."""
        self._failing.setdefault(who, time.monotonic())

    def worked(self, who: str) -> None:
        """What somebody did with it went well."""
        self._failing.pop(who, None)

    def wait(self, seconds: float) -> str | None:
        """Waits until a cluster answers, at most `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self._cluster_id is not None, seconds)
        return self._cluster_id

    def start(self) -> None:
        """Begins to watch."""
        self.loop.start()

    def stop(self) -> None:
        """Ends the watch."""
        self.loop.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Waits until the watch has ended; says whether it has."""
        return self.loop.join(timeout)

    def _watch(self, loop: Loop) -> None:
        """Asks once a second; whatever goes wrong, no cluster is known until one answers again."""
        admin = None
        try:
            admin = KafkaAdminClient(**_common(self.settings) | {"request_timeout_ms": _SILENCE_MS})
            known = ""
            while loop.turn():
                cluster_id = str(admin.describe_cluster()["cluster_id"])
                # the second: a topic may have been deleted
                if cluster_id != known or self._failing:
                    create_topics(admin, self.settings, self._topics)
                    known = cluster_id
                self._set(cluster_id)
                loop.wait(1.0)
        except Exception:
            self._set(None)
            raise
        finally:
            if admin is not None:
                _quietly(admin.close)

    def _set(self, cluster_id: str | None) -> None:
        if cluster_id == self._cluster_id:
            return
        with self._changed:
            self._cluster_id = cluster_id
            self._failing.clear()  # one that came back begins anew
            self._changed.notify_all()
        log.get().info("broker" if cluster_id else "broker_away", cluster_id=cluster_id or "")


def create_topics(
    admin: KafkaAdminClient, settings: ServiceSettings, topics: Sequence[str]
) -> None:
    """Creates the topics that are missing, by name and on purpose: a typing error must not make a
    topic.
    """
    replication = settings.kafka_replication_factor
    wanted = {settings.kafka_prefix + topic: topic for topic in topics}
    missing = sorted(set(wanted) - set(admin.list_topics()))
    for name in missing:
        retention = "-1" if wanted[name] in KEPT_FOR_EVER else str(RETENTION_MS)
        configs = {"retention.ms": retention, "min.insync.replicas": str(min(2, replication))}
        try:
            admin.create_topics(
                {
                    name: {
                        "num_partitions": PARTITIONS,
                        "replication_factor": replication,
                        "configs": configs,
                    }
                }
            )
        except TopicAlreadyExistsError:
            continue  # another service was quicker
    if missing:
        admin.wait_for_topics(missing)


class Producer:
    """Sends records and waits for their acknowledgement by all in-sync replicas.

    After any failure it is useless: discard it.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        # Not idempotent by Kafka's producer ids: consumers know repeats by (subject, version) for
        # ever, and a broker that forgot everything hands out the same producer ids again, takes the
        # new records for repeats and drops them with an acknowledgement. One request at a time
        # keeps the order. delivery_timeout far above any wait of ours: a batch that times out while
        # it is retried leaves kafka-python 3.0 waiting for ever.
        with _noticing_loss():
            self._prefix = settings.kafka_prefix
            self._producer = KafkaProducer(
                **_common(settings),
                acks="all",
                enable_idempotence=False,
                max_in_flight_requests_per_connection=1,
                linger_ms=0,
                batch_size=131_072,
                delivery_timeout_ms=120_000,
                max_block_ms=5_000,
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )

    def send_all(
        self, topic: str, records: Sequence[Record], *, timeout: float = 15.0
    ) -> dict[int, int]:
        """Sends in order and returns when every record is acknowledged: by partition the offset
        after the last.

        Raises BrokerLost; some records may then be in the log all the same.
        """
        with _noticing_loss():
            futures = [
                self._producer.send(self._prefix + topic, key=key, value=value, headers=headers)
                for key, value, headers in records
            ]
            told = [future.get(timeout=timeout) for future in futures]
        return {metadata.partition: metadata.offset + 1 for metadata in told}

    def discard(self) -> None:
        """Throws the producer away at once, with what it has not sent."""
        # Private, because the public close() first waits for all that is not sent, and raises at
        # its timeout before it stops the thread.
        sender: Any = vars(self._producer)["_sender"]
        _quietly(sender.force_close)
        _quietly(lambda: sender.join(5))
        _quietly(lambda: self._producer.close(timeout=0))


def send(settings: ServiceSettings, topic: str, records: Sequence[Record]) -> None:
    """Sends these records by a producer of their own.

    Raises BrokerLost; some records may then be in the log all the same.
    """
    producer = Producer(settings)
    try:
        producer.send_all(topic, records)
    finally:
        producer.discard()


def read_from(
    settings: ServiceSettings, topic: str, begins: Mapping[int, int]
) -> Iterator[Sequence[Received]]:
    """Reads a topic, in no group, from these offsets (by partition; from the beginning where there
    is none) to the end that it has now.

    Yields batches, also empty ones, so that the reader can note a turn. Returns only at that end.
    Raises BrokerLost when the topic is not there, and when nothing comes for half a minute: silence
    is no end.
    """
    with _noticing_loss():
        consumer = KafkaConsumer(
            **_common(settings),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=500,
            metrics_enabled=False,
        )
        try:
            name = settings.kafka_prefix + topic
            partitions = [
                TopicPartition(name, number) for number in consumer.partitions_for_topic(name) or ()
            ]
            if not partitions:
                raise BrokerLost("no topic")
            ends = consumer.end_offsets(partitions)
            starts = {partition: begins.get(partition.partition, 0) for partition in partitions}
            # An end before the start is that of another topic of this name: nothing of it has been
            # read.
            starts = {
                partition: start if start <= ends[partition] else 0
                for partition, start in starts.items()
            }
            behind = [partition for partition in partitions if ends[partition] > starts[partition]]
            consumer.assign(behind)
            for partition in behind:
                consumer.seek(partition, starts[partition])
            places, since = dict[TopicPartition, int](), time.monotonic()
            while behind:
                batch = _received(settings, consumer.poll(timeout_ms=500))
                now_at = {partition: consumer.position(partition) or 0 for partition in behind}
                if now_at != places:
                    places, since = now_at, time.monotonic()
                elif time.monotonic() - since > _SILENCE:
                    raise BrokerLost("silent")
                yield batch
                behind = [partition for partition in behind if now_at[partition] < ends[partition]]
        finally:
            _quietly(consumer.close)


def _received(
    settings: ServiceSettings, batches: Mapping[TopicPartition, Sequence[Any]]
) -> list[Received]:
    """Returns the records of a poll, in order within each partition."""
    return [
        Received(
            record.topic.removeprefix(settings.kafka_prefix),
            record.partition,
            record.offset,
            record.key,
            record.value,
            record.headers,
        )
        for records in batches.values()
        for record in records
    ]


class _Membership(ConsumerRebalanceListener):
    """Knows whether the group has given this member its share, of one partition or of none, and the
    member does not join anew.
    """

    joined = False

    def on_partitions_assigned(self, assigned: object) -> None:
        """Called when the group has shared out its partitions."""
        self.joined = True

    def on_partitions_revoked(self, revoked: object) -> None:
        """Called when the member joins anew."""
        self.joined = False


class Consumer:
    """Reads the topics of a group, from the beginning if the group is new. Not for two threads."""

    def __init__(self, settings: ServiceSettings, group: str, topics: Sequence[str]) -> None:
        self._settings = settings
        self._group = group
        self._assigned_at = time.monotonic()
        self._membership = _Membership()
        with _noticing_loss():
            self._consumer = KafkaConsumer(
                **_common(settings),
                group_id=settings.kafka_prefix + group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                allow_auto_create_topics=False,
                metrics_enabled=False,
                session_timeout_ms=6000,  # a member that died is noticed soon
                heartbeat_interval_ms=1000,
                # the broker answers when a record comes; the wait is for when none does
                fetch_max_wait_ms=2000,
                max_poll_records=_BATCH,
                max_poll_interval_ms=int(_SLOWEST_BATCH * 1000),
                metadata_max_age_ms=5000,
            )
            self._consumer.subscribe(
                [settings.kafka_prefix + topic for topic in topics], listener=self._membership
            )

    def poll(self, seconds: float) -> list[Received]:
        """Returns the next records, in order within each partition.

        Raises BrokerLost, or Unassigned when there is no partition for this member for too long.
        """
        with _noticing_loss():
            records = _received(self._settings, self._consumer.poll(timeout_ms=int(seconds * 1000)))
        now = time.monotonic()
        if self.assigned:
            self._assigned_at = now
        elif not records and now - self._assigned_at > (_EMPTY if self.joined else _UNASSIGNED):
            raise Unassigned(self._group)
        return records

    @property
    def assigned(self) -> bool:
        """Whether there is a partition for it to read."""
        return bool(self._consumer.assignment())

    @property
    def joined(self) -> bool:
        """Whether the group has given it its share, be it nothing, and it does not join anew."""
        return self._membership.joined

    def commit(self, taken: Sequence[Received]) -> None:
        """Commits the offsets behind these records, the latest of each partition last, and of no
        other.

        Raises BrokerLost, also when another member has taken over: then they are read again.
        """
        ends = {
            TopicPartition(
                self._settings.kafka_prefix + each.topic, each.partition
            ): OffsetAndMetadata(each.offset + 1)
            for each in taken
        }
        if ends:
            with _noticing_loss():
                self._consumer.commit(ends)

    def close(self) -> None:
        """Leaves the group."""
        _quietly(lambda: self._consumer.close(autocommit=False, timeout_ms=1000))


def read(broker: Broker, who: str, consumer: Consumer) -> list[Received]:
    """Polls once, and tells the broker's watch when it gives `who` nothing to read.

    Raises as Consumer.poll.
    """
    try:
        records = consumer.poll(_POLL)
    except Unassigned:
        broker.failed(who)
        raise
    if consumer.assigned:
        broker.worked(who)
    return records


def _quietly(act: Callable[[], object]) -> None:
    """For tidying up what may be broken already."""
    try:
        act()
    except Exception as error:
        log.get().debug("tidy_up", error=type(error).__name__)
