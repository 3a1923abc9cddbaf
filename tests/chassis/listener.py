"""A subscriber on a real database, without a broker: a test hands the records to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY

from chassis.db import Database, Transaction
from chassis.ids import new_id
from chassis.tokens import SYSTEM
from facts import dead_letters, inbox
from facts.broker import Broker
from facts.envelope import pack
from facts.outbox import Fact
from facts.retries import Retries
from facts.subscriber import Subscriber
from keys import key_folder
from keys.sealing import Keyring, SignatureVerifier, Signer
from tests.builders import NOON
from tests.chassis.world import settings
from tests.parts.clocks import SettableClock

TOPIC = "enlace.test.v1"
SECOND = timedelta(seconds=1)


@dataclass
class Record:
    """A record as a consumer receives it."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    topic: str = TOPIC
    partition: int = 3
    offset: int = 14


@dataclass
class Listener:
    """A subscriber whose handler records the facts that it applies, and refuses chosen subjects."""

    database: Database
    keys: Path
    clock: SettableClock = field(default_factory=lambda: SettableClock(NOON))
    name: str = field(default_factory=new_id)
    applied: list[tuple[str, int]] = field(default_factory=list)
    refuse: dict[str, Exception] = field(default_factory=dict)
    requested: list[tuple[bytes, bytes]] = field(default_factory=list)
    held_counts: list[int] = field(default_factory=list)
    unfinished: int = 0  # number of calls of the handler that leave a part of the work to do

    def __post_init__(self) -> None:
        self.signer = Signer(key_folder.signing(self.keys, "facts.publisher"))
        self.subscriber = Subscriber(
            self.name,
            [TOPIC],
            self.handle,
            database=self.database,
            broker=Broker(settings("127.0.0.1:1"), [TOPIC]),
            trusted_signers={
                "enlace/publisher": SignatureVerifier(
                    key_folder.verifying(self.keys, "facts.publisher")
                )
            },
            keyring=Keyring(key_folder.secret(self.keys, "sealing.listener")),
            clock=self.clock,
            on_held=self.held_counts.append,
        )

    def other_process(self) -> Listener:
        """Returns another process of this consumer."""
        return Listener(self.database, self.keys, self.clock, name=self.name)

    def fail_transactions(self, *refusals: Exception) -> FailingDatabase:
        """Lets the subscriber's next transactions fail; returns the database that it uses now."""
        failing: Any = FailingDatabase(self.database, *refusals)
        self.subscriber._retries = Retries(self.subscriber.loop(), failing, self.name)
        return failing  # type: ignore[no-any-return]

    def handle(self, tx: Transaction, fact: Fact) -> bool:
        if fact.subject in self.refuse:
            raise self.refuse[fact.subject]
        self.applied.append((fact.subject, fact.version))
        self.unfinished -= 1
        return self.unfinished >= 0

    def record(self, subject: str, version: int, **changes: object) -> Record:
        fact = Fact(subject, version, "enlace.test.told.v1", b"x", NOON)
        return Record(*pack(replace(fact, **changes), "enlace/publisher", self.signer))  # type: ignore[arg-type]

    def take(self, *records: Record) -> None:
        """Lets the subscriber receive a batch of records."""
        self.subscriber.take(records)

    def take_facts(self, *facts: tuple[str, int]) -> None:
        """Lets the subscriber receive a batch of facts, each with subject and version."""
        self.take(*(self.record(subject, version) for subject, version in facts))

    def retry_after(self, pause: timedelta) -> None:
        """Advances the clock, and retries the waiting facts."""
        self.clock.advance(pause)
        self.subscriber.sweep()

    def requests_after(self, pause: timedelta) -> list[tuple[bytes, bytes]]:
        """Advances the clock; returns the replays that the subscriber then requests."""
        self.clock.advance(pause)
        self.requested = []
        self.subscriber._request_missing()
        return self.requested

    def requests_after_each(self, *seconds: float) -> list[list[tuple[bytes, bytes]]]:
        """Advances the clock by these numbers of seconds, one after the other; returns the replays
        that the subscriber requests each time.
        """
        return [self.requests_after(SECOND * pause) for pause in seconds]

    def applied_version(self, subject: str) -> int:
        with self.database.transaction(SYSTEM) as tx:
            return inbox.lock(tx, self.name, [subject])[subject].version

    def waiting(self) -> list[dead_letters.DeadLetter]:
        with self.database.transaction(SYSTEM) as tx:
            return [
                letter for letter in dead_letters.list_letters(tx) if letter.consumer == self.name
            ]

    def count(self, outcome: str) -> float:
        labels = {"consumer": self.name, "outcome": outcome}
        return REGISTRY.get_sample_value("enlace_facts_heard_total", labels) or 0

    def gauge(self, name: str) -> float | None:
        return REGISTRY.get_sample_value(name, {"consumer": self.name})


class FailingDatabase:
    """A database that fails once for each given refusal, and works after that."""

    answers = True

    def __init__(self, database: Database, *refusals: Exception) -> None:
        self.database, self.refusals = database, list(refusals)
        self.limits: list[float | None] = []

    def transaction(
        self, caller: object, *, timeout: float, by_key: bool, will_retry: bool
    ) -> object:
        self.limits.append(timeout)
        if self.refusals:
            raise self.refusals.pop(0)
        return self.database.transaction(SYSTEM, timeout=timeout)
