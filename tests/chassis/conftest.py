from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis import admission
from chassis.db import Database, Transaction
from chassis.tokens import SYSTEM
from tests.builders import NOON
from tests.chassis.world import MIGRATIONS, World, running
from tests.parts import brokers
from tests.parts.clocks import SettableClock
from tests.parts.postgres import Server


@pytest.fixture
def world(broker: brokers.Broker, postgres: Server, tmp_path: Path) -> Iterator[World]:
    """A publishing and a consuming service, running."""
    with running(broker, postgres, tmp_path) as created:
        yield created


@pytest.fixture(scope="module")
def database(postgres: Server) -> Iterator[Database]:
    """The database of a service that publishes and receives facts, for one test file."""
    with postgres.database("listener", MIGRATIONS).opened(max_size=2) as created:
        yield created


@pytest.fixture
def tx(database: Database) -> Iterator[Transaction]:
    """A transaction that leaves nothing behind."""
    with database.transaction(SYSTEM) as created:
        yield created
        created.rollback()


@pytest.fixture
def queue_clock(monkeypatch: pytest.MonkeyPatch) -> SettableClock:
    """The clock of the queue of calls, which stands still until the test advances it.

    While the clock stands, the queue refuses no call because the first call has waited too long.
    """
    created = SettableClock(NOON)
    monkeypatch.setattr(admission, "monotonic", lambda: created.now().timestamp())
    return created
