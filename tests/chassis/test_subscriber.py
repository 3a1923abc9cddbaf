"""The subscriber on a real database, turn by turn.

There is no broker: a test hands the records to the subscriber, and catches its requests for
replays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError
from prometheus_client import REGISTRY

from chassis import log, trace
from chassis.db import Database, Transaction
from chassis.errors import Conflict, Late, Unavailable
from chassis.ids import new_id
from chassis.supervisor import State
from chassis.tokens import SYSTEM
from facts import dead_letters, inbox, outbox, subscriber
from facts.broker import Broker
from facts.envelope import NewerKind, pack
from facts.kafka import FULL, REPLAYS, BrokerLost
from facts.outbox import Fact
from facts.retries import Retries, Stopped
from facts.subscriber import Subscriber
from keys import key_folder
from keys.sealing import Keyring, SignatureCheck, Signer
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
    """A subscriber whose handler notes the facts that it applies, and refuses chosen subjects."""

    database: Database
    keys: Path
    clock: SettableClock = field(default_factory=lambda: SettableClock(NOON))
    name: str = field(default_factory=new_id)
    applied: list[tuple[str, int]] = field(default_factory=list)
    refuse: dict[str, Exception] = field(default_factory=dict)
    requested: list[tuple[str, list[tuple[bytes, bytes]]]] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    unfinished: int = 0  # number of calls after which the handler has more parts to do

    def __post_init__(self) -> None:
        self.signer = Signer(key_folder.signing(self.keys, "facts.publisher"))
        self.works = Subscriber(
            self.name,
            [TOPIC],
            self.handle,
            database=self.database,
            broker=Broker(settings("127.0.0.1:1"), [TOPIC]),
            trusted_signers={
                "enlace/publisher": SignatureCheck(
                    key_folder.verifying(self.keys, "facts.publisher")
                )
            },
            keyring=Keyring(key_folder.secret(self.keys, "sealing.listener")),
            clock=self.clock,
            on_held=self.held.append,
        )

    def runs_on(self, database: object) -> None:
        """Lets the subscriber run its transactions on another database."""
        self.works._retries = Retries(self.works.loop(), database, self.name)  # type: ignore[arg-type]

    def handle(self, tx: Transaction, fact: Fact) -> bool:
        if fact.subject in self.refuse:
            raise self.refuse[fact.subject]
        self.applied.append((fact.subject, fact.version))
        self.unfinished -= 1
        return self.unfinished >= 0

    def record(self, subject: str, version: int, **more: object) -> Record:
        fact = Fact(subject, version, "enlace.test.told.v1", b"x", NOON)
        return Record(*pack(replace(fact, **more), "enlace/publisher", self.signer))  # type: ignore[arg-type]

    def take(self, *records: Record) -> None:
        self.works.take(records)

    def retry_after(self, pause: timedelta) -> None:
        """Advances the clock, and retries the waiting facts."""
        self.clock.advance(pause)
        self.works.sweep()

    def requests_after(self, pause: timedelta) -> list[tuple[bytes, bytes]]:
        """Advances the clock; returns the replays that the subscriber then requests."""
        self.clock.advance(pause)
        self.requested.clear()
        self.works._request_missing()
        return [
            request
            for topic, requests in self.requested
            if topic == REPLAYS
            for request in requests
        ]

    def seen(self, subject: str) -> int:
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


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    key_folder.create(folder, ["publisher", "listener"])
    return folder


@pytest.fixture
def listener(database: Database, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Listener:
    """A consumer of its own for each test."""
    created = Listener(database, keys)

    def caught(_: object, topic: str, records: list[tuple[bytes, bytes, list[object]]]) -> None:
        created.requested.append((topic, [(key, value) for key, value, _ in records]))

    monkeypatch.setattr(subscriber, "send", caught)
    return created


def test_facts_are_applied_in_order_and_each_once(listener: Listener) -> None:
    subject = new_id()
    third, second, first = (listener.record(subject, version) for version in (3, 2, 1))
    listener.take(third)
    listener.take(second, second)
    assert listener.applied == []
    listener.take(first)
    listener.take(first, second, third)
    listener.take(first)
    assert listener.applied == [(subject, 1), (subject, 2), (subject, 3)]
    assert listener.seen(subject) == 3
    assert (listener.count("next"), listener.count("ahead"), listener.count("seen")) == (3, 3, 4)


def test_facts_of_a_batch_that_were_seen_before_are_skipped_and_the_others_applied(
    listener: Listener,
) -> None:
    one, other = new_id(), new_id()
    listener.take(listener.record(one, 1))
    listener.take(listener.record(one, 1), listener.record(one, 2), listener.record(other, 1))
    assert listener.applied == [(one, 1), (one, 2), (other, 1)]


def test_facts_known_from_the_previous_epoch_advance_the_inbox_without_being_applied(
    listener: Listener,
) -> None:
    subject = new_id()
    listener.take(listener.record(subject, 1), listener.record(subject, 2))
    listener.take(listener.record(subject, 1, epoch=7, base=2))
    listener.take(listener.record(subject, 2, epoch=7, base=2))
    assert listener.applied == [(subject, 1), (subject, 2)]
    assert (listener.count("known"), listener.seen(subject)) == (2, 2)


def test_a_fact_is_applied_under_the_trace_of_the_request_that_caused_it(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    under = []
    monkeypatch.setattr(listener, "handle", lambda *_: under.append(trace.current()))
    listener.__post_init__()
    subject, first, second = new_id(), "1" * 32, "2" * 32
    listener.take(listener.record(subject, 2, trace=second))
    listener.take(listener.record(subject, 1, trace=first))
    assert under == [first, second]
    assert trace.current() == ""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Conflict("refused_for_the_test"), "refused_for_the_test"),
        (NewerKind(), "type"),
        (DecodeError(), "body"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), "body"),
        (ZeroDivisionError(), "fault"),
    ],
)
def test_a_refused_fact_holds_its_subject_and_has_a_reason(
    listener: Listener, error: Exception, reason: str
) -> None:
    subject, other = new_id(), new_id()
    listener.refuse[subject] = error
    listener.take(
        listener.record(subject, 1), listener.record(subject, 2), listener.record(other, 1)
    )
    assert listener.applied == [(other, 1)]
    [letter] = [letter for letter in listener.waiting() if letter.reason]
    assert (letter.id, letter.topic, letter.reason) == (f"{subject}/1", TOPIC, reason)
    assert (letter.attempts, letter.next_try_time) == (1, NOON + SECOND)
    assert (listener.count("held"), listener.seen(subject)) == (1, 0)


def test_a_held_fact_is_tried_at_its_time_and_not_when_it_is_published_again(
    listener: Listener,
) -> None:
    subject = new_id()
    listener.refuse[subject] = Conflict("refused_for_the_test")
    listener.take(listener.record(subject, 1))
    listener.take(listener.record(subject, 2))
    listener.refuse.clear()
    listener.take(listener.record(subject, 1))
    assert listener.applied == []
    listener.retry_after(SECOND)
    assert listener.applied == [(subject, 1), (subject, 2)]
    assert listener.waiting() == []


def test_each_try_that_fails_is_counted(listener: Listener) -> None:
    subject = new_id()
    listener.refuse[subject] = Conflict("refused_for_the_test")
    listener.take(listener.record(subject, 1))
    listener.retry_after(SECOND)
    listener.retry_after(2 * SECOND)
    [letter] = listener.waiting()
    assert letter.attempts == 3


def test_in_a_batch_only_the_failing_fact_and_later_facts_of_its_subject_are_held(
    listener: Listener,
) -> None:
    first, bad, last = new_id(), new_id(), new_id()
    listener.refuse[bad] = Conflict("refused_for_the_test")
    records = [(first, 1), (bad, 1), (last, 1), (bad, 2), (first, 2)]
    listener.take(*(listener.record(subject, version) for subject, version in records))
    assert [listener.seen(subject) for subject in (first, bad, last)] == [2, 0, 1]
    assert [fact for fact in listener.applied if fact[0] == first][-2:] == [(first, 1), (first, 2)]
    listener.refuse.clear()
    listener.retry_after(SECOND * 2)
    assert [listener.seen(subject) for subject in (first, bad, last)] == [2, 2, 1]


@pytest.mark.parametrize("count", [1, 3])
def test_a_fault_before_any_handler_was_called_holds_no_fact(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the inbox, not the fact")

    facts = [listener.record(new_id(), 1) for _ in range(count)]
    with monkeypatch.context() as patch:
        patch.setattr(inbox, "lock", broken)
        with pytest.raises(RuntimeError):
            listener.take(*facts)
    assert (listener.waiting(), listener.applied) == ([], [])


def test_facts_written_by_the_handlers_of_a_batch_have_the_trace_of_their_causes(
    listener: Listener,
) -> None:
    def publish_again(tx: Transaction, fact: Fact) -> None:
        outbox.save(tx, [replace(fact, subject=fact.subject[::-1])])

    listener.works._handle = publish_again
    facts = {new_id(): request for request in (new_id(), "", new_id())}
    listener.take(
        *(listener.record(subject, 1, trace=request) for subject, request in facts.items())
    )
    with listener.database.transaction(SYSTEM) as tx:
        written = {fact.subject[::-1]: fact.trace for fact in outbox.next_batch(tx, 10).facts}
    assert written == facts


def test_the_numbers_of_held_facts_and_unreadable_records_are_reported(listener: Listener) -> None:
    subject = new_id()
    listener.refuse[subject] = Conflict("refused_for_the_test")
    listener.take(listener.record(subject, 1), Record(b"x", b"rubbish", []), Record(b"y", b"", []))
    listener.works.sweep()
    assert listener.held == [1]
    assert (listener.gauge("enlace_facts_held"), listener.gauge("enlace_dead_letters")) == (1, 2)
    listener.refuse.clear()
    listener.retry_after(SECOND)
    assert listener.held == [1, 0]
    assert listener.gauge("enlace_facts_held") == 0


def test_waiting_facts_are_checked_once_a_second_and_after_the_clock_was_set_back(
    listener: Listener,
) -> None:
    listener.take(listener.record(new_id(), 2))
    listener.works.sweep()
    listener.retry_after(SECOND * 0.9)
    assert len(listener.held) == 1
    listener.retry_after(SECOND * 0.1)
    assert len(listener.held) == 2
    listener.retry_after(-timedelta(days=1))
    assert len(listener.held) == 3


def test_facts_that_another_process_left_waiting_are_looked_for_once_a_minute(
    listener: Listener,
) -> None:
    subject = new_id()
    listener.works.sweep()
    another = Listener(listener.database, listener.keys, listener.clock, name=listener.name)
    another.refuse[subject] = Conflict("refused_for_the_test")
    another.take(another.record(subject, 1))
    listener.retry_after(SECOND * 59)
    assert (listener.held, listener.applied) == ([0], [])
    listener.retry_after(SECOND)
    assert (listener.held, listener.applied) == ([0, 0], [(subject, 1)])


def test_a_handler_with_several_parts_is_called_until_the_last_part_is_done(
    listener: Listener,
) -> None:
    subject = new_id()
    listener.unfinished = 2
    listener.take(listener.record(subject, 1))
    assert listener.applied == [(subject, 1)] * 3
    assert (listener.seen(subject), listener.count("next")) == (1, 1)


def test_after_the_last_part_of_a_fact_the_next_waiting_fact_of_its_subject_is_applied(
    listener: Listener,
) -> None:
    subject = new_id()
    listener.unfinished = 2
    listener.take(listener.record(subject, 2))
    listener.take(listener.record(subject, 1))
    assert listener.applied == [*[(subject, 1)] * 3, (subject, 2)]
    assert (listener.seen(subject), listener.count("next")) == (2, 2)


def test_an_unreadable_record_becomes_one_dead_letter_and_later_facts_are_applied(
    listener: Listener,
) -> None:
    subject = new_id()
    rubbish = Record(None, None, [("ce_id", b"x")])
    altered = replace(listener.record(new_id(), 1), value=b"altered", offset=15)
    listener.take(rubbish, altered, listener.record(subject, 1), rubbish, altered)
    assert listener.applied == [(subject, 1)]
    letters = listener.waiting()
    assert sorted(letter.reason for letter in letters) == ["headers", "signature"]
    assert {(letter.kind, letter.topic, letter.since) for letter in letters} == {
        ("unreadable", TOPIC, NOON)
    }
    assert listener.count("dead") == 4


def test_a_dead_letter_is_read_again_when_an_operator_redrives_it(listener: Listener) -> None:
    subject = new_id()
    trusted = listener.works._trusted_signers
    listener.works._trusted_signers = {}
    listener.take(listener.record(subject, 1), Record(b"x", b"rubbish", []))
    listener.works._trusted_signers = trusted
    with listener.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE dead_letters SET redrive = true WHERE consumer = %s", (listener.name,))
    listener.retry_after(SECOND)
    assert listener.applied == [(subject, 1)]
    assert [letter.reason for letter in listener.waiting()] == ["headers"]
    listener.retry_after(SECOND)
    assert [letter.reason for letter in listener.waiting()] == ["headers"]


def test_a_missing_fact_is_requested_after_ten_seconds_and_then_ever_more_rarely(
    listener: Listener,
) -> None:
    subject = new_id()
    listener.requests_after(timedelta())
    listener.take(listener.record(subject, 2))
    assert listener.requests_after(10 * SECOND) == []
    missing = [(TOPIC.encode(), subject.encode())]
    assert listener.requests_after(10 * SECOND) == missing
    assert listener.requests_after(19 * SECOND) == []
    assert listener.requests_after(SECOND) == missing
    assert listener.requests_after(40 * SECOND) == missing
    for _ in range(5):
        listener.requests_after(timedelta(minutes=5))
    assert listener.requests_after(299 * SECOND) == []
    assert listener.requests_after(SECOND) == missing
    listener.take(listener.record(subject, 1))
    assert listener.requests_after(300 * SECOND) == []
    listener.take(listener.record(subject, 4))
    assert listener.requests_after(10 * SECOND) == []
    assert listener.requests_after(SECOND) == []
    assert listener.requests_after(9 * SECOND) == [(TOPIC.encode(), subject.encode())]


def test_after_a_long_gap_is_filled_the_next_gap_is_requested_after_ten_seconds(
    listener: Listener,
) -> None:
    subject, next_subject = new_id(), new_id()
    listener.take(listener.record(subject, 2))
    for _ in range(6):
        listener.requests_after(timedelta(minutes=5))
        listener.works.sweep()
    listener.take(listener.record(subject, 1))
    listener.retry_after(SECOND)  # finds that nothing waits any more
    listener.take(listener.record(next_subject, 2))
    listener.retry_after(SECOND)
    assert listener.requests_after(10 * SECOND) == [(TOPIC.encode(), next_subject.encode())]


def test_the_facts_of_an_unreadable_records_key_are_requested_once(listener: Listener) -> None:
    subject = new_id()
    listener.requests_after(timedelta())
    listener.take(Record(subject.encode(), b"x", []), Record(b"no id", b"x", []))
    assert listener.requests_after(10 * SECOND) == [(TOPIC.encode(), subject.encode())]
    listener.take(Record(subject.encode(), b"x", []))  # the same record, read again
    assert listener.requests_after(20 * SECOND) == []


def test_while_nothing_waits_the_database_is_asked_for_missing_facts_once_a_minute(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def watch(name: str) -> None:
        ask = getattr(inbox, name)

        def watched(*arguments: object) -> object:
            calls.append(name)
            return ask(*arguments)

        monkeypatch.setattr(inbox, name, watched)

    for name in ("gaps", "missed_nothing", "nothing_to_do"):
        watch(name)
    listener.works.sweep()  # finds that nothing waits
    at_rest = ["nothing_to_do"]
    for pause, expected in (
        (1, [*at_rest, "missed_nothing", "gaps"]),
        (59, []),
        (1, at_rest),
        (60, at_rest),
    ):
        calls.clear()
        assert listener.requests_after(SECOND * pause) == []
        assert calls == expected
        listener.works.sweep()


def test_a_store_that_was_restored_while_nothing_waits_requests_everything_within_a_minute(
    listener: Listener,
) -> None:
    listener.works.sweep()
    for pause in (1, 60):
        assert listener.requests_after(SECOND * pause) == []
        listener.works.sweep()
    with listener.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE relay SET store = 'the original'")
    assert listener.requests_after(59 * SECOND) == []
    assert listener.requests_after(SECOND) == [(TOPIC.encode(), b"")]
    listener.works.sweep()
    assert listener.requests_after(60 * SECOND) == []


def test_an_unreadable_record_that_another_process_stored_is_counted_within_a_minute(
    listener: Listener,
) -> None:
    listener.works.sweep()
    assert listener.requests_after(timedelta()) == []
    another = Listener(listener.database, listener.keys, listener.clock, name=listener.name)
    another.take(Record(b"no id", b"x", []))
    assert listener.requests_after(60 * SECOND) == []
    listener.works.sweep()
    assert listener.gauge("enlace_dead_letters") == 1


def test_while_the_database_does_not_answer_at_rest_the_subscriber_waits_for_it(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise Unavailable("store_unavailable")

    listener.works.sweep()
    assert listener.requests_after(timedelta()) == []
    monkeypatch.setattr(inbox, "nothing_to_do", fail)
    with listener.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE relay SET store = 'the original'")
    assert listener.requests_after(60 * SECOND) == [(TOPIC.encode(), b"")]


def test_a_fact_that_another_process_left_waiting_is_counted_and_its_gap_requested_within_a_minute(
    listener: Listener,
) -> None:
    subject = new_id()
    listener.works.sweep()
    another = Listener(listener.database, listener.keys, listener.clock, name=listener.name)
    another.take(another.record(subject, 2))
    assert listener.requests_after(60 * SECOND) == [(TOPIC.encode(), subject.encode())]
    listener.works.sweep()
    assert listener.works._anything_waits


def test_a_consumer_with_a_restored_store_requests_everything_once(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = iter([0, 7, 7, 7])
    monkeypatch.setattr(outbox, "ensure_epoch", lambda *_: next(epochs))
    assert listener.requests_after(timedelta()) == []
    assert listener.requests_after(10 * SECOND) == [(TOPIC.encode(), b"")]
    assert listener.requests_after(20 * SECOND) == []
    assert listener.requests_after(10 * SECOND) == []


class FailingDatabase:
    """A database that fails once for each given refusal, and works after that."""

    answers = True

    def __init__(self, database: Database, *refusals: Exception) -> None:
        self.database, self.refusals = database, list(refusals)
        self.limits: list[float | None] = []

    def transaction(self, caller: object, *, timeout: float, by_key: bool, retried: bool) -> object:
        self.limits.append(timeout)
        if self.refusals:
            raise self.refusals.pop(0)
        return self.database.transaction(SYSTEM, timeout=timeout)


def skip_pauses(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, *, stops: bool = False
) -> list[float]:
    """Returns a list that receives the subscriber's pauses, which are skipped from now on."""
    pauses: list[float] = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return stops

    monkeypatch.setattr(listener.works.loop(), "wait", wait)
    return pauses


def test_while_the_database_is_down_the_pauses_grow_and_no_fact_is_skipped(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses, subject = skip_pauses(listener, monkeypatch), new_id()
    failing = FailingDatabase(
        listener.database, *(Unavailable("store_unavailable") for _ in range(8))
    )
    listener.runs_on(failing)
    listener.take(listener.record(subject, 1))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert listener.applied == [(subject, 1)]
    assert set(failing.limits) == {10.0}


def test_the_facts_of_a_batch_share_a_transaction_except_those_of_a_subject_with_a_gap(
    listener: Listener,
) -> None:
    one, other, gap = new_id(), new_id(), new_id()
    counted = FailingDatabase(listener.database)
    listener.runs_on(counted)
    listener.take(*(listener.record(subject, n) for n in (1, 2) for subject in (one, other)))
    assert len(counted.limits) == 1
    listener.take(listener.record(one, 3), listener.record(gap, 2), listener.record(gap, 3))
    assert len(counted.limits) == 1 + 1 + 2
    assert (listener.seen(one), listener.seen(other), listener.seen(gap)) == (3, 2, 0)


def test_a_handler_that_is_late_three_times_in_a_row_holds_its_fact(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses, subject = skip_pauses(listener, monkeypatch), new_id()
    listener.refuse[subject] = Late()
    listener.take(listener.record(subject, 1))
    assert pauses == [0.1, 0.2]
    assert [letter.reason for letter in listener.waiting()] == [Late().reason]


def test_a_deadline_that_passes_before_the_handler_starts_holds_no_fact(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses, subject = skip_pauses(listener, monkeypatch), new_id()
    listener.runs_on(FailingDatabase(listener.database, *(Late() for _ in range(5))))
    listener.take(listener.record(subject, 1))
    assert (len(pauses), listener.applied) == (5, [(subject, 1)])


def test_a_stop_leaves_the_record_for_the_next_process(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = new_id()
    listener.works.loop().stop()
    with pytest.raises(Stopped):
        listener.take(listener.record(subject, 1))
    assert listener.applied == []


def test_a_stop_ends_the_wait_for_the_database(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = skip_pauses(listener, monkeypatch, stops=True)
    listener.runs_on(FailingDatabase(listener.database, Unavailable("store_unavailable")))
    with pytest.raises(Stopped):
        listener.take(listener.record(new_id(), 1))
    assert pauses == [0.1]


def test_applied_and_held_facts_are_logged_without_their_content(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[tuple[str, dict[str, object]]] = []

    class Log:
        def __getattr__(self, level: str) -> Callable[..., None]:
            return lambda event, **words: lines.append((f"{level} {event}", words))

    monkeypatch.setattr(log, "get", Log)
    subject, refused, request = new_id(), new_id(), "1" * 32
    listener.refuse[refused] = Conflict("refused_for_the_test")
    listener.requests_after(timedelta())
    listener.take(
        listener.record(subject, 1, trace=request),
        listener.record(refused, 1),
        Record(refused.encode(), b"rubbish", []),
    )
    listener.requests_after(10 * SECOND)
    logged = dict(lines)
    common = {"consumer": listener.name, "type": "enlace.test.told.v1", "version": 1}
    assert logged["error fact_held"].pop("fault")
    assert logged == {
        "info fact_taken": {**common, "subject": subject},
        "error fact_held": {
            **common,
            "subject": refused,
            "attempt": 1,
            "reason": "refused_for_the_test",
        },
        "error dead_letter": {
            "consumer": listener.name,
            "topic": TOPIC,
            "partition": 3,
            "offset": 14,
            "reason": "headers",
        },
        "warning gap_stays": {"consumer": listener.name, "count": 1, "subjects": [refused]},
    }


class Topics:
    """A broker whose cluster id and batches of records a test sets turn by turn."""

    def __init__(self, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = settings("127.0.0.1:1")
        self.clusters: list[str | None] = ["one"]
        self.batches: list[list[Record]] = []
        self.did: list[object] = []
        self.turns = 0
        self.deleted = set[str]()
        listener.works._broker = self  # type: ignore[assignment]
        take, sweep, ask = (
            listener.works.take,
            listener.works.sweep,
            listener.works._request_missing,
        )
        self.watch(monkeypatch, listener.works, take=take, sweep=sweep, _request_missing=ask)
        monkeypatch.setattr(subscriber, "Consumer", self.open)
        monkeypatch.setattr(subscriber, "read", self.read)

    def watch(
        self, monkeypatch: pytest.MonkeyPatch, works: Subscriber, **acts: Callable[..., None]
    ) -> None:
        def watched(name: str, act: Callable[..., None]) -> Callable[..., None]:
            def call(*arguments: object) -> None:
                self.did.append(name)
                act(*arguments)

            return call

        for name, act in acts.items():
            monkeypatch.setattr(works, name, watched(name, act))

    def run(self, listener: Listener, monkeypatch: pytest.MonkeyPatch, turns: int) -> list[object]:
        """Runs the loop for `turns` turns; returns its actions."""
        loop, left = listener.works.loop(), iter([True] * turns)
        monkeypatch.setattr(loop, "turn", lambda: next(left, False))
        listener.works._work(loop)
        return self.did

    @property
    def cluster_id(self) -> str | None:
        return self.clusters[0]

    def wait(self, seconds: float) -> str | None:
        self.did.append(f"wait {seconds}")
        return self.clusters.pop(0) if len(self.clusters) > 1 else self.clusters[0]

    def open(self, *given: object) -> Topics:
        self.did.append(("open", *given[1:]))
        return self

    def read(self, broker: object, name: str, consumer: object) -> list[Record]:
        assert (broker, consumer) == (self, self)
        self.did.append("read")
        batch = self.batches.pop(0) if self.batches else []
        if batch and batch[0].topic == "lost":
            raise BrokerLost
        return batch

    def find_deleted(self) -> set[str]:
        deleted, self.deleted = self.deleted, set()
        return deleted

    def skip_deleted(self) -> None:
        self.did.append("skip_deleted")

    def commit(self, records: list[Record]) -> None:
        self.did.append(("commit", len(records)))

    def close(self) -> None:
        self.did.append("close")


@pytest.fixture
def topics(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> Topics:
    return Topics(listener, monkeypatch)


def test_offsets_are_committed_after_the_facts_and_only_if_there_were_facts(
    listener: Listener, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = new_id()
    topics.batches = [[listener.record(subject, 1), listener.record(subject, 2)], []]
    loops = topics.run(listener, monkeypatch, 20)
    opened = ("open", listener.name, [TOPIC])
    assert loops[:6] == ["wait 0.5", opened, "_request_missing", "read", "take", ("commit", 2)]
    assert [step for step in loops[6:] if step != "read"][:4] == ["_request_missing", "sweep"] * 2
    assert (loops.count("take"), loops[-1]) == (1, "close")
    assert listener.seen(subject) == 2


def test_facts_that_the_broker_has_deleted_are_requested_before_any_offset_is_committed(
    listener: Listener, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics.deleted = {TOPIC}
    topics.batches = [[listener.record(new_id(), 1)]]
    monkeypatch.setattr(subscriber, "send", lambda _, *request: topics.did.append(request))
    steps = topics.run(listener, monkeypatch, 20)
    request: tuple[object, ...] = (REPLAYS, [(TOPIC.encode(), b"", [])])
    assert steps[3:7] == ["read", request, "skip_deleted", "take"]
    assert (steps.count(request), steps.count("skip_deleted")) == (1, 1)


@pytest.mark.parametrize(("count", "pauses"), [(FULL - 1, 1), (FULL, 0)])
def test_a_consumer_that_gathers_facts_pauses_after_a_batch_that_was_not_full(
    count: int, pauses: int, listener: Listener, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, waited = new_id(), skip_pauses(listener, monkeypatch)
    listener.works._gather = 0.1
    topics.batches = [[listener.record(subject, version + 1) for version in range(count)]]
    topics.run(listener, monkeypatch, 2 * FULL)
    assert listener.seen(subject) == count
    assert waited == [0.1] * pauses


def test_while_the_broker_is_down_waiting_facts_are_still_retried(
    listener: Listener, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics.clusters = [None]
    assert topics.run(listener, monkeypatch, 3) == ["wait 0.5", "sweep"] * 3


def test_a_broker_with_another_cluster_id_is_read_from_its_beginning(
    listener: Listener, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics.clusters = ["one", "two"]
    steps = [step for step in topics.run(listener, monkeypatch, 6) if step != "_request_missing"]
    opened = ("open", listener.name, [TOPIC])
    assert steps[:6] == ["wait 0.5", opened, "close", "wait 0.5", opened, "read"]
    assert steps[-1] == "close"


def test_the_kafka_consumer_is_closed_whatever_ends_the_loop(
    listener: Listener, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics.batches = [[Record(None, None, [], topic="lost")]]
    with pytest.raises(BrokerLost):
        topics.run(listener, monkeypatch, 4)
    assert topics.did[-2:] == ["read", "close"]
    topics.did.clear()
    topics.batches = [[listener.record(new_id(), 1)]]
    topics.run(listener, monkeypatch, 2)  # a stop in the middle of a batch
    assert topics.did[-2:] == ["take", "close"]
    assert listener.applied == []


def test_the_loop_of_a_subscriber_has_its_name_and_waits_while_the_broker_is_lost(
    listener: Listener, topics: Topics
) -> None:
    topics.batches = [[Record(None, None, [], topic="lost")]]
    loop = listener.works.loop()
    loop._once()
    assert (loop.name, loop.state) == (f"subscriber-{listener.name}", State.WAITING)


def test_each_fact_of_a_batch_is_handled_under_its_own_trace_id(listener: Listener) -> None:
    traces = {new_id(): trace for trace in ("a" * 32, "b" * 32, "", "c" * 32)}

    def pass_on(tx: Transaction, fact: Fact) -> None:
        outbox.save(tx, [Fact(fact.subject, 1, "enlace.test.passed.v1", b"", NOON)])

    listener.works._handle = pass_on
    listener.take(*(listener.record(subject, 1, trace=trace) for subject, trace in traces.items()))
    with listener.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT subject, trace FROM outbox WHERE subject = ANY(%s)", (list(traces),)
        ).fetchall()
    assert {row["subject"]: row["trace"] for row in rows} == traces
