"""Loops that query the database only when work is announced.

They act at once or at the announced time; without an announcement they act after the next read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from chassis.announcements import AT_ONCE, announce, listen, wait_for_work, work_when_due
from chassis.db import LOST, Database, Transaction
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from tests.builders import NOON
from tests.parts.clocks import SettableClock
from tests.parts.loops import NEVER, running
from tests.parts.postgres import Server as PostgresServer

HOUR = timedelta(hours=1)
CHANNEL = "work_of_the_test"


class PlannedWork:
    """Work that is due at a time, and the loop that does it."""

    def __init__(self, database: Database, clock: SettableClock) -> None:
        self._database = database
        self._clock = clock
        self._changed = threading.Condition()
        self.due: datetime | None = None
        self.act_count = self.read_count = 0

    def plan(self, time: datetime, *, announced: bool = True) -> None:
        """Saves work; `announced` is False if the notification is lost."""
        self.due = time
        if announced:
            with self._database.transaction(SYSTEM) as tx:
                announce(tx, CHANNEL, time)

    @contextmanager
    def running(self, read_again: float = NEVER) -> Iterator[None]:
        loop = Loop(
            "work",
            lambda loop: work_when_due(
                loop,
                self._database,
                self._clock,
                CHANNEL,
                self._next_time,
                self._act,
                read_again=read_again,
            ),
            waits_for=LOST,
        )
        with running(loop):
            self.wait_for(lambda: self.read_count > 0)
            yield

    def wait_for(self, condition: Callable[[], bool], seconds: float = 10) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, seconds)

    def _next_time(self, connection: Transaction) -> datetime | None:
        with self._changed:
            self.read_count += 1
            self._changed.notify_all()
            return self.due

    def _act(self) -> None:
        with self._changed:
            if self.due is not None and self.due <= self._clock.now():
                self.due = None
                self.act_count += 1
                self._changed.notify_all()


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Database]:
    with postgres.database().open_as_service() as created:
        yield created


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(NOON)


@pytest.fixture
def work(database: Database, clock: SettableClock) -> PlannedWork:
    return PlannedWork(database, clock)


def test_announced_work_is_done_at_once_without_another_reading_first(work: PlannedWork) -> None:
    with work.running():
        work.plan(AT_ONCE)
        assert work.wait_for(lambda: work.act_count == 1)
        assert work.wait_for(lambda: work.read_count == 2)  # at the start, and after the act


def test_work_is_done_when_the_clock_reaches_the_announced_time(
    work: PlannedWork, clock: SettableClock
) -> None:
    with work.running():
        work.plan(NOON + HOUR)
        assert not work.wait_for(lambda: work.act_count > 0, 1.5)
        clock.advance(HOUR)
        assert work.wait_for(lambda: work.act_count == 1)


def test_work_whose_announcement_is_lost_is_found_by_the_next_reading(work: PlannedWork) -> None:
    with work.running(read_again=0.2):
        work.plan(AT_ONCE, announced=False)
        assert work.wait_for(lambda: work.act_count == 1)


def test_work_planned_before_the_start_is_done(work: PlannedWork) -> None:
    work.plan(AT_ONCE, announced=False)
    with work.running():
        assert work.wait_for(lambda: work.act_count == 1)


def test_the_times_are_read_again_when_the_clock_was_set_back(
    work: PlannedWork, clock: SettableClock
) -> None:
    with work.running():
        work.plan(NOON - 2 * HOUR, announced=False)
        clock.advance(-HOUR)
        assert work.wait_for(lambda: work.act_count == 1)


def test_work_of_a_transaction_that_is_rolled_back_is_not_announced(
    work: PlannedWork, database: Database
) -> None:
    def fail(tx: Transaction) -> None:
        announce(tx, CHANNEL, AT_ONCE)
        raise ZeroDivisionError

    with work.running():
        work.due = AT_ONCE
        with pytest.raises(ZeroDivisionError), database.transaction(SYSTEM) as tx:
            fail(tx)
        assert not work.wait_for(lambda: work.act_count > 0, 0.5)


def test_everything_is_read_again_after_a_lost_connection(
    work: PlannedWork, database: Database
) -> None:
    with work.running():
        work.plan(AT_ONCE, announced=False)
        database.cut()
        assert work.wait_for(lambda: work.act_count == 1)


def test_a_wait_ends_at_an_announcement_at_the_due_time_and_at_the_fallback(
    database: Database,
) -> None:
    loop = Loop("waits", lambda _: None)
    with database.dedicated() as connection:
        listen(connection, CHANNEL)
        assert not wait_for_work(loop, connection, read_again=0.1)
        assert wait_for_work(loop, connection, lambda: True, read_again=NEVER)
        with database.transaction(SYSTEM) as tx:
            announce(tx, CHANNEL, AT_ONCE)
        assert wait_for_work(loop, connection, read_again=NEVER)
        loop.stop()
        assert not wait_for_work(loop, connection, read_again=NEVER)
