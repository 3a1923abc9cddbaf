"""The outbox on a real database, call by call.

The tests check which facts are to be published, for the first time or again. There is no broker.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chassis.db import Database, Transaction
from chassis.errors import Stale
from chassis.tokens import SYSTEM
from facts import outbox
from facts.outbox import Fact
from tests.builders import NOON
from tests.chassis.world import MIGRATIONS
from tests.parts.clocks import SettableClock
from tests.parts.postgres import Server

A, B = "a" * 32, "b" * 32
EPOCH = int(NOON.timestamp())
HOUR = timedelta(hours=1)


def fact(version: int, subject: str = A) -> Fact:
    return Fact(subject, version, "enlace.test.told.v1", b"x%d" % version, NOON)


def publish(tx: Transaction, *facts: Fact) -> None:
    """Saves facts and marks them as published, as the relay does."""
    outbox.save(tx, facts)
    outbox.mark_published(tx, facts, outbox.current_round(tx))


def names(facts: list[Fact]) -> list[str]:
    return [f"{fact.subject[0]}{fact.version}" for fact in facts]


def test_facts_that_are_not_marked_are_new_and_sorted_by_subject(tx: Transaction) -> None:
    outbox.save(tx, [fact(1, B), fact(2, B), fact(1), fact(2)])
    assert outbox.next_batch(tx, 10).facts == [fact(1), fact(2), fact(1, B), fact(2, B)]
    assert names(outbox.next_batch(tx, 3).facts) == ["a1", "a2", "b1"]
    assert names(outbox.next_batch(tx, 1).facts) == ["a1"]
    outbox.mark_published(tx, [fact(1)], outbox.current_round(tx))
    assert names(outbox.next_batch(tx, 10).facts) == ["a2", "b1", "b2"]


def test_saving_no_facts_does_nothing(tx: Transaction) -> None:
    outbox.save(tx, [])
    assert outbox.backlog(tx) == 0


def test_the_second_of_two_facts_with_the_same_version_is_stale(database: Database) -> None:
    twice = [fact(1), replace(fact(1), payload=b"another")]
    with pytest.raises(Stale), database.transaction(SYSTEM) as tx:
        outbox.save(tx, twice)
    with database.transaction(SYSTEM) as tx:
        assert outbox.backlog(tx) == 0, "the stale transaction is rolled back as a whole"


@pytest.mark.parametrize("act", [lambda tx: outbox.save(tx, [fact(1)]), outbox.repeat_all])
def test_the_relay_is_woken_when_a_fact_is_saved_or_all_are_to_be_repeated(
    postgres: Server, act: Callable[[Transaction], object]
) -> None:
    with (
        postgres.database("publisher", MIGRATIONS).open_as_service(max_size=2) as database,
        database.dedicated() as listener,
    ):
        listener.execute(f"LISTEN {outbox.CHANNEL}")
        with database.transaction(SYSTEM) as tx:
            act(tx)
        assert len(list(listener.notifies(timeout=5, stop_after=1))) == 1


def test_a_round_repeats_all_facts_and_new_facts_precede_repeats_of_other_subjects(
    tx: Transaction,
) -> None:
    publish(tx, fact(1), fact(2), fact(1, B))
    assert (outbox.next_batch(tx, 1).repeat, outbox.backlog(tx)) == (False, 0)
    outbox.repeat_all(tx)
    outbox.save(tx, [fact(2, B)])
    assert (outbox.next_batch(tx, 1).repeat, outbox.backlog(tx)) == (True, 4)
    assert names(outbox.facts_to_repeat(tx, 10, ("", 0))) == ["a1", "a2", "b1"]
    assert names(outbox.facts_to_repeat(tx, 1, ("", 0))) == ["a1"]
    assert names(outbox.facts_to_repeat(tx, 10, (A, 1))) == ["a2", "b1"]
    assert names(outbox.next_batch(tx, 10).facts) == ["b1", "b2"]
    outbox.mark_published(tx, [fact(1), fact(2), fact(1, B)], outbox.current_round(tx))
    assert (outbox.next_batch(tx, 1).repeat, outbox.backlog(tx)) == (False, 1)


def test_only_the_requested_subject_is_repeated(tx: Transaction) -> None:
    publish(tx, fact(1), fact(2), fact(1, B))
    outbox.save(tx, [fact(3)])
    assert outbox.repeat_subject(tx, A) == 2
    assert names(outbox.facts_to_repeat(tx, 10, ("", 0))) == ["a1", "a2"]
    assert outbox.repeat_subject(tx, "c" * 32) == 0


def test_published_facts_are_counted_since_a_time_or_in_total(tx: Transaction) -> None:
    publish(tx, fact(1), replace(fact(2), time=NOON + HOUR))
    outbox.save(tx, [fact(3)])
    counts = outbox.count(tx), outbox.count(tx, NOON + HOUR), outbox.count(tx, NOON)
    assert counts == (2, 1, 2)


def test_facts_since_a_time_are_marked_for_repetition_in_chunks(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_CHUNK", 2)
    with postgres.database("publisher", MIGRATIONS).open_as_service(max_size=2) as database:
        with database.transaction(SYSTEM) as tx:
            later = [replace(fact(n), time=NOON + HOUR) for n in (2, 3, 4)]
            others = [replace(fact(1, B), time=NOON + 2 * HOUR)]
            others += [replace(fact(1, "0" * 32), time=NOON + 3 * HOUR)]
            publish(tx, fact(1), *later, *others)
            outbox.save(tx, [replace(fact(5), time=NOON + 2 * HOUR)])
        assert list(outbox.repeat_since(database, NOON + HOUR)) == [2, 4, 5]
        with database.transaction(SYSTEM) as tx:
            repeated = outbox.facts_to_repeat(tx, 10, ("", 0))
        assert names(repeated) == ["01", "a2", "a3", "a4", "b1"]


def test_a_fact_is_known_only_if_all_its_fields_match(tx: Transaction) -> None:
    publish(tx, fact(1))
    others = [
        fact(1, B),
        fact(2),
        replace(fact(1), type="enlace.test.asked.v1"),
        replace(fact(1), payload=b"y"),
        replace(fact(1), time=NOON + timedelta(seconds=1)),
    ]
    assert [other for other in (fact(1), *others) if outbox.knows(tx, other)] == [fact(1)]


def test_the_last_offset_of_each_partition_is_stored(tx: Transaction) -> None:
    assert outbox.offsets(tx) == {}
    outbox.save(tx, [fact(1)])
    outbox.mark_published(tx, [fact(1)], 1, {0: 5, 3: 9})
    outbox.note_offsets(tx, {3: 10})
    outbox.note_offsets(tx, {})
    assert outbox.offsets(tx) == {0: 5, 3: 10}


@pytest.mark.parametrize(("offset", "rounds"), [(6, 0), (5, 1), (1, 1)])
def test_an_offset_that_is_not_above_the_last_one_starts_a_round(
    tx: Transaction, offset: int, rounds: int
) -> None:
    outbox.note_offsets(tx, {0: 5, 1: 5})
    first = outbox.current_round(tx)
    is_lost = [
        outbox.mark_published(tx, [fact(1)], first, {0: offset}),
        outbox.note_offsets(tx, {1: offset, 2: 1}),
    ]
    assert (outbox.current_round(tx), is_lost) == (first + 2 * rounds, [bool(rounds)] * 2)


def test_another_cluster_id_starts_a_round_and_the_first_one_does_not(
    tx: Transaction,
) -> None:
    first = outbox.current_round(tx)
    assert outbox.note_cluster(tx, "one") is False
    outbox.note_offsets(tx, {0: 5})
    assert outbox.note_cluster(tx, "one") is False
    assert (outbox.current_round(tx), outbox.offsets(tx)) == (first, {0: 5})
    assert outbox.note_cluster(tx, "two") is True
    assert (outbox.current_round(tx), outbox.offsets(tx)) == (first + 1, {})
    assert outbox.note_cluster(tx, "two") is False


def test_a_replaced_store_starts_one_new_epoch(tx: Transaction) -> None:
    clock = SettableClock(NOON)
    assert outbox.ensure_epoch(tx, clock) == 0
    first = outbox.current_round(tx)
    assert (outbox.ensure_epoch(tx, clock), outbox.current_round(tx)) == (0, first)
    tx.execute("UPDATE relay SET store = 'another'")
    assert not outbox.next_batch(tx, 1).same_store
    assert (outbox.ensure_epoch(tx, clock), outbox.current_round(tx)) == (EPOCH, first + 1)
    assert (outbox.ensure_epoch(tx, clock), outbox.current_round(tx)) == (EPOCH, first + 1)
    batch = outbox.next_batch(tx, 1)
    assert (batch.round, batch.epoch, batch.same_store) == (first + 1, EPOCH, True)


@pytest.mark.parametrize(
    ("now", "after", "epoch"),
    [
        (EPOCH + 60, 0, EPOCH + 60),
        (EPOCH, 0, EPOCH + 1),  # the clock went back, or two epochs start within one second
        (EPOCH + 60, EPOCH + 60, EPOCH + 61),
        (EPOCH + 60, EPOCH + 100, EPOCH + 101),
    ],
)
def test_an_epoch_is_always_later_than_the_one_before(
    tx: Transaction, now: int, after: int, epoch: int
) -> None:
    clock = SettableClock(NOON)
    outbox.ensure_epoch(tx, clock)
    outbox.begin_epoch(tx, clock)
    clock.advance(timedelta(seconds=now - EPOCH))
    outbox.begin_epoch(tx, clock, after)
    assert outbox.ensure_epoch(tx, clock) == epoch


def test_the_first_epoch_of_a_machine_whose_clock_starts_in_1970_is_1(tx: Transaction) -> None:
    clock = SettableClock(datetime.fromtimestamp(0, UTC))
    outbox.ensure_epoch(tx, clock)
    outbox.begin_epoch(tx, clock)
    assert outbox.ensure_epoch(tx, clock) == 1


def test_a_fact_of_a_new_epoch_carries_the_last_version_published_before(tx: Transaction) -> None:
    publish(tx, fact(1), fact(2), fact(1, B))
    outbox.save(tx, [fact(2, B)])  # not published before the store was copied
    outbox.begin_epoch(tx, SettableClock(NOON))
    publish(tx, fact(3))
    outbox.save(tx, [fact(4)])
    batch = outbox.next_batch(tx, 20).facts
    assert {(fact.subject[0], fact.epoch, fact.base) for fact in batch} == {
        ("a", EPOCH, 2),
        ("b", EPOCH, 1),
    }
