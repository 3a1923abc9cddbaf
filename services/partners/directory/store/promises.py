"""The results of promises: whether there was room after a service had stated that it had room."""

from datetime import datetime

from chassis.db import Transaction
from chassis.wire import Cursor
from services.partners.directory.domain.service import Service
from services.partners.directory.domain.truth import RESULT_LIFE
from services.partners.directory.store.services import FIGURE_BEFORE, FROM, READ_COLUMNS, read
from services.partners.network.domain.time_step import time_step_of

_COUNT_PROMISES = (
    "UPDATE services SET kept = p.kept, broken = p.broken"
    " FROM (SELECT s.id, count(*) FILTER (WHERE p.kept) AS kept,"
    " count(*) FILTER (WHERE NOT p.kept) AS broken FROM services AS s LEFT"
    " JOIN promises AS p ON p.service_id = s.id"
    " WHERE s.id = ANY(%s) GROUP BY s.id) AS p WHERE services.id = p.id"
)
BATCH_SIZE = 1000


def save(
    tx: Transaction, subject_id: str, service_id: str, at: datetime, now: datetime, *, kept: bool
) -> None:
    """Stores and counts the result of a promise.

    `subject_id`: the referral or enquiry, which counts only once; `at`: when the service answered.
    """
    inserted_count = tx.execute(
        "INSERT INTO promises (subject_id, service_id, answer_time, kept) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (subject_id, service_id, at, kept),
    ).rowcount
    if inserted_count:
        tx.execute(
            f"UPDATE services SET {FIGURE_BEFORE} WHERE id = %(id)s",
            {"id": service_id, "step": time_step_of(now)},
        )
        tx.execute(_COUNT_PROMISES, ([service_id],))


def yes_time(tx: Transaction, service_id: str) -> datetime | None:
    """Returns when the service last answered an enquiry with yes."""
    row = tx.execute("SELECT yes_time FROM services WHERE id = %s", (service_id,)).fetchone()
    return row["yes_time"] if row else None


def note_yes(tx: Transaction, service_id: str, at: datetime) -> None:
    """Records that the service answered an enquiry with yes."""
    tx.execute(
        "UPDATE services SET yes_time = %s WHERE id = %s AND (yes_time IS NULL OR yes_time < %s)",
        (at, service_id, at),
    )


def forget(tx: Transaction, now: datetime) -> int:
    """Deletes at most BATCH_SIZE results older than RESULT_LIFE, and recounts the remaining ones.

    Returns how many results were deleted.
    """
    deleted_rows = tx.execute(
        "DELETE FROM promises WHERE ctid IN (SELECT ctid FROM promises WHERE answer_time < %s"
        " LIMIT %s) RETURNING service_id",
        (now - RESULT_LIFE, BATCH_SIZE),
    ).fetchall()
    if deleted_rows:
        tx.execute(_COUNT_PROMISES, (sorted({row["service_id"] for row in deleted_rows}),))
    return len(deleted_rows)


def offered_services(
    tx: Transaction,
    organization_id: str | None,
    size: int,
    after: Cursor | None,
    *,
    unconfirmed_since: datetime | None = None,
) -> tuple[list[Service], Cursor | None]:
    """Returns a page of offered services, sorted by name, and the position of the next page.

    `organization_id`: only services of this organisation; None: of all active organisations. With
    `unconfirmed_since`, the page has only services that were not confirmed since then, or that
    broke more promises than they kept.
    """
    rows = tx.execute(
        f"SELECT {READ_COLUMNS}, s.name_key FROM {FROM} WHERE s.active"
        " AND o.status IN ('PROBATION', 'APPROVED')"
        " AND (%(owner)s::text IS NULL OR s.organization_id = %(owner)s)"
        " AND (%(since)s::timestamptz IS NULL OR s.assured_time IS NULL"
        " OR s.assured_time < %(since)s OR s.broken > s.kept)"
        " AND (%(after)s::text[] IS NULL OR (s.name_key, s.id) > ((%(after)s::text[])[1],"
        " (%(after)s::text[])[2]))"
        " ORDER BY s.name_key, s.id LIMIT %(limit)s",
        {"owner": organization_id, "since": unconfirmed_since, "after": after, "limit": size + 1},
    ).fetchall()
    return [read(row) for row in rows[:size]], [
        rows[size - 1]["name_key"],
        rows[size - 1]["id"],
    ] if len(rows) > size else None
