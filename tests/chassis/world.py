"""A service that publishes facts, a service that applies them, and an operator's actions.

Each service has a database; both use one broker.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import chassis
from chassis.clock import SystemClock
from chassis.config import ServiceSettings
from chassis.db import Database, Transaction
from chassis.errors import Conflict, Unavailable
from chassis.ids import new_id
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from facts import dead_letters, inbox, outbox
from facts.broker import Broker
from facts.envelope import pack
from facts.kafka import REPLAYS, Producer
from facts.outbox import Fact
from facts.relay import Relay, Replays
from facts.subscriber import Subscriber
from keys import key_folder
from keys.sealing import Keyring, SignatureVerifier, Signer
from tests.parts import brokers
from tests.parts import postgres as parts

Record = tuple[bytes, bytes, list[tuple[str, bytes]]]
"""A record to be published: key, value and headers."""
MIGRATIONS = [Path(chassis.__file__).parent / "migrations"]


def settings(bootstrap: str) -> ServiceSettings:
    return ServiceSettings(
        "", "", bootstrap, "PLAINTEXT", "", "", "", 1, "", "", Path(), False, True, 4
    )


def send_records(config: ServiceSettings, topic: str, records: list[Record]) -> None:
    """Publishes records, and waits until the broker has stored them."""
    producer = Producer(config)
    producer.send_all(topic, records)
    producer.discard()


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Waits until the condition holds; fails after `seconds`. Ignores that a read is refused as
    unavailable, which happens on a busy machine.
    """
    end = time.monotonic() + seconds
    while True:
        with suppress(Unavailable):
            if condition():
                return
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@dataclass
class World:
    """A publishing and a consuming service with a database each, on one broker.

    `refuse` names the subjects, or subject/version, that the handler refuses; `slow` names the
    subjects for which the handler exceeds its time limit. By subject, `parts` has the number of
    parts in which the handler applies a fact, and `fail_after` the number of parts that succeed.
    """

    broker: brokers.Broker
    topic: str
    pg_databases: dict[str, parts.Database]
    postgres: parts.Server
    keys: Path
    name: str = field(default_factory=new_id)
    applied: list[Fact] = field(default_factory=list)
    refuse: set[str] = field(default_factory=set)
    slow: set[str] = field(default_factory=set)
    parts: dict[str, int] = field(default_factory=dict)
    fail_after: dict[str, int] = field(default_factory=dict)
    loops: dict[str, list[Loop]] = field(default_factory=dict)
    databases: dict[str, Database] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.signer = Signer(key_folder.signing(self.keys, "facts.publisher"))
        self.trusted_signers = {
            "enlace/publisher": SignatureVerifier(
                key_folder.verifying(self.keys, "facts.publisher")
            )
        }
        self.keyring = Keyring(key_folder.secret(self.keys, "sealing.listener"))
        self.watch = Broker(settings(self.broker.bootstrap), [self.topic, REPLAYS])

    # --- the two services

    def start(self, *names: str) -> None:
        """Starts the named services: publisher, listener."""
        for name in names:
            database = self.databases[name] = Database(self.pg_databases[name].url, max_size=5)
            database.open()
            self.loops[name] = [owner.loop() for owner in self._loop_owners(name, database)]
            for loop in self.loops[name]:
                loop.start()

    def stop(self, *names: str) -> None:
        """Stops the named services, as SIGTERM does."""
        for name in names:
            for loop in self.loops[name]:
                loop.stop()
            for loop in self.loops[name]:
                assert loop.join(15), f"{loop.name} does not end"
            self.databases[name].close()

    def _loop_owners(self, name: str, database: Database) -> list[Relay | Replays | Subscriber]:
        clock = SystemClock()
        if name == "publisher":
            return [
                Relay(name, self.topic, database, self.watch, self.signer, clock),
                Replays(name, self.topic, database, self.watch),
            ]
        arguments = {
            "database": database,
            "broker": self.watch,
            "trusted_signers": self.trusted_signers,
            "keyring": self.keyring,
            "clock": clock,
        }
        return [Subscriber(self.name, [self.topic], self.apply, **arguments)]  # type: ignore[arg-type]

    @property
    def publisher(self) -> Database:
        """Returns the publishing service's database."""
        return self.databases["publisher"]

    @property
    def listener(self) -> Database:
        """Returns the consuming service's database."""
        return self.databases["listener"]

    def stop_relay(self) -> None:
        """Stops the publishing service; its database stays open for the test."""
        self.stop("publisher")
        self.databases["publisher"] = Database(self.pg_databases["publisher"].url, max_size=2)
        self.publisher.open()

    # --- copies, as docs/operations.md makes them

    def back_up(self, name: str, file: Path) -> None:
        """Copies a database into a file."""
        self.postgres.dump(self.pg_databases[name], file)

    def restore(self, name: str, file: Path) -> None:
        """Replaces a database by its copy while its service is stopped."""
        self.stop(name)
        self.postgres.restore(self.pg_databases[name], file)
        self.start(name)

    # --- publishing

    def write(self, subject: str, count: int, start: int = 1, payload: bytes = b"x") -> None:
        """Writes facts of a subject in one transaction."""
        with self.publisher.transaction(SYSTEM) as tx:
            outbox.save(
                tx,
                [
                    Fact(subject, start + n, "enlace.test.told.v1", payload, datetime.now(UTC))
                    for n in range(count)
                ],
            )

    def deliver(self, subject: str, count: int = 1, start: int = 1, payload: bytes = b"x") -> None:
        """Writes facts of a subject, and waits until the consuming service has applied them."""
        self.write(subject, count, start, payload)
        until(lambda: self.last_version(subject) == start + count - 1)

    def send_raw(
        self, fact: Fact, *, source: str = "enlace/publisher", body: bytes | None = None
    ) -> None:
        """Publishes a fact to the topic directly, past the outbox."""
        key, value, headers = pack(fact, source, self.signer)
        self.send((key, value if body is None else body, headers))

    def send(self, *records: Record) -> None:
        """Publishes records to the topic."""
        send_records(settings(self.broker.bootstrap), self.topic, list(records))

    # --- consuming

    def apply(self, tx: Transaction, fact: Fact) -> bool:
        """Applies a fact: adds a row for each application, and saves the subject's last state."""
        if {fact.subject, f"{fact.subject}/{fact.version}"} & self.refuse:
            raise Conflict("refused_for_the_test")
        if fact.subject in self.slow:
            tx.execute("SELECT pg_sleep(60)").fetchone()
        tx.execute(
            "INSERT INTO effects (subject, version, payload) VALUES (%s, %s, %s)",
            (fact.subject, fact.version, fact.payload),
        )
        tx.execute(
            "INSERT INTO standing (subject, payload) VALUES (%s, %s)"
            " ON CONFLICT (subject) DO UPDATE SET payload = excluded.payload",
            (fact.subject, fact.payload),
        )
        self.applied.append(fact)
        part_count = tx.execute(
            "SELECT FROM effects WHERE subject = %s AND version = %s", (fact.subject, fact.version)
        ).rowcount
        if part_count > self.fail_after.get(fact.subject, part_count):
            raise Conflict("refused_for_the_test")
        return part_count < self.parts.get(fact.subject, 1)

    def versions(self, subject: str) -> list[int]:
        """Returns a subject's versions in the order of application, uncommitted ones included."""
        return [fact.version for fact in self.applied if fact.subject == subject]

    def effects(self) -> list[tuple[str, int]]:
        """Returns all applied facts."""
        with self.listener.transaction(SYSTEM) as tx:
            return [
                (row["subject"], row["version"])
                for row in tx.execute("SELECT subject, version FROM effects ORDER BY 1, 2")
            ]

    def state(self, subject: str) -> bytes:
        """Returns a subject's state as the consuming service has it."""
        with self.listener.transaction(SYSTEM) as tx:
            row = tx.execute(
                "SELECT payload FROM standing WHERE subject = %s", (subject,)
            ).fetchone()
        return bytes(row["payload"]) if row else b""

    def last_version(self, subject: str) -> int:
        """Returns the subject's last applied version."""
        with self.listener.transaction(SYSTEM) as tx:
            return inbox.lock(tx, self.name, [subject])[subject].version

    def parked(self, subject: str) -> list[int]:
        """Returns the waiting versions of a subject."""
        with self.listener.transaction(SYSTEM) as tx:
            return [
                row["version"]
                for row in tx.execute(
                    "SELECT version FROM inbox_parked WHERE subject = %s", (subject,)
                )
            ]

    # --- the operator

    def waiting(self, kind: str = "held") -> list[dead_letters.DeadLetter]:
        """Returns the dead letters that wait for an operator."""
        with self.listener.transaction(SYSTEM) as tx:
            return [letter for letter in dead_letters.list_letters(tx) if letter.kind == kind]

    def operate(self, do: Callable[..., None], **choice: str) -> None:
        """Takes an operator's action on the chosen dead letters."""
        with self.listener.transaction(SYSTEM) as tx:
            do(
                tx,
                dead_letters.select(dead_letters.list_letters(tx), **choice),
                "for_the_test",
                datetime.now(UTC),
            )


@contextmanager
def running(broker: brokers.Broker, postgres: parts.Server, folder: Path) -> Iterator[World]:
    """Yields a world with both services running."""
    key_folder.create(folder, ["publisher", "listener"])
    pg_databases = {name: postgres.database(name, MIGRATIONS) for name in ("publisher", "listener")}
    # The effects have no unique key, so that an effect applied twice shows as two rows.
    pg_databases["listener"].run_as_owner(
        "CREATE TABLE effects (subject text, version bigint, payload bytea);"
        " CREATE TABLE standing (subject text PRIMARY KEY, payload bytea)"
    )
    # The topic is new, since earlier tests signed their facts with other keys.
    world = World(broker, f"enlace.tests-{new_id()[:8]}.v1", pg_databases, postgres, folder)
    world.watch.start()
    world.start("publisher", "listener")
    try:
        yield world
    finally:
        for name in world.loops:
            with suppress(AssertionError):
                world.stop(name)
        world.watch.stop()
        world.watch.join(10)
