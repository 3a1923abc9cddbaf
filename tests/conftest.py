"""The parts that tests share within a process, started when the first test asks for them, and the
rule that CI skips nothing.
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
    from playwright.sync_api import Browser, Playwright

CHROMIUM = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """What drives browsers; a process has only one at a time."""
    # only where pages are looked at: it takes a third of a second
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """The system's Chromium, once a process."""
    started = playwright.chromium.launch(executable_path=PROGRAM, args=CHROMIUM.split())
    yield started
    started.close()


@pytest.fixture(scope="module")
def browser(chromium: Browser) -> Iterator[Browser]:
    """A browser for a file, which finds no page of another one open in it."""
    yield chromium
    for context in chromium.contexts:
        context.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One PostgreSQL; take a database of your own from it with `postgres.database(service,
    [migrations])`.
    """
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
    """The whole stack with its demo network, for tests that add to it and leave what they found;
    who breaks it starts one of his own.
    """
    made = LocalStack()
    try:
        yield made.start()
    finally:
        made.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files that share a stack last: one for each process takes a fifth of a processor while
    it has nothing to do. An order by measured times would save 35 s of 19 minutes.
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
    # pytest has no public way
    definitions = item._fixtureinfo.name2fixturedefs.get(fixture)  # type: ignore[attr-defined]
    return str(definitions[-1].scope) if definitions else ""


def pytest_configure(config: pytest.Config) -> None:
    """A folder for what all processes of this run share."""
    if not hasattr(config, "workerinput") and RUN not in os.environ:
        made = tempfile.mkdtemp(prefix="enlace-test-run-")
        Path(made).chmod(0o711)  # PostgreSQL, which is not root, works in what is copied from it
        os.environ[RUN] = made
        config.add_cleanup(lambda: shutil.rmtree(made, ignore_errors=True))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A test that CI skips is a promise that nobody checks: the run fails."""
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
