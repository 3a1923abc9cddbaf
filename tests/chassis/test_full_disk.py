"""A database whose disk is full: writes are refused as that, nothing is half written, reads go on, and all is well as soon as there is room."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from chassis.db import Database
from chassis.embedded.postgres import Login, Postgres
from chassis.errors import Exhausted, Refusal
from chassis.tokens import SYSTEM

OWNER, APP = Login("tests_owner", "owner-password"), Login("tests", "app-password")
Store = tuple[Database, Callable[[], None], Callable[[], None]]

# Where no file system may be mounted PostgreSQL itself says so at each write, in the same words.
FULL = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER no_room BEFORE INSERT ON kept EXECUTE FUNCTION no_room();
"""


@pytest.fixture
def store() -> Iterator[Store]:
    """A database on a small disk, what fills the disk, and what makes room again."""
    with ExitStack() as cleanup:
        home = Path(tempfile.mkdtemp(prefix="enlace-test-full-"))
        home.chmod(0o711)
        small = cleanup.enter_context(mounted(home))
        engine = Postgres(home / "postgres", durable=False)
        cleanup.callback(engine.remove)
        engine.start()
        engine.ensure("tests", OWNER, APP)
        with psycopg.connect(engine.url("tests", OWNER, "?sslmode=disable")) as owner:
            owner.execute("CREATE TABLE kept (id serial PRIMARY KEY, words text)")
        database = Database(engine.url("tests", APP), max_size=4)
        database.open()
        cleanup.callback(database.close)
        assert database.reachable()
        ballast = home / "ballast"

        def as_owner(script: str) -> None:
            with psycopg.connect(engine.url("tests", OWNER, "?sslmode=disable")) as owner:
                owner.execute(script)

        if small:
            yield database, lambda: fill(ballast), ballast.unlink
        else:
            yield database, lambda: as_owner(FULL), lambda: as_owner("DROP FUNCTION no_room CASCADE")


@contextmanager
def mounted(folder: Path) -> Iterator[bool]:
    """The folder as a disk of 128 MB, where that is allowed; says whether it is."""
    done = (
        os.geteuid() == 0
        and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m,mode=711", "tmpfs", folder], check=False).returncode == 0
    )
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", folder], check=True)
        folder.rmdir()


def fill(file: Path) -> None:
    """Takes all the room that there is."""
    with suppress(OSError), file.open("wb", buffering=0) as out:
        while True:
            out.write(bytes(1 << 16))


def write(database: Database, words: str = "x" * 100_000) -> None:
    with database.transaction(SYSTEM) as tx:
        for _ in range(20):
            tx.execute(
                "INSERT INTO kept (words) VALUES ((SELECT string_agg(md5(n::text || random()), '') FROM generate_series(1, %s) n))",
                (len(words) // 32,),
            )


def count(database: Database) -> int:
    with database.transaction(SYSTEM) as tx:
        row = tx.execute("SELECT count(*) AS n FROM kept").fetchone()
    assert row
    return int(row["n"])


def test_writes_are_refused_reads_go_on_and_nothing_is_half_written(store: Store) -> None:
    database, fill_disk, make_room = store
    write(database)
    fill_disk()
    for _ in range(3):
        with pytest.raises(Exhausted, match="store_full"):
            write(database)
        assert count(database) == 20
    make_room()
    end = time.monotonic() + 10
    while count(database) == 20:
        assert time.monotonic() < end, "it does not write again"
        with suppress(Refusal):
            write(database)
    assert count(database) == 40
