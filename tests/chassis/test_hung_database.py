"""A database that hangs, is killed, or comes back.

Each caller gets an answer in time, and no caller waits for a database that is known to be down.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from chassis import deadline
from chassis.db import LOST, BoundedConnection, Database, Probe, Transaction
from chassis.errors import Late, Refusal, Unavailable
from chassis.store_faults import found_dead
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from facts.retries import Retries
from tests.parts.local_stack import until
from tests.parts.paused import paused_process
from tests.parts.postgres import Database as PgDatabase
from tests.parts.postgres import Server

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def pg_database(postgres: Server) -> PgDatabase:
    return postgres.database()


@pytest.fixture
def database(pg_database: PgDatabase) -> Iterator[Database]:
    with pg_database.open_as_service(max_size=4) as created:
        assert created.reachable()
        yield created


def ask(database: Database, statement: str = "SELECT 1", *, timeout: float | None = None) -> None:
    with database.transaction(SYSTEM, timeout=timeout) as tx:
        tx.execute(statement)


def ask_retried(database: Database) -> None:
    with database.transaction(SYSTEM, timeout=8, will_retry=True) as tx:
        tx.execute("SELECT 1").fetchone()


def count_running(superuser: psycopg.Connection, text: str) -> int:
    """Returns the number of statements that run now and contain `text`."""
    row = superuser.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE state = 'active' AND query LIKE %s AND pid <> pg_backend_pid()",
        (f"%{text}%",),
    ).fetchone()
    assert row
    return int(row[0])


def answers(database: Database) -> bool:
    try:
        ask(database)
    except Unavailable:
        return False
    return True


@contextmanager
def paused_postgres(postgres: Server) -> Iterator[None]:
    """Pauses all of PostgreSQL until the block ends."""
    assert postgres.engine.process
    with paused_process(postgres.engine.process.pid):
        yield


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@contextmanager
def locked_row(pg_database: PgDatabase) -> Iterator[str]:
    """Locks a row; yields the statement that waits for it."""
    with psycopg.connect(pg_database.migration_url) as owner:
        owner.execute(
            "CREATE TABLE IF NOT EXISTS held (id int); GRANT ALL ON held TO PUBLIC; TRUNCATE held;"
            " INSERT INTO held VALUES (1)"
        )
        owner.commit()
        owner.execute("SELECT FROM held FOR UPDATE")
        yield "SELECT FROM held FOR UPDATE"


def test_a_transaction_ends_within_its_time_limit_when_the_database_hangs(
    database: Database, postgres: Server
) -> None:
    with paused_postgres(postgres), within(5), pytest.raises(Late):
        ask(database, timeout=1)


def test_a_transaction_under_way_ends_within_its_time_limit_when_the_database_hangs(
    database: Database, postgres: Server
) -> None:
    def stand_still_in_the_middle() -> None:
        with database.transaction(SYSTEM, timeout=1) as tx:
            tx.execute("SELECT 1")
            with paused_postgres(postgres):
                tx.execute("SELECT 1").fetchone()

    with within(6), pytest.raises(Late):
        stand_still_in_the_middle()


def test_a_retried_transaction_on_a_connection_that_never_answers_is_found_dead(
    database: Database, postgres: Server
) -> None:
    database.probe.loop.stop()  # so that the probe does not notice first
    database.probe.loop.join(5)
    with paused_postgres(postgres), within(6), pytest.raises(Unavailable) as refusal:
        ask_retried(database)
    assert found_dead(refusal.value)


def test_no_connection_is_found_dead_once_the_probe_has_noticed_that_the_database_hangs(
    database: Database, postgres: Server
) -> None:
    with paused_postgres(postgres):
        until(lambda: not database.answers, 20)
        with within(1), pytest.raises(Unavailable) as refusal:
            ask_retried(database)
    assert not found_dead(refusal.value)


def test_the_server_ends_a_slow_statement_outside_of_a_transaction(
    database: Database, postgres: Server
) -> None:
    """Checks the server's own limit: a running statement does not stop when its client is gone."""
    with pytest.raises(Unavailable), database.autocommit() as connection:
        connection.execute("SELECT 'slow', pg_sleep(60)").fetchone()
    url = postgres.engine.url("postgres", postgres.engine.superuser)
    with psycopg.connect(url, autocommit=True) as superuser:
        until(lambda: not count_running(superuser, "'slow', pg_sleep"), 10)


def test_a_subscribers_transaction_whose_first_statement_is_slow_is_tried_twice(
    database: Database,
) -> None:
    """Checks that a slow statement is taken for a dead connection only once."""
    attempt_times = list[float]()

    def act(tx: Transaction) -> None:
        attempt_times.append(time.monotonic())
        assert len(attempt_times) <= 2
        tx.execute("SELECT pg_sleep(3)").fetchone()

    with within(8):
        Retries(Loop("subscriber", lambda _: None), database, "subscriber").run(act)
    assert len(attempt_times) == 2


def test_all_transactions_end_within_their_time_limits_when_the_database_hangs(
    database: Database, postgres: Server
) -> None:
    """Includes transactions that have to wait for a connection."""

    def is_refused(_: int) -> bool:
        try:
            ask(database, timeout=1)
        except Refusal:
            return True
        return False

    with paused_postgres(postgres), within(6), ThreadPoolExecutor(12) as pool:
        assert all(pool.map(is_refused, range(12)))


def test_a_database_that_hangs_is_known_to_be_down(database: Database, postgres: Server) -> None:
    with paused_postgres(postgres):
        until(lambda: not database.answers, 10)
        assert database.probe.age > 1
        with within(1):
            assert not database.reachable()


def test_calls_to_a_database_known_to_be_down_fail_at_once_until_the_database_answers(
    database: Database, postgres: Server
) -> None:
    with paused_postgres(postgres):
        until(lambda: not database.answers, 10)
        for _ in range(20):
            with within(1), pytest.raises(Unavailable) as refusal:
                ask(database)
            assert refusal.value.reason == "store_unavailable"
    until(lambda: answers(database), 10)


@pytest.mark.parametrize("down_seconds", [0.0, 2.5])
def test_a_database_that_was_killed_is_used_again_after_its_return(
    database: Database, postgres: Server, down_seconds: float
) -> None:
    for _ in range(2):
        ask(database)
    postgres.engine.kill()
    try:
        until(lambda: not database.answers, 10)
        time.sleep(down_seconds)  # the longer time exceeds the time of the pool's own tries
    finally:
        postgres.engine.start()
    until(lambda: answers(database), 10)


def test_no_call_fails_because_of_connections_that_died_while_unused(
    database: Database, postgres: Server
) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(database.transaction(SYSTEM))
    postgres.engine.restart()
    until(lambda: database.answers, 10)
    for _ in range(8):
        ask(database)


def test_a_connection_that_an_administrator_terminates_is_no_outage(
    database: Database, postgres: Server, pg_database: PgDatabase
) -> None:
    reports: list[bool] = []
    stop = threading.Event()

    def listen() -> None:
        while not stop.wait(0.005):
            reports.append(database.answers)

    listener = threading.Thread(target=listen)
    listener.start()
    with psycopg.connect(pg_database.url, autocommit=True) as other:
        for _ in range(3):
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = current_user AND pid <> pg_backend_pid()"
            )
            ask(database)
            time.sleep(0.6)  # the probe asks twice a second
    stop.set()
    listener.join()
    assert all(reports)


def test_a_background_connection_is_lost_when_the_database_hangs(
    database: Database, postgres: Server
) -> None:
    with database.dedicated() as connection:
        vars(connection)["limit"] = 1.0  # seconds, instead of half a minute
        with paused_postgres(postgres), within(5), pytest.raises(LOST):
            connection.execute("SELECT 1")


def test_the_deadline_of_a_call_bounds_all_its_statements_together(database: Database) -> None:
    def run_three_statements(tx: Transaction) -> None:
        for _ in range(3):
            tx.execute("SELECT pg_sleep(0.6)")

    with (
        within(5),
        pytest.raises(Late),
        deadline.until(time.monotonic() + 1),
        database.transaction(SYSTEM) as tx,
    ):
        run_three_statements(tx)


def test_the_deadline_of_a_call_bounds_all_its_transactions_together(database: Database) -> None:
    with within(5), deadline.until(time.monotonic() + 1):
        ask(database, "SELECT pg_sleep(0.6)")
        with pytest.raises(Late):
            ask(database, "SELECT pg_sleep(0.6)")


def test_a_transaction_after_its_deadline_is_refused_as_late(database: Database) -> None:
    with pytest.raises(Late):
        ask(database, timeout=0)
    with deadline.until(time.monotonic() - 1), pytest.raises(Late):
        ask(database)


def test_a_wait_for_a_row_ends_as_late_at_the_callers_deadline_and_as_busy_at_our_limit(
    database: Database, pg_database: PgDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked_row(pg_database) as statement:
        with within(5), pytest.raises(Late):
            ask(database, statement, timeout=0.5)
        monkeypatch.setattr("chassis.db._LIMIT", 0.5)
        with within(5), pytest.raises(Unavailable) as refusal:
            ask(database, statement)
        assert refusal.value.reason == "store_busy"


def test_postgresql_ends_a_transaction_that_exceeds_its_time_limit(
    database: Database, pg_database: PgDatabase
) -> None:
    """Checks that a transaction whose client hangs holds its locks no longer than its limit."""

    def hold_open() -> None:
        with database.transaction(SYSTEM, timeout=0.5) as tx:
            tx.execute("SELECT 1 AS forgotten")
            time.sleep(1.2)
            with psycopg.connect(pg_database.url) as other:
                connections = other.execute(
                    "SELECT FROM pg_stat_activity WHERE query LIKE '%%forgotten'"
                    " AND pid <> pg_backend_pid()"
                ).fetchall()
            assert connections == []
            tx.execute("SELECT 1")

    with pytest.raises(Late):
        hold_open()


def test_a_waiting_call_is_answered_when_the_database_is_closed(
    postgres: Server, pg_database: PgDatabase
) -> None:
    database = Database(pg_database.url, max_size=4)
    database.open()
    assert database.reachable()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ask, database, "SELECT pg_sleep(30)", timeout=20)
        time.sleep(0.3)
        with paused_postgres(postgres), within(6):
            database.close()
            with pytest.raises(Unavailable, match="store_unavailable"):
                call.result()


def test_a_probe_whose_connection_is_terminated_before_its_first_query_reports_no_outage(
    postgres: Server, pg_database: PgDatabase
) -> None:
    def connect_and_terminate() -> BoundedConnection:
        connection = BoundedConnection.connect(pg_database.url, autocommit=True)
        with psycopg.connect(pg_database.url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
        return connection

    probe = Probe(connect_and_terminate)
    with pytest.raises(psycopg.errors.AdminShutdown):
        probe._ask(Loop("probe", lambda _: None))
    assert probe.answers is None
