"""Times that were stored while the clock was ahead.

Such a time makes no fact wait longer than it would wait with a correct clock.
"""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from chassis.db import Database
from chassis.tokens import SYSTEM
from facts import inbox
from facts.inbox import Waiting
from facts.outbox import Fact
from tests.builders import NOON
from tests.chassis.world import MIGRATIONS
from tests.parts.postgres import Server

DAY = timedelta(days=1)


@pytest.fixture
def database(postgres: Server) -> Iterator[Database]:
    created = Database(postgres.database("listener", MIGRATIONS).url, max_size=2)
    created.open()
    yield created
    created.close()


def fact(version: int) -> Fact:
    return Fact("a" * 32, version, "enlace.test.told.v1", b"x", NOON)


def test_a_fact_that_a_fast_clock_held_until_tomorrow_is_tried_again_at_once(
    database: Database,
) -> None:
    with database.transaction(SYSTEM) as tx:
        inbox.hold(tx, "listener", Waiting("topic", fact(1)), "fault", NOON)
        assert inbox.due_subjects(tx, "listener", NOON, 10) == []
        inbox.hold(tx, "listener", Waiting("topic", fact(1)), "fault", NOON + DAY)
        assert inbox.due_subjects(tx, "listener", NOON, 10) == ["a" * 32]
        assert inbox.due(tx, "listener", "a" * 32, NOON) is not None


def test_a_missing_fact_is_requested_although_a_fast_clock_parked_its_successor(
    database: Database,
) -> None:
    with database.transaction(SYSTEM) as tx:
        inbox.position(tx, "listener", fact(2))
        inbox.park(tx, "listener", "topic", fact(2), NOON)
        assert inbox.gaps(tx, "listener", NOON - timedelta(seconds=10)) == []
        tx.execute("DELETE FROM inbox_parked")
        inbox.park(tx, "listener", "topic", fact(2), NOON + DAY)
        assert inbox.gaps(tx, "listener", NOON - timedelta(seconds=10)) == [("topic", "a" * 32)]
