"""Facts on their way from outbox to inbox, whichever part is killed in between.

A fact is published if and only if its transaction commits, and applied once and in order.
"""

import math
import threading
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from chassis import metrics
from chassis.clock import SystemClock
from chassis.errors import Conflict
from chassis.ids import new_id
from chassis.limits import WINDOW
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from facts import kafka, outbox, relay
from facts.envelope import SIGNATURE
from facts.kafka import REPLAYS, Consumer, Producer
from facts.outbox import Fact
from facts.relay import _MANY, _PASSES_PER_SECOND, Relay
from tests.chassis.world import World, settings, until
from tests.parts import brokers, topics

pytestmark = pytest.mark.long


def test_committed_facts_are_applied_once_and_in_order(world: World) -> None:
    subjects = [new_id() for _ in range(20)]
    for subject in subjects:
        world.write(subject, 5)
    until(lambda: len(world.effects()) == 100)
    assert all(world.versions(subject) == [1, 2, 3, 4, 5] for subject in subjects)


def record_batch_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Returns a list that receives the number of facts of each published batch."""
    batches: list[int] = []
    send_all = Producer.send_all

    def count_and_send(producer: Producer, topic: str, records: Any, **options: Any) -> Any:
        batches.append(len(records))
        return send_all(producer, topic, records, **options)

    monkeypatch.setattr(Producer, "send_all", count_and_send)
    return batches


def test_facts_that_come_faster_than_the_relays_pace_are_published_in_batches(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, begin = record_batch_sizes(monkeypatch), time.monotonic()
    for _ in range(300):
        world.write(new_id(), 1)
    until(lambda: sum(batches) >= 300)
    seconds = time.monotonic() - begin
    assert len(batches) <= _PASSES_PER_SECOND * (seconds + WINDOW) + 1
    assert sum(batches) == 300, "a fact was sent twice, or another test is still sending"


def test_the_relay_pauses_after_a_batch_of_many_facts_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, pauses, wait = record_batch_sizes(monkeypatch), list[float](), Loop.wait

    def note_and_wait(loop: Loop, seconds: float) -> bool:
        if loop.name == "relay":
            pauses.append(seconds)
        return wait(loop, min(seconds, 0.05))

    def publish(count: int) -> None:
        before = len(batches)
        world.write(new_id(), count)
        until(lambda: len(batches) > before)

    monkeypatch.setattr(relay, "_PAUSE_AFTER_MANY", 10.0)
    monkeypatch.setattr(Loop, "wait", note_and_wait)
    for count in (_MANY - 1, 1, _MANY):
        publish(count)
        assert max(pauses, default=0.0) <= 1.0
    publish(1)
    assert max(pauses) > 1.0


def test_a_fact_that_was_rolled_back_is_never_published(world: World) -> None:
    ghost, real = new_id(), new_id()

    def change_and_refuse() -> None:
        with world.publisher.transaction(SYSTEM) as tx:
            outbox.save(tx, [Fact(ghost, 1, "enlace.test.told.v1", b"x", datetime.now(UTC))])
            raise Conflict("changed_my_mind")

    with pytest.raises(Conflict):
        change_and_refuse()
    world.deliver(real)
    assert world.versions(ghost) == []


def test_a_fact_that_is_published_twice_has_one_effect(world: World) -> None:
    subject, after = new_id(), new_id()
    world.deliver(subject, 3)
    with world.publisher.transaction(SYSTEM) as tx:
        assert outbox.repeat_subject(tx, subject) == 3
    world.deliver(after)
    assert [row for row in world.effects() if row[0] == subject] == [
        (subject, 1),
        (subject, 2),
        (subject, 3),
    ]


def test_facts_in_the_wrong_order_wait_for_each_other(world: World) -> None:
    subject = new_id()
    facts = [Fact(subject, n, "enlace.test.told.v1", b"x", datetime.now(UTC)) for n in (1, 2, 3)]
    for fact in (facts[2], facts[1], facts[0]):
        world.send_raw(fact)
    until(lambda: world.versions(subject) == [1, 2, 3])


def test_a_missing_fact_is_requested_and_published_again(world: World) -> None:
    subject = new_id()
    with world.publisher.transaction(SYSTEM) as tx:
        outbox.save(
            tx, [Fact(subject, n, "enlace.test.told.v1", b"x", datetime.now(UTC)) for n in (1, 2)]
        )
        # as if the broker had lost the first fact after acknowledging it
        outbox.mark_published(tx, [Fact(subject, 1, "", b"", datetime.now(UTC))], 1)
    until(lambda: world.versions(subject) == [1, 2], 60)


def test_an_unreadable_record_becomes_one_dead_letter_and_later_records_are_applied(
    world: World,
) -> None:
    fact = Fact(new_id(), 1, "enlace.test.told.v1", b"x", datetime.now(UTC))
    world.send_raw(fact, body=b"altered after signing")
    # the repeated record adds no dead letter
    world.send_raw(fact, body=b"altered after signing")
    world.send_raw(replace(fact, subject=new_id()), source="enlace/stranger")
    world.send(
        (b"no headers at all", b"", []),
        (b"nonsense", b"\xff", [("ce_id", b"\xff"), (SIGNATURE, b"")]),
    )
    world.deliver(new_id())
    until(lambda: len(world.waiting("unreadable")) == 4)
    assert world.versions(fact.subject) == []
    assert sorted(letter.reason for letter in world.waiting("unreadable")) == [
        "headers",
        "headers",
        "signature",
        "source",
    ]


def test_a_replay_of_a_large_outbox_is_marked_in_chunks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_CHUNK", 100)
    for subject in (new_id() for _ in range(25)):
        world.write(subject, 20)
    until(lambda: len(world.effects()) == 500)
    with world.publisher.transaction(SYSTEM) as tx:
        assert outbox.count(tx) == 500
    # Meanwhile the relay publishes the facts of the first chunks again.
    assert list(outbox.repeat_since(world.publisher, datetime(2000, 1, 1, tzinfo=UTC))) == [
        100,
        200,
        300,
        400,
        500,
    ]
    world.deliver(new_id())
    assert len(world.effects()) == 501


def test_no_fact_is_lost_or_doubled_when_the_broker_is_killed_midway(world: World) -> None:
    subjects = [new_id() for _ in range(300)]

    def write() -> None:
        for subject in subjects:
            world.write(subject, 2)

    writer = threading.Thread(target=write)
    writer.start()
    until(lambda: len(world.applied) > 20)
    world.broker.kill()
    time.sleep(0.3)
    world.broker.start()
    writer.join()
    until(lambda: len(world.effects()) >= 600, 90)
    assert world.effects() == sorted((subject, n) for subject in subjects for n in (1, 2))


def test_facts_written_while_the_broker_is_down_are_published_after_its_return(
    world: World,
) -> None:
    world.broker.stop()
    subject = new_id()
    world.write(subject, 3)
    world.broker.start()
    until(lambda: world.versions(subject) == [1, 2, 3], 90)


def test_facts_that_the_broker_deleted_before_a_consumer_had_read_them_are_published_again(
    world: World,
) -> None:
    read_subject, unread_subjects = new_id(), [new_id() for _ in range(20)]
    world.deliver(read_subject)
    world.stop("listener")  # for longer than the broker keeps records
    for subject in unread_subjects:
        world.write(subject, 2)
    until(lambda: sum(ends_of(world, world.topic).values()) >= 41)
    delete_records(world)
    world.start("listener")
    until(lambda: len(world.effects()) >= 41)
    assert world.effects() == sorted(
        [(read_subject, 1), *((subject, n) for subject in unread_subjects for n in (1, 2))]
    )
    request_ends = ends_of(world, REPLAYS)
    world.stop("listener")
    world.start("listener")
    world.deliver(read_subject, start=2)
    assert ends_of(world, REPLAYS) == request_ends  # everything is requested once


def test_unread_facts_in_a_topic_that_was_deleted_are_published_again(world: World) -> None:
    read_subject, unread_subjects = new_id(), [new_id() for _ in range(20)]
    world.deliver(read_subject)
    world.stop("listener")
    for subject in unread_subjects:
        world.write(subject, 1)
    until(lambda: sum(ends_of(world, world.topic).values()) == 21)
    topics.delete(world.broker.bootstrap, world.topic)
    with capture_logs() as lines:
        for version in (2, 3):  # the relay notices the new topic at the first fact
            world.write(read_subject, 1, start=version)
            until(lambda: sum(ends_of(world, world.topic).values()) > 0, 60)
        world.start("listener")
        until(lambda: len(world.effects()) == 23, 60)
    repeats = [line for line in lines if line["event"] == "relay_tells_all_again"]
    assert (repeats[0]["topic"], repeats[0]["count"] in (22, 23)) == (world.topic, True)


def ends_of(world: World, topic: str) -> dict[TopicPartition, int]:
    """Returns how many records each partition of a topic has ever had."""
    with closing(KafkaConsumer(bootstrap_servers=world.broker.bootstrap)) as consumer:
        partitions = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic) or ()]
        return dict(consumer.end_offsets(partitions))


def delete_records(world: World) -> None:
    """Deletes all records of the topic, as the broker does when they are a week old."""
    with closing(KafkaAdminClient(bootstrap_servers=world.broker.bootstrap)) as admin:
        admin.delete_records(ends_of(world, world.topic))


BACKLOG = 36_000  # records, in twelve partitions


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pause", [0, 0.010, 0.050])
def test_each_record_of_a_backlog_is_received_exactly_once(
    pause: float, broker: brokers.Broker, topic: str
) -> None:
    """Handles records slowly for 25 seconds, so that most partitions have to wait.

    While kafka-python works through one partition, it returns nothing from the others.
    """
    producer = Producer(settings(broker.bootstrap))
    for begin in range(0, BACKLOG, 500):
        numbers = range(begin, begin + 500)
        producer.send_all(topic, [(b"%d" % number, b"x" * 300, []) for number in numbers])
    producer.discard()
    consumer = Consumer(settings(broker.bootstrap), new_id(), [topic])
    received: dict[int, list[int]] = {partition: [] for partition in range(kafka.PARTITIONS)}
    read_start = time.monotonic()
    while sum(map(len, received.values())) < BACKLOG:
        batch = consumer.poll(1.0)
        for record in batch:
            received[record.partition].append(record.offset)
            if time.monotonic() - read_start < 25:
                time.sleep(pause)
        consumer.commit(batch)
    consumer.close()
    assert all(offsets == list(range(len(offsets))) for offsets in received.values())


def test_a_broker_without_its_topic_is_unusable_until_the_topic_is_recreated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = new_id()
    world.deliver(subject)
    assert world.watch.usable
    monkeypatch.setattr(world.watch, "_patience", 0.0)
    topics.delete(world.broker.bootstrap, world.topic)
    world.write(subject, 1, start=2)
    until(lambda: not world.watch.usable)
    until(lambda: world.watch.usable)


def test_a_consumer_that_gets_no_partition_is_reported_and_joins_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Covers a leader in kafka-python that assigns no partitions.

    A leader that does not know the topic's partitions yet behaves like this.
    """
    subject = new_id()
    world.deliver(subject)
    starving, assignment, poll = True, KafkaConsumer.assignment, KafkaConsumer.poll
    monkeypatch.setattr(
        KafkaConsumer, "assignment", lambda self: set() if starving else assignment(self)
    )
    monkeypatch.setattr(
        KafkaConsumer,
        "poll",
        lambda self, timeout_ms=0: {} if starving else poll(self, timeout_ms=timeout_ms),
    )
    for limit in ("_UNASSIGNED_LIMIT", "_EMPTY_LIMIT"):
        monkeypatch.setattr(kafka, limit, 0.2)
    monkeypatch.setattr(world.watch, "_patience", 0.5)
    until(lambda: not world.watch.usable)
    for limit in ("_UNASSIGNED_LIMIT", "_EMPTY_LIMIT"):
        monkeypatch.setattr(kafka, limit, 30.0)
    starving = False
    world.deliver(subject, start=2)
    until(lambda: world.watch.usable)


def test_the_backlog_metric_counts_all_waiting_facts_when_it_is_read(world: World) -> None:
    world.deliver(new_id())

    def backlog() -> float:
        [metric] = metrics.OUTBOX_BACKLOG.collect()
        return float(metric.samples[0].value)

    until(lambda: backlog() == 0)
    world.stop("publisher")
    assert math.isnan(backlog()), "the backlog is unknown without the database"
    assert "enlace_facts_told_total" in generate_latest().decode(), (
        "other metrics are still reported"
    )
    with world.pg_databases["publisher"].open_as_service(max_size=2) as database:
        world.databases["publisher"] = database
        # this loop is never started
        Relay("publisher", world.topic, database, world.watch, world.signer, SystemClock()).loop()
        world.write(new_id(), 700)  # more than a batch
        assert backlog() == 700
        with database.transaction(SYSTEM) as tx:
            outbox.repeat_all(tx)
        assert backlog() == 701, "facts to be published again count, too"
