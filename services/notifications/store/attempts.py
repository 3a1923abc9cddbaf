"""Attempts of webhook deliveries, written by `deliveries.finish`.

The owner of the endpoint can read the attempts, which are also counted by the hour. Old attempts
are deleted.
"""

from collections.abc import Sequence
from datetime import datetime

from chassis.db import Transaction
from services.notifications.domain.delivery import Attempt, Hour


def of_delivery(tx: Transaction, delivery_id: str, limit: int) -> list[Attempt]:
    """Returns the newest `limit` attempts of one delivery, newest first."""
    rows = tx.execute(
        "SELECT attempt_time, signature, code, error, duration_ms FROM attempts"
        " WHERE delivery_id = %s ORDER BY number DESC LIMIT %s",
        (delivery_id, limit),
    ).fetchall()
    return [Attempt(**row) for row in rows]


def by_hour(tx: Transaction, webhook_ids: Sequence[str], since: datetime) -> list[Hour]:
    """Returns the counts of successful and failed attempts since a time, by endpoint and UTC hour.

    An hour without an attempt to the endpoint has no entry.
    """
    rows = tx.execute(
        "SELECT webhook_id, date_trunc('hour', attempt_time, 'UTC') AS start_time,"
        " count(*) FILTER (WHERE error = '') AS delivered, count(*) FILTER (WHERE error <> '') AS"
        " failed"
        " FROM attempts WHERE webhook_id = ANY (%s) AND attempt_time >= %s GROUP BY 1, 2"
        " ORDER BY 1, 2",
        (list(webhook_ids), since),
    ).fetchall()
    return [Hour(**row) for row in rows]


def forget(tx: Transaction, before: datetime) -> None:
    """Deletes the attempts from before a time."""
    tx.execute("DELETE FROM attempts WHERE attempt_time < %s", (before,))
