"""Converts PostgreSQL's faults to refusals (chassis.errors)."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg

from chassis.errors import Exhausted, Late, Refusal, Stale, Unavailable

# The PostgreSQL function that rejects a prepared statement whose result columns a migration has
# changed.
_REPLANNING = "RevalidateCachedQuery"
# Unique keys with a version: the writer that loses a race for a version gets Stale.
_VERSIONS = frozenset({"outbox_pkey"})
# The errors that a full disk causes; local/postgres.py makes the server read-only while its disk is
# full.
NO_ROOM = (pg.DiskFull, pg.ReadOnlySqlTransaction)
# Patterns of the messages with which a connection fails, with the part of the URL that is wrong.
# libpq gives no SQLSTATE here, and the server writes in its own language: here English, Spanish or
# French.
_WRONG_PARTS = {
    r'database ".*" does not exist|no existe la base de datos'
    "|base de données .* n'existe pas|for database |a la base de datos|pour la base": "database",
    "password|authentication|authentification|autentificación": "password",
    "SSL error|SSL connection|SSL was required|certificate"
    "|no encryption|sin cifrado|aucun chiffrement": "tls",
    "resolve host|refused|timeout|unreachable|route|No such file": "host",
    "invalid|missing|unexpected spaces|forbidden": "url",
}


class NotConnected(psycopg.OperationalError):
    """No connection could be opened. `reason` names the part of the URL that is wrong, or is "url"
    for a malformed URL, and "" if no part is known to be wrong. The exception has no message: that
    of the cause may contain the password.
    """

    def __init__(self, cause: psycopg.Error) -> None:
        super().__init__()
        matches = (part for text, part in _WRONG_PARTS.items() if re.search(text, str(cause)))
        self.reason = next(matches, "")


class FoundDead(psycopg.OperationalError):
    """A connection was lost before the server responded to the first statement on it."""


@contextmanager
def faults_as_refusals(end: float, *, caller_set_limit: bool) -> Iterator[None]:
    """Converts database faults in the block to refusals. `end` is the time limit of the
    block; `caller_set_limit` is as in `_refusal`.
    """
    try:
        yield
    except (
        psycopg.OperationalError,
        pg.TransactionTimeout,
        pg.ReadOnlySqlTransaction,
    ) as error:
        raise _refusal(
            error, is_past_limit=time.monotonic() > end - 0.05, caller_set_limit=caller_set_limit
        ) from error
    except pg.FeatureNotSupported as error:
        if error.diag.source_function != _REPLANNING:
            raise
        raise Unavailable("store_busy") from error
    except pg.UniqueViolation as error:
        if error.diag.constraint_name not in _VERSIONS:
            raise
        raise Stale from error


def _refusal(error: psycopg.Error, *, is_past_limit: bool, caller_set_limit: bool) -> Refusal:
    """Returns the refusal for a database fault. `is_past_limit`: the time limit has passed.
    `caller_set_limit`: the caller set the limit, with a timeout or with the deadline of the call.
    """
    if isinstance(error, (*NO_ROOM, pg.OutOfMemory, pg.TooManyConnections)):
        return Exhausted("store_full", 5)
    if isinstance(error, pg.SerializationFailure):
        return Stale()
    if isinstance(error, pg.DeadlockDetected):  # concerns no version that the caller knows
        return Unavailable("store_busy")
    if is_past_limit and caller_set_limit:
        return Late()
    if isinstance(error, pg.QueryCanceled | pg.LockNotAvailable | pg.TransactionTimeout):
        return Unavailable("store_busy")
    return Unavailable("store_unavailable")


def found_dead(refusal: Unavailable) -> bool:
    """Returns True if the transaction failed because its connection had died while it was idle.

    Nothing was done, and the next connection of the pool may be alive.
    """
    return isinstance(refusal.__cause__, FoundDead)


def may_be_repeated(refusal: Unavailable) -> bool:
    """Returns True if the transaction did nothing, and a retry may succeed.

    There are three cases: a migration invalidated a prepared statement, and the connection prepares
    it again; PostgreSQL ended the transaction because of a deadlock; the connection was found dead.
    """
    return found_dead(refusal) or isinstance(
        refusal.__cause__, pg.FeatureNotSupported | pg.DeadlockDetected
    )
