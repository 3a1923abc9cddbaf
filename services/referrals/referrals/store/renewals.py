"""When it is told that a consent ends on which a referral stands."""

from datetime import datetime

from chassis.db import Transaction


def watch(tx: Transaction, referral_id: str, next_time: datetime) -> None:
    """From now on it is this consent's end that is told."""
    tx.execute(
        "INSERT INTO renewals (referral_id, next_time) VALUES (%s, %s)"
        " ON CONFLICT (referral_id) DO UPDATE SET next_time = excluded.next_time",
        (referral_id, next_time),
    )
    tx.execute("SELECT pg_notify('clocks', '')")


def forget(tx: Transaction, referral_id: str) -> None:
    """It was told, or is of no interest any more."""
    tx.execute("DELETE FROM renewals WHERE referral_id = %s", (referral_id,))


def due(tx: Transaction, now: datetime, limit: int) -> list[str]:
    """Referrals whose consent ends soon; claimed for this transaction, so that two processes take
    different ones.
    """
    rows = tx.execute(
        "SELECT id FROM renewals JOIN referrals ON id = referral_id WHERE next_time <= %s"
        " ORDER BY next_time LIMIT %s"
        " FOR UPDATE OF referrals SKIP LOCKED",
        (now, limit),
    )
    return [row["id"] for row in rows]


def put_aside(tx: Transaction, referral_id: str, now: datetime, until: datetime) -> None:
    """Has one that could not be told wait until a moment."""
    tx.execute(
        "UPDATE renewals SET next_time = %s WHERE referral_id = %s AND next_time <= %s",
        (until, referral_id, now),
    )


def next_time(tx: Transaction) -> datetime | None:
    """When the next of these ends is told."""
    row = tx.execute("SELECT min(next_time) AS next FROM renewals").fetchone()
    return row["next"] if row else None
