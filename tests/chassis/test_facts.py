"""Facts from outbox to inbox, on both brokers: told if and only if committed, heard once and in order, whatever is killed in between."""

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.protocol.consumer import FetchRequest
from structlog.testing import capture_logs

from chassis import kafka, log, outbox
from chassis.db import Database
from chassis.envelope import SIGNATURE
from chassis.errors import Conflict
from chassis.ids import new_id
from chassis.kafka import Broker, Consumer, Producer
from chassis.outbox import Fact
from chassis.tokens import SYSTEM
from tests.chassis.world import World, settings, until
from tests.parts import brokers, topics


def test_a_committed_fact_is_heard_once_and_in_order(world: World) -> None:
    subjects = [new_id() for _ in range(20)]
    for subject in subjects:
        world.tell(subject, 5)
    until(lambda: len(world.effects()) == 100)
    assert all(world.versions(subject) == [1, 2, 3, 4, 5] for subject in subjects)


def test_a_fact_that_was_rolled_back_is_never_told(world: World) -> None:
    ghost, real = new_id(), new_id()

    def change_and_refuse() -> None:
        with world.teller.transaction(SYSTEM) as tx:
            outbox.keep(tx, [Fact(ghost, 1, "enlace.test.told.v1", b"x", datetime.now(UTC))])
            raise Conflict("changed_my_mind")

    with pytest.raises(Conflict):
        change_and_refuse()
    world.tell(real, 1)
    until(lambda: world.versions(real) == [1])
    assert world.versions(ghost) == []


def test_a_fact_told_twice_has_one_effect(world: World) -> None:
    subject, after = new_id(), new_id()
    world.tell(subject, 3)
    until(lambda: len(world.versions(subject)) == 3)
    with world.teller.transaction(SYSTEM) as tx:
        assert outbox.repeat_subject(tx, subject) == 3
    world.tell(after, 1)
    until(lambda: world.versions(after) == [1])
    assert [row for row in world.effects() if row[0] == subject] == [(subject, 1), (subject, 2), (subject, 3)]


def test_facts_in_the_wrong_order_wait_for_each_other(world: World) -> None:
    subject = new_id()
    facts = [Fact(subject, n, "enlace.test.told.v1", b"x", datetime.now(UTC)) for n in (1, 2, 3)]
    for fact in (facts[2], facts[1], facts[0]):
        world.send_raw(fact)
    until(lambda: world.versions(subject) == [1, 2, 3])


def test_a_missing_fact_is_asked_for_and_told_again(world: World) -> None:
    subject = new_id()
    with world.teller.transaction(SYSTEM) as tx:
        outbox.keep(tx, [Fact(subject, n, "enlace.test.told.v1", b"x", datetime.now(UTC)) for n in (1, 2)])
        # As if the broker had lost the first one after acknowledging it.
        outbox.mark_published(tx, [Fact(subject, 1, "", b"", datetime.now(UTC))], 1)
    until(lambda: world.versions(subject) == [1, 2], 60)


def test_what_can_not_be_read_is_a_dead_letter_once_and_the_next_ones_go_on(world: World) -> None:
    fact = Fact(new_id(), 1, "enlace.test.told.v1", b"x", datetime.now(UTC))
    world.send_raw(fact, body=b"altered after signing")
    world.send_raw(fact, body=b"altered after signing")  # the same record again is the same dead letter
    world.send_raw(replace(fact, subject=new_id()), source="enlace/stranger")
    producer = Producer(settings(world.part.bootstrap))
    producer.send_all(world.topic, [(b"no headers at all", b"", []), (b"nonsense", b"\xff", [("ce_id", b"\xff"), (SIGNATURE, b"")])])
    producer.discard()
    after = new_id()
    world.tell(after, 1)
    until(lambda: world.versions(after) == [1])
    until(lambda: len(world.waiting("unreadable")) == 4)
    assert world.versions(fact.subject) == []
    assert sorted(letter.reason for letter in world.waiting("unreadable")) == ["headers", "headers", "signature", "source"]


def test_what_is_new_goes_before_what_is_told_again(world: World) -> None:
    """Looked at in the outbox, so that no batch under way decides it."""
    old, new = "f" * 32, "0" * 32  # by subject alone the old ones would not come first; so the other way round too
    until(lambda: world.watch.cluster_id is not None)
    world.stop("teller")
    world.databases["teller"] = Database(world.places["teller"].url, max_size=2)
    world.teller.open()
    for first, second in ((old, new), ("1" * 32, "e" * 32)):
        world.tell(first, 2)
        with world.teller.transaction(SYSTEM) as tx:
            outbox.mark_published(tx, outbox.new_facts(tx, 100), outbox.current_round(tx))
            outbox.repeat_all(tx)
        world.tell(second, 1)
        world.tell(first, 1, start=3)
        with world.teller.transaction(SYSTEM) as tx:
            told = [(fact.subject, fact.version) for fact in outbox.new_facts(tx, 100)]
            # Within a subject the order of versions stands: the new one brings those before it along.
            assert told == sorted([(first, 1), (first, 2), (first, 3), (second, 1)])
            outbox.mark_published(tx, outbox.new_facts(tx, 100), outbox.current_round(tx))


def test_a_replay_of_a_large_outbox_goes_in_chunks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_CHUNK", 100)
    for subject in (new_id() for _ in range(25)):
        world.tell(subject, 20)
    until(lambda: len(world.effects()) == 500)
    with world.teller.transaction(SYSTEM) as tx:
        assert outbox.count(tx) == 500
    # While the relay tells again what is already marked.
    assert list(outbox.repeat_since(world.teller, datetime(2000, 1, 1, tzinfo=UTC))) == [100, 200, 300, 400, 500]
    after = new_id()
    world.tell(after, 1)
    until(lambda: world.versions(after) == [1])
    until(lambda: len(world.effects()) == 501)


def test_nothing_is_lost_or_doubled_when_the_broker_is_killed_in_the_middle(world: World) -> None:
    subjects = [new_id() for _ in range(300)]

    def write() -> None:
        for subject in subjects:
            world.tell(subject, 2)

    writer = threading.Thread(target=write)
    writer.start()
    until(lambda: len(world.heard) > 20)
    world.part.kill()
    time.sleep(0.3)
    world.part.start()
    writer.join()
    until(lambda: len(world.effects()) >= 600, 90)
    assert world.effects() == sorted((subject, n) for subject in subjects for n in (1, 2))


def test_work_goes_on_without_a_broker_and_is_told_when_it_is_back(world: World) -> None:
    world.part.stop()
    subject = new_id()
    world.tell(subject, 3)
    world.part.start()
    until(lambda: world.versions(subject) == [1, 2, 3], 90)


@pytest.mark.parametrize("polls", [kafka._JOIN_POLLS, 0], ids=["in time", "never in time"])
def test_a_consumer_that_leaves_while_it_joins_does_not_block_its_group(
    broker: brokers.Broker, polls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "_JOIN_POLLS", polls)
    group, topic = new_id(), f"enlace.tests-{new_id()[:8]}.v1"
    watch = Broker(settings(broker.bootstrap), [topic])
    watch.start()
    until(lambda: watch.cluster_id is not None)
    hasty = Consumer(settings(broker.bootstrap), group, [topic])
    hasty.poll(0.3)
    hasty.close()
    producer = Producer(settings(broker.bootstrap))
    producer.send_all(topic, [(b"key", b"value", [])])
    producer.discard()
    heard: list[Any] = []
    patient = assigned(lambda: Consumer(settings(broker.bootstrap), group, [topic]), heard)
    until(lambda: bool(heard or patient.poll(0.5)))
    patient.close()
    watch.stop()


def test_a_consumer_that_leaves_while_it_joins_anew_does_not_block_its_group(
    embedded_broker: brokers.Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that came back under it: it still has its partitions of before, and is no member of anything."""
    monkeypatch.setattr(kafka, "_LOOK", 600.0)  # a look at what the new broker does not have yet would end it before it has joined
    group, topic = new_id(), f"enlace.tests-{new_id()[:8]}.v1"
    watch = Broker(settings(embedded_broker.bootstrap), [topic])
    watch.start()
    until(lambda: watch.cluster_id is not None)
    hasty = assigned(lambda: Consumer(settings(embedded_broker.bootstrap), group, [topic]))
    embedded_broker.restart()
    while not (hasty.assigned and not hasty._joined):
        hasty.poll(0.05)
    hasty.close()
    assigned(lambda: Consumer(settings(embedded_broker.bootstrap), group, [topic])).close()
    watch.stop()


def assigned(join: Callable[[], Consumer], heard: list[Any] | None = None) -> Consumer:
    """A consumer that has its partitions; what it heard meanwhile is added to `heard`. One that is given none for too long joins anew, as a subscriber does.

    It polls without a pause: a join that ends between two polls is lost (chassis/kafka.py).
    """
    consumer = join()
    while not consumer.assigned:
        try:
            records = consumer.poll(0.1)
        except kafka.Unassigned:
            consumer.close()
            consumer = join()
        else:
            if heard is not None:
                heard += records
    return consumer


def test_a_consumer_that_hears_nothing_lets_the_broker_wait_longer_until_a_record_comes(
    embedded_broker: brokers.Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    encode = FetchRequest.encode

    def noted(self: FetchRequest, *words: Any, **options: Any) -> Any:
        waits.append(self.max_wait_ms)
        return encode(self, *words, **options)

    topic = f"enlace.tests-{new_id()[:8]}.v1"
    watch = Broker(settings(embedded_broker.bootstrap), [topic])
    watch.start()
    until(lambda: watch.cluster_id is not None)
    consumer = assigned(lambda: Consumer(settings(embedded_broker.bootstrap), new_id(), [topic]))
    monkeypatch.setattr(FetchRequest, "encode", noted)
    monkeypatch.setattr(kafka, "_QUIET", 2.0)
    until(lambda: not consumer.poll(0.1) and kafka._QUIET_MS in waits)
    producer = Producer(settings(embedded_broker.bootstrap))
    producer.send_all(topic, [(b"key", b"value", [])])
    producer.discard()
    until(lambda: bool(consumer.poll(0.1)))
    waits.clear()
    until(lambda: not consumer.poll(0.1) and kafka._QUICK_MS in waits)
    consumer.close()
    watch.stop()


@pytest.mark.parametrize(("said_later", "lost"), [(0, True), (5, False)], ids=["it forgot them", "it can't show them"])
def test_reading_back_ends_though_the_broker_names_an_end_that_never_comes(
    said_later: int, lost: bool, embedded_broker: brokers.Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = f"enlace.tests-{new_id()[:8]}.v1"
    watch = Broker(settings(embedded_broker.bootstrap), [topic])
    watch.start()
    until(lambda: watch.cluster_id is not None)
    said = iter([5, said_later])
    monkeypatch.setattr("chassis.kafka.KafkaConsumer.end_offsets", lambda _self, places: dict.fromkeys(places, next(said)))
    with pytest.raises(kafka.BrokerLost) if lost else nullcontext():
        list(kafka.read_from(settings(embedded_broker.bootstrap), topic, {}))
    watch.stop()


# The embedded one can't make a topic again that was deleted; what the local stack does about it is in tests/faults/test_away.py.
@pytest.mark.parametrize("broker", ["apache"], indirect=True)
def test_a_broker_that_answers_and_takes_nothing_shows_until_its_topic_is_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = new_id()
    world.tell(subject, 1)
    until(lambda: world.versions(subject) == [1])
    assert world.watch.usable
    monkeypatch.setattr(world.watch, "_patience", 0.0)
    topics.delete(world.part.bootstrap, world.topic)
    world.tell(subject, 1, start=2)
    until(lambda: not world.watch.usable)
    until(lambda: world.watch.usable)


def test_what_the_broker_counts_and_does_not_show_is_passed_over_and_told_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was seen of the embedded broker when it was killed: whoever waits for such a record hears nothing of its partition any more."""
    hide, hidden, poll = threading.Event(), threading.Event(), KafkaConsumer.poll

    def shows_nothing_while_hidden(self: KafkaConsumer, timeout_ms: int = 0) -> Any:
        (self.pause if hide.is_set() else self.resume)(*self.assignment())
        if hide.is_set() and world.topic in self.subscription():
            hidden.set()
        return poll(self, timeout_ms=timeout_ms)

    monkeypatch.setattr(KafkaConsumer, "poll", shows_nothing_while_hidden)
    monkeypatch.setattr(kafka, "_LOOK", 0.3)
    subject = new_id()
    world.tell(subject, 1)
    until(lambda: world.versions(subject) == [1])
    hide.set()
    assert hidden.wait(10)
    log.setup("tests")  # a command that ran in this process before may have made it silent
    with capture_logs() as entries:
        world.tell(subject, 2, start=2)
        until(lambda: any(entry["event"] == "records_missing" and entry["topic"] == world.topic for entry in entries))
    assert world.versions(subject) == [1]
    hide.clear()
    until(lambda: world.versions(subject) == [1, 2, 3])
    assert world.effects().count((subject, 2)) == 1


def test_a_member_that_gets_no_partition_shows_and_joins_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was seen of the embedded broker when a member fell silent while it joined: nobody of its group gets a partition any more."""
    subject = new_id()
    world.tell(subject, 1)
    until(lambda: world.versions(subject) == [1])
    starving, assignment, poll = True, KafkaConsumer.assignment, KafkaConsumer.poll
    monkeypatch.setattr(KafkaConsumer, "assignment", lambda self: set() if starving else assignment(self))
    monkeypatch.setattr(KafkaConsumer, "poll", lambda self, timeout_ms=0: {} if starving else poll(self, timeout_ms=timeout_ms))
    for limit in ("_UNASSIGNED", "_EMPTY"):
        monkeypatch.setattr(kafka, limit, 0.2)
    monkeypatch.setattr(world.watch, "_patience", 0.5)
    until(lambda: not world.watch.usable)
    for limit in ("_UNASSIGNED", "_EMPTY"):
        monkeypatch.setattr(kafka, limit, 30.0)
    starving = False
    world.tell(subject, 1, start=2)
    until(lambda: world.versions(subject) == [1, 2])
    until(lambda: world.watch.usable)
