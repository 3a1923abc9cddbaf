"""Facts that a handler refuses: they hold their subject and nothing else, until the cause is mended or an operator decides."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from chassis import dead_letters, inbox, outbox
from chassis.ids import new_id
from chassis.outbox import Fact
from chassis.tokens import SYSTEM
from tests.chassis.world import World, running, until
from tests.parts import brokers
from tests.parts.postgres import Server


@pytest.fixture(scope="module")
def world(broker: brokers.Broker, postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all tests here: each test has subjects of its own."""
    with running(broker, postgres, tmp_path_factory.mktemp("world")) as made:
        yield made


def test_a_fact_that_its_handler_refuses_holds_its_subject_and_no_other(world: World) -> None:
    refused, other = new_id(), new_id()
    world.refuse.add(refused)
    world.tell(refused, 3)
    until(lambda: len(world.waiting()) == 1)
    world.tell(other, 3)
    until(lambda: world.versions(other) == [1, 2, 3])
    assert world.taken(refused) == 0
    [letter] = world.waiting()
    assert (letter.id, letter.reason) == (f"{refused}/1", "refused_for_the_test")
    world.refuse.clear()
    until(lambda: world.versions(refused) == [1, 2, 3])  # by itself, at its next try
    assert world.waiting() == []


def test_the_pauses_between_the_tries_of_a_held_fact_grow(world: World) -> None:
    subject = new_id()
    world.refuse.add(subject)
    world.tell(subject, 1)
    until(lambda: any(letter.attempts >= 3 for letter in world.waiting()))
    [letter] = world.waiting()
    assert letter.next_try_time is not None
    assert letter.next_try_time - letter.since > timedelta(seconds=3 + 2**letter.attempts / 4)


def test_a_replay_does_not_pass_over_a_fact_that_had_no_effect(world: World) -> None:
    subject, after = new_id(), new_id()
    world.refuse.add(subject)
    world.tell(subject, 2)
    until(lambda: len(world.waiting()) == 1)
    world.refuse.clear()
    with world.teller.transaction(SYSTEM) as tx:
        outbox.repeat_all(tx)
    world.tell(after, 1)
    until(lambda: world.versions(subject) == [1, 2] and world.versions(after) == [1])


def test_a_held_fact_that_an_operator_wants_tried_again_is_tried_at_once(world: World) -> None:
    subject = new_id()
    world.refuse.add(subject)
    world.tell(subject, 2)
    until(lambda: any(letter.attempts >= 4 for letter in world.waiting()))  # the next try is eight seconds away
    world.refuse.clear()
    world.operate(dead_letters.redrive, subject=subject)
    until(lambda: world.versions(subject) == [1, 2], 10)


def test_a_held_fact_that_an_operator_gives_up_is_on_the_trail_and_its_followers_go_on(world: World) -> None:
    subject = new_id()
    world.refuse.add(subject)
    world.tell(subject, 1)
    until(lambda: len(world.waiting()) == 1)
    world.operate(dead_letters.discard, identity=f"{subject}/1")
    world.refuse.clear()
    world.tell(subject, 2, start=2)
    until(lambda: world.versions(subject) == [2, 3])
    with world.hearer.transaction(SYSTEM) as tx:
        [entry] = tx.execute("SELECT * FROM audit WHERE object_id = %s", (f"{subject}/1",)).fetchall()
    assert (entry["action"], entry["purpose_code"], entry["actor_id"]) == ("discard_dead_letter", "for_the_test", "operations")


def test_a_record_that_can_be_read_after_all_is_applied_when_it_is_redriven(world: World) -> None:
    subject = new_id()
    check = world.trusted_signers.pop("enlace/teller")  # as if the key had not been given to this service yet
    world.tell(subject, 2)
    until(lambda: len(world.waiting("unreadable")) == 2)
    world.trusted_signers["enlace/teller"] = check
    world.operate(dead_letters.redrive)
    until(lambda: world.versions(subject) == [1, 2])
    until(lambda: world.waiting("unreadable") == [])  # the facts may also have been told again, and come first


def test_a_follower_that_fails_is_held_itself_and_the_fact_before_it_stays_applied(world: World) -> None:
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


def test_a_waiting_fact_whose_version_came_by_the_topic_is_forgotten(world: World) -> None:
    subject = new_id()
    with world.hearer.transaction(SYSTEM) as tx:
        stale = Fact(subject, 1, "enlace.test.told.v1", b"x", datetime.now(UTC))
        assert inbox.position(tx, world.name, stale) is inbox.Position.NEXT
        inbox.advance(tx, world.name, stale)
        inbox.park(tx, world.name, world.topic, stale, datetime.now(UTC) - timedelta(days=1))
    until(lambda: not world.parked(subject))
