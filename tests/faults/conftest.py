"""What fault tests share: a house of their own, which they may break."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.parts.house import House
from tests.parts.stories import Cast


@pytest.fixture(scope="package")
def victim() -> Iterator[House]:
    """A house with its demo network that is killed at will, and well again after each test."""
    house = House()
    try:
        yield house.start()
    finally:
        house.stop()


@pytest.fixture(scope="package")
def cast(victim: House) -> Cast:
    """Those who act in it."""
    return Cast(victim)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """For what must be undone whatever happens."""
    with ExitStack() as opened:
        yield opened
