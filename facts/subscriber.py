"""The subscriber: reads topics, applies each fact once and in order of its subject's versions, and
never skips a fact that could not be applied.

A handler gets a transaction and a fact. The handler's effect and the inbox row are committed
together, and the record's offset after that. A handler is called again for the same fact only if
that transaction did not commit, or if the handler returned True: a part of its work is then
committed, and the handler is called for the next part. A transaction has ten seconds, so longer
work is done in parts.

Failures are handled in three ways. An *unreadable* record (not an event, a wrong signature, values
that can't be stored) becomes a dead letter at once. A fact is *held* if its handler refuses it,
fails, or is late three times, or if its kind is newer than this consumer: its subject waits and is
retried with growing pauses, while other subjects continue. If a part that the subscriber needs is
*unavailable*, the subscriber waits and skips nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.message import DecodeError

from chassis import log, metrics, trace
from chassis.clock import Clock
from chassis.db import Database, Transaction
from chassis.errors import Exhausted, Late, Refusal, Stale, Unavailable
from chassis.ids import is_id
from chassis.supervisor import Loop
from facts import dead_letters, inbox, outbox
from facts.broker import Broker, read
from facts.envelope import NewerKind, Unreadable, unpack
from facts.inbox import FactPosition, WaitingFact
from facts.kafka import MAX_POLL_RECORDS, REPLAYS, BrokerLost, Consumer, send
from facts.outbox import Fact
from facts.retries import Retries, Stopped
from keys.sealing import Keyring, SignatureVerifier

Handler = Callable[[Transaction, Fact], bool | None]
_SWEEP = timedelta(seconds=1)  # minimum time between two sweeps of waiting facts
# The time before a missing fact is requested, and the longest time before it is requested again.
_FIRST_PATIENCE, _LONGEST_PATIENCE = timedelta(seconds=10), timedelta(minutes=5)
# The time between two checks of the database while this process knows of no waiting fact. Another
# process may have left waiting facts, and this service's own store may have been restored.
_REST = timedelta(minutes=1)
_MAX_TOGETHER = 100  # maximum number of facts that one transaction applies
_MAX_SWEPT = 100  # maximum number of subjects in one sweep; topics are read between two sweeps


class Subscriber:
    """Applies the facts of some topics: one loop, one group, one consumer name."""

    def __init__(
        self,
        name: str,
        topics: Sequence[str],
        handle: Handler,
        *,
        database: Database,
        broker: Broker,
        trusted_signers: Mapping[str, SignatureVerifier],
        keyring: Keyring,
        clock: Clock,
        on_held: Callable[[int], None] = lambda _: None,
        gather: float = 0.0,
    ) -> None:
        """`on_held` receives the number of held facts. `gather` is the number of seconds between
        two batches under a light load, for a consumer that need not receive facts at once: facts
        that arrive in the meantime share a transaction, a fetch and a commit of offsets.
        """
        self._name = name
        self._topics = list(topics)
        self._handle = handle
        self._database = database
        self._broker = broker
        self._trusted_signers = trusted_signers
        self._keyring = keyring
        self._clock = clock
        self._on_held = on_held
        self._gather = gather
        # The first sweep and the first request are due at the start.
        self._swept_at = self._requested_at = clock.now() - _LONGEST_PATIENCE
        self._patience = _FIRST_PATIENCE
        self._handling = False  # a handler was called in the current transaction
        self._anything_waits = True  # whether facts or dead letters may be waiting
        # (topic, key) of unreadable records since the last request
        self._doubtful_subjects: set[tuple[str, str]] = set()
        self._loop = Loop(f"subscriber-{name}", self._work, waits_for=(BrokerLost,))
        self._retries = Retries(self._loop, database, name)

    def loop(self) -> Loop:
        """Returns the loop that reads and applies."""
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
                # Registers the consumer before the first fact is applied, so that a restored copy
                # of this store can be recognised.
                self._request_missing()
                while loop.turn() and self._broker.cluster_id == cluster_id:
                    records = read(self._broker, self._name, consumer)
                    self._request_deleted(consumer)
                    if records:
                        self.take(records)
                        consumer.commit(records)
                        if self._gather and len(records) < MAX_POLL_RECORDS:
                            loop.wait(self._gather)
                    self._request_missing()
                    self.sweep()
                consumer.close()
                consumer = None
        except Stopped:
            return
        finally:
            if consumer is not None:
                consumer.close()

    # --- records of the topics

    def take(self, records: Sequence[Any]) -> None:
        """Applies, parks or holds each of these records, or stores it as a dead letter. Afterwards,
        the offsets of these records may be committed.
        """
        readable = list[tuple[str, Fact]]()
        for record in records:
            try:
                fact = unpack(record.headers, record.value, self._trusted_signers)
            except Unreadable as unreadable:
                self._dead_letter(record, unreadable.reason)
            else:
                readable.append((record.topic, fact))
        for start in range(0, len(readable), _MAX_TOGETHER):
            self._take_together(readable[start : start + _MAX_TOGETHER])

    def _take_together(self, chunk: Sequence[tuple[str, Fact]]) -> None:
        """Applies facts in one transaction. If a fact fails, each half of the chunk is tried by
        itself, and so on, until the fact is alone and can be held.

        Facts of a subject that has a waiting or missing fact are taken one by one.
        """
        self._handling = False
        try:
            with trace.under(""):  # each fact sets its own trace id
                applied, remaining = self._retries.run(
                    lambda tx: self._apply(tx, chunk),
                    is_handling=lambda: self._handling,
                    late_tries=1,
                )
        except Stopped:
            raise
        except Exception as error:
            if not self._handling:  # no fact is the cause
                raise
            if len(chunk) > 1:
                middle = len(chunk) // 2
                self._take_together(chunk[:middle])
                self._take_together(chunk[middle:])
                return
            topic, fact = chunk[0]
            if isinstance(error, Late):  # gets two more tries
                applied, remaining = [], [(topic, fact)]
            else:
                self._hold(WaitingFact(topic, fact), error)
                applied, remaining = [(fact, FactPosition.HELD)], []
        for fact, position in applied:
            self._report(fact, position)
        for topic, fact in remaining:
            with trace.under(fact.trace):
                self._take_one(topic, fact)

    def _apply(
        self, tx: Transaction, chunk: Sequence[tuple[str, Fact]]
    ) -> tuple[list[tuple[Fact, FactPosition]], list[tuple[str, Fact]]]:
        """Applies the facts of a chunk that are the next of their subjects; returns two lists:
        these facts and the facts that were applied before, each with its position; and the facts
        that must be taken one by one.
        """
        self._handling = False
        states = inbox.lock(tx, self._name, {fact.subject for _, fact in chunk})
        versions = {subject: state.version for subject, state in states.items()}
        applied, remaining = list[tuple[Fact, FactPosition]](), list[tuple[str, Fact]]()
        new_versions = dict[str, int]()
        remaining_subjects = set[str]()
        for number, (topic, fact) in enumerate(chunk):
            state = states[fact.subject]
            if (
                fact.subject in remaining_subjects
                or not state.plain
                or fact.epoch != state.epoch
                or fact.version > versions[fact.subject] + 1
            ):
                remaining_subjects.add(fact.subject)
                remaining.append((topic, fact))
            elif fact.version <= versions[fact.subject]:
                applied.append((fact, FactPosition.SEEN))
            else:
                self._note_turn()
                self._handling = True
                trace.begin(fact.trace)
                if self._handle(tx, fact):
                    # The part that is done is committed; the rest is taken one by one.
                    remaining += chunk[number:]
                    break
                versions[fact.subject] = new_versions[fact.subject] = fact.version
                applied.append((fact, FactPosition.NEXT))
        if new_versions:
            inbox.advance_plain(tx, self._name, new_versions)
        return applied, remaining

    def _take_one(self, topic: str, fact: Fact) -> None:
        if self._apply_found(lambda tx: self._position_or_park(tx, topic, fact)):
            self._take_waiting(fact.subject)

    def _position_or_park(
        self, tx: Transaction, topic: str, fact: Fact
    ) -> tuple[FactPosition, WaitingFact]:
        position = inbox.position(tx, self._name, fact)
        if position is FactPosition.AHEAD:
            inbox.park(tx, self._name, topic, fact, self._clock.now())
        return position, WaitingFact(topic, fact)

    # --- waiting facts

    def _take_waiting(self, subject: str) -> None:
        """Applies the waiting facts of a subject that are due, each in a transaction of its own."""
        while self._apply_found(lambda tx: self._next_waiting(tx, subject)):
            pass

    def _next_waiting(
        self, tx: Transaction, subject: str
    ) -> tuple[FactPosition, WaitingFact | None]:
        waiting = inbox.due_fact(tx, self._name, subject, self._clock.now())
        if waiting is None:
            return FactPosition.SEEN, None
        trace.begin(waiting.fact.trace)
        position = inbox.position(tx, self._name, waiting.fact)
        return (FactPosition.NEXT if position is FactPosition.HELD else position), waiting

    def _apply_found(
        self, find: Callable[[Transaction], tuple[FactPosition, WaitingFact | None]]
    ) -> bool:
        """Applies the fact that `find` returns, if it is the next of its subject, and holds it if
        that fails. Returns True if the next fact of the subject is waiting.
        """
        waiting: WaitingFact | None = None

        def act(tx: Transaction) -> tuple[FactPosition, bool] | None:
            """Returns the fact's position, and True if the next fact is waiting; None if the
            handler has more parts to do.
            """
            nonlocal waiting
            waiting = None
            position, waiting = find(tx)
            if waiting and position is FactPosition.NEXT and self._handle(tx, waiting.fact):
                return None
            if waiting and position in (FactPosition.NEXT, FactPosition.KNOWN):
                return position, inbox.advance(tx, self._name, waiting.fact)
            return position, False

        result: tuple[FactPosition, bool] | None = None
        while result is None:
            self._note_turn()
            try:
                result = self._retries.run(act, is_handling=lambda: waiting is not None)
            except Stopped:
                raise
            except Exception as error:  # a fault in a handler must not stop other subjects
                if waiting is None:
                    raise
                self._hold(waiting, error)
                result = FactPosition.HELD, False
        position, follows = result
        if waiting is not None:
            self._report(waiting.fact, position)
        return follows

    def _report(self, fact: Fact, position: FactPosition) -> None:
        """Counts a fact by its position; logs it if it was applied and a request caused it."""
        metrics.FACTS_RECEIVED.labels(self._name, position.value).inc()
        if position in (FactPosition.AHEAD, FactPosition.HELD):
            self._anything_waits = True
        if fact.trace and position is FactPosition.NEXT:
            with trace.under(fact.trace):
                log.get().info(
                    "fact_taken",
                    consumer=self._name,
                    type=fact.type,
                    subject=fact.subject,
                    version=fact.version,
                )

    def _hold(self, waiting: WaitingFact, error: Exception) -> None:
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
        self._retries.run(lambda tx: inbox.hold(tx, self._name, waiting, reason, self._clock.now()))

    def sweep(self) -> None:
        """Retries the waiting facts that are due, reads again the unreadable records that an
        operator has marked for a retry, and reports the number of held facts. Does nothing if the
        last sweep is too recent.
        """
        now = self._clock.now()
        pause = _SWEEP if self._anything_waits else _REST
        if timedelta() <= now - self._swept_at < pause:
            return
        self._swept_at = now
        counts = self._retries.run(self._counts)
        if not any(counts):
            self._note_counts(counts)
            return
        for subject in self._retries.run(lambda tx: self._due_subjects(tx, now)):
            with trace.under(""):
                self._take_waiting(subject)
        for identity, record in self._retries.run(
            lambda tx: dead_letters.take_redriven(tx, self._keyring, self._name, _MAX_SWEPT)
        ):
            self._read_again(identity, record)
        self._note_counts(self._retries.run(self._counts))

    def _counts(self, tx: Transaction) -> tuple[int, int, int]:
        """Returns three numbers: held facts, all waiting facts (held facts included), and
        unreadable records.
        """
        return dead_letters.count(tx, self._name)

    def _note_counts(self, counts: tuple[int, int, int]) -> None:
        held_count, waiting_count, dead_count = counts
        self._anything_waits = bool(waiting_count or dead_count)
        if not waiting_count:
            self._patience = _FIRST_PATIENCE
        metrics.FACTS_HELD.labels(self._name).set(held_count)
        metrics.DEAD_LETTERS.labels(self._name).set(dead_count)
        self._on_held(held_count)

    def _due_subjects(self, tx: Transaction, now: datetime) -> list[str]:
        inbox.forget_overtaken(tx, self._name)
        return inbox.due_subjects(tx, self._name, now, _MAX_SWEPT)

    # --- unreadable records

    def _dead_letter(self, record: Any, reason: str) -> None:
        """Stores a record as a dead letter. If the record is new and its key is an id, the facts of
        that subject will be requested again, since one of them may have been damaged on its way.
        """
        letter = dead_letters.Record(
            record.topic,
            record.partition,
            record.offset,
            record.key or b"",
            record.value,
            list(record.headers),
        )
        is_new = self._retries.run(
            lambda tx: dead_letters.save(
                tx, self._keyring, self._name, letter, reason, self._clock.now()
            )
        )
        self._anything_waits = True
        metrics.FACTS_RECEIVED.labels(self._name, "dead").inc()
        if is_new:
            key = (record.key or b"").decode("ascii", "replace")
            if is_id(key):
                self._doubtful_subjects.add((record.topic, key))
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
        self._retries.run(lambda tx: dead_letters.remove(tx, self._name, identity))

    # --- missing facts

    def _request_missing(self) -> None:
        """Requests missing facts from the services that published them, and requests all facts
        after this service's own store was restored from a copy. While nothing waits, first checks
        with one statement whether another process has left anything to do.
        """
        now = self._clock.now()
        is_idle = not self._anything_waits
        delay = _REST if is_idle and not self._doubtful_subjects else self._patience
        if timedelta() <= now - self._requested_at < delay:
            return
        self._requested_at = now
        if is_idle and not self._doubtful_subjects and self._has_nothing_to_do():
            self._note_counts((0, 0, 0))
            self._swept_at = now
            return
        self._anything_waits = True  # until the next sweep has counted

        def find_gaps(tx: Transaction) -> tuple[list[tuple[str, str]], int, bool]:
            epoch = outbox.ensure_epoch(tx, self._clock)
            is_restored = not inbox.register(tx, self._name, epoch)
            return inbox.gaps(tx, self._name, now - _FIRST_PATIENCE), epoch, is_restored

        gaps, epoch, is_restored = self._retries.run(find_gaps)
        missing = sorted({*gaps, *self._doubtful_subjects})
        missing += [(topic, "") for topic in self._topics if is_restored]
        # The facts of a lasting gap are requested less and less often: their publisher may be down
        # for days.
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
            self._doubtful_subjects.clear()
        if is_restored:
            self._retries.run(lambda tx: inbox.record_full_request(tx, self._name, epoch))

    def _request_deleted(self, consumer: Consumer) -> None:
        """Requests all facts of a topic from which the broker has deleted unread records."""
        if deleted := consumer.find_deleted():
            for topic in deleted:
                log.get().warning("facts_deleted_unread", consumer=self._name, topic=topic)
            send(self._broker.settings, REPLAYS, [(topic.encode(), b"", []) for topic in deleted])
            consumer.skip_deleted()

    def _has_nothing_to_do(self) -> bool:
        """Returns True if this consumer has nothing to do; False also if the database does not
        respond, since the transaction that then follows waits for the database.
        """
        try:
            with self._database.autocommit() as connection:
                return inbox.has_nothing_to_do(connection, self._name)
        except (Unavailable, Exhausted, Stale, Late):
            return False

    def _note_turn(self) -> None:
        """Records a turn for each fact, since a batch may take longer than the limit of a turn.

        Raises Stopped if the loop is asked to end; the next process takes over the remaining
        records.
        """
        if not self._loop.turn():
            raise Stopped


def _reason(error: Exception) -> str:
    match error:
        case NewerKind():
            return "type"
        case DecodeError() | UnicodeDecodeError():
            return "body"
        case Refusal():
            return error.reason
    return "fault"
