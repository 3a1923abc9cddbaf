"""A database whose disk is full.

Writes are refused with that reason, nothing is half written, reads continue, and writes succeed
again as soon as there is room.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from chassis.db import LOST, Database
from chassis.errors import Exhausted, Refusal
from chassis.supervisor import Loop, State
from chassis.tokens import SYSTEM
from local.postgres import Login, Postgres
from local.process import StackFailure
from local.reserve import SIZE, Reserve
from tests.parts.local_stack import until

pytestmark = pytest.mark.long

OWNER, APP = Login("tests_owner", "owner-password"), Login("tests", "app-password")
Store = tuple[Database, Callable[[], None], Callable[[], None]]

# If the test may not mount a file system, this trigger makes PostgreSQL raise the same error at
# each write.
FULL = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no room'
    USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER no_room BEFORE INSERT ON kept EXECUTE FUNCTION no_room();
"""


@pytest.fixture
def store() -> Iterator[Store]:
    """A database on a small disk, a function that fills the disk, and a function that frees it."""
    with ExitStack() as cleanup:
        home = Path(tempfile.mkdtemp(prefix="enlace-test-full-"))
        home.chmod(0o711)
        is_mounted = cleanup.enter_context(mounted(home, 128))
        engine, database = cleanup.enter_context(served(home, durable=False))
        ballast = home / "ballast"

        def as_owner(script: str) -> None:
            with psycopg.connect(engine.url("tests", OWNER, "?sslmode=disable")) as owner:
                owner.execute(script)

        if is_mounted:
            yield database, lambda: fill(ballast), ballast.unlink
        else:
            yield (
                database,
                lambda: as_owner(FULL),
                lambda: as_owner("DROP FUNCTION no_room CASCADE"),
            )


@contextmanager
def served(home: Path, *, durable: bool) -> Iterator[tuple[Postgres, Database]]:
    """Runs a server with its data in the folder; yields it and a database that has a table."""
    engine = Postgres(home / "postgres", durable=durable)
    try:
        engine.start()
        engine.ensure("tests", OWNER, APP)
        with psycopg.connect(engine.url("tests", OWNER, "?sslmode=disable")) as owner:
            owner.execute("CREATE TABLE kept (id serial PRIMARY KEY, words text)")
        database = Database(engine.url("tests", APP), max_size=4)
        database.open()
        assert database.reachable()
        yield engine, database
        database.close()
    finally:
        engine.remove()


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[bool]:
    """Mounts the folder as a disk of `size` MB, if that is allowed; yields whether it was."""
    is_mounted = (
        os.geteuid() == 0
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}m,mode=711", "tmpfs", folder], check=False
        ).returncode
        == 0
    )
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", folder], check=True)
        folder.rmdir()


def fill(file: Path) -> None:
    """Fills the whole disk."""
    with suppress(OSError), file.open("wb", buffering=0) as out:
        while True:
            out.write(bytes(1 << 16))


def write(database: Database) -> None:
    """Writes twenty rows of 100 KB in one transaction."""
    with database.transaction(SYSTEM) as tx:
        for _ in range(20):
            tx.execute(
                "INSERT INTO kept (words) VALUES ((SELECT string_agg(md5(n::text || random()), '')"
                " FROM generate_series(1, %s) n))",
                (100_000 // 32,),
            )


def count(database: Database) -> int:
    with database.transaction(SYSTEM) as tx:
        row = tx.execute("SELECT count(*) AS n FROM kept").fetchone()
    assert row
    return int(row["n"])


def test_writes_are_refused_reads_succeed_and_nothing_is_half_written(store: Store) -> None:
    database, fill_disk, make_room = store
    write(database)
    fill_disk()
    for _ in range(3):
        with pytest.raises(Exhausted, match="store_full"):
            write(database)
        assert count(database) == 20
    make_room()
    until(lambda: refusal_reason(database) == "", 10)
    assert count(database) == 40


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder that is a disk of 320 MB."""
    home = Path(tempfile.mkdtemp(prefix="enlace-test-full-"))
    home.chmod(0o711)
    with mounted(home, 320) as is_mounted:
        if not is_mounted:
            pytest.skip("needs root and the permission to mount")
        yield home


def test_a_server_without_room_for_its_log_can_be_read_and_accepts_writes_once_there_is_room(
    disk: Path,
) -> None:
    with served(disk, durable=True) as (engine, database):
        write(database)
        fill(disk / "ballast")
        with suppress(psycopg.Error):
            write_ahead(engine)
        until(lambda: engine.process is not None and not engine.process.alive, 10)
        engine.start()  # as the stack's supervisor does
        until(database.reachable, 10)
        assert count(database) == 20
        with pytest.raises(Exhausted, match="store_full"):
            write(database)
        engine.update_read_only_mode()
        assert count(database) == 20
        (disk / "ballast").unlink()
        engine.update_read_only_mode()
        until(lambda: refusal_reason(database) == "", 10)
        assert count(database) == 40


def test_a_server_refuses_writes_before_its_disk_is_full_says_so_and_keeps_running(
    disk: Path,
) -> None:
    with served(disk, durable=True) as (engine, database):
        lines: list[str] = []
        engine._say = lines.append
        write(database)
        assert engine.process
        server = engine.process.pid
        disk_stats = os.statvfs(disk)
        with (disk / "ballast").open("wb") as ballast:
            os.posix_fallocate(
                ballast.fileno(), 0, disk_stats.f_bavail * disk_stats.f_frsize - (16 << 20)
            )
        engine.update_read_only_mode()
        until(lambda: refusal_reason(database) == "store_full", 10)
        before = count(database)
        assert (refusal_reason(database), count(database)) == ("store_full", before)
        (disk / "ballast").unlink()
        engine.update_read_only_mode()
        until(lambda: refusal_reason(database) == "", 10)
        assert engine.process.pid == server
        assert lines == [
            f"the disk of {disk / 'postgres'} is full: changes are refused until 128 MB are free",
            "the disk has room again: changes are accepted",
        ]


def test_a_loop_waits_while_the_server_refuses_its_writes_and_continues_afterwards(
    disk: Path,
) -> None:
    with served(disk, durable=True) as (engine, database):
        ballast = disk / "ballast"
        states: set[State] = set()

        def work(loop: Loop) -> None:
            with database.dedicated() as connection:
                while loop.turn():
                    connection.execute("INSERT INTO kept (words) VALUES ('')")
                    loop.wait(0.1)

        def has_been(state: State) -> bool:
            states.add(loop.state)
            return loop.state is state

        loop = Loop("writes", work, waits_for=LOST)
        loop.start()
        until(lambda: count(database) > 0, 10)
        disk_stats = os.statvfs(disk)
        with ballast.open("wb") as file:
            os.posix_fallocate(
                file.fileno(), 0, disk_stats.f_bavail * disk_stats.f_frsize - (16 << 20)
            )
        engine.update_read_only_mode()
        until(lambda: has_been(State.WAITING), 10)
        ballast.unlink()
        engine.update_read_only_mode()
        until(lambda: has_been(State.RUNNING), 20)
        assert State.FAILING not in states
        loop.stop()
        assert loop.join(10)


def test_a_server_reports_why_it_cannot_start_on_a_full_disk(disk: Path) -> None:
    with served(disk, durable=True) as (engine, _):
        engine.stop()
        fill(disk / "ballast")
        (disk / "postgres" / "reserve").unlink()
        fill(disk / "ballast.2")
        with pytest.raises(StackFailure, match="0 MB free, and PostgreSQL needs 128 MB: free"):
            Postgres(disk / "postgres").start()


def test_a_reserve_that_was_copied_as_a_sparse_file_is_allocated_again(disk: Path) -> None:
    file = disk / "reserve"
    with file.open("wb") as copy:
        copy.truncate(SIZE)
    assert file.stat().st_blocks == 0
    assert not Reserve(file).update()
    assert file.stat().st_blocks * 512 >= SIZE


def write_ahead(engine: Postgres) -> None:
    """Writes more than the disk has room for, and only to the write-ahead log."""
    with psycopg.connect(
        engine.url("tests", engine.superuser, "?sslmode=disable"), autocommit=True
    ) as admin:
        for _ in range(64):
            admin.execute("SELECT pg_logical_emit_message(false, 'tests', repeat('x', 1000000))")


def refusal_reason(database: Database) -> str:
    """Writes rows; returns the reason if they are refused, "" if they are written."""
    try:
        write(database)
    except Refusal as refusal:
        return refusal.reason
    return ""
