"""Transactions in pipeline mode: no error is swallowed, and a failure commits nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

import psycopg
import pytest
from psycopg import errors as pg

from chassis import log, trace
from chassis.db import BoundedConnection, Database, Transaction, expect_rows, notify, savepoint
from chassis.errors import Late, Stale, Unavailable
from chassis.migrate import migrate
from chassis.store_faults import NotConnected, found_dead
from chassis.supervisor import State
from chassis.tokens import SYSTEM, Caller
from tests.parts.local_stack import until
from tests.parts.loops import running
from tests.parts.postgres import Server


@pytest.fixture
def database(postgres: Server) -> Iterator[Database]:
    pg_database = postgres.database()
    pg_database.run_as_owner(
        "CREATE TABLE held (name text UNIQUE, number int); GRANT ALL ON held TO PUBLIC"
    )
    with pg_database.open_as_service(max_size=4) as created:
        yield created


def add(tx: Transaction, name: str) -> None:
    tx.execute("INSERT INTO held (name) VALUES (%s)", (name,))


def names(database: Database) -> list[str]:
    with database.transaction(SYSTEM) as tx:
        return [row["name"] for row in tx.execute("SELECT name FROM held ORDER BY name")]


def write(database: Database, *statements: str) -> None:
    with database.transaction(SYSTEM) as tx:
        for statement in statements:
            tx.execute(statement)


@pytest.mark.parametrize("position", range(3))
def test_a_failing_statement_whose_result_nobody_reads_ends_the_transaction(
    database: Database, position: int
) -> None:
    statements = ["INSERT INTO held (name) VALUES ('a')", "INSERT INTO held (name) VALUES ('b')"]
    statements.insert(position, "SELECT 1 / 0")
    with pytest.raises(pg.DivisionByZero):
        write(database, *statements)
    assert names(database) == []


def test_a_row_that_was_not_changed_ends_the_transaction_as_stale(database: Database) -> None:
    def change_row(name: str, count: int) -> None:
        with database.transaction(SYSTEM) as tx:
            add(tx, f"beside {name}")
            cursor = tx.execute("UPDATE held SET number = 1 WHERE name = %s", (name,))
            expect_rows(tx, cursor, count)

    write(database, "INSERT INTO held (name) VALUES ('a')")
    with pytest.raises(Stale):
        change_row("nobody", 1)
    change_row("a", 1)
    assert names(database) == ["a", "beside a"]


def test_one_of_two_transactions_that_wait_for_each_other_is_refused_as_busy(
    database: Database,
) -> None:
    write(database, "INSERT INTO held (name) VALUES ('a'), ('b')")
    both_hold = Barrier(2)

    def lock(*names: str) -> str:
        try:
            with database.transaction(SYSTEM) as tx:
                for name in names:
                    tx.execute("SELECT FROM held WHERE name = %s FOR UPDATE", (name,)).fetchone()
                    if name == names[0]:
                        both_hold.wait()
        except Unavailable as refusal:
            return refusal.reason
        return "OK"

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(lock, "a", "b"), pool.submit(lock, "b", "a")
        assert sorted((first.result(), second.result())) == ["OK", "store_busy"]


def test_statements_rolled_back_by_a_savepoint_are_neither_written_nor_expected(
    database: Database,
) -> None:
    def fail_in_savepoint(tx: Transaction) -> None:
        with savepoint(tx):
            add(tx, "one")
            expect_rows(tx, tx.execute("UPDATE held SET number = 1 WHERE name = 'nobody'"), 1)

    with database.transaction(SYSTEM) as tx:
        add(tx, "before")
        with pytest.raises(Stale):
            fail_in_savepoint(tx)
        add(tx, "after")
    assert names(database) == ["after", "before"]


def test_the_error_of_a_savepoints_statement_is_raised_in_its_block(database: Database) -> None:
    with database.transaction(SYSTEM) as tx:
        add(tx, "a")
        with pytest.raises(pg.UniqueViolation), savepoint(tx):
            add(tx, "a")
        add(tx, "b")
    assert names(database) == ["a", "b"]


def test_a_fault_in_the_code_rolls_back_the_statements_and_leaves_the_connection_usable(
    database: Database,
) -> None:
    def fail(tx: Transaction) -> None:
        add(tx, "a")
        raise ZeroDivisionError

    for _ in range(6):
        with pytest.raises(ZeroDivisionError), database.transaction(SYSTEM) as tx:
            fail(tx)
    assert names(database) == []


def test_a_transaction_by_key_plans_a_statement_once_for_all_values(database: Database) -> None:
    def custom_plans(position: int, *, by_key: bool) -> int:
        statement = f"SELECT number FROM held WHERE name = ANY(%s) AND number <> {position}"
        with database.transaction(SYSTEM, by_key=by_key) as tx:
            for number in range(20):
                tx.execute(statement, ([str(number)],))
            row = tx.execute(
                "SELECT custom_plans FROM pg_prepared_statements WHERE statement LIKE %s",
                (f"%<> {position}",),
            ).fetchone()
            assert row is not None
            return int(row["custom_plans"])

    assert custom_plans(1, by_key=True) == 0
    assert custom_plans(2, by_key=False) > 0


def arrived_notifications(listener: Transaction) -> list[tuple[str, str]]:
    """Returns the notifications that have arrived, with their payloads."""
    return [(notice.channel, notice.payload) for notice in listener.notifies(timeout=0.5)]


def test_the_notifications_of_a_transaction_arrive_once_each_when_it_commits(
    database: Database,
) -> None:
    with database.dedicated() as listener:
        for channel in ("first", "second"):
            listener.execute(f"LISTEN {channel}")
        with database.transaction(SYSTEM) as tx:
            notify(tx, "first")
            notify(tx, "second", "x")
            notify(tx, "first")
            tx.execute("SELECT 1").fetchone()
            assert arrived_notifications(listener) == []
        assert sorted(arrived_notifications(listener)) == [("first", ""), ("second", "x")]
        with database.transaction(SYSTEM):
            pass
        assert arrived_notifications(listener) == [], (
            "the next transaction of the connection repeats none"
        )


def test_nobody_is_notified_of_what_was_rolled_back(database: Database) -> None:
    def fail(tx: Transaction) -> None:
        with savepoint(tx):
            notify(tx, "work", "of the savepoint")
            raise ZeroDivisionError

    def fail_whole() -> None:
        with database.transaction(SYSTEM) as tx:
            notify(tx, "work", "of the transaction")
            raise ZeroDivisionError

    with database.dedicated() as listener:
        listener.execute("LISTEN work")
        with pytest.raises(ZeroDivisionError):
            fail_whole()
        with database.transaction(SYSTEM) as tx:
            notify(tx, "work", "before")
            with pytest.raises(ZeroDivisionError):
                fail(tx)
        assert arrived_notifications(listener) == [("work", "before")]


def test_outside_of_a_transaction_a_notification_is_sent_at_once(database: Database) -> None:
    with database.dedicated() as listener, database.autocommit() as tx:
        listener.execute("LISTEN work")
        notify(tx, "work")
        assert arrived_notifications(listener) == [("work", "")]


def test_a_statement_outside_of_a_transaction_sees_no_callers_scope_and_becomes_a_refusal(
    database: Database,
) -> None:
    with database.autocommit() as tx:
        row = tx.execute("SELECT current_setting('enlace.view', true) AS view").fetchone()
        assert row is not None
        assert not row["view"]

    def fail() -> None:
        with database.autocommit() as tx:
            assert isinstance(tx, BoundedConnection)
            tx.cut()
            tx.execute("SELECT 1")

    with pytest.raises(Unavailable, match="store_unavailable"):
        fail()
    assert names(database) == []


def end_before_first_response(tx: Transaction) -> None:
    raise Stale


def end_after_failed_statement(tx: Transaction) -> None:
    tx.execute("SELECT 1 / 0").fetchone()


def end_at_time_limit(tx: Transaction) -> None:
    tx.execute("SELECT pg_sleep(10)").fetchone()


def end_with_commit(tx: Transaction) -> None:
    tx.execute("SELECT 1").fetchone()


@pytest.mark.parametrize("will_retry", [True, False])
@pytest.mark.parametrize(
    "end",
    [end_before_first_response, end_after_failed_statement, end_at_time_limit, end_with_commit],
)
def test_a_connection_of_the_pool_keeps_nothing_of_its_last_transaction(
    database: Database, end: Callable[[Transaction], None], *, will_retry: bool
) -> None:
    """Uses a pool with a single connection, after each way in which a transaction can end."""
    single = Database(database._url, max_size=1)
    single.open()
    caller = Caller("w" * 32, "worker", "o" * 32, frozenset())
    with single.transaction(caller) as tx:
        process = tx.execute("SELECT pg_backend_pid() AS pid").fetchone()
    with (
        trace.under("t" * 32),
        suppress(Stale, Late, pg.DivisionByZero),
        single.transaction(caller, timeout=0.7, by_key=True, will_retry=will_retry) as tx,
    ):
        end(tx)
    with single.autocommit() as tx:
        process_after = tx.execute("SELECT pg_backend_pid() AS pid").fetchone()
        settings = tx.execute(
            "SELECT coalesce(current_setting('enlace.organization', true), '') AS organization,"
            " coalesce(current_setting('enlace.view', true), '') AS view,"
            " coalesce(current_setting('enlace.trace', true), '') AS trace,"
            " current_setting('plan_cache_mode') AS plans,"
            " current_setting('statement_timeout') AS time_limit"
        ).fetchone()
    single.close()
    assert process_after == process
    defaults = {"plans": "auto", "time_limit": "4s"}
    assert settings == {"organization": "", "view": "", "trace": "", **defaults}


def kill_idle_connections(database: Database) -> None:
    """Terminates the connections of the pool, as a restart of the server does.

    The probe keeps its connection: on a busy machine, the database would count as lost while the
    probe connects again, and calls would be refused for that reason.
    """
    with psycopg.connect(database._url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE usename = current_user AND application_name = 'enlace'"
        )


def test_a_retried_transaction_passes_over_idle_connections_that_were_terminated(
    database: Database,
) -> None:
    def write_once(name: str) -> None:
        with database.transaction(SYSTEM, will_retry=True) as tx:
            add(tx, name)

    refusals = list[Unavailable]()
    for name in ("a", "b"):
        kill_idle_connections(database)
        while name not in names(database):
            try:
                write_once(name)
            except Unavailable as refusal:
                refusals.append(refusal)
    assert all(found_dead(refusal) for refusal in refusals)
    assert names(database) == ["a", "b"]


def test_a_connection_that_dies_in_the_middle_of_a_transaction_is_not_found_dead(
    database: Database,
) -> None:
    def lose_connection() -> None:
        with database.transaction(SYSTEM, will_retry=True) as tx:
            tx.execute("SELECT 1").fetchone()
            kill_idle_connections(database)
            tx.execute("SELECT 1").fetchone()

    with pytest.raises(Unavailable) as refusal:
        lose_connection()
    assert not found_dead(refusal.value)


def test_a_connection_that_dies_while_it_commits_is_not_found_dead(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill_first(connection: BoundedConnection) -> None:
        kill_idle_connections(database)

    def write_once() -> None:
        with database.transaction(SYSTEM, will_retry=True) as tx:
            add(tx, "a")

    monkeypatch.setattr("chassis.db._send_notifications", kill_first)  # called just before COMMIT
    with pytest.raises(Unavailable) as refusal:
        write_once()
    assert not found_dead(refusal.value)


@pytest.mark.parametrize(
    ("part", "wrong", "reason"),
    [
        ("127.0.0.1", "%2Fnowhere", "host"),
        (r":\d+/", ":1/", "host"),
        (":[^:]*@", ":guessed@", "password"),
        (r"/\w+$", "/nothing", "database"),
        ("$", "?sslmode=require", "tls"),
        ("$", "?sslmode=verify-full&sslrootcert=/nothing", "tls"),
        (":[^:]*@", ":a guess@", "url"),
    ],
)
def test_a_failed_connection_is_logged_with_the_wrong_part_of_its_url_and_without_the_url(
    postgres: Server, capsys: pytest.CaptureFixture[str], part: str, wrong: str, reason: str
) -> None:
    url = re.sub(part, wrong, postgres.database().url)
    log.setup("tests")
    loop = Database(url).probe.loop
    with running(loop):
        until(lambda: loop.state is State.WAITING)
    [line] = capsys.readouterr().out.splitlines()
    fields = json.loads(line)
    assert (fields["event"], fields["loop"], fields["reason"]) == ("loop_waits", "database", reason)
    assert "guess" not in line
    assert "nowhere" not in line
    with pytest.raises(SystemExit, match=rf"ENLACE_MIGRATION_URL: {reason}\)$"):
        migrate(url, [], wait=0)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("la autentificación password falló para el usuario «partners»", "password"),
        ("authentification par mot de passe échouée pour l'utilisateur « partners »", "password"),
        ("no existe la base de datos «partners»", "database"),
        ("la base de données « partners » n'existe pas", "database"),
        ("permiso denegado a la base de datos «partners»", "database"),
        ("droit refusé pour la base de données « partners »", "database"),
        ("«::1», usuario «partners», base de datos «partners», sin cifrado", "tls"),
        ("utilisateur « partners »,\nbase de données « partners », aucun chiffrement", "tls"),
    ],
)
def test_the_wrong_part_is_found_in_messages_of_a_spanish_and_of_a_french_server(
    message: str, reason: str
) -> None:
    assert NotConnected(psycopg.OperationalError(f"FATAL:  {message}")).reason == reason
