"""Sends and reads Kafka records, in the same way for the local stack, tests and clusters.

The module hides the traps of kafka-python 3.0: constructors that block, a producer that waits
forever after a timed-out batch (so a producer is discarded after any failure), back-offs of 30 s.
Delivery is not guaranteed: the caller keeps its records until `send_all` returns. Callers name
topics and groups without the prefix of the settings; this module adds it. Sending and reading raise
no exception other than BrokerLost.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata

from chassis import log
from chassis.config import ServiceSettings

PARTITIONS = 12
RETENTION_MS = 7 * 24 * 3600 * 1000
PERMANENT = frozenset({"enlace.erasures.v1"})
"""Topics whose records are kept forever. All other topics lose records after RETENTION_MS."""
# The exceptions of kafka-python when the broker is unavailable or has lost its state (the last four
# come from the library's internals).
KAFKA_ERRORS = (KafkaError, OSError, ValueError, RuntimeError, AssertionError, KeyError)


class BrokerLost(Exception):
    """The broker is unavailable, or has lost its state.

    Discard the object that raised it.
    """


class NoPartition(BrokerLost):
    """The broker responds, but assigns no partition to this member of a group."""


@contextmanager
def _raising_broker_lost() -> Iterator[None]:
    """Converts the library's exceptions to BrokerLost, so that the same classes raised elsewhere
    remain faults.
    """
    try:
        yield
    except KAFKA_ERRORS as error:
        raise BrokerLost(type(error).__name__) from error


REPLAYS = "enlace.replays.v1"
"""The topic for requests to publish facts again: key = the fact's topic, value = its subject."""

# Milliseconds without a response after which the broker counts as unavailable.
_SILENCE_MS = 5_000

_SILENCE_LIMIT = 30.0
"""Seconds without progress after which reading a topic fails, since silence does not prove that the
end was reached.
"""

MAX_POLL_RECORDS = 50
"""Maximum number of records in one poll.

While a member processes records, it takes part in no rebalance, so a batch must not take long even
with a slow handler.
"""

_SLOWEST_BATCH = 900.0
"""Seconds that a batch may take before the group excludes the member that processes it. Longer than
the transactions of all the batch's records may take.
"""

_UNASSIGNED_LIMIT = 30.0
"""Seconds without a partition after which a member whose join has not completed leaves and joins
again.
"""

_EMPTY_LIMIT = 8.0
"""Seconds without a partition after which a member that has joined leaves and joins again. A
service has fewer processes than its topics have partitions, so each process should get one. A
leader in kafka-python assigns nothing if it does not know the topic's partitions yet, and then does
not always assign again.
"""

Record = tuple[bytes, bytes, list[tuple[str, bytes]]]
"""Key, value and headers of a record to be sent."""


class ReceivedRecord(NamedTuple):
    """A record that was read; `topic` is without the prefix."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes]]


def _common_config(settings: ServiceSettings) -> dict[str, Any]:
    config: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers.split(","),
        "security_protocol": settings.kafka_security_protocol,
        # With the library's default, a service would notice only after 30 s that the broker is
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


def connect_admin(settings: ServiceSettings) -> KafkaAdminClient:
    """Connects a client that queries the cluster and creates topics. Raises one of KAFKA_ERRORS."""
    return KafkaAdminClient(**_common_config(settings) | {"request_timeout_ms": _SILENCE_MS})


def create_topics(
    admin: KafkaAdminClient, settings: ServiceSettings, topics: Sequence[str]
) -> None:
    """Creates the missing topics. Automatic creation is off, so that a misspelled name does not
    create a topic.
    """
    replication = settings.kafka_replication_factor
    topic_by_name = {settings.kafka_prefix + topic: topic for topic in topics}
    missing = sorted(set(topic_by_name) - set(admin.list_topics()))
    for name in missing:
        retention = "-1" if topic_by_name[name] in PERMANENT else str(RETENTION_MS)
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
            continue  # another service created it first
    if missing:
        admin.wait_for_topics(missing)


def keeps_permanent(settings: ServiceSettings) -> bool:
    """Returns True if the broker answers, and never deletes records of the permanent topics that
    exist.
    """
    topics = [ConfigResource("TOPIC", settings.kafka_prefix + topic) for topic in PERMANENT]
    try:
        with closing(connect_admin(settings)) as admin:
            configs = admin.describe_configs(topics, config_filter="all")["topic"].values()
        return all(config["retention.ms"]["value"] == "-1" for config in configs if config)
    except KAFKA_ERRORS:
        return False


class Producer:
    """Sends records and waits until all in-sync replicas acknowledge them.

    Discard it after any failure.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        # Idempotence by producer ids is off. Consumers recognise repeats by (subject, version), and
        # a broker that lost its state assigns the same producer ids again, mistakes new records for
        # repeats, acknowledges them, and drops them. One request at a time keeps the order.
        # delivery_timeout exceeds all waits of this module, because kafka-python 3.0 waits forever
        # after a batch has timed out during a retry.
        with _raising_broker_lost():
            self._prefix = settings.kafka_prefix
            self._producer = KafkaProducer(
                **_common_config(settings),
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
        """Sends records in order, and waits until all are acknowledged; returns the offset after
        the last record, by partition.

        Raises BrokerLost; some records may have arrived even then.
        """
        with _raising_broker_lost():
            futures = [
                self._producer.send(self._prefix + topic, key=key, value=value, headers=headers)
                for key, value, headers in records
            ]
            acknowledgements = [future.get(timeout=timeout) for future in futures]
        return {metadata.partition: metadata.offset + 1 for metadata in acknowledgements}

    def discard(self) -> None:
        """Closes the producer at once, without sending what it holds."""
        # A private attribute: the public close() first waits for unsent records, and at its timeout
        # raises before it stops the thread.
        sender: Any = vars(self._producer)["_sender"]
        run_and_log_failure(sender.force_close)
        run_and_log_failure(lambda: sender.join(5))
        run_and_log_failure(lambda: self._producer.close(timeout=0))


def send(settings: ServiceSettings, topic: str, records: Sequence[Record]) -> None:
    """Sends records with a producer of their own.

    Raises BrokerLost; some records may have arrived even then.
    """
    producer = Producer(settings)
    try:
        producer.send_all(topic, records)
    finally:
        producer.discard()


class Reader:
    """Reads a topic without a group, any number of times over the same connections.

    Discard it after any failure.
    """

    def __init__(self, settings: ServiceSettings, topic: str) -> None:
        self._settings = settings
        self._topic = settings.kafka_prefix + topic
        with _raising_broker_lost():
            self._consumer = KafkaConsumer(
                **_common_config(settings),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=500,
                metrics_enabled=False,
            )

    def read(self, start_offsets: Mapping[int, int]) -> Iterator[Sequence[ReceivedRecord]]:
        """Reads each partition from its offset in `start_offsets`, or else 0, to its current end.

        Yields batches, even empty ones, so that the caller can record a turn. Ends only when all
        partitions have been read. Raises BrokerLost if the topic is missing, or if nothing arrives
        for half a minute.
        """
        consumer = self._consumer
        with _raising_broker_lost():
            partitions = [
                TopicPartition(self._topic, number)
                for number in consumer.partitions_for_topic(self._topic) or ()
            ]
            if not partitions:
                raise BrokerLost("no topic")
            ends = consumer.end_offsets(partitions)
            starts = {
                partition: start_offsets.get(partition.partition, 0) for partition in partitions
            }
            # If a partition ends before the given offset, the topic has been created again, so it
            # is read from its beginning.
            starts = {
                partition: start if start <= ends[partition] else 0
                for partition, start in starts.items()
            }
            unread = [partition for partition in partitions if ends[partition] > starts[partition]]
            if not unread:
                return
            consumer.assign(unread)
            for partition in unread:
                consumer.seek(partition, starts[partition])
            last_positions, progress_at = dict[TopicPartition, int](), time.monotonic()
            while unread:
                batch = _received_records(self._settings, consumer.poll(timeout_ms=500))
                positions = {partition: consumer.position(partition) or 0 for partition in unread}
                if positions != last_positions:
                    last_positions, progress_at = positions, time.monotonic()
                elif time.monotonic() - progress_at > _SILENCE_LIMIT:
                    raise BrokerLost("silent")
                yield batch
                unread = [
                    partition for partition in unread if positions[partition] < ends[partition]
                ]

    def close(self) -> None:
        """Closes the connections."""
        run_and_log_failure(self._consumer.close)


def read_from(
    settings: ServiceSettings, topic: str, start_offsets: Mapping[int, int]
) -> Iterator[Sequence[ReceivedRecord]]:
    """Reads a topic once, as `Reader.read` does."""
    reader = Reader(settings, topic)
    try:
        yield from reader.read(start_offsets)
    finally:
        reader.close()


def _received_records(
    settings: ServiceSettings, batches: Mapping[TopicPartition, Sequence[Any]]
) -> list[ReceivedRecord]:
    """Returns the records of a poll, in order within each partition."""
    return [
        ReceivedRecord(
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
    """Tracks whether the group has assigned this member its partitions, possibly none, since it
    last joined. `new_partitions` are the assigned partitions that the consumer has not checked yet.
    """

    def __init__(self) -> None:
        self.joined = False
        self.new_partitions = set[TopicPartition]()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called when the group has assigned partitions."""
        self.joined = True
        self.new_partitions = set(assigned)

    def on_partitions_revoked(self, revoked: object) -> None:
        """Called when the member joins again."""
        self.joined = False
        self.new_partitions = set()


class Consumer:
    """Reads the topics of a group, from the beginning if the group is new. Not thread-safe."""

    def __init__(self, settings: ServiceSettings, group: str, topics: Sequence[str]) -> None:
        self._settings = settings
        self._group = group
        self._assigned_at = time.monotonic()
        self._membership = _Membership()
        # for each partition in which the broker has deleted unread records: the offset of the first
        # remaining record
        self._first_offsets = dict[TopicPartition, int]()
        with _raising_broker_lost():
            self._consumer = KafkaConsumer(
                **_common_config(settings),
                group_id=settings.kafka_prefix + group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                allow_auto_create_topics=False,
                metrics_enabled=False,
                session_timeout_ms=6000,  # detects a dead member soon
                heartbeat_interval_ms=2000,  # a third of the timeout, as Kafka recommends
                # the broker responds as soon as a record arrives, and at the latest after this time
                fetch_max_wait_ms=5000,
                max_poll_records=MAX_POLL_RECORDS,
                max_poll_interval_ms=int(_SLOWEST_BATCH * 1000),
                metadata_max_age_ms=15_000,
            )
            self._consumer.subscribe(
                [settings.kafka_prefix + topic for topic in topics], listener=self._membership
            )

    def poll(self, seconds: float) -> list[ReceivedRecord]:
        """Returns the next records, in order within each partition.

        Raises BrokerLost, or NoPartition if this member has had no partition for too long.
        """
        with _raising_broker_lost():
            records = _received_records(
                self._settings, self._consumer.poll(timeout_ms=int(seconds * 1000))
            )
        now = time.monotonic()
        if self.assigned:
            self._assigned_at = now
        elif not records and now - self._assigned_at > (
            _EMPTY_LIMIT if self.joined else _UNASSIGNED_LIMIT
        ):
            raise NoPartition(self._group)
        return records

    @property
    def assigned(self) -> bool:
        """True if this member has a partition to read."""
        return bool(self._consumer.assignment())

    @property
    def joined(self) -> bool:
        """True if the group has assigned this member its partitions, possibly none."""
        return self._membership.joined

    def find_deleted(self) -> set[str]:
        """Returns the topics in which the broker has deleted records that this group had not read,
        because the group was away for longer than records are kept.

        Checks each partition once after it was assigned. Call this method after a poll, before
        its records are committed; call `skip_deleted` once the facts have been requested again.
        Raises BrokerLost.
        """
        if new := self._membership.new_partitions:
            with _raising_broker_lost():
                self._first_offsets = {
                    partition: first_offset
                    for partition, first_offset in self._consumer.beginning_offsets(
                        list(new)
                    ).items()
                    if first_offset > (self._consumer.committed(partition) or 0)
                }
            self._membership.new_partitions = set()
        return {
            partition.topic.removeprefix(self._settings.kafka_prefix)
            for partition in self._first_offsets
        }

    def skip_deleted(self) -> None:
        """Commits the offsets after the deleted records, so that `find_deleted` does not find them
        again. Raises BrokerLost.
        """
        with _raising_broker_lost():
            self._consumer.commit(
                {
                    partition: OffsetAndMetadata(first_offset)
                    for partition, first_offset in self._first_offsets.items()
                }
            )
        self._first_offsets = {}

    def commit(self, records: Sequence[ReceivedRecord]) -> None:
        """Commits the offsets after these records.

        Raises BrokerLost, also if another member has taken the partition over; that member then
        reads the records again.
        """
        ends = {
            TopicPartition(
                self._settings.kafka_prefix + record.topic, record.partition
            ): OffsetAndMetadata(record.offset + 1)
            for record in records
        }
        if ends:
            with _raising_broker_lost():
                self._consumer.commit(ends)

    def close(self) -> None:
        """Leaves the group."""
        run_and_log_failure(lambda: self._consumer.close(autocommit=False, timeout_ms=1000))


def run_and_log_failure(act: Callable[[], object]) -> None:
    """Runs the clean-up of an object that may already be broken; logs a failure of the clean-up."""
    try:
        act()
    except Exception as error:
        log.get().debug("tidy_up", error=type(error).__name__)
