"""Random histories of facts, checked against the rules that must hold.

A history has facts out of order, repeats, rubbish, failing handlers, crashes at each named point,
two consumers, a broker that loses everything, and a store that is restored. Outbox, inbox and topic
are real. The model takes the turns of the relay and of the subscriber one by one, so that a failed
run shows which turn caused the failure.
"""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

from chassis.db import Database, Transaction
from chassis.ids import new_id
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from facts import dead_letters, outbox
from facts.broker import Broker
from facts.envelope import NewerKind, pack
from facts.kafka import PARTITIONS, Producer, create_topics
from facts.outbox import Fact
from facts.relay import Relay
from facts.subscriber import Subscriber
from keys import key_folder
from keys.sealing import Keyring, SignatureVerifier, Signer
from tests.chassis.world import MIGRATIONS
from tests.chassis.world import settings as service_settings
from tests.parts import brokers, topics
from tests.parts.clocks import SettableClock
from tests.parts.postgres import Database as PgDatabase
from tests.parts.postgres import Server

SUBJECTS = [letter * 32 for letter in "abc"]
KIND = "enlace.test.told.v1"


class Crash(BaseException):
    """Simulates the sudden end of the process, as after kill -9."""


@dataclass
class Parts:
    """The parts that all runs share."""

    broker: brokers.Broker
    postgres: Server
    keys: Path


class Facts(RuleBasedStateMachine):
    """One history of a publishing service, and of two processes of one consumer."""

    parts: Parts

    def __init__(self) -> None:
        super().__init__()
        parts = self.parts
        self.topic = f"enlace.model-{new_id()[:8]}.v1"
        self.broker_watch = Broker(service_settings(parts.broker.bootstrap), [self.topic])
        self.cluster_number = 1  # changes when the broker loses everything
        self.clock = SettableClock(datetime.now(UTC))
        self.signer = Signer(key_folder.signing(parts.keys, "facts.publisher"))
        self.pg_database = parts.postgres.database("publisher", MIGRATIONS)
        self.copy: tuple[PgDatabase, dict[str, int]] | None = None
        listener = parts.postgres.database("listener", MIGRATIONS)
        listener.run_as_owner(
            "CREATE TABLE effects (n bigint GENERATED ALWAYS AS IDENTITY, subject text, version"
            " bigint, payload bytea)"
        )
        self.listener = Database(listener.url, max_size=4)
        self.listener.open()
        self.pg_databases: list[PgDatabase] = [self.pg_database, listener]
        self.crash_in_handler = ""
        self.refused_subjects: set[str] = set()
        self.rubbish_count = 0
        self.payload_count = 0
        self.restored = False
        self.committed_payloads: dict[tuple[str, int], set[bytes]] = {}
        trusted_signers = {
            "enlace/publisher": SignatureVerifier(
                key_folder.verifying(parts.keys, "facts.publisher")
            )
        }
        keyring = Keyring(key_folder.secret(parts.keys, "sealing.listener"))
        self.listeners = [
            Subscriber(
                "listener",
                [self.topic],
                self.handle,
                database=self.listener,
                broker=self.broker_watch,
                trusted_signers=trusted_signers,
                keyring=keyring,
                clock=self.clock,
            )
            for _ in range(2)
        ]
        self.connect()

    def teardown(self) -> None:
        try:
            self.settle()
            self.check()
        finally:
            self.disconnect()
            self.listener.close()
            for pg_database in self.pg_databases:
                self.parts.postgres.drop(pg_database)

    # --- the publishing service

    def connect(self) -> None:
        """Opens the relay's connections."""
        self.publisher = Database(self.pg_database.url, max_size=2)
        self.publisher.open()
        self.connection = self.publisher.dedicated()
        self.is_snapshot_checked = False
        self.relay = Relay(
            "publisher", self.topic, self.publisher, self.broker_watch, self.signer, self.clock
        )
        with closing(KafkaAdminClient(bootstrap_servers=self.parts.broker.bootstrap)) as admin:
            create_topics(admin, self.broker_watch.settings, [self.topic])
        self.producer = Producer(self.broker_watch.settings)
        self.offsets = dict.fromkeys(range(PARTITIONS), 0)
        self.reader = KafkaConsumer(
            bootstrap_servers=self.parts.broker.bootstrap,
            group_id=None,
            enable_auto_commit=False,
            fetch_max_wait_ms=5,
            metrics_enabled=False,
        )
        self.reader.assign([TopicPartition(self.topic, n) for n in range(PARTITIONS)])

    def disconnect(self) -> None:
        """Closes the relay's connections."""
        self.producer.discard()
        self.reader.close()
        self.connection.close()
        self.publisher.close()

    @rule(subject=st.sampled_from(SUBJECTS), count=st.integers(1, 3), commits=st.booleans())
    def write(self, subject: str, count: int, commits: bool) -> None:
        """Writes facts in a transaction that commits or is rolled back."""
        with self.publisher.transaction(SYSTEM) as tx:
            row = tx.execute(
                "SELECT coalesce(max(version), 0) AS n FROM outbox WHERE subject = %s", (subject,)
            ).fetchone()
            assert row is not None
            facts = []
            for n in range(count):
                self.payload_count += 1
                facts.append(
                    Fact(
                        subject,
                        row["n"] + 1 + n,
                        KIND,
                        b"%d" % self.payload_count,
                        self.clock.now(),
                    )
                )
            outbox.save(tx, facts)
            if not commits:
                tx.rollback()
        if commits:
            for fact in facts:
                self.committed_payloads.setdefault((fact.subject, fact.version), set()).add(
                    fact.payload
                )

    @rule(crash=st.sampled_from(["", "", "before the send", "after the send", "after the mark"]))
    def relay_turn(self, crash: str) -> None:
        """Takes one turn of the relay."""
        outbox.note_cluster(self.connection, f"cluster {self.cluster_number}")
        if not self.is_snapshot_checked:
            self.relay.detect_restored_snapshot(self.connection, Loop("relay", lambda _: None))
            self.is_snapshot_checked = True
        try:
            self.relay.publish(self.connection, KillableProducer(self.producer, crash))  # type: ignore[arg-type]
            if crash == "after the mark":
                raise Crash
        except Crash:
            self.restart_relay()

    def restart_relay(self) -> None:
        """Replaces the relay, as after the death of its process."""
        self.connection.close()
        self.connection = self.publisher.dedicated()
        self.is_snapshot_checked = False
        self.relay = Relay(
            "publisher", self.topic, self.publisher, self.broker_watch, self.signer, self.clock
        )

    @rule(subject=st.sampled_from([*SUBJECTS, ""]))
    def repeat(self, subject: str) -> None:
        """Requests a replay of a subject."""
        with self.publisher.transaction(SYSTEM) as tx:
            if subject:
                outbox.repeat_subject(tx, subject)
            else:
                outbox.repeat_all(tx)

    @rule(seed=st.integers(0, 1000))
    def shuffle(self, seed: int) -> None:
        """Publishes committed facts in any order, as after retries of a broken connection."""
        with self.publisher.transaction(SYSTEM) as tx:
            facts = outbox.next_batch(tx, 100).facts[:8]
        random.Random(seed).shuffle(facts)
        self.producer.send_all(
            self.topic, [pack(fact, "enlace/publisher", self.signer) for fact in facts]
        )

    @rule()
    def litter(self) -> None:
        """Writes rubbish to the topic."""
        self.rubbish_count += 1
        self.producer.send_all(self.topic, [(b"rubbish", b"%d" % self.rubbish_count, [])])

    @rule()
    def back_up(self) -> None:
        """Copies the publishing service's store."""
        name = f"copy_{new_id()[:12]}"
        self.connection.close()
        self.publisher.close()
        self.parts.postgres.engine.clone(self.pg_database.name, name)
        self.copy = self._pg_database(name), {}
        self.pg_databases.append(self.copy[0])
        self.reopen_store()

    @precondition(lambda self: self.copy is not None)
    @rule(same_disk=st.booleans())
    def restore(self, same_disk: bool) -> None:
        """Restores the publishing service from the copy.

        The restored store counts as another database, as after a real restore; with `same_disk` it
        counts as the same database.
        """
        assert self.copy is not None
        self.connection.close()
        self.publisher.close()
        name = f"restored_{new_id()[:12]}"
        self.parts.postgres.engine.clone(self.copy[0].name, name)
        self.pg_database = self._pg_database(name)
        self.pg_databases.append(self.pg_database)
        self.restored = True
        self.clock.advance(timedelta(seconds=1))
        self.reopen_store(same_disk)

    def reopen_store(self, same_disk: bool = False) -> None:
        """Opens the current store.

        With `same_disk` nothing in the store shows that it was restored.
        """
        self.publisher = Database(self.pg_database.url, max_size=2)
        self.publisher.open()
        if same_disk:
            with self.publisher.transaction(SYSTEM) as tx:
                tx.execute(f"UPDATE relay SET store = ({outbox.STORE}) WHERE store <> ''")
        self.restart_relay()

    def _pg_database(self, name: str) -> PgDatabase:
        url, migration_url = (
            url.replace(f"/{self.pg_database.name}", f"/{name}")
            for url in (self.pg_database.url, self.pg_database.migration_url)
        )
        return PgDatabase(name, url, migration_url)

    @rule()
    def wipe(self) -> None:
        """Makes the broker lose everything."""
        self.cluster_number += 1
        self.disconnect()
        topics.delete(self.parts.broker.bootstrap, self.topic)
        self.connect()

    # --- the consumers

    def handle(self, tx: Transaction, fact: Fact) -> None:
        """Applies a fact; the handler may also refuse it, not know its kind, or crash."""
        if self.crash_in_handler == "before the effect":
            raise Crash
        if fact.subject in self.refused_subjects:
            raise NewerKind if fact.version % 2 else ValueError("a bug")
        tx.execute(
            "INSERT INTO effects (subject, version, payload) VALUES (%s, %s, %s)",
            (fact.subject, fact.version, fact.payload),
        )
        if self.crash_in_handler == "after the effect":
            raise Crash

    @rule(
        listener_number=st.integers(0, 1),
        partitions=st.sampled_from([range(PARTITIONS), range(6), range(6, PARTITIONS)]),
        crash=st.sampled_from(
            ["", "", "", "before the effect", "after the effect", "before the offset"]
        ),
    )
    def listen(self, listener_number: int, partitions: range, crash: str) -> None:
        """Lets one consumer read the records of its partitions.

        Both consumers may have the same partitions, as during a rebalance.
        """
        records, ends = self.read(partitions)
        self.crash_in_handler = crash
        try:
            self.listeners[listener_number].take(records)
            if crash != "before the offset":
                self.offsets |= ends
        except Crash:
            pass
        finally:
            self.crash_in_handler = ""

    def read(self, numbers: range) -> tuple[list[Any], dict[int, int]]:
        """Returns all records after the committed offsets, and the offsets to commit next."""
        partitions = [TopicPartition(self.topic, number) for number in numbers]
        last = self.reader.end_offsets(partitions)
        unread = {
            partition
            for partition in partitions
            if last[partition] > self.offsets[partition.partition]
        }
        self.reader.assign(sorted(unread))
        for partition in unread:
            self.reader.seek(partition, self.offsets[partition.partition])
        uncommitted: list[Any] = []
        ends: dict[int, int] = {}
        while any(ends.get(partition.partition, 0) < last[partition] for partition in unread):
            for partition, records in self.reader.poll(timeout_ms=200).items():
                uncommitted += records
                ends[partition.partition] = records[-1].offset + 1
        return uncommitted, ends

    @rule(listener_number=st.integers(0, 1), seconds=st.sampled_from([1, 3, 400]))
    def sweep(self, listener_number: int, seconds: int) -> None:
        """Advances the clock, and retries the waiting facts."""
        self.clock.advance(timedelta(seconds=seconds))
        self.listeners[listener_number].sweep()

    @rule(subject=st.sampled_from(SUBJECTS))
    def break_handler(self, subject: str) -> None:
        """Makes the handler fail for a subject from now on."""
        self.refused_subjects.add(subject)

    @rule()
    def mend_handler(self) -> None:
        """Repairs the handler."""
        self.refused_subjects.clear()

    # --- the rules that must hold

    def settle(self) -> None:
        """Removes all causes of trouble, and gives every part enough turns to finish."""
        self.refused_subjects.clear()
        for _ in range(3):
            for _ in range(20):
                self.relay_turn("")
                with self.publisher.transaction(SYSTEM) as tx:
                    if not outbox.next_batch(tx, 1).facts and not outbox.next_batch(tx, 1).repeat:
                        break
            for number in (0, 1):
                self.listen(number, range(PARTITIONS), "")
                self.sweep(number, 400)

    def check(self) -> None:
        """Checks that no fact is lost, doubled, out of order or left waiting."""
        with self.publisher.transaction(SYSTEM) as tx:
            history = tx.execute(
                "SELECT subject, version, payload FROM outbox ORDER BY subject, version"
            ).fetchall()
        with self.listener.transaction(SYSTEM) as tx:
            effects = tx.execute(
                "SELECT subject, version, payload FROM effects ORDER BY n"
            ).fetchall()
            waiting = dead_letters.list_letters(tx)
            parked = tx.execute("SELECT subject, version FROM inbox_parked").fetchall()
        assert parked == []
        assert len(waiting) <= self.rubbish_count
        assert len(waiting) == self.rubbish_count or self.cluster_number > 1, (
            "only rubbish that the broker lost before it was read may lack a dead letter"
        )
        for subject in SUBJECTS:
            published = [
                (row["version"], bytes(row["payload"]))
                for row in history
                if row["subject"] == subject
            ]
            applied = [
                (row["version"], bytes(row["payload"]))
                for row in effects
                if row["subject"] == subject
            ]
            if not self.restored:
                assert applied == published
            assert set(published) <= set(applied), "lost"
            assert all(
                payload in self.committed_payloads[subject, version] for version, payload in applied
            ), "a phantom"
            if published:
                assert applied[-1] == published[-1], (
                    "the subject's state is not the published state"
                )


class KillableProducer:
    """A producer whose process may be killed around its send."""

    def __init__(self, producer: Producer, crash: str) -> None:
        self._producer = producer
        self._crash = crash

    def send_all(self, topic: str, records: Any) -> dict[int, int]:
        """Sends, or dies."""
        if self._crash == "before the send":
            raise Crash
        offsets = self._producer.send_all(topic, records)
        if self._crash == "after the send":
            raise Crash
        return offsets
