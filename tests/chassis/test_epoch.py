"""Stores that are restored from older copies.

No fact is lost, none takes effect twice, and consumers adopt the restored history.
"""

from pathlib import Path

import pytest

from chassis.db import Transaction
from chassis.ids import new_id
from chassis.tokens import SYSTEM
from facts import dead_letters
from facts.outbox import Fact
from tests.chassis.world import World, until

pytestmark = pytest.mark.long


def test_a_restored_publisher_reuses_versions_and_its_facts_are_applied(
    world: World, tmp_path: Path
) -> None:
    quiet, busy, behind = new_id(), new_id(), new_id()
    for subject, count in ((quiet, 2), (busy, 2), (behind, 1)):
        world.deliver(subject, count, payload=b"before")
    world.back_up("publisher", tmp_path / "copy")
    world.deliver(busy, 3, start=3, payload=b"lost")
    world.deliver(quiet, start=3, payload=b"lost")

    world.restore("publisher", tmp_path / "copy")
    # The new facts have the same versions as the lost ones: the worst case for a consumer that
    # compares only versions.
    world.write(busy, 3, start=3, payload=b"after")
    world.write(behind, 1, start=2, payload=b"after")

    until(lambda: world.versions(busy)[-3:] == [3, 4, 5] and world.state(busy) == b"after")
    until(lambda: world.versions(behind) == [1, 2])
    # The last fact that both histories share is applied again, which undoes the effects of the lost
    # facts; no earlier fact is applied again.
    until(lambda: world.state(quiet) == b"before")
    assert world.versions(quiet) == [1, 2, 3, 2]
    assert world.versions(busy) == [1, 2, 3, 4, 5, 2, 3, 4, 5]


def test_a_publisher_restored_without_a_loss_causes_no_effect_twice(
    world: World, tmp_path: Path
) -> None:
    subjects = [new_id() for _ in range(50)]
    for subject in subjects:
        world.write(subject, 3)
    until(lambda: len(world.effects()) == 150)
    world.back_up("publisher", tmp_path / "copy")
    world.restore("publisher", tmp_path / "copy")
    last = new_id()
    world.write(last, 1)
    world.write(subjects[0], 1, start=4)
    until(lambda: world.versions(last) == [1] and world.versions(subjects[0]) == [1, 2, 3, 4])
    until(lambda: all(_epoch(world, subject) > 0 for subject in subjects))
    assert len(world.effects()) == 152


def test_facts_of_a_publisher_restored_twice_from_one_copy_are_applied_both_times(
    world: World, tmp_path: Path
) -> None:
    subject = new_id()
    world.deliver(subject, payload=b"before")
    world.back_up("publisher", tmp_path / "copy")
    for payload in (b"first", b"second"):
        world.restore("publisher", tmp_path / "copy")
        world.write(subject, 1, start=2, payload=payload)
        until(lambda payload=payload: world.state(subject) == payload)  # type: ignore[misc]


def test_waiting_facts_that_a_restore_has_undone_are_deleted(world: World, tmp_path: Path) -> None:
    subject = new_id()
    world.deliver(subject)
    world.back_up("publisher", tmp_path / "copy")
    world.refuse.add(f"{subject}/2")
    world.write(subject, 2, start=2, payload=b"lost")
    until(lambda: len(world.waiting()) == 1 and world.parked(subject) == [2, 3])
    world.restore("publisher", tmp_path / "copy")
    until(lambda: world.parked(subject) == [])
    world.refuse.clear()  # not earlier: a waiting fact is retried until it is deleted
    world.write(subject, 1, start=2, payload=b"after")
    until(lambda: world.state(subject) == b"after")
    world.operate(dead_letters.redrive)
    assert b"lost" not in [fact.payload for fact in world.applied]


def test_a_restored_consumer_requests_the_facts_that_it_has_missed(
    world: World, tmp_path: Path
) -> None:
    subject, other = new_id(), new_id()
    world.deliver(subject, 2)
    world.back_up("listener", tmp_path / "copy")
    world.deliver(subject, 2, start=3)
    world.deliver(other)
    world.restore("listener", tmp_path / "copy")
    until(lambda: world.effects() == sorted([*((subject, n) for n in (1, 2, 3, 4)), (other, 1)]))


def test_a_consumer_saves_the_id_of_its_store_before_it_applies_its_first_fact(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checks that every copy of the store contains the store's id.

    A restored copy without the id would look like a new store, and the consumer would not request
    the facts that it missed.
    """
    world.stop("listener")
    world.pg_databases["listener"].run_as_owner(
        "UPDATE relay SET store = ''; DELETE FROM consumers"
    )
    stores: list[str] = []

    def note_store(tx: Transaction, fact: Fact) -> None:
        row = tx.execute("SELECT store FROM relay").fetchone()
        stores.append(row["store"] if row else "")
        World.apply(world, tx, fact)

    monkeypatch.setattr(world, "apply", note_store)
    subject = new_id()
    world.write(subject, 1)
    world.start("listener")
    until(lambda: world.versions(subject) == [1])
    assert all(stores)


def _epoch(world: World, subject: str) -> int:
    with world.listener.transaction(SYSTEM) as tx:
        row = tx.execute("SELECT epoch FROM inbox WHERE subject = %s", (subject,)).fetchone()
    return int(row["epoch"]) if row else -1
