from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chassis.world import World, running
from tests.parts import brokers
from tests.parts.postgres import Server


@pytest.fixture
def world(broker: brokers.Broker, postgres: Server, tmp_path: Path) -> Iterator[World]:
    """A publishing and a consuming service, running."""
    with running(broker, postgres, tmp_path) as created:
        yield created
