"""What the tests of the gateway share: played services with the API before them. A running stack is in tests/conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from playwright.sync_api import Browser, sync_playwright

from tests.gateway.api_gateway import Played, System, app_with

FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS.split())
        yield browser
        browser.close()


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
