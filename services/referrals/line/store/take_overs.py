"""Stores the take-overs of a line from the previous shift."""

from datetime import datetime

from chassis.db import Transaction
from chassis.wire import Cursor


def add(tx: Transaction, organization_id: str, worker_id: str, time: datetime) -> None:
    """Saves a take-over; a repetition by the same worker at the same moment is ignored."""
    tx.execute(
        "INSERT INTO line_take_overs (organization_id, worker_id, time) VALUES (%s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (organization_id, worker_id, time),
    )


def page(
    tx: Transaction, organization_id: str, limit: int, after: Cursor | None
) -> tuple[list[tuple[str, datetime]], Cursor | None]:
    """Returns a page of an organisation's take-overs, newest first, and the next page's cursor."""
    time, worker_id = after or ("infinity", "")
    rows = tx.execute(
        "SELECT worker_id, time, time::text AS key FROM line_take_overs WHERE organization_id = %s"
        " AND (time < %s::timestamptz"
        " OR (time = %s::timestamptz AND worker_id > %s)) ORDER BY time DESC, worker_id LIMIT %s",
        (organization_id, time, time, worker_id, limit + 1),
    ).fetchall()
    take_overs = [(row["worker_id"], row["time"]) for row in rows[:limit]]
    return take_overs, [rows[limit - 1]["key"], rows[limit - 1]["worker_id"]] if len(
        rows
    ) > limit else None
