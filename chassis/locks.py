"""Advisory locks: for a transaction, or for the lifetime of a loop's connection."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from chassis import log
from chassis.db import Transaction

MAX_SILENCE = 20.0
"""Seconds without a statement after which the holder of a lock counts as hanging; twice as many
while a statement runs.

`keeping_lock` sends a statement four times in that time.
"""


@contextmanager
def keeping_lock(connection: Transaction) -> Iterator[None]:
    """Sends a statement every few seconds, so that the holder of a lock does not count as hanging
    while it waits for something other than the database.
    """
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(MAX_SILENCE / 4):
            with suppress(Exception):  # the block's own statements raise the same error
                connection.execute("")

    thread = threading.Thread(target=work, name="turn", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def try_advisory_lock(connection: Transaction, name: str) -> bool:
    """Takes the lock called `name` for the lifetime of the connection; returns False if another
    process has it.

    A process that hangs (SIGSTOP, a frozen machine) keeps its connection, and the lock. So the
    connection of a holder that is silent for too long is terminated. When that holder wakes, its
    writes on the connection fail. Messages that it sends elsewhere do not fail, so they must be
    safe to repeat.
    """
    row = connection.execute(
        "SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS taken", (name,)
    ).fetchone()
    if row and row["taken"]:
        return True
    terminated_count = connection.execute(
        "SELECT pg_terminate_backend(a.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND l.objsubid = 1"
        " AND ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended(%s, 0)"
        # A statement may last as long as `dedicated` allows, and blocks the keep-alive statements.
        " AND a.state_change < clock_timestamp() - make_interval(secs => CASE a.state"
        " WHEN 'active' THEN %s ELSE %s END)",
        (name, 2 * MAX_SILENCE, MAX_SILENCE),
    ).rowcount
    if terminated_count:
        log.get().warning("turn_taken_over", turn=name)
    return False


def advisory_lock(tx: Transaction, name: str) -> None:
    """Waits for the lock called `name`, and holds it until the transaction ends."""
    tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))
