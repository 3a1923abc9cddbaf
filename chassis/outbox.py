"""The outbox: facts are written in the transaction that makes them true, and told afterwards; what was told stays, as the event log.

`keep` promises: the fact is told at least once if and only if the transaction commits. It does not promise when, nor that it is told only once.
(subject, version) is unique: it is also the optimistic lock, the loser gets Stale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import errors as pg

from chassis.db import Transaction
from chassis.errors import Stale

CHANNEL = "outbox"


@dataclass(frozen=True)
class Fact:
    """Something that has become true of a subject: its version counts the facts of that subject from 1 without a gap."""

    subject: str
    version: int
    type: str  # enlace.referral.accepted.v1
    payload: bytes  # the protobuf message of the type
    time: datetime


def keep(tx: Transaction, facts: Sequence[Fact]) -> None:
    """Writes facts into the transaction and wakes the relay when it commits."""
    if not facts:
        return
    try:
        with tx.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO outbox (subject, version, type, payload, time) VALUES (%s, %s, %s, %s, %s)",
                [(fact.subject, fact.version, fact.type, fact.payload, fact.time) for fact in facts],
            )
    except pg.UniqueViolation as error:
        raise Stale from error
    wake(tx)


def wake(tx: Transaction) -> None:
    """Wakes the relay when the transaction commits."""
    tx.execute("SELECT pg_notify(%s, '')", (CHANNEL,))


def unpublished(tx: Transaction, limit: int) -> list[Fact]:
    """The next facts to tell, in order of version within each subject. By state, never by an id watermark: sequences commit out of order."""
    rows = tx.execute(
        "SELECT subject, version, type, payload, time FROM outbox WHERE published_at IS NULL ORDER BY subject, version LIMIT %s", (limit,)
    ).fetchall()
    return [Fact(**row) for row in rows]


def mark_published(tx: Transaction, facts: Sequence[Fact]) -> None:
    """Notes that the broker has acknowledged these facts."""
    tx.execute(
        "UPDATE outbox SET published_at = now() FROM unnest(%s::text[], %s::bigint[]) AS told (subject, version)"
        " WHERE outbox.subject = told.subject AND outbox.version = told.version",
        ([fact.subject for fact in facts], [fact.version for fact in facts]),
    )


def tell_again(tx: Transaction, *, since: datetime | None = None, subject: str | None = None) -> int:
    """Marks facts as not yet told: all, those since a moment, or those of one subject. Returns how many."""
    return tx.execute(
        "UPDATE outbox SET published_at = NULL WHERE published_at IS NOT NULL"
        " AND (%(since)s::timestamptz IS NULL OR time >= %(since)s) AND (%(subject)s::text IS NULL OR subject = %(subject)s)",
        {"since": since, "subject": subject},
    ).rowcount


def meet_cluster(tx: Transaction, cluster_id: str) -> bool:
    """Remembers the broker's cluster; when it is another than before, every fact is to be told again. Returns whether that is so."""
    row = tx.execute("SELECT cluster_id FROM relay").fetchone()
    if row and row["cluster_id"] == cluster_id:
        return False
    with tx.transaction():
        tx.execute("UPDATE outbox SET published_at = NULL WHERE published_at IS NOT NULL")
        tx.execute(
            "INSERT INTO relay (cluster_id) VALUES (%s) ON CONFLICT (only_row) DO UPDATE SET cluster_id = excluded.cluster_id",
            (cluster_id,),
        )
    return row is not None
