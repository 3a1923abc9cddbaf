from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis.db import Database, Transaction
from chassis.tokens import SYSTEM
from tests.chassis.world import MIGRATIONS, World, running
from tests.parts import brokers
from tests.parts.postgres import Server


@pytest.fixture
def world(broker: brokers.Broker, postgres: Server, tmp_path: Path) -> Iterator[World]:
    """A publishing and a consuming service, running."""
    with running(broker, postgres, tmp_path) as created:
        yield created


@pytest.fixture(scope="module")
def database(postgres: Server) -> Iterator[Database]:
    """The database of a service that publishes and receives facts, for one test file."""
    created = Database(postgres.database("listener", MIGRATIONS).url, max_size=2)
    created.open()
    yield created
    created.close()


@pytest.fixture
def tx(database: Database) -> Iterator[Transaction]:
    """A transaction that leaves nothing behind."""
    with database.transaction(SYSTEM) as created:
        yield created
        created.rollback()
