"""The subscriber: hears topics, applies each fact once and in order of its subject's versions.

A handler gets a transaction and a fact; its effect, the inbox row and nothing else are committed together, the offset after that. It may be called
again for the same fact only if that transaction did not commit. Three reactions to trouble: poison (can't be read) becomes a dead letter at once, refused
(a rule says no) after five tries, not now (a part is away) waits and skips nothing.
"""

import base64
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from google.protobuf.message import DecodeError

from chassis import inbox, log, metrics
from chassis.clock import Clock
from chassis.db import Database, Transaction
from chassis.envelope import Poison, unpack
from chassis.errors import Exhausted, Refusal, Stale, Unavailable
from chassis.kafka import LOST, REPLAYS, Broker, Consumer, Producer
from chassis.outbox import Fact
from chassis.sealing import Keyring, SignatureCheck
from chassis.tokens import SYSTEM

T = TypeVar("T")
Handler = Callable[[Transaction, Fact], None]
_TRIES = 5
_PATIENCE = timedelta(seconds=10)


class Subscriber(threading.Thread):
    """One thread, one group, one consumer name."""

    def __init__(
        self,
        name: str,
        topics: Sequence[str],
        handle: Handler,
        *,
        database: Database,
        broker: Broker,
        voices: Mapping[str, SignatureCheck],
        keyring: Keyring,
        clock: Clock,
        hurry: bool = True,
    ) -> None:
        """Without `hurry` a fact may take half a second to be heard, and listening costs almost nothing."""
        super().__init__(name=f"subscriber-{name}", daemon=True)
        self._hurry = hurry
        self._name = name
        self._topics = list(topics)
        self._handle = handle
        self._database = database
        self._broker = broker
        self._voices = voices
        self._keyring = keyring
        self._clock = clock
        self._stopping = threading.Event()
        self._asked_at = clock.now()
        self._producer: Producer | None = None  # for dead letters and for asking again; made when first needed

    def stop(self) -> None:
        """Ends after the record under way."""
        self._stopping.set()

    def run(self) -> None:
        """Until stopped: a consumer that fails, or whose cluster is gone, is made anew."""
        while not self._stopping.is_set():
            cluster_id = self._broker.wait(0.5)
            if cluster_id is None:
                continue
            consumer = None
            try:
                consumer = Consumer(self._broker.settings, self._name, self._topics, hurry=self._hurry)
                while not self._stopping.is_set() and self._broker.cluster_id == cluster_id:
                    records = consumer.poll(0.5)
                    if records:
                        self._take(records)
                        consumer.commit()
                    self._ask_for_missing()
            except _Stopped:
                return
            except LOST as error:
                log.get().info("subscriber_again", consumer=self._name, error=type(error).__name__)
                self._stopping.wait(0.3)
            finally:
                self._discard_producer()
                if consumer is not None:
                    consumer.close()

    def _take(self, records: Sequence[Any]) -> None:
        facts: list[tuple[Any, Fact | Poison]] = []
        for record in records:
            try:
                facts.append((record, unpack(record.headers, record.value, self._voices)))
            except Poison as poison:
                facts.append((record, poison))
        subjects = {fact.subject for _, fact in facts if isinstance(fact, Fact)}
        # For a single fact this would be one more question on its way; it asks where it stands anyhow.
        seen = self._patiently(lambda tx: inbox.seen(tx, self._name, sorted(subjects))) if len(facts) > 1 else {}
        for record, fact in facts:
            if isinstance(fact, Poison):
                self._bury(record, fact.reason)
            elif fact.version > seen.get(fact.subject, 0):
                self._take_one(record, fact)
            else:
                metrics.FACTS_HEARD.labels(self._name, "seen").inc()

    def _take_one(self, record: Any, fact: Fact) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                outcome = self._patiently(lambda tx: self._apply(tx, record.topic, fact))
                metrics.FACTS_HEARD.labels(self._name, outcome.value).inc()
                return
            except (Poison, DecodeError, UnicodeDecodeError) as error:
                reason, last = (error.reason if isinstance(error, Poison) else "body"), True
            except Refusal as refusal:
                reason, last = refusal.reason, attempt == _TRIES
            except Exception as error:  # the last resort: a fault in a handler must not stop those behind it
                log.get().error(
                    "handler_fault", consumer=self._name, type=fact.type, subject=fact.subject, version=fact.version, fault=log.fault(error)
                )
                reason, last = "fault", attempt == _TRIES
            if last:
                self._bury(record, reason, fact)
                return
            self._stopping.wait(0.02 * 2**attempt)

    def _apply(self, tx: Transaction, topic: str, fact: Fact) -> inbox.Place:
        place = inbox.place(tx, self._name, fact.subject, fact.version)
        if place is inbox.Place.AHEAD:
            inbox.park(tx, self._name, topic, fact)
        if place is not inbox.Place.NEXT:
            return place
        following: Fact | None = fact
        while following is not None:
            self._handle(tx, following)
            inbox.advance(tx, self._name, fact.subject, following.version)
            following = inbox.take_parked(tx, self._name, fact.subject, following.version + 1)
        return place

    def _bury(self, record: Any, reason: str, fact: Fact | None = None) -> None:
        """Puts a record into the dead-letter topic, sealed, and lets those behind it go on."""
        where = f"{record.topic}/{record.partition}/{record.offset}"
        sealed = self._keyring.seal_bytes(record.value or b"", f"dead-letter/{where}")
        headers = [("consumer", self._name.encode()), ("reason", reason.encode()), ("place", where.encode())]
        while not self._stopping.is_set():
            try:
                # Kept from one dead letter to the next: a thousand of them must not hold up the healthy facts behind.
                self._producer = self._producer or Producer(self._broker.settings)
                self._producer.send_all(f"{record.topic}.dlq", [(record.key or b"", base64.b64encode(sealed), headers)])
                break
            except LOST:
                self._discard_producer()
                self._stopping.wait(0.5)
        self._check_stopping()
        if fact is not None:
            self._patiently(lambda tx: self._give_up(tx, fact))
        metrics.FACTS_HEARD.labels(self._name, "dead").inc()
        log.get().error(
            "dead_letter", consumer=self._name, topic=record.topic, partition=record.partition, offset=record.offset, reason=reason
        )

    def _give_up(self, tx: Transaction, fact: Fact) -> None:
        """The next versions must not wait for one that never will be applied."""
        if inbox.place(tx, self._name, fact.subject, fact.version) is inbox.Place.NEXT:
            inbox.advance(tx, self._name, fact.subject, fact.version)

    def _ask_for_missing(self) -> None:
        """Facts parked for long have a gap before them: ask the service that said them to say them again."""
        now = self._clock.now()
        if now - self._asked_at < _PATIENCE:
            return
        self._asked_at = now
        missing = self._patiently(lambda tx: inbox.waiting(tx, self._name, now, _PATIENCE))
        if not missing:
            return
        log.get().warning("gap_stays", consumer=self._name, count=len(missing), subjects=[subject for _, subject in missing[:20]])
        self._producer = self._producer or Producer(self._broker.settings)
        self._producer.send_all(REPLAYS, [(topic.encode(), subject.encode(), []) for topic, subject in missing])

    def _discard_producer(self) -> None:
        if self._producer is not None:
            self._producer.discard()
            self._producer = None

    def _patiently(self, act: Callable[[Transaction], T]) -> T:
        """Acts in one transaction; while a part is away it waits and tries again, so that nothing is skipped."""
        delay = 0.1
        while True:
            try:
                with self._database.transaction(SYSTEM) as tx:
                    return act(tx)
            except (Unavailable, Exhausted, Stale) as refusal:
                log.get().warning("subscriber_waits", consumer=self._name, reason=refusal.reason, delay_s=delay)
                self._stopping.wait(delay)
                self._check_stopping()
                delay = min(delay * 2, 5.0)

    def _check_stopping(self) -> None:
        if self._stopping.is_set():
            raise _Stopped


class _Stopped(Exception):
    """The process ends: leave the record for the next one."""
