"""PostgreSQL: a pool, and transactions in the caller's scope for row-level security.

A transaction that ends without an exception is committed; any exception rolls it back. Database
faults become refusals: Unavailable("store_unavailable" or "store_busy"),
Exhausted("store_full"), Stale and Late. In these cases nothing was written, unless the connection
broke during the commit; a retry with the same request_id then shows whether the commit succeeded.

Statements are sent as the code reaches them, and a thread waits only when it reads a result (a row,
or `rowcount`) and at the commit: psycopg's pipeline mode. So an error of a statement may be raised
by a later statement of its transaction, at the latest by the commit; code that handles the error of
one statement uses a `savepoint`.

Nothing waits forever. A server that hangs keeps its connections open and acknowledges what it
receives, so each exchange has a time limit here (`BoundedConnection`). The server has limits too,
for clients that have disappeared. A probe knows whether the database responds, so no call waits for
a database that is known to be unavailable. Limitation: the operating system resolves the host's
name, with a timeout of its own.
"""

import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

import psycopg
from psycopg import errors as pg
from psycopg import pq
from psycopg.abc import RV, PQGen
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from chassis import deadline, trace
from chassis.errors import Stale, Unavailable
from chassis.store_faults import NO_ROOM, FoundDead, NotConnected, faults_as_refusals
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM, Caller

if TYPE_CHECKING:
    from chassis.audit import Marker

Row = dict[str, Any]
Transaction = psycopg.Connection[Row]

# Seconds that a caller waits for a free connection before the call is refused: it is better to
# refuse quickly than to queue.
_POOL_TIMEOUT = 2.0
_LIMIT = 10.0  # seconds that a transaction may take if its caller sets no timeout
# Maximum seconds that any transaction may take: enough to import 5,000 rows on a slow machine.
_LONGEST_LIMIT = 600.0
# Seconds within which a connection must give its first response. A firewall may have dropped the
# connection while it was idle.
_FIRST_RESPONSE = 2.0
# Seconds that `autocommit` may take to get a connection and run the first statement.
_AUTOCOMMIT_LIMIT = _POOL_TIMEOUT + _FIRST_RESPONSE
_WAKE = 5.0  # seconds after which a waiting thread checks its connection
_GRACE = 0.5  # seconds for a rollback after a transaction's time limit
# Maximum seconds that one exchange on a background loop's own connection may take; must be below
# chassis.supervisor.LIMIT.
_DEDICATED_LIMIT = 30.0
_PROBE_EVERY = 0.5  # seconds between two queries of the probe
# Seconds within which the database must respond to the probe. With the pause above, a database that
# hangs is noticed within two seconds.
_PROBE_SILENCE = 1.5


class ResponseTimeout(psycopg.OperationalError):
    """The server did not respond in time; the connection is closed."""


class Cursor(psycopg.Cursor[Row]):
    """A cursor whose `rowcount` waits for the result, as psycopg's fetch methods do."""

    @property
    def rowcount(self) -> int:
        """The number of rows that the statement changed or returned."""
        settle(self.connection)
        return super().rowcount


class BoundedConnection(psycopg.Connection[Row]):
    """A connection that closes itself if an exchange takes longer than `limit` seconds, or is not
    over at the time `end`.
    """

    limit: float = _FIRST_RESPONSE
    end: float = math.inf
    begin_cursor: Cursor | None = None
    """The cursor of the current transaction's BEGIN. Once it has a result, `limit` no longer
    applies.
    """
    pipe: psycopg.Pipeline | None = None
    """The pipeline of the current transaction."""
    expectations: list[tuple[Cursor, int]]
    """Statements of the current transaction, each with the number of rows that it must change
    (`expect_rows`).
    """
    notifications: list[tuple[str, str]]
    """Notifications of the current transaction: channel and payload (`notify`)."""
    marker: "Marker | None" = None
    """Computes the marks of the trail's rows that this connection writes (chassis.audit)."""

    @property
    def has_answered(self) -> bool:
        """True if the server has responded in the current transaction."""
        return self.begin_cursor is not None and self.begin_cursor.pgresult is not None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Waits for the server within the limits; psycopg calls this for each response and each
        notification. Raises ResponseTimeout when a limit is exceeded.
        """
        limit = math.inf if self.has_answered else self.limit
        remaining = max(0.0, min(limit, self.end - time.monotonic()))
        # psycopg wakes after each interval for signals, which only a main thread handles
        interval = _WAKE
        if remaining == math.inf or (timeout is not None and timeout <= remaining):
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, remaining)
        except pg._WaitTimeout:
            self.close()
            raise ResponseTimeout("the server did not answer in time") from None

    def cut(self) -> None:
        """Shuts the connection down from another thread."""
        with (
            suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self.pgconn.socket)) as handle,
        ):
            handle.shutdown(socket.SHUT_RDWR)


# The kernel notices that the peer's machine is gone after 10 + 3 · 5 s of silence, or if sent data
# is not acknowledged for 10 s.
_CONNECTION: dict[str, Any] = {
    "row_factory": dict_row,
    "cursor_factory": Cursor,
    "connect_timeout": 2,  # seconds; psycopg allows no less
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


LOST = (psycopg.OperationalError, psycopg.InterfaceError, pg.ReadOnlySqlTransaction)
"""The exceptions that a dedicated connection raises once it is lost, or while the server refuses
writes because its disk is full (store_faults.NO_ROOM).
"""


class Probe:
    """Queries the database twice a second on a connection of its own, and records when it last
    responded.
    """

    def __init__(self, connect: Callable[[], BoundedConnection]) -> None:
        # The pause is short, so that a database that is back is noticed soon.
        self.loop = Loop("database", self._ask, waits_for=LOST, longest_pause=0.3)
        self._connect = connect
        self._answers: bool | None = None
        self._answered_at = time.monotonic()
        self._has_result = threading.Event()
        # the part of the URL that is wrong (NotConnected), if the latest connection failed
        self.reason = ""

    @property
    def answers(self) -> bool | None:
        """True if the database counts as responding, False if it does not, None before the first
        result.
        """
        return self._answers

    @property
    def age(self) -> float:
        """Seconds since the last response."""
        return time.monotonic() - self._answered_at

    def wait(self, seconds: float) -> bool:
        """Waits for the first result, at most `seconds`; returns True if the database responds."""
        self._has_result.wait(seconds)
        return bool(self._answers)

    def _ask(self, loop: Loop) -> None:
        answered = False
        try:
            with self._connect() as connection:
                connection.limit = _PROBE_SILENCE
                while loop.turn():
                    connection.execute("")  # an exchange without a statement
                    answered = True
                    self._answered_at = time.monotonic()
                    self._record(True)
                    loop.wait(_PROBE_EVERY)
        except LOST as error:
            self.reason = error.reason if isinstance(error, NotConnected) else ""
            # An administrator may have terminated only this connection, so the next try decides.
            if isinstance(error, ResponseTimeout) or not (
                answered or isinstance(error, pg.AdminShutdown)
            ):
                self._record(False)
            raise

    def _record(self, answers: bool) -> None:
        self._answers = answers
        self._has_result.set()


class Database:
    """The service's own database, accessed as the service's plain role."""

    def __init__(
        self,
        url: str,
        *,
        view_of: Callable[[Caller], str] = lambda caller: "",
        max_size: int = 20,
        marker: "Marker | None" = None,
    ) -> None:
        """`view_of` returns the caller's view, a word for the service's row-level security
        (enlace.view); by default it is empty.

        The service itself (SYSTEM) always has the view `system`. `marker` computes the marks of the
        trail's rows; without it, rows have none.
        """
        self._url = url
        self._marker = marker
        self._view_of = view_of
        self._lock = threading.Lock()
        self._connections: WeakSet[BoundedConnection] = WeakSet()
        self.probe = Probe(lambda: self._connect("enlace-probe"))
        self._pool: ConnectionPool[BoundedConnection] = ConnectionPool(
            url,
            connection_class=BoundedConnection,
            min_size=min(2, max_size),
            max_size=max_size,
            open=False,
            timeout=_POOL_TIMEOUT,
            # Short, because the pool doubles the pauses between attempts: after an outage of a
            # minute it would not retry for another half minute. Once it has given up, the next
            # getconn retries at once, and no call gets as far as getconn while the probe fails.
            reconnect_timeout=0.5,
            configure=self._register,
            kwargs={
                **_CONNECTION,
                "autocommit": True,
                "application_name": "enlace",
                # for statements outside of a transaction (`autocommit`)
                "options": f"-c statement_timeout={int(_AUTOCOMMIT_LIMIT * 1000)}",
            },
        )

    def open(self) -> None:
        """Starts connecting in the background; an unavailable database does not prevent it."""
        self._pool.open(wait=False)
        self.probe.loop.start()

    def fit(self, calls: int, workers: int) -> None:
        """Sizes the pool for the threads of the process: two connections per call (a guess
        at a password or PIN is counted in a transaction of its own), and one for each of the
        `workers`, the threads of the background loops.
        """
        self._pool.resize(2, max(2, 2 * calls + workers))

    def close(self) -> None:
        """Closes all connections, and ends the exchanges that wait on them."""
        self.probe.loop.stop()
        self.cut()
        self.probe.loop.join(1)
        self._pool.close(timeout=1)

    def cut(self) -> None:
        """Ends all current exchanges: their callers get store_unavailable at once."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.cut()

    @contextmanager
    def transaction(
        self,
        caller: Caller,
        *,
        timeout: float | None = None,
        by_key: bool = False,
        will_retry: bool = False,
    ) -> Iterator[Transaction]:
        """Yields a transaction in the caller's scope. Raises Late when the transaction has taken
        `timeout` seconds, or when the deadline of the current call has passed. With neither a
        timeout nor a deadline, raises Unavailable after ten seconds.

        `by_key`: the transaction finds its rows by their keys, so the server plans each statement
        once for a connection, whatever its values. Otherwise the server may plan a statement again
        for each set of values; lists need that, since the right index depends on the values.

        `will_retry`: the caller runs the transaction again, without `will_retry`, if it raises an
        Unavailable for which `found_dead` is true. Such a transaction does not wait for its BEGIN,
        which shares an exchange with the first statements. The retry does wait for it: otherwise a
        slow first statement (over two seconds, e.g. a wait for a lock) would look like a dead
        connection.
        """
        caller_set_limit = timeout is not None or deadline.current() is not None
        end = deadline.after(_LIMIT if timeout is None else min(timeout, _LONGEST_LIMIT))
        with (
            faults_as_refusals(end, caller_set_limit=caller_set_limit),
            self._open_transaction(caller, end, by_key=by_key, will_retry=will_retry) as connection,
        ):
            yield connection

    @contextmanager
    def autocommit(self) -> Iterator[Transaction]:
        """Yields a connection on which each statement is a transaction of its own, in no caller's
        scope: for a background loop that checks, with one statement, whether there is work.

        Raises as `transaction` does, and Unavailable if a statement takes longer than two seconds.
        """
        end = time.monotonic() + _AUTOCOMMIT_LIMIT
        with faults_as_refusals(end, caller_set_limit=False):
            if self.probe.answers is False:
                raise Unavailable("store_unavailable")
            connection = self._pool.getconn(timeout=_POOL_TIMEOUT)
            try:
                yield connection
            finally:
                self._return_to_pool(connection)

    def reachable(self) -> bool:
        """Returns True if the database responds; waits up to five seconds for the first result of
        the probe.
        """
        return self.probe.wait(5.0)

    @property
    def answers(self) -> bool:
        """True if the database counts as responding. Never waits."""
        return bool(self.probe.answers)

    def dedicated(self) -> Transaction:
        """Returns a connection in autocommit outside of the pool, for LISTEN and advisory locks.
        The caller closes it. Raises one of LOST if the database is unavailable.
        """
        connection = self._connect("enlace-listen")
        connection.limit = _DEDICATED_LIMIT
        connection.execute(
            "SELECT set_config('enlace.view', 'system', false), set_config('statement_timeout', %s,"
            " false)",
            (str(int(_DEDICATED_LIMIT * 1000)),),
        )
        return connection

    @contextmanager
    def _open_transaction(
        self, caller: Caller, end: float, *, by_key: bool, will_retry: bool
    ) -> Iterator[BoundedConnection]:
        """Yields a connection with an open transaction, and commits the transaction or rolls it
        back.

        If a connection died while it was idle, as all connections do when the server restarts,
        tries the pool's next connection or, with `will_retry`, raises FoundDead.
        """
        while True:
            remaining = end - time.monotonic()
            if remaining <= 0:
                raise ResponseTimeout("no time left")
            if self.probe.answers is False:
                raise Unavailable("store_unavailable")
            connection = self._pool.getconn(timeout=min(_POOL_TIMEOUT, remaining))
            connection.end = end + _GRACE
            is_open = False
            try:
                with connection.pipeline() as connection.pipe:
                    self._begin(connection, caller, end, by_key=by_key)
                    if not will_retry:
                        settle(connection)
                    is_open = True
                    try:
                        yield connection
                    except BaseException:
                        with suppress(psycopg.Error):  # the first exception is more important
                            connection.rollback()
                        raise
                    if not connection.has_answered:
                        # a transaction whose COMMIT was sent must not be run again
                        settle(connection)
                    _check_expectations(connection)
                    _send_notifications(connection)
                    # sent together with all statements still unsent; leaving the pipeline waits
                    connection.execute("COMMIT")
            except LOST as error:
                if connection.has_answered:
                    raise
                connection.close()
                if is_open:
                    raise FoundDead from error
            else:
                return
            finally:
                connection.pipe = connection.begin_cursor = None
                self._return_to_pool(connection)

    def _begin(
        self, connection: BoundedConnection, caller: Caller, end: float, *, by_key: bool
    ) -> None:
        """Begins a transaction. Raises one of LOST if the connection is known to be dead."""
        remaining_ms = max(1, int((end - time.monotonic()) * 1000))
        connection.expectations, connection.notifications = [], []
        connection.begin_cursor = cast("Cursor", connection.execute("BEGIN"))
        connection.execute(
            "SELECT set_config('enlace.organization', %s, true), set_config('enlace.view', %s,"
            " true), set_config('enlace.trace', %s, true),"
            # The server ends a statement at the limit, and the whole session a little later.
            " set_config('statement_timeout', %s, true), set_config('transaction_timeout', %s,"
            " true), set_config('plan_cache_mode', %s, true)",
            (
                caller.organization_id,
                "system" if caller.kind == SYSTEM.kind else self._view_of(caller),
                trace.current(),
                str(remaining_ms),
                str(remaining_ms + int(_GRACE * 500)),
                "force_generic_plan" if by_key else "auto",
            ),
        )

    def _return_to_pool(self, connection: BoundedConnection) -> None:
        connection.limit, connection.end = _FIRST_RESPONSE, math.inf
        self._pool.putconn(connection)

    def _connect(self, name: str) -> BoundedConnection:
        try:
            connection = BoundedConnection.connect(
                self._url, autocommit=True, application_name=name, **_CONNECTION
            )
        except psycopg.Error as error:
            raise NotConnected(error) from error
        self._register(connection)
        return connection

    def _register(self, connection: BoundedConnection) -> None:
        connection.marker = self._marker
        connection.expectations, connection.notifications = [], []
        with self._lock:
            self._connections.add(connection)


@contextmanager
def skip_if_disk_full(tx: Transaction) -> Iterator[None]:
    """Undoes the block, without an error, if its writes fail because the disk is full. For minor
    records such as a time of last use: a read must not fail because of them.
    """
    with suppress(*NO_ROOM), savepoint(tx):
        yield


def settle(connection: psycopg.Connection[Row]) -> None:
    """Waits for the results of all statements that were sent on a connection. Raises the error of
    the first statement that failed.
    """
    pipe = connection.pipe if isinstance(connection, BoundedConnection) else None
    if pipe is not None and connection.info.transaction_status is pq.TransactionStatus.ACTIVE:
        pipe.sync()


def expect_rows(tx: Transaction, cursor: psycopg.Cursor[Row], count: int) -> None:
    """Ends the transaction with Stale unless the statement of a cursor changed `count` rows.

    Does not wait for the result. The result is checked before the commit; by then it has usually
    arrived with the result of a later statement.
    """
    if isinstance(tx, BoundedConnection) and tx.pipe is not None and isinstance(cursor, Cursor):
        tx.expectations.append((cursor, count))
    elif cursor.rowcount != count:
        raise Stale


def notify(tx: Transaction, channel: str, payload: str = "") -> None:
    """Notifies the listeners of a channel when the transaction commits. All notifications of a
    transaction are one statement, sent with the commit; equal notifications arrive once.
    """
    if isinstance(tx, BoundedConnection) and tx.pipe is not None:
        tx.notifications.append((channel, payload))
    else:
        tx.execute("SELECT pg_notify(%s, %s)", (channel, payload))


def _send_notifications(connection: BoundedConnection) -> None:
    if connection.notifications:
        connection.execute(
            "SELECT pg_notify(channel, payload)"
            " FROM unnest(%s::text[], %s::text[]) AS notifications (channel, payload)",
            [list(column) for column in zip(*connection.notifications, strict=True)],
        )


@contextmanager
def savepoint(tx: Transaction) -> Iterator[None]:
    """Undoes the writes of the block, and only those, if the block raises an exception.

    Waits for the block's statements, so that their errors are raised in the block.
    """
    expectations, notifications = (
        (tx.expectations, tx.notifications) if isinstance(tx, BoundedConnection) else ([], [])
    )
    expectation_count, notification_count = len(expectations), len(notifications)
    try:
        with tx.transaction():
            yield
            if isinstance(tx, BoundedConnection):
                _check_expectations(tx)
    except BaseException:
        del notifications[notification_count:]
        raise
    finally:
        del expectations[expectation_count:]


def _check_expectations(connection: BoundedConnection) -> None:
    for cursor, count in connection.expectations:
        # A result that has already arrived needs no exchange; our cursors' `rowcount` waits for a
        # result that has not arrived yet.
        if super(Cursor, cursor).rowcount != count and cursor.rowcount != count:
            raise Stale


def elevate_to_system_scope(tx: Transaction) -> None:
    """Extends the scope of this transaction, from now on, to all rows of the service: for a caller
    who has shown another right to the rows, and for counts.
    """
    tx.execute("SELECT set_config('enlace.view', 'system', true)")
