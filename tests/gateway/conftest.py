"""What the tests of the gateway share: played services with the API before them.

A running stack is in tests/conftest.py.
"""

from __future__ import annotations

import pytest
from flask import Flask

from tests.gateway.api_gateway import Played, System, app_with


@pytest.fixture
def played() -> Played:
    """The services, as the test lays them out."""
    return Played()


@pytest.fixture
def api(played: Played) -> Flask:
    """The API before them."""
    return app_with(played)


@pytest.fixture
def system(api: Flask) -> System:
    """A partner system with a key."""
    return System(api.test_client())
