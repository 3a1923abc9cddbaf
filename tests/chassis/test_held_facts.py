"""Facts that a handler refuses: each blocks only its own subject.

The subject waits until the cause is repaired or an operator decides.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from chassis import metrics
from chassis.ids import new_id
from chassis.tokens import SYSTEM
from facts import dead_letters, inbox, outbox
from facts.envelope import pack
from facts.kafka import REPLAYS
from facts.outbox import Fact
from tests.chassis.world import Record, World, running, send_records, settings, until
from tests.parts import brokers
from tests.parts.postgres import Server


@pytest.fixture(scope="module")
def world(
    broker: brokers.Broker, postgres: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """One world for all tests of this file; each test has subjects of its own."""
    with running(broker, postgres, tmp_path_factory.mktemp("world")) as created:
        yield created


def test_a_fact_that_its_handler_refuses_holds_its_subject_and_no_other(world: World) -> None:
    refused, other = new_id(), new_id()
    world.refuse.add(refused)
    world.write(refused, 3)
    until(lambda: len(world.waiting()) == 1)
    world.deliver(other, 3)
    assert world.last_version(refused) == 0
    [letter] = world.waiting()
    assert (letter.id, letter.reason) == (f"{refused}/1", "refused_for_the_test")
    world.refuse.clear()
    until(lambda: world.versions(refused) == [1, 2, 3])  # without an operator, at the next try
    assert world.waiting() == []


def test_a_replay_does_not_pass_over_a_fact_that_had_no_effect(world: World) -> None:
    subject, after = new_id(), new_id()
    world.refuse.add(subject)
    world.write(subject, 2)
    until(lambda: len(world.waiting()) == 1)
    world.refuse.clear()
    with world.publisher.transaction(SYSTEM) as tx:
        outbox.repeat_all(tx)
    world.write(after, 1)
    until(lambda: world.versions(subject) == [1, 2] and world.versions(after) == [1])


def test_a_held_fact_that_an_operator_redrives_is_tried_at_once(world: World) -> None:
    subject = new_id()
    world.refuse.add(subject)
    world.write(subject, 2)
    # the next try is eight seconds away
    until(lambda: any(letter.attempts >= 4 for letter in world.waiting()))
    world.refuse.clear()
    world.operate(dead_letters.redrive, subject=subject)
    until(lambda: world.versions(subject) == [1, 2], 10)


def test_a_held_fact_that_an_operator_discards_is_on_the_trail_and_later_facts_are_applied(
    world: World,
) -> None:
    subject = new_id()
    world.refuse.add(subject)
    world.write(subject, 1)
    until(lambda: len(world.waiting()) == 1)
    world.operate(dead_letters.discard, identity=f"{subject}/1")
    world.refuse.clear()
    world.write(subject, 2, start=2)
    until(lambda: world.versions(subject) == [2, 3])
    with world.listener.transaction(SYSTEM) as tx:
        [entry] = tx.execute(
            "SELECT * FROM audit WHERE object_id = %s", (f"{subject}/1",)
        ).fetchall()
    assert (entry["action"], entry["purpose_code"], entry["actor_id"]) == (
        "discard_dead_letter",
        "for_the_test",
        "operations",
    )


def test_a_record_that_can_be_read_after_all_is_applied_when_it_is_redriven(world: World) -> None:
    subject = new_id()
    # as if the consuming service did not have the publisher's key yet
    check = world.trusted_signers.pop("enlace/publisher")
    world.write(subject, 2)
    until(lambda: len(world.waiting("unreadable")) == 2)
    world.trusted_signers["enlace/publisher"] = check
    world.operate(dead_letters.redrive)
    until(lambda: world.versions(subject) == [1, 2])
    # the facts may also have been published again, and have been applied before the redrive
    until(lambda: world.waiting("unreadable") == [])


@pytest.mark.parametrize(
    "wrong_fields",
    [
        {"epoch": 10**30},
        {"epoch": -1},
        {"epoch": 1, "base": 2**63},
        {"epoch": 1, "base": -1},
        {"type": "enlace.test.t\x00ld.v1"},
        {"time": datetime.max.replace(tzinfo=UTC)},
        {"time": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))},
    ],
    ids=str,
)
def test_a_signed_fact_that_cannot_be_stored_is_a_dead_letter_and_delays_no_other(
    world: World, wrong_fields: dict[str, Any]
) -> None:
    subject, after, dead_count = new_id(), new_id(), len(world.waiting("unreadable"))
    fact = replace(Fact(subject, 1, "enlace.test.told.v1", b"x", datetime.now(UTC)), **wrong_fields)
    world.send_raw(fact)
    world.send_raw(replace(fact, version=2))  # a fact that would be parked
    world.deliver(after)
    until(lambda: len(world.waiting("unreadable")) == dead_count + 2)
    assert {letter.reason for letter in world.waiting("unreadable")[dead_count:]} == {"limits"}
    assert world.last_version(subject) == 0


def test_a_signed_fact_is_not_turned_into_another_by_a_second_header(world: World) -> None:
    forged_subject, after, dead_count = new_id(), new_id(), len(world.waiting("unreadable"))
    key, value, headers = pack(
        Fact(new_id(), 1, "enlace.test.told.v1", b"x", datetime.now(UTC)),
        "enlace/publisher",
        world.signer,
    )
    forged = [
        *headers,
        ("CE_ID", f"{forged_subject}/1".encode()),
        ("CE_SUBJECT", forged_subject.encode()),
    ]
    twice = [("ce_type", b"enlace.test.other.v1"), *headers]
    world.send((key, value, forged), (key, value, twice))
    world.deliver(after)
    until(lambda: len(world.waiting("unreadable")) == dead_count + 2)
    assert world.versions(forged_subject) == []


def test_a_handler_that_always_exceeds_its_time_limit_holds_its_subject_and_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facts.retries._LIMIT", 1.0)
    late, other = new_id(), new_id()
    world.slow.add(late)
    world.write(late, 2)
    until(lambda: [letter.id for letter in world.waiting()] == [f"{late}/1"])
    assert [letter.reason for letter in world.waiting()] == ["deadline_exceeded"]
    world.slow.clear()
    world.write(other, 1)
    until(lambda: world.versions(other) == [1] and world.versions(late) == [1, 2])


def test_a_handler_may_work_in_parts_and_completed_parts_stay_when_a_later_one_fails(
    world: World,
) -> None:
    subject, another = new_id(), new_id()
    world.parts = {subject: 3, another: 3}
    world.deliver(subject, 2)
    assert world.versions(subject) == [1, 1, 1, 2, 2, 2]
    world.fail_after = {another: 2}
    world.write(another, 1)
    until(lambda: [letter.id for letter in world.waiting()] == [f"{another}/1"])
    assert [row for row in world.effects() if row[0] == another] == [(another, 1)] * 2
    world.fail_after.clear()
    until(lambda: world.last_version(another) == 1)
    assert [row for row in world.effects() if row[0] == another] == [(another, 1)] * 3


def test_a_replay_request_with_an_invalid_subject_delays_no_other(world: World) -> None:
    subject, failures = new_id(), metrics.LOOP_FAILURES.labels("replays")._value
    world.deliver(subject)
    before, failures_before = datetime.now(UTC), failures.get()
    names = (b"nobody\x00", b"\xff", b"n" * 900_000, subject.encode())
    requests: list[Record] = [(world.topic.encode(), name, []) for name in names]
    send_records(settings(world.broker.bootstrap), REPLAYS, requests)

    def is_published_again() -> bool:
        with world.publisher.transaction(SYSTEM) as tx:
            row = tx.execute(
                "SELECT published_at FROM outbox WHERE subject = %s", (subject,)
            ).fetchone()
        return bool(row and row["published_at"] > before)

    until(is_published_again)
    assert failures.get() == failures_before


def test_a_later_fact_that_fails_is_held_and_the_fact_before_it_stays_applied(
    world: World,
) -> None:
    subject = new_id()
    facts = [Fact(subject, n, "enlace.test.told.v1", b"x", datetime.now(UTC)) for n in (1, 2, 3)]
    world.refuse.add(f"{subject}/2")
    world.send_raw(facts[1])
    world.send_raw(facts[0])
    until(lambda: [letter.id for letter in world.waiting()] == [f"{subject}/2"])
    assert world.versions(subject) == [1]
    world.send_raw(facts[2])
    world.refuse.clear()
    until(lambda: world.versions(subject) == [1, 2, 3])


def test_a_waiting_fact_whose_version_was_applied_from_the_topic_is_deleted(world: World) -> None:
    subject = new_id()
    with world.listener.transaction(SYSTEM) as tx:
        stale = Fact(subject, 1, "enlace.test.told.v1", b"x", datetime.now(UTC))
        assert inbox.position(tx, world.name, stale) is inbox.FactPosition.NEXT
        inbox.advance(tx, world.name, stale)
        inbox.park(tx, world.name, world.topic, stale, datetime.now(UTC) - timedelta(days=1))
    until(lambda: not world.parked(subject))
