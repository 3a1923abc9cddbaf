"""A subscriber applies facts, skips them, holds them and tries them again.

The database is real. There is no broker: a test hands the records to the subscriber.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from unittest.mock import Mock

import pytest
from google.protobuf.message import DecodeError

from chassis import log, trace
from chassis.db import Transaction
from chassis.errors import Conflict, Late, Unavailable
from chassis.ids import new_id
from chassis.tokens import SYSTEM
from facts import inbox, outbox
from facts.envelope import NewerKind
from facts.outbox import Fact
from facts.retries import Stopped
from tests.builders import NOON
from tests.chassis.listener import SECOND, TOPIC, Listener, Record


def test_facts_are_applied_in_order_and_each_once(listener: Listener) -> None:
    subject = new_id()
    first, second, third = facts = [(subject, version) for version in (1, 2, 3)]
    listener.take_facts(third)
    listener.take_facts(second, second)
    assert listener.applied == []
    for batch in ([first], facts, [first]):
        listener.take_facts(*batch)
    assert (listener.applied, listener.applied_version(subject)) == (facts, 3)
    assert [listener.count(outcome) for outcome in ("next", "ahead", "seen")] == [3, 3, 4]


def test_facts_of_a_batch_that_were_seen_before_are_skipped_and_the_others_applied(
    listener: Listener,
) -> None:
    one, other = new_id(), new_id()
    listener.take_facts((one, 1))
    listener.take_facts((one, 1), (one, 2), (other, 1))
    assert listener.applied == [(one, 1), (one, 2), (other, 1)]


def test_facts_known_from_the_previous_epoch_advance_the_inbox_without_being_applied(
    listener: Listener,
) -> None:
    subject = new_id()
    listener.take_facts((subject, 1), (subject, 2))
    listener.take(listener.record(subject, 1, epoch=7, base=2))
    listener.take(listener.record(subject, 2, epoch=7, base=2))
    assert listener.applied == [(subject, 1), (subject, 2)]
    assert (listener.count("known"), listener.applied_version(subject)) == (2, 2)


def test_a_fact_is_applied_under_the_trace_of_the_request_that_caused_it(
    listener: Listener,
) -> None:
    traces, subject = list[str](), new_id()
    listener.subscriber._handle = lambda tx, fact: traces.append(trace.current())
    for version in (2, 1):
        listener.take(listener.record(subject, version, trace=f"{version}" * 32))
    assert (traces, trace.current()) == (["1" * 32, "2" * 32], "")


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
    listener.take_facts((subject, 1), (subject, 2), (other, 1))
    assert listener.applied == [(other, 1)]
    [letter] = [letter for letter in listener.waiting() if letter.reason]
    assert (letter.id, letter.topic, letter.reason) == (f"{subject}/1", TOPIC, reason)
    assert (letter.attempts, letter.next_try_time) == (1, NOON + SECOND)
    assert (listener.count("held"), listener.applied_version(subject)) == (1, 0)


def test_a_held_fact_is_tried_at_its_time_and_not_when_it_is_published_again(
    listener: Listener,
) -> None:
    subject = new_id()
    listener.refuse[subject] = Conflict("refused_for_the_test")
    listener.take_facts((subject, 1))
    listener.take_facts((subject, 2))
    listener.refuse.clear()
    listener.take_facts((subject, 1))
    assert listener.applied == []
    listener.retry_after(SECOND)
    assert (listener.applied, listener.waiting()) == ([(subject, 1), (subject, 2)], [])


def test_each_try_that_fails_is_counted(listener: Listener) -> None:
    subject = new_id()
    listener.refuse[subject] = Conflict("refused_for_the_test")
    listener.take_facts((subject, 1))
    listener.retry_after(SECOND)
    listener.retry_after(2 * SECOND)
    [letter] = listener.waiting()
    assert letter.attempts == 3


def test_in_a_batch_only_the_failing_fact_and_later_facts_of_its_subject_are_held(
    listener: Listener,
) -> None:
    first, bad, last = new_id(), new_id(), new_id()
    listener.refuse[bad] = Conflict("refused_for_the_test")
    listener.take_facts((first, 1), (bad, 1), (last, 1), (bad, 2), (first, 2))
    assert [listener.applied_version(subject) for subject in (first, bad, last)] == [2, 0, 1]
    assert [fact for fact in listener.applied if fact[0] == first][-2:] == [(first, 1), (first, 2)]
    listener.refuse.clear()
    listener.retry_after(SECOND * 2)
    assert [listener.applied_version(subject) for subject in (first, bad, last)] == [2, 2, 1]


@pytest.mark.parametrize("count", [1, 3])
def test_a_fault_before_any_handler_was_called_holds_no_fact(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(inbox, "lock", Mock(side_effect=RuntimeError("the inbox, not the fact")))
    with pytest.raises(RuntimeError):
        listener.take_facts(*((new_id(), 1) for _ in range(count)))
    assert (listener.waiting(), listener.applied) == ([], [])


def test_facts_written_by_the_handlers_of_a_batch_have_the_trace_of_their_causes(
    listener: Listener,
) -> None:
    def publish_again(tx: Transaction, fact: Fact) -> None:
        outbox.save(tx, [replace(fact, subject=fact.subject[::-1])])

    listener.subscriber._handle = publish_again
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
    listener.subscriber.sweep()
    assert listener.held_counts == [1]
    assert (listener.gauge("enlace_facts_held"), listener.gauge("enlace_dead_letters")) == (1, 2)
    listener.refuse.clear()
    listener.retry_after(SECOND)
    assert listener.held_counts == [1, 0]
    assert listener.gauge("enlace_facts_held") == 0


def test_waiting_facts_are_checked_once_a_second_and_after_the_clock_was_set_back(
    listener: Listener,
) -> None:
    listener.take_facts((new_id(), 2))
    listener.subscriber.sweep()
    listener.retry_after(SECOND * 0.9)
    assert len(listener.held_counts) == 1
    listener.retry_after(SECOND * 0.1)
    assert len(listener.held_counts) == 2
    listener.retry_after(-timedelta(days=1))
    assert len(listener.held_counts) == 3


def test_facts_that_another_process_left_waiting_are_looked_for_once_a_minute(
    listener: Listener,
) -> None:
    subject = new_id()
    listener.subscriber.sweep()
    another = listener.other_process()
    another.refuse[subject] = Conflict("refused_for_the_test")
    another.take_facts((subject, 1))
    listener.retry_after(SECOND * 59)
    assert (listener.held_counts, listener.applied) == ([0], [])
    listener.retry_after(SECOND)
    assert (listener.held_counts, listener.applied) == ([0, 0], [(subject, 1)])


def test_a_handler_with_several_parts_is_called_for_each_part_before_the_next_fact_is_applied(
    listener: Listener,
) -> None:
    subject = new_id()
    listener.unfinished = 2
    listener.take_facts((subject, 1))
    assert (listener.applied, listener.applied_version(subject)) == ([(subject, 1)] * 3, 1)
    listener.unfinished = 2
    listener.take_facts((subject, 3))
    listener.take_facts((subject, 2))
    assert listener.applied[3:] == [*[(subject, 2)] * 3, (subject, 3)]
    assert (listener.applied_version(subject), listener.count("next")) == (3, 3)


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
    trusted_signers = listener.subscriber._trusted_signers
    listener.subscriber._trusted_signers = {}
    listener.take(listener.record(subject, 1), Record(b"x", b"rubbish", []))
    listener.subscriber._trusted_signers = trusted_signers
    with listener.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE dead_letters SET redrive = true WHERE consumer = %s", (listener.name,))
    listener.retry_after(SECOND)
    assert listener.applied == [(subject, 1)]
    assert [letter.reason for letter in listener.waiting()] == ["headers"]
    listener.retry_after(SECOND)
    assert [letter.reason for letter in listener.waiting()] == ["headers"]


def skip_pauses(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, *, stops: bool = False
) -> list[float]:
    """Returns a list that receives the subscriber's pauses, which are skipped from now on."""
    pauses: list[float] = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return stops

    monkeypatch.setattr(listener.subscriber.loop(), "wait", wait)
    return pauses


@pytest.mark.parametrize("refusal", [Unavailable("store_unavailable"), Late()], ids=repr)
def test_while_no_transaction_can_begin_the_pauses_grow_and_no_fact_is_skipped(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    pauses, subject = skip_pauses(listener, monkeypatch), new_id()
    failing = listener.fail_transactions(*[refusal] * 8)
    listener.take_facts((subject, 1))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert listener.applied == [(subject, 1)]
    assert set(failing.limits) == {10.0}


def test_the_facts_of_a_batch_share_a_transaction_except_those_of_a_subject_with_a_gap(
    listener: Listener,
) -> None:
    one, other, gap = new_id(), new_id(), new_id()
    database = listener.fail_transactions()
    listener.take_facts((one, 1), (other, 1), (one, 2), (other, 2))
    assert len(database.limits) == 1
    listener.take_facts((one, 3), (gap, 2), (gap, 3))
    assert len(database.limits) == 1 + 1 + 2
    assert (
        listener.applied_version(one),
        listener.applied_version(other),
        listener.applied_version(gap),
    ) == (3, 2, 0)


def test_a_handler_that_is_late_three_times_in_a_row_holds_its_fact(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses, subject = skip_pauses(listener, monkeypatch), new_id()
    listener.refuse[subject] = Late()
    listener.take_facts((subject, 1))
    assert pauses == [0.1, 0.2]
    assert [letter.reason for letter in listener.waiting()] == [Late().reason]


def test_a_stop_leaves_the_record_for_the_next_process(listener: Listener) -> None:
    listener.subscriber.loop().stop()
    with pytest.raises(Stopped):
        listener.take_facts((new_id(), 1))
    assert listener.applied == []


def test_a_stop_ends_the_wait_for_the_database(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = skip_pauses(listener, monkeypatch, stops=True)
    listener.fail_transactions(Unavailable("store_unavailable"))
    with pytest.raises(Stopped):
        listener.take_facts((new_id(), 1))
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


def test_a_dead_letter_that_cannot_be_opened_stays_and_delays_no_fact(listener: Listener) -> None:
    listener.take(Record(b"x", b"rubbish", []))
    with listener.database.transaction(SYSTEM) as tx:
        # as after a restore of a copy whose sealing key was retired
        tx.execute(
            "UPDATE dead_letters SET redrive = true, sealed = '\\x0200ff' WHERE consumer = %s",
            (listener.name,),
        )
    listener.retry_after(SECOND)
    subject = new_id()
    listener.take(listener.record(subject, 1))
    assert listener.applied == [(subject, 1)]
    assert [letter.reason for letter in listener.waiting()] == ["headers"]
