"""The subscriber: hears topics, applies each fact once and in order of its subject's versions, and
never passes over one that had no effect.

A handler gets a transaction and a fact; its effect, the inbox row and nothing else are committed
together, the offset after that. It may be called again for the same fact only if that transaction
did not commit, or if it answers True: a part of its work is done, that part is committed, and it is
called for the next one. Work without a bound goes in parts, for each transaction has ten seconds.

Three reactions to trouble: *unreadable* (no event, a wrong signature, nothing that could be stored)
is a dead letter at once; *held* (the handler refused, failed or was late three times, or the kind
of fact is newer than this consumer: the subject waits, its later facts behind it, and is tried
again with growing pauses, other subjects go on); *not now* (a part is away) waits and skips
nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from google.protobuf.message import DecodeError

from chassis import log, metrics, trace
from chassis.clock import Clock
from chassis.db import Database, Transaction, follow
from chassis.errors import Exhausted, Late, Refusal, Stale, Unavailable
from chassis.ids import is_id
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from facts import dead_letters, inbox, outbox
from facts.envelope import NewerKind, Unreadable, unpack
from facts.inbox import Position, Waiting
from facts.kafka import REPLAYS, Broker, BrokerLost, Consumer, read, send
from facts.outbox import Fact
from keys.sealing import Keyring, SignatureCheck

T = TypeVar("T")
Handler = Callable[[Transaction, Fact], bool | None]
_LIMIT = 10.0  # seconds for one transaction
# in a row, while the database answers, after which it is the handler that is late and not the
# machine
_LATE_TRIES = 3
_SWEEP = timedelta(seconds=1)  # between two looks at what waits
# before a missing fact is asked for, and asked for again
_FIRST_PATIENCE, _LONGEST_PATIENCE = timedelta(seconds=10), timedelta(minutes=5)
_SWEPT = 100  # waiting subjects that one look takes up; the topics are read in between


class Subscriber:
    """One loop, one group, one consumer name."""

    def __init__(
        self,
        name: str,
        topics: Sequence[str],
        handle: Handler,
        *,
        database: Database,
        broker: Broker,
        trusted_signers: Mapping[str, SignatureCheck],
        keyring: Keyring,
        clock: Clock,
        on_held: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`on_held` is told how many facts are held."""
        self._name = name
        self._topics = list(topics)
        self._handle = handle
        self._database = database
        self._broker = broker
        self._trusted_signers = trusted_signers
        self._keyring = keyring
        self._clock = clock
        self._on_held = on_held
        self._swept_at = self._asked_at = clock.now() - _LONGEST_PATIENCE  # both at the start
        self._patience = _FIRST_PATIENCE
        # (topic, key) of unreadable records since they were last asked for
        self._doubtful: set[tuple[str, str]] = set()
        self._loop = Loop(f"subscriber-{name}", self._work, waits_for=(BrokerLost,))

    def loop(self) -> Loop:
        """The loop that turns it."""
        return self._loop

    def _work(self, loop: Loop) -> None:
        consumer = None
        try:
            while loop.turn():
                cluster_id = self._broker.wait(0.5)
                if cluster_id is None:
                    self.sweep()
                    continue
                consumer = Consumer(self._broker.settings, self._name, self._topics)
                # Before the first fact is taken: a copy of this store must show of which store it
                # is one.
                self._ask_for_missing()
                while loop.turn() and self._broker.cluster_id == cluster_id:
                    records = read(self._broker, self._name, consumer)
                    if records:
                        self.take(records)
                        consumer.commit(records)
                    self.sweep()
                    self._ask_for_missing()
                consumer.close()
                consumer = None
        except _Stopped:
            return
        finally:
            if consumer is not None:
                consumer.close()

    # --- what comes by the topics

    def take(self, records: Sequence[Any]) -> None:
        """Applies, parks, holds or buries each of these; when it returns, their offsets may be
        committed.
        """
        facts: list[tuple[Any, Fact | Unreadable]] = []
        for record in records:
            try:
                facts.append((record, unpack(record.headers, record.value, self._trusted_signers)))
            except Unreadable as unreadable:
                facts.append((record, unreadable))
        subjects = {fact.subject for _, fact in facts if isinstance(fact, Fact)}
        # For a single fact this would be one more question on its way; it asks where it stands
        # anyhow.
        seen = (
            self._retry_while_unavailable(lambda tx: inbox.seen(tx, self._name, sorted(subjects)))
            if len(facts) > 1
            else {}
        )
        for record, fact in facts:
            if isinstance(fact, Unreadable):
                self._dead_letter(record, fact.reason)
            elif (fact.epoch, fact.version) > seen.get(fact.subject, (0, 0)):
                with trace.under(fact.trace):
                    self._take_one(record.topic, fact)
            else:
                metrics.FACTS_HEARD.labels(self._name, Position.SEEN.value).inc()

    def _take_one(self, topic: str, fact: Fact) -> None:
        if self._try(lambda tx: self._position(tx, topic, fact)):
            self._take_waiting(fact.subject)

    def _position(self, tx: Transaction, topic: str, fact: Fact) -> tuple[Position, Waiting]:
        position = inbox.position(tx, self._name, fact)
        if position is Position.AHEAD:
            inbox.park(tx, self._name, topic, fact, self._clock.now())
        return position, Waiting(topic, fact)

    # --- what waits

    def _take_waiting(self, subject: str) -> None:
        """Applies what waits behind a fact that has been applied; a transaction a fact, each held
        by its own identity.
        """
        while self._try(lambda tx: self._next_waiting(tx, subject)):
            pass

    def _next_waiting(self, tx: Transaction, subject: str) -> tuple[Position, Waiting | None]:
        waiting = inbox.due(tx, self._name, subject, self._clock.now())
        if waiting is None:
            return Position.SEEN, None
        follow(tx, waiting.fact.trace)
        position = inbox.position(tx, self._name, waiting.fact)
        return (Position.NEXT if position is Position.HELD else position), waiting

    def _try(self, find: Callable[[Transaction], tuple[Position, Waiting | None]]) -> bool:
        """Applies the fact that `find` finds, if it is the next of its subject, and holds it if
        that fails. Says whether another waits behind it.
        """
        waiting: Waiting | None = None

        def act(tx: Transaction) -> tuple[Position, bool, bool]:
            nonlocal waiting
            waiting = None
            position, waiting = find(tx)
            if waiting and position is Position.NEXT and self._handle(tx, waiting.fact):
                return position, False, True
            if waiting and position in (Position.NEXT, Position.KNOWN):
                return position, inbox.advance(tx, self._name, waiting.fact), False
            return position, False, False

        unfinished = True
        while unfinished:
            self._go_on()
            try:
                position, follows, unfinished = self._retry_while_unavailable(
                    act, is_handling=lambda: waiting is not None
                )
            except _Stopped:
                raise
            except (
                Exception
            ) as error:  # the last resort: a fault in a handler must not stop other subjects
                if waiting is None:
                    raise
                self._hold(waiting, error)
                position, follows, unfinished = Position.HELD, False, False
        if waiting is not None:
            metrics.FACTS_HEARD.labels(self._name, position.value).inc()
            if waiting.fact.trace and position is Position.NEXT:
                fact = waiting.fact
                log.get().info(
                    "fact_taken",
                    consumer=self._name,
                    type=fact.type,
                    subject=fact.subject,
                    version=fact.version,
                )
        return follows

    def _hold(self, waiting: Waiting, error: Exception) -> None:
        fact, reason = waiting.fact, _reason(error)
        log.get().error(
            "fact_held",
            consumer=self._name,
            type=fact.type,
            subject=fact.subject,
            version=fact.version,
            attempt=waiting.attempts + 1,
            reason=reason,
            fault=log.fault(error),
        )
        self._retry_while_unavailable(
            lambda tx: inbox.hold(tx, self._name, waiting, reason, self._clock.now())
        )

    def sweep(self) -> None:
        """Tries what is due among what waits, reads again what an operator wants read again, and
        says how much is held.
        """
        now = self._clock.now()
        if timedelta() <= now - self._swept_at < _SWEEP:
            return
        self._swept_at = now
        for subject in self._retry_while_unavailable(lambda tx: self._due_subjects(tx, now)):
            with trace.under(""):
                self._take_waiting(subject)
        for identity, record in self._retry_while_unavailable(
            lambda tx: dead_letters.take_redriven(tx, self._keyring, self._name, _SWEPT)
        ):
            self._read_again(identity, record)
        held, dead = self._retry_while_unavailable(
            lambda tx: (inbox.count_held(tx, self._name), dead_letters.count(tx, self._name))
        )
        metrics.FACTS_HELD.labels(self._name).set(held)
        metrics.DEAD_LETTERS.labels(self._name).set(dead)
        self._on_held(held)

    def _due_subjects(self, tx: Transaction, now: datetime) -> list[str]:
        inbox.forget_overtaken(tx, self._name)
        return inbox.due_subjects(tx, self._name, now, _SWEPT)

    # --- what can't be read

    def _dead_letter(self, record: Any, reason: str) -> None:
        """Keeps a record as a dead letter, and asks for the facts of its key again: it may have
        been one of them on its way.
        """
        letter = dead_letters.Record(
            record.topic,
            record.partition,
            record.offset,
            record.key or b"",
            record.value,
            list(record.headers),
        )
        fresh = self._retry_while_unavailable(
            lambda tx: dead_letters.keep(
                tx, self._keyring, self._name, letter, reason, self._clock.now()
            )
        )
        metrics.FACTS_HEARD.labels(self._name, "dead").inc()
        if fresh:
            key = (record.key or b"").decode("ascii", "replace")
            if is_id(key):
                self._doubtful.add((record.topic, key))
            log.get().error(
                "dead_letter",
                consumer=self._name,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                reason=reason,
            )

    def _read_again(self, identity: str, record: dead_letters.Record) -> None:
        try:
            fact = unpack(record.headers, record.value, self._trusted_signers)
        except Unreadable as unreadable:
            log.get().warning(
                "dead_letter_stays",
                consumer=self._name,
                topic=record.topic,
                reason=unreadable.reason,
            )
            return
        with trace.under(fact.trace):
            self._take_one(record.topic, fact)
        self._retry_while_unavailable(lambda tx: dead_letters.remove(tx, self._name, identity))

    # --- what has not come

    def _ask_for_missing(self) -> None:
        """Asks who said them to say facts again that others wait for; and everything, when the own
        store was restored from a copy.
        """
        now = self._clock.now()
        if timedelta() <= now - self._asked_at < self._patience:
            return
        self._asked_at = now
        gaps = self._retry_while_unavailable(
            lambda tx: inbox.gaps(tx, self._name, now - _FIRST_PATIENCE)
        )
        missing = sorted({*gaps, *self._doubtful})
        epoch = self._retry_while_unavailable(lambda tx: outbox.meet_store(tx, self._clock))
        restored = not self._retry_while_unavailable(
            lambda tx: inbox.missed_nothing(tx, self._name, epoch)
        )
        missing += [(topic, "") for topic in self._topics if restored]
        # A gap that stays is asked for less and less often: who could close it may be down for
        # days.
        self._patience = min(self._patience * 2, _LONGEST_PATIENCE) if missing else _FIRST_PATIENCE
        if missing:
            log.get().warning(
                "gap_stays",
                consumer=self._name,
                count=len(missing),
                subjects=[subject for _, subject in missing[:20]],
            )
            send(
                self._broker.settings,
                REPLAYS,
                [(topic.encode(), subject.encode(), []) for topic, subject in missing],
            )
            self._doubtful.clear()
        if restored:
            self._retry_while_unavailable(
                lambda tx: inbox.asked_for_everything(tx, self._name, epoch)
            )

    # --- patience

    def _go_on(self) -> None:
        """A batch may take longer than a turn should: each fact counts as one, and a stop leaves
        the rest for the next process.
        """
        if not self._loop.turn():
            raise _Stopped

    def _retry_while_unavailable(
        self, act: Callable[[Transaction], T], *, is_handling: Callable[[], bool] = lambda: False
    ) -> T:
        """Acts in one transaction; while a part is away it waits and tries again, so that nothing
        is skipped.

        Raises Late when a handler was late (`is_handling`: it had begun) again and again while the
        database answered.
        """
        delay, late = 0.1, 0
        while True:
            try:
                with self._database.transaction(SYSTEM, timeout=_LIMIT) as tx:
                    return act(tx)
            except (Unavailable, Exhausted, Stale, Late) as refusal:
                late = (
                    late + 1
                    if isinstance(refusal, Late) and is_handling() and self._database.answers
                    else 0
                )
                if late == _LATE_TRIES:
                    raise
                log.get().warning(
                    "subscriber_waits", consumer=self._name, reason=refusal.reason, delay_s=delay
                )
                if self._loop.wait(delay):
                    raise _Stopped from refusal
                delay = min(delay * 2, 5.0)


def _reason(error: Exception) -> str:
    match error:
        case NewerKind():
            return "type"
        case DecodeError() | UnicodeDecodeError():
            return "body"
        case Refusal():
            return error.reason
    return "fault"


class _Stopped(Exception):
    """The process ends: leave the record for the next one."""
