"""Searches the trail for anomalies, and stores the anomalies that were found."""

from dataclasses import asdict
from datetime import datetime

from chassis.db import Row, Transaction
from chassis.errors import NotFound
from chassis.wire import Cursor
from facts import outbox
from services.referrals.files.domain.openings import READING
from services.referrals.people.domain.anomaly import DUTY, Anomaly, AnomalyKind, DutyAct, Opening
from services.referrals.people.wire.facts import anomaly_fact

CHANNEL = "openings"
"""The channel on which a database trigger announces accesses that are added to the trail."""
_ROWS = 5_000  # the maximum number of rows of the trail that one transaction searches
_READING = ", ".join(f"'{action}'" for action in READING)
_DUTY = ", ".join(f"'{action}'" for action in DUTY)


def claim_rows(tx: Transaction) -> tuple[int, int]:
    """Claims the next rows of the trail for this transaction, and returns them as (after, until).

    Only one transaction searches at a time. The trail is a chain, so a transaction that sees a row
    also sees all rows before it.
    """
    row = tx.execute("SELECT sequence FROM anomalies_looked FOR UPDATE").fetchone()
    assert row is not None, "the migration writes the only row"
    after = int(row["sequence"])
    newest_row = tx.execute("SELECT coalesce(max(sequence), 0) AS newest FROM audit").fetchone()
    assert newest_row is not None
    until = min(int(newest_row["newest"]), after + _ROWS)
    if until > after:
        tx.execute("UPDATE anomalies_looked SET sequence = %s", (until,))
    return after, max(after, until)


def has_new_rows(tx: Transaction) -> bool:
    """Returns whether the trail has rows that have not been searched yet."""
    row = tx.execute(
        "SELECT EXISTS (SELECT FROM audit, anomalies_looked AS looked"
        " WHERE audit.sequence > looked.sequence) AS new"
    ).fetchone()
    return bool(row and row["new"])


def actors_with_accesses(tx: Transaction, after: int, until: int) -> list[Row]:
    """Returns the workers and API keys with an access in these rows of the trail.

    Accesses that the quota refused are included. Each row has the kind, id and organisation of the
    worker or key, and the times of the first and last access.
    """
    return tx.execute(
        "SELECT actor_kind, actor_id, organization_id, min(time) AS first, max(time) AS last"
        " FROM audit WHERE sequence > %s AND sequence <= %s"
        f" AND action IN ({_READING}) AND (allowed OR reason = 'opening_quota')"
        " AND actor_kind IN ('worker', 'key')"
        " GROUP BY actor_kind, actor_id, organization_id",
        (after, until),
    ).fetchall()


def openings(tx: Transaction, worker_id: str, start: datetime, end: datetime) -> list[Opening]:
    """Returns a worker's accesses from `start` until `end`; times are rounded down to the hour."""
    rows = tx.execute(
        "SELECT DISTINCT a.object_id, date_trunc('hour', a.time) AS time,"
        " coalesce(p.organization_id, '') AS organization_id FROM audit a LEFT JOIN people p"
        " ON p.id = a.object_id WHERE a.actor_id = %s AND a.time >= %s AND a.time < %s"
        f" AND a.allowed AND a.action IN ({_READING})",
        (worker_id, start, end),
    )
    return [Opening(**row) for row in rows]


def refused_by_quota(tx: Transaction, worker_id: str, after: int, until: int) -> list[Opening]:
    """Returns the worker's accesses in these rows of the trail that the quota refused."""
    rows = tx.execute(
        "SELECT object_id, time FROM audit WHERE sequence > %s AND sequence <= %s AND actor_id = %s"
        " AND reason = 'opening_quota'",
        (after, until, worker_id),
    )
    return [Opening(row["object_id"], "", row["time"], refused=True) for row in rows]


def duty_acts(tx: Transaction, worker_id: str, since: datetime, until: datetime) -> list[DutyAct]:
    """Returns the worker's actions that show that she was on duty.

    An action on a referral or contact also concerns its person, and the contact of the referral.
    """
    rows = tx.execute(
        "SELECT a.time, a.object_id, r.person_id, c.id AS contact_id, c.person_id AS caller_id"
        " FROM audit a LEFT JOIN referrals r ON r.id = a.object_id"
        " LEFT JOIN contacts c ON c.id = coalesce(r.contact_id, a.object_id)"
        " WHERE a.actor_id = %s AND a.time >= %s AND a.time < %s AND a.allowed"
        f" AND a.action IN ({_DUTY})",
        (worker_id, since, until),
    )
    ids = ("object_id", "person_id", "contact_id", "caller_id")
    return [DutyAct(row["time"], tuple(row[name] for name in ids if row[name])) for row in rows]


def save(tx: Transaction, anomaly: Anomaly) -> None:
    """Saves an anomaly, and publishes it if it is new.

    A known anomaly whose count grows waits for a review again, since its review did not cover the
    new accesses. A count of refusals covers only newly searched rows, so it is added to the stored
    count. Every other count covers the whole day, so the greater of the two is stored.
    """
    row = tx.execute(
        "INSERT INTO anomalies AS known (id, kind, worker_id, organization_id, day, count,"
        " create_time, version, reviewed_by_worker_id, review_code)"
        " VALUES (%(id)s, %(kind)s, %(worker_id)s, %(organization_id)s, %(day)s, %(count)s,"
        " %(create_time)s, %(version)s, '', '')"
        " ON CONFLICT (worker_id, day, kind) DO UPDATE SET count = excluded.count"
        " + CASE WHEN %(adds_up)s THEN known.count ELSE 0 END, version = known.version + 1,"
        " review_time = NULL, reviewed_by_worker_id = '', review_code = ''"
        " WHERE %(adds_up)s OR excluded.count > known.count RETURNING id",
        asdict(anomaly)
        | {"kind": anomaly.kind.value, "adds_up": anomaly.kind is AnomalyKind.OPENING_QUOTA},
    ).fetchone()
    if row and row["id"] == anomaly.id:
        outbox.save(tx, [anomaly_fact(anomaly)])


def get(tx: Transaction, identifier: str) -> Anomaly:
    """Locks and returns one anomaly; raises NotFound outside the scope."""
    row = tx.execute("SELECT * FROM anomalies WHERE id = %s FOR UPDATE", (identifier,)).fetchone()
    if row is None:
        raise NotFound
    return _read(row)


def save_review(tx: Transaction, anomaly: Anomaly) -> None:
    """Saves the review of an anomaly."""
    tx.execute(
        "UPDATE anomalies SET version = %(version)s, review_time = %(review_time)s,"
        " reviewed_by_worker_id = %(reviewed_by_worker_id)s,"
        " review_code = %(review_code)s WHERE id = %(id)s",
        asdict(anomaly) | {"kind": anomaly.kind.value},
    )


def page(
    tx: Transaction, limit: int, after: Cursor | None, *, waiting: bool
) -> tuple[list[Anomaly], Cursor | None]:
    """Returns a page of anomalies, newest first, and the cursor of the next page.

    `waiting` selects anomalies without a review.
    """
    time, identifier = after or ("infinity", "")
    rows = tx.execute(
        "SELECT *, create_time::text AS key FROM anomalies WHERE (review_time IS NULL OR NOT %s)"
        " AND (create_time < %s::timestamptz"
        " OR (create_time = %s::timestamptz AND id > %s)) ORDER BY create_time DESC, id LIMIT %s",
        (waiting, time, time, identifier, limit + 1),
    ).fetchall()
    next_cursor = [rows[limit - 1]["key"], rows[limit - 1]["id"]] if len(rows) > limit else None
    return [_read(row) for row in rows[:limit]], next_cursor


def _read(row: Row) -> Anomaly:
    values = {name: row[name] for name in Anomaly.__dataclass_fields__}
    return Anomaly(**values | {"kind": AnomalyKind(row["kind"])})
