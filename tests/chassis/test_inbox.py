"""The inbox on a real database, call by call: positions of facts, and waiting facts. No broker."""

from dataclasses import replace
from datetime import timedelta

import pytest

from chassis.db import Transaction
from facts import dead_letters, inbox
from facts.inbox import FactPosition, WaitingFact
from facts.outbox import Fact
from tests.builders import NOON

SUBJECT, OTHER = "a" * 32, "b" * 32
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


def fact(version: int, *, subject: str = SUBJECT, epoch: int = 0, base: int = 0) -> Fact:
    return Fact(subject, version, "enlace.test.told.v1", b"x", NOON, epoch, base, trace="t" * 32)


def apply(tx: Transaction, *facts: Fact) -> None:
    """Advances the inbox past these facts, whatever their position is."""
    for fact in facts:
        inbox.position(tx, "listener", fact)
        inbox.advance(tx, "listener", fact)


@pytest.mark.parametrize(
    ("applied_facts", "new_fact", "position"),
    [
        ([], fact(1), FactPosition.NEXT),
        ([], fact(2), FactPosition.AHEAD),
        ([fact(1), fact(2)], fact(1), FactPosition.SEEN),
        ([fact(1), fact(2)], fact(2), FactPosition.SEEN),
        ([fact(1), fact(2)], fact(3), FactPosition.NEXT),
        ([fact(1), fact(2)], fact(4), FactPosition.AHEAD),
        ([fact(1)], fact(1, subject=OTHER), FactPosition.NEXT),
        # A restored store publishes its history again; facts of both histories are known.
        ([fact(1), fact(2)], fact(1, epoch=7, base=2), FactPosition.KNOWN),
        ([fact(1), fact(2)], fact(2, epoch=7, base=2), FactPosition.AHEAD),
        (
            [fact(1), fact(2), fact(1, epoch=7, base=2)],
            fact(2, epoch=7, base=2),
            FactPosition.KNOWN,
        ),
        # Later facts of the old history are no longer true; the last common fact restores the
        # state.
        (
            [fact(1), fact(2), fact(3), fact(1, epoch=7, base=2)],
            fact(2, epoch=7, base=2),
            FactPosition.NEXT,
        ),
        # Facts after the common part are new, even if lost facts had the same versions.
        ([fact(1), fact(2), fact(1, epoch=7, base=1)], fact(2, epoch=7, base=1), FactPosition.NEXT),
        ([fact(1)], fact(1, epoch=7, base=0), FactPosition.NEXT),
        ([fact(1, epoch=7)], fact(2), FactPosition.SEEN),
        ([fact(1, epoch=7)], fact(1, epoch=7), FactPosition.SEEN),
        ([fact(1, epoch=7)], fact(2, epoch=7), FactPosition.NEXT),
    ],
)
def test_the_position_of_a_fact_follows_from_the_facts_applied_before(
    tx: Transaction, applied_facts: list[Fact], new_fact: Fact, position: FactPosition
) -> None:
    apply(tx, *applied_facts)
    assert inbox.position(tx, "listener", new_fact) is position
    assert inbox.position(tx, "another", new_fact) in (FactPosition.NEXT, FactPosition.AHEAD)


def test_after_two_restores_the_longest_history_counts_as_applied(tx: Transaction) -> None:
    apply(tx, fact(1), fact(2), fact(3), fact(1, epoch=7, base=3))
    assert inbox.position(tx, "listener", fact(1, epoch=9, base=3)) is FactPosition.KNOWN
    apply(tx, fact(1, epoch=9, base=3))
    assert inbox.position(tx, "listener", fact(2, epoch=9, base=3)) is FactPosition.KNOWN


def test_a_fact_is_held_only_for_its_own_epoch_version_and_consumer(
    tx: Transaction,
) -> None:
    inbox.hold(tx, "listener", WaitingFact("topic", fact(1)), "fault", NOON)
    assert inbox.position(tx, "listener", fact(1)) is FactPosition.HELD
    assert inbox.position(tx, "another", fact(1)) is FactPosition.NEXT
    assert inbox.position(tx, "listener", fact(1, epoch=7)) is FactPosition.NEXT


def test_a_parked_fact_is_next_and_not_held_when_its_turn_comes(tx: Transaction) -> None:
    inbox.park(tx, "listener", "topic", fact(2), NOON)
    apply(tx, fact(1))
    assert inbox.position(tx, "listener", fact(2)) is FactPosition.NEXT


def test_advance_returns_whether_the_next_fact_waits(tx: Transaction) -> None:
    inbox.park(tx, "listener", "topic", fact(3), NOON)
    inbox.position(tx, "listener", fact(1))
    assert inbox.advance(tx, "listener", fact(1)) is False
    assert inbox.advance(tx, "listener", fact(2)) is True
    assert inbox.due_fact(tx, "listener", SUBJECT, NOON) is not None
    assert inbox.advance(tx, "listener", fact(3)) is False
    assert inbox.due_fact(tx, "listener", SUBJECT, NOON) is None


def test_lock_returns_the_epoch_and_version_of_each_subject(tx: Transaction) -> None:
    apply(tx, fact(1), fact(2), fact(1, subject=OTHER, epoch=7))
    states = inbox.lock(tx, "listener", [SUBJECT, OTHER, "c" * 32])
    seen = {subject: (state.epoch, state.version) for subject, state in states.items()}
    assert seen == {SUBJECT: (0, 2), OTHER: (7, 1), "c" * 32: (0, 0)}
    assert inbox.lock(tx, "another", [SUBJECT])[SUBJECT].version == 0


def test_a_parked_fact_comes_out_unchanged(tx: Transaction) -> None:
    parked = fact(1, epoch=7, base=1)
    inbox.position(tx, "listener", parked)
    inbox.park(tx, "listener", "topic", parked, NOON)
    waiting = inbox.due_fact(tx, "listener", SUBJECT, NOON)
    assert waiting == WaitingFact("topic", parked, "", 0)
    assert waiting.fact.trace == parked.trace


def test_a_held_fact_that_is_parked_again_stays_held(tx: Transaction) -> None:
    inbox.hold(tx, "listener", WaitingFact("topic", fact(1), attempts=4), "fault", NOON)
    inbox.park(tx, "listener", "topic", fact(1), NOON)
    assert inbox.due_fact(tx, "listener", SUBJECT, NOON + timedelta(hours=1)) == WaitingFact(
        "topic", fact(1), "fault", 5
    )


def test_a_fact_of_a_later_epoch_replaces_the_held_fact(tx: Transaction) -> None:
    inbox.hold(tx, "listener", WaitingFact("topic", fact(1)), "fault", NOON)
    later = replace(fact(1, epoch=7), payload=b"y")
    inbox.position(tx, "listener", later)
    inbox.park(tx, "listener", "topic", later, NOON)
    assert inbox.due_fact(tx, "listener", SUBJECT, NOON) == WaitingFact("topic", later, "", 0)


@pytest.mark.parametrize(
    ("attempts", "pause"), [(0, 1), (1, 2), (3, 8), (8, 256), (9, 300), (100, 300)]
)
def test_the_pause_before_the_next_try_doubles_up_to_five_minutes(
    tx: Transaction, attempts: int, pause: int
) -> None:
    inbox.hold(tx, "listener", WaitingFact("topic", fact(1), "fault", attempts), "again", NOON)
    assert inbox.due_fact(tx, "listener", SUBJECT, NOON + pause * SECOND - SECOND / 100) is None
    assert inbox.due_fact(tx, "listener", SUBJECT, NOON + pause * SECOND) == WaitingFact(
        "topic", fact(1), "again", attempts + 1
    )


def test_a_fact_that_another_process_has_applied_meanwhile_is_not_held(tx: Transaction) -> None:
    apply(tx, fact(1))
    inbox.hold(tx, "listener", WaitingFact("topic", fact(1)), "fault", NOON)
    assert dead_letters.count(tx, "listener")[0] == 0


def test_a_held_fact_may_be_held_again(tx: Transaction) -> None:
    inbox.hold(tx, "listener", WaitingFact("topic", fact(1)), "fault", NOON)
    inbox.hold(tx, "listener", WaitingFact("topic", fact(1), "fault", 1), "worse", NOON)
    assert inbox.due_fact(tx, "listener", SUBJECT, NOON + 2 * SECOND) == WaitingFact(
        "topic", fact(1), "worse", 2
    )


def test_due_subjects_are_sorted_by_time_then_name_and_limited_in_number(
    tx: Transaction,
) -> None:
    for letter, attempts in (("c", 0), ("a", 1), ("b", 0), ("d", 5)):
        waiting = WaitingFact("topic", fact(1, subject=letter * 32), attempts=attempts)
        inbox.hold(tx, "listener", waiting, "fault", NOON)
    soon = NOON + 2 * SECOND
    assert [name[0] for name in inbox.due_subjects(tx, "listener", soon, 10)] == ["b", "c", "a"]
    assert [name[0] for name in inbox.due_subjects(tx, "listener", soon, 2)] == ["b", "c"]
    assert inbox.due_subjects(tx, "another", soon, 10) == []


def test_only_overtaken_waiting_facts_are_deleted(tx: Transaction) -> None:
    inbox.park(tx, "listener", "topic", fact(2), NOON)
    inbox.park(tx, "listener", "topic", fact(4), NOON)
    inbox.park(tx, "listener", "topic", fact(2, subject=OTHER), NOON)
    inbox.park(tx, "another", "topic", fact(2), NOON)
    apply(tx, fact(1, subject=OTHER, epoch=7))
    tx.execute("INSERT INTO inbox VALUES ('another', %s, 2)", (SUBJECT,))
    tx.execute("INSERT INTO inbox VALUES ('listener', %s, 2)", (SUBJECT,))
    inbox.forget_overtaken(tx, "listener")
    rows = tx.execute("SELECT consumer, subject, version FROM inbox_parked ORDER BY 1, 2")
    assert [tuple(row.values()) for row in rows] == [
        ("another", SUBJECT, 2),
        ("listener", SUBJECT, 4),
    ]


def test_a_gap_is_reported_if_a_fact_waits_long_for_a_missing_one(tx: Transaction) -> None:
    for subject in (SUBJECT, OTHER):
        inbox.position(tx, "listener", fact(3, subject=subject))
        inbox.park(tx, "listener", "topic", fact(3, subject=subject), NOON)
    assert inbox.gaps(tx, "listener", NOON) == []
    assert sorted(inbox.gaps(tx, "listener", NOON + SECOND)) == [
        ("topic", SUBJECT),
        ("topic", OTHER),
    ]
    apply(tx, fact(2, subject=OTHER))  # the waiting fact is the next one now: nothing is missing
    assert inbox.gaps(tx, "listener", NOON + SECOND) == [("topic", SUBJECT)]
    assert inbox.gaps(tx, "another", NOON + SECOND) == []


def test_only_held_facts_of_this_consumer_are_counted_as_held(tx: Transaction) -> None:
    inbox.park(tx, "listener", "topic", fact(2), NOON)
    assert dead_letters.count(tx, "listener")[0] == 0
    for subject in (SUBJECT, OTHER):
        inbox.hold(tx, "listener", WaitingFact("topic", fact(1, subject=subject)), "fault", NOON)
    assert (dead_letters.count(tx, "listener")[0], dead_letters.count(tx, "another")[0]) == (2, 0)


def test_a_consumer_has_missed_nothing_until_its_own_store_is_replaced(tx: Transaction) -> None:
    assert inbox.register(tx, "listener", 0) is True
    assert inbox.register(tx, "listener", 7) is False
    inbox.record_full_request(tx, "another", 7)
    assert inbox.register(tx, "listener", 7) is False
    inbox.record_full_request(tx, "listener", 7)
    assert inbox.register(tx, "listener", 7) is True
    assert inbox.register(tx, "listener", 0) is False


def test_a_fact_that_a_fast_clock_held_until_tomorrow_is_tried_again_at_once(
    tx: Transaction,
) -> None:
    inbox.hold(tx, "listener", WaitingFact("topic", fact(1)), "fault", NOON)
    assert inbox.due_subjects(tx, "listener", NOON, 10) == []
    inbox.hold(tx, "listener", WaitingFact("topic", fact(1)), "fault", NOON + DAY)
    assert inbox.due_subjects(tx, "listener", NOON, 10) == [SUBJECT]
    assert inbox.due_fact(tx, "listener", SUBJECT, NOON) is not None


def test_a_missing_fact_is_requested_although_a_fast_clock_parked_its_successor(
    tx: Transaction,
) -> None:
    inbox.position(tx, "listener", fact(2))
    inbox.park(tx, "listener", "topic", fact(2), NOON)
    assert inbox.gaps(tx, "listener", NOON - 10 * SECOND) == []
    tx.execute("DELETE FROM inbox_parked")
    inbox.park(tx, "listener", "topic", fact(2), NOON + DAY)
    assert inbox.gaps(tx, "listener", NOON - 10 * SECOND) == [("topic", SUBJECT)]
