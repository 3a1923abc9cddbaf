"""The parts that tests share within a process, started when a test first needs them.

Also the rule that CI skips no test.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import refusals
from tests.parts import brokers
from tests.parts.browser import PROGRAM
from tests.parts.local_stack import RUN, LocalStack
from tests.parts.postgres import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    # imported only for tests of pages, because the import takes a third of a second
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=CHROMIUM.split())
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One PostgreSQL; `postgres.database(service, [migrations])` makes a database in it."""
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def broker() -> Iterator[brokers.Broker]:
    """One broker. A test that kills it starts it again."""
    started = brokers.Broker()
    try:
        started.start()
        yield started
    finally:
        started.close()


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """The whole stack with its demo network.

    Tests may add data but leave what they found; a test that breaks a stack starts its own.
    """
    made = LocalStack()
    try:
        yield made.start()
    finally:
        made.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Moves the files that share a stack to the end.

    A stack for each process takes a fifth of a processor while it has nothing to do. An order by
    measured times would save 35 s of 19 minutes.
    """
    shared = {
        _file(item)
        for item in items
        if "stack" in item.fixturenames and _scope(item, "stack") == "session"  # type: ignore[attr-defined]
    }
    items.sort(key=lambda item: (_file(item) in shared, _file(item)))


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _scope(item: pytest.Item, fixture: str) -> str:
    # pytest has no public function for this
    definitions = item._fixtureinfo.name2fixturedefs.get(fixture)  # type: ignore[attr-defined]
    return str(definitions[-1].scope) if definitions else ""


def pytest_configure(config: pytest.Config) -> None:
    """Makes the folder that all processes of this run share."""
    if not hasattr(config, "workerinput") and RUN not in os.environ:
        made = tempfile.mkdtemp(prefix="enlace-test-run-")
        Path(made).chmod(0o711)  # PostgreSQL, which is not root, works in copies of it
        os.environ[RUN] = made
        config.add_cleanup(lambda: shutil.rmtree(made, ignore_errors=True))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails a CI run that skips a test: nobody would check that test's promise."""
    refusals.leave()
    if os.environ.get("CI") != "true" or hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not reporter:
        return
    skipped = reporter.stats.get("skipped", [])
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line("")
        reporter.write_line(
            f"CI skips nothing, but {len(skipped)} skipped (see the summary for why)", red=True
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
