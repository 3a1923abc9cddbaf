from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient

from chassis import admission
from chassis.db import Database, Transaction
from chassis.ids import new_id
from chassis.tokens import SYSTEM
from facts import subscriber
from facts.kafka import REPLAYS, create_topics
from keys import key_folder
from tests.builders import NOON
from tests.chassis.listener import Listener
from tests.chassis.world import MIGRATIONS, World, running, settings
from tests.parts import brokers
from tests.parts.clocks import SettableClock
from tests.parts.postgres import Server


@pytest.fixture
def world(broker: brokers.Broker, postgres: Server, tmp_path: Path) -> Iterator[World]:
    """A publishing and a consuming service, running."""
    with running(broker, postgres, tmp_path) as created:
        yield created


@pytest.fixture
def topic(broker: brokers.Broker) -> str:
    """A new topic."""
    name = f"enlace.tests-{new_id()[:8]}.v1"
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
        create_topics(admin, settings(broker.bootstrap), [name])
    return name


@pytest.fixture(scope="module")
def database(postgres: Server) -> Iterator[Database]:
    """The database of a service that publishes and receives facts, for one test file."""
    with postgres.database("listener", MIGRATIONS).open_as_service(max_size=2) as created:
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

    While it stands still, no call in the queue can have waited too long.
    """
    created = SettableClock(NOON)
    monkeypatch.setattr(admission, "monotonic", lambda: created.now().timestamp())
    return created


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    key_folder.create(folder, ["publisher", "listener"])
    return folder


@pytest.fixture
def listener(database: Database, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Listener:
    """A consumer of its own for each test, whose requests for replays are only recorded."""
    created = Listener(database, keys)

    def record_requests(
        _: object, topic: str, records: list[tuple[bytes, bytes, list[object]]]
    ) -> None:
        assert topic == REPLAYS
        created.requested += [(key, value) for key, value, _ in records]

    monkeypatch.setattr(subscriber, "send", record_requests)
    return created
