"""Facts from outbox to inbox, on both brokers: told if and only if committed, heard once and in order, whatever is killed in between."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import chassis
from chassis import inbox, keys, outbox
from chassis.clock import SystemClock
from chassis.config import ServiceSettings
from chassis.db import Database, Transaction
from chassis.envelope import SIGNATURE, pack
from chassis.errors import Conflict
from chassis.ids import new_id
from chassis.kafka import LOST, REPLAYS, Broker, Consumer, Producer
from chassis.outbox import Fact
from chassis.relay import Relay, Replays
from chassis.sealing import Keyring, SignatureCheck, Signer
from chassis.subscriber import Subscriber
from chassis.tokens import SYSTEM
from tests.parts import brokers
from tests.parts.postgres import Server

MIGRATIONS = [Path(chassis.__file__).parent / "migrations"]


def settings(bootstrap: str) -> ServiceSettings:
    return ServiceSettings("", "", bootstrap, "PLAINTEXT", "", "", "", 1, "", "", Path(), False, True, 4)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for something that happens elsewhere; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@dataclass
class World:
    """One teller and one hearer with a database each, on one broker."""

    part: brokers.Broker
    topic: str
    teller: Database
    hearer: Database
    signer: Signer
    voices: dict[str, SignatureCheck]
    heard: list[Fact]
    threads: list[Broker | Relay | Replays | Subscriber]
    refuse: set[str]

    def tell(self, subject: str, count: int, start: int = 1) -> None:
        with self.teller.transaction(SYSTEM) as tx:
            outbox.keep(tx, [Fact(subject, start + n, "enlace.test.told.v1", b"x", datetime.now(UTC)) for n in range(count)])

    def send_raw(self, fact: Fact, *, source: str = "enlace/teller", body: bytes | None = None) -> None:
        """Straight to the topic, past the outbox."""
        key, value, headers = pack(fact, source, self.signer)
        producer = Producer(settings(self.part.bootstrap))
        producer.send_all(self.topic, [(key, value if body is None else body, headers)])
        producer.discard()

    def versions(self, subject: str) -> list[int]:
        return [fact.version for fact in self.heard if fact.subject == subject]

    def hear(self, tx: Transaction, fact: Fact) -> None:
        if fact.subject in self.refuse:
            raise Conflict("refused_for_the_test")
        tx.execute("INSERT INTO effects (subject, version) VALUES (%s, %s)", (fact.subject, fact.version))
        self.heard.append(fact)

    def effects(self) -> list[tuple[str, int]]:
        with self.hearer.transaction(SYSTEM) as tx:
            return [(row["subject"], row["version"]) for row in tx.execute("SELECT subject, version FROM effects ORDER BY 1, 2")]

    def dead(self) -> list[bytes]:
        """What lies in the dead-letter topic now."""
        consumer = Consumer(settings(self.part.bootstrap), new_id(), [f"{self.topic}.dlq"])
        found = []
        for _ in range(20):
            try:
                found += [record.key for record in consumer.poll(0.5)]
            except LOST:
                continue
            if found:
                break
        consumer.close()
        return found


@pytest.fixture
def world(broker: brokers.Broker, postgres: Server, tmp_path: Path) -> Iterator[World]:
    keys.create(tmp_path, ["teller", "hearer"])
    places = postgres.database("teller", MIGRATIONS), postgres.database("hearer", MIGRATIONS)
    teller, hearer = Database(places[0].url, max_size=5), Database(places[1].url, max_size=5)
    teller.open()
    hearer.open()
    import psycopg

    with psycopg.connect(places[1].migration_url) as owner:
        # No unique key: an effect applied twice must show as two rows.
        owner.execute("CREATE TABLE effects (subject text, version bigint)")
    signer = Signer(keys.signing(tmp_path, "facts.teller"))
    voices = {"enlace/teller": SignatureCheck(keys.verifying(tmp_path, "facts.teller"))}
    name = new_id()
    topic = f"enlace.tests-{name[:8]}.v1"  # of its own: what earlier tests told was signed with other keys
    topics = [topic, f"{topic}.dlq", REPLAYS]
    made = World(broker, topic, teller, hearer, signer, voices, [], [], set())
    watch = Broker(settings(broker.bootstrap), topics)
    made.threads = [
        watch,
        Relay("teller", topic, teller, watch, signer),
        Replays("teller", topic, teller, watch),
        Subscriber(
            name,
            [topic],
            made.hear,
            database=hearer,
            broker=watch,
            voices=voices,
            keyring=Keyring(keys.secret(tmp_path, "sealing.hearer")),
            clock=SystemClock(),
        ),
    ]
    for thread in made.threads:
        thread.start()
    yield made
    for thread in made.threads:
        thread.stop()
    for thread in made.threads:
        thread.join(10)
    teller.close()
    hearer.close()


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
        assert outbox.tell_again(tx, subject=subject) == 3
        outbox.wake(tx)
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
        outbox.mark_published(tx, [Fact(subject, 1, "", b"", datetime.now(UTC))])
    until(lambda: world.versions(subject) == [1, 2], 60)


def test_poison_becomes_a_dead_letter_and_the_next_ones_go_on(world: World) -> None:
    fact = Fact(new_id(), 1, "enlace.test.told.v1", b"x", datetime.now(UTC))
    world.send_raw(fact, body=b"altered after signing")
    world.send_raw(replace(fact, subject=new_id()), source="enlace/stranger")
    producer = Producer(settings(world.part.bootstrap))
    producer.send_all(world.topic, [(b"no headers at all", b"", []), (b"nonsense", b"\xff", [("ce_id", b"\xff"), (SIGNATURE, b"")])])
    producer.discard()
    after = new_id()
    world.tell(after, 1)
    until(lambda: world.versions(after) == [1])
    assert world.versions(fact.subject) == []
    until(lambda: bool(world.dead()))


def test_a_refused_fact_is_given_up_after_its_tries_and_its_followers_go_on(world: World) -> None:
    subject = new_id()
    world.refuse.add(subject)
    world.tell(subject, 1)
    until(lambda: bool(_seen(world, subject)))
    world.refuse.clear()
    world.tell(subject, 1, start=2)
    until(lambda: world.versions(subject) == [2])


def _seen(world: World, subject: str) -> int:
    name = world.threads[3]._name  # type: ignore[union-attr]
    with world.hearer.transaction(SYSTEM) as tx:
        return inbox.seen(tx, name, [subject]).get(subject, 0)


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


def test_a_consumer_that_leaves_while_it_joins_does_not_block_its_group(broker: brokers.Broker) -> None:
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
    patient = Consumer(settings(broker.bootstrap), group, [topic])
    until(lambda: bool(patient.poll(0.5)), 20)
    patient.close()
    watch.stop()
