"""The door to Kafka: one code path for the embedded broker and for any Kafka cluster.

It hides the traps of kafka-python 3.0: constructors that block, a producer that waits for ever after a timed-out batch (it is thrown away after any
failure), back-offs of 30 s. It promises no delivery: whoever sends keeps what it sent until `send_all` returns. Raises BrokerLost only.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError
from kafka.structs import MemberState

from chassis import log
from chassis.config import ServiceSettings
from chassis.supervisor import Loop

PARTITIONS = 12
RETENTION_MS = 7 * 24 * 3600 * 1000
KEPT_FOR_EVER = frozenset({"enlace.erasures.v1"})
"""Topics that are a memory of their own; all others repeat what an outbox holds."""
_RAISED = (KafkaError, OSError, ValueError, RuntimeError, AssertionError, KeyError)
# What kafka-python raises when the broker is away or has forgotten what the client knew (the last four come from its internals).


class BrokerLost(Exception):
    """The broker is away, or has forgotten what the client knew. Whatever raised it is useless from then on."""


class Unassigned(BrokerLost):
    """The broker answers, and gives this member of a group no partition to read."""


@contextmanager
def _noticing_loss() -> Iterator[None]:
    """Turns what the library raises into BrokerLost, so that the same classes raised elsewhere are still faults."""
    try:
        yield
    except _RAISED as error:
        raise BrokerLost(type(error).__name__) from error


REPLAYS = "enlace.replays.v1"
"""Who misses a fact asks for it on this topic: key = the fact's topic, value = its subject."""

_SILENCE_MS = 5_000  # of a broker that stands still, until the watch says that it is away

_SILENT_POLLS = 6
"""Of 0.5 s each without a record, after which a topic that should have some is given up."""

_JOIN_POLLS = 25
"""Of 0.2 s each: a join takes three seconds on the embedded broker."""

_POLL = 0.7
"""Seconds of one poll. kafka-python 3.0 throws away a join that ends between two polls, and joins again: a join takes three seconds on the embedded broker,
so polls of half a second, six of which end just then, lost one in fourteen."""

_UNASSIGNED = 30.0
"""Seconds without a partition after which a member gives up: above the longest join (nine seconds on a busy machine)."""

_EMPTY = 8.0
"""The same once it has joined: there are fewer processes of a service than partitions, so each has some. kafka-python's leader shares out nothing when it
has not yet heard of the topic's partitions, and then does not always share anew."""

_QUICK_MS, _QUIET_MS, _RARE_MS = 20, 50, 500
"""How long the broker holds a fetch for which it has nothing: while records come, when none came lately, and for what is never urgent.

Apache Kafka answers when a record comes, whatever the wait. The embedded broker looks about twice per wait instead, so a shorter wait brings a record sooner and
costs both of us more. Measured, from send to poll (p50 and p99), and in parts of a core while nothing comes (consumer and broker):
20 ms → 5 and 12 ms, 6.7 and 3.7 %; 50 ms → 9 and 28 ms, 2.9 and 2.4 %; 100 ms → 17 and 52 ms, 1.7 and 1.5 %.
"""

_QUIET = 5.0
"""Seconds without a record after which none counts as lately. The first after them is the one that comes later."""

_LOOK = 10.0
"""Seconds between two looks at whether a partition holds more than it shows."""

Record = tuple[bytes, bytes, list[tuple[str, bytes]]]


def _common(settings: ServiceSettings) -> dict[str, Any]:
    config: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers.split(","),
        "security_protocol": settings.kafka_security_protocol,
        # The library's default of 30 s would keep a service deaf for that long after the broker is back.
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
    """Watches which cluster answers. `cluster_id` is None while none does; another id means another memory.

    A broker that answers may still take nothing (a topic that was deleted, a partition that is broken): who works with it says whether it does.
    """

    def __init__(self, settings: ServiceSettings, topics: Sequence[str], *, patience: float = 10.0) -> None:
        """`patience`: seconds of failing work after which it counts as unusable; above the time in which clients find a broker that is back."""
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
        return self._cluster_id is not None and (since is None or time.monotonic() - since < self._patience)

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
                if cluster_id != known or self._failing:  # the second: a topic may have been deleted
                    create_topics(admin, self._topics, self.settings.kafka_replication_factor)
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


def create_topics(admin: KafkaAdminClient, topics: Sequence[str], replication: int) -> None:
    """Creates the topics that are missing, by name and on purpose: a typing error must not make a topic."""
    missing = sorted(set(topics) - set(admin.list_topics()))
    for topic in missing:
        configs = {"retention.ms": "-1" if topic in KEPT_FOR_EVER else str(RETENTION_MS), "min.insync.replicas": str(min(2, replication))}
        try:
            admin.create_topics({topic: {"num_partitions": PARTITIONS, "replication_factor": replication, "configs": configs}})
        except TopicAlreadyExistsError:
            continue  # another service was quicker
    if missing:
        admin.wait_for_topics(missing)


class Producer:
    """Sends records and waits for their acknowledgement by all in-sync replicas. After any failure it is useless: discard it."""

    def __init__(self, settings: ServiceSettings) -> None:
        # Not idempotent by Kafka's producer ids: consumers know repeats by (subject, version) for ever, and a broker that forgot everything hands out
        # the same producer ids again, takes the new records for repeats and drops them with an acknowledgement. One request at a time keeps the order.
        # delivery_timeout far above any wait of ours: a batch that times out while it is retried leaves kafka-python 3.0 waiting for ever.
        with _noticing_loss():
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

    def send_all(self, topic: str, records: Sequence[Record], *, timeout: float = 15.0) -> dict[int, int]:
        """Sends in order and returns when every record is acknowledged: by partition the offset after the last.

        Raises BrokerLost; some records may then be in the log all the same.
        """
        with _noticing_loss():
            futures = [self._producer.send(topic, key=key, value=value, headers=headers) for key, value, headers in records]
            told = [future.get(timeout=timeout) for future in futures]
        return {metadata.partition: metadata.offset + 1 for metadata in told}

    def discard(self) -> None:
        """Throws the producer away at once. A plain close() would wait, time out and leak its thread."""
        sender: Any = vars(self._producer)["_sender"]  # no public way to stop it without waiting
        _quietly(sender.force_close)
        _quietly(lambda: sender.join(5))
        _quietly(lambda: self._producer.close(timeout=0))


def read_from(settings: ServiceSettings, topic: str, begins: Mapping[int, int]) -> Iterator[Sequence[Any]]:
    """The records of a topic from these offsets (by partition; from the beginning where there is none) to its present end, in no group.

    Yields batches, also empty ones, so that the reader can note a turn. Records that the broker counts and can't show (the embedded one lost some when
    their sender was killed) are passed over: nobody will ever read them. Raises BrokerLost.
    """
    with _noticing_loss():
        consumer = KafkaConsumer(
            **_common(settings),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
            metrics_enabled=False,
        )
        try:
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
            ends = consumer.end_offsets(partitions)
            behind = [partition for partition in partitions if ends[partition] > begins.get(partition.partition, 0)]
            consumer.assign(behind)
            for partition in behind:
                consumer.seek(partition, begins.get(partition.partition, 0))
            silent = 0
            while behind:
                batch = [record for records in consumer.poll(timeout_ms=500).values() for record in records]
                silent = 0 if batch else silent + 1
                if silent > _SILENT_POLLS:
                    # A broker that is away or forgot everything meanwhile says so here.
                    if consumer.end_offsets(behind) != {partition: ends[partition] for partition in behind}:
                        raise BrokerLost("silent")
                    log.get().error(
                        "records_missing",
                        topic=topic,
                        count=sum(ends[partition] - (consumer.position(partition) or 0) for partition in behind),
                    )
                    return
                yield batch
                behind = [partition for partition in behind if (consumer.position(partition) or 0) < ends[partition]]
        finally:
            _quietly(consumer.close)


class Consumer:
    """Reads the topics of a group, from the beginning if the group is new. Not for two threads."""

    def __init__(
        self,
        settings: ServiceSettings,
        group: str,
        topics: Sequence[str],
        *,
        low_latency: bool = True,
        on_missing: Callable[[str], None] = lambda topic: None,
    ) -> None:
        """Without `low_latency` the broker is asked twice a second only; that is enough for what is rare and never urgent. `on_missing` is told of a topic of
        which records were passed over that the broker counts and does not show.
        """
        self._group = group
        self._low_latency = low_latency
        self._on_missing = on_missing
        self._assigned_at = self._looked_at = self._came_at = time.monotonic()
        self._stood: dict[TopicPartition, int] = {}
        with _noticing_loss():
            self._consumer = KafkaConsumer(
                *topics,
                **_common(settings),
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                allow_auto_create_topics=False,
                metrics_enabled=False,
                # 6 s: a member that died is noticed soon; the embedded broker lets a new member wait for half of it.
                session_timeout_ms=6000,
                heartbeat_interval_ms=1000,
                fetch_max_wait_ms=_QUICK_MS if low_latency else _RARE_MS,
                max_poll_records=200,
                metadata_max_age_ms=5000,
            )

    def poll(self, seconds: float) -> list[Any]:
        """The next records, in order within each partition. Raises BrokerLost, or Unassigned when there is no partition for this member for too long."""
        with _noticing_loss():
            batches = self._consumer.poll(timeout_ms=int(seconds * 1000))
            now = time.monotonic()
            if batches:
                self._came_at = now
            if self._low_latency:
                fetcher: Any = vars(self._consumer)["_fetcher"]  # no public way to change it later; the next fetch is sent with it
                fetcher.config["fetch_max_wait_ms"] = _QUICK_MS if now - self._came_at < _QUIET else _QUIET_MS
            if self.assigned:
                self._assigned_at = now
            if now - self._looked_at > _LOOK:
                self._looked_at = now
                self._pass_over_holes()
        if not batches and now - self._assigned_at > (_EMPTY if self._joined else _UNASSIGNED):
            raise Unassigned(self._group)
        return [record for records in batches.values() for record in records]

    @property
    def assigned(self) -> bool:
        """Whether there is a partition for it to read."""
        return bool(self._consumer.assignment())

    @property
    def _joined(self) -> bool:
        coordinator: Any = vars(self._consumer)["_coordinator"]  # no public way to tell a member that has nothing from one that waits
        return coordinator.state is MemberState.STABLE

    @property
    def _has_place(self) -> bool:
        """Whether it stands in its group with something to read. While it joins anew it still has the partitions from before, so they alone say nothing."""
        return self._joined and self.assigned

    def _pass_over_holes(self) -> None:
        """Goes on behind records that the broker counts and does not show: it would wait for them for ever, and for all that comes after them.

        The embedded broker (Tansu 0.6) makes such holes when it or a sender is killed at the wrong moment. A partition that stands at the same place at
        two looks, though there is more, has one.
        """
        partitions = list(self._consumer.assignment())
        ends = self._consumer.end_offsets(partitions) if partitions else {}
        standing = {partition: self._consumer.position(partition, timeout_ms=1000) for partition in partitions}
        behind = {partition: at for partition, at in standing.items() if at is not None and at < ends[partition]}
        for partition, at in behind.items():
            if self._stood.get(partition) == at:
                log.get().error(
                    "records_missing", group=self._group, topic=partition.topic, partition=partition.partition, count=ends[partition] - at
                )
                self._consumer.seek(partition, ends[partition])
                self._on_missing(partition.topic)
        self._stood = behind

    def commit(self) -> None:
        """Says that everything polled is done. Raises BrokerLost, also when another member has taken over: then it is read again."""
        with _noticing_loss():
            self._consumer.commit()

    def close(self) -> None:
        """Leaves the group if it has joined it, and falls silent if that takes too long.

        The embedded broker (Tansu 0.6) never forgets a member that leaves while it is joining, and gives nobody of that group a partition from then on; one
        that falls silent it forgets, as if it had been killed, after its session.
        """
        for _ in range(_JOIN_POLLS):
            if self._has_place:
                break
            try:
                self._consumer.poll(timeout_ms=200)  # what it brings is not committed, so it is read again
            except _RAISED:
                break  # then there is nobody to leave
        if not self._has_place:
            coordinator: Any = vars(self._consumer)["_coordinator"]  # no public way to go without a word
            coordinator.config["group_instance_id"] = "silent"  # a static member sends no goodbye
        _quietly(lambda: self._consumer.close(autocommit=False, timeout_ms=1000))


def read(broker: Broker, who: str, consumer: Consumer) -> list[Any]:
    """Polls once, and tells the broker's watch when it gives `who` nothing to read. Raises as Consumer.poll."""
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
