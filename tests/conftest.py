"""The parts that tests share within a process, started when a test first needs them.

This file also has the rule that CI skips no test.
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
    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

CHROMIUM = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)
# The test files that share a stack, by fixture; they run in one process. A stack needs twenty
# seconds of processor time to start, and a fifth of a processor while it is idle.
SHARED = {
    "stack": (
        "tests/journeys/",
        "tests/gateway/test_api_administration.py",
        "tests/gateway/test_api_clients.py",
        "tests/gateway/test_api_journey.py",
        "tests/gateway/test_api_round_trips.py",
    ),
    "faulty_stack": ("tests/faults/test_canary.py", "tests/faults/test_handler.py"),
}


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """The driver of browsers; a process has only one at a time."""
    # imported only for tests of pages, because the import takes a third of a second
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """The system's Chromium, started once in each process."""
    started = playwright.chromium.launch(executable_path=PROGRAM, args=CHROMIUM.split())
    yield started
    started.close()


@pytest.fixture(scope="module")
def browser(chromium: Browser) -> Iterator[Browser]:
    """A browser for a test file, without open pages of other files."""
    yield chromium
    for context in chromium.contexts:
        context.close()


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

    Tests may add data but not change existing data; a test that breaks a stack starts its own.
    """
    created = LocalStack()
    try:
        yield created.start()
    finally:
        created.stop()


@pytest.hookimpl(optionalhook=True)  # the hook does not exist under -p no:xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Replaces the usual scheduler of `--dist loadfile`."""
    # The Pythons of tests/project/test_interpreters.py have no xdist.
    from xdist.scheduler import LoadFileScheduling

    class Scheduler(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
        """Gives each process one file at a time, or all files that share a stack together."""

        def _split_scope(self, nodeid: str) -> str:
            return _unit(super()._split_scope(nodeid))

    return Scheduler(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files that share a stack first, as the longest work; sorts the others by name."""
    for item in items:
        if _scope(item, "stack") == "session" and _unit(_file(item)) != "stack":
            raise pytest.UsageError(f"SHARED in tests/conftest.py lacks {_file(item)}")
    first = list(SHARED)
    items.sort(
        key=lambda item: (
            first.index(unit) if (unit := _unit(_file(item))) in first else len(first),
            _file(item),
        )
    )


def _unit(file: str) -> str:
    """Returns the unit of work of a file: the files that share its stack, or the file alone."""
    return next((unit for unit, files in SHARED.items() if file.startswith(files)), file)


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _scope(item: pytest.Item, fixture: str) -> str:
    """Returns the scope of a fixture that a test uses; "" if the test does not use the fixture."""
    if fixture not in item.fixturenames:  # type: ignore[attr-defined]
        return ""
    # pytest has no public way to get this
    definitions = item._fixtureinfo.name2fixturedefs.get(fixture)  # type: ignore[attr-defined]
    return str(definitions[-1].scope) if definitions else ""


def pytest_configure(config: pytest.Config) -> None:
    """Makes the folder that all processes of this run share."""
    if not hasattr(config, "workerinput") and RUN not in os.environ:
        created = tempfile.mkdtemp(prefix="enlace-test-run-")
        Path(created).chmod(0o711)  # PostgreSQL, which does not run as root, enters this folder
        os.environ[RUN] = created
        config.add_cleanup(lambda: shutil.rmtree(created, ignore_errors=True))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails a CI run that skips a test: nobody would check that test's promise."""
    refusals.write_refusals()
    if os.environ.get("CI") != "true" or hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not reporter:
        return
    skipped = reporter.stats.get("skipped", [])
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line("")
        reporter.write_line(
            f"CI must run every test; {len(skipped)} skipped (see the summary for why)", red=True
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
