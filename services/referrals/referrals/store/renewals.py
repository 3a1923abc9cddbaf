"""The times at which to report that the consent of a referral ends soon."""

from datetime import datetime

from chassis.db import Transaction
from services.referrals.network.store.deadlines import announce


def schedule(tx: Transaction, referral_id: str, next_time: datetime) -> None:
    """Stores the time to report that a referral's consent ends soon; replaces an earlier time."""
    tx.execute(
        "INSERT INTO renewals (referral_id, next_time) VALUES (%s, %s)"
        " ON CONFLICT (referral_id) DO UPDATE SET next_time = excluded.next_time",
        (referral_id, next_time),
    )
    announce(tx, "renewals", next_time)


def check_again(tx: Transaction, person_id: str, now: datetime) -> None:
    """Makes the times of a person's referrals due, since a consent may end at another age now."""
    tx.execute(
        "UPDATE renewals SET next_time = %s WHERE referral_id IN"
        " (SELECT id FROM referrals WHERE person_id = %s)",
        (now, person_id),
    )
    announce(tx, "renewals", now)


def forget(tx: Transaction, referral_id: str) -> None:
    """Deletes the time for a consent whose end was reported or no longer matters."""
    tx.execute("DELETE FROM renewals WHERE referral_id = %s", (referral_id,))


def due(tx: Transaction, now: datetime, limit: int) -> list[str]:
    """Returns the ids of referrals with a notice that is due, the longest due first.

    The referrals are locked for this transaction, so that two processes take different referrals.
    """
    rows = tx.execute(
        "SELECT id FROM renewals JOIN referrals ON id = referral_id WHERE next_time <= %s"
        " ORDER BY next_time LIMIT %s"
        " FOR UPDATE OF referrals SKIP LOCKED",
        (now, limit),
    )
    return [row["id"] for row in rows]


def put_aside(tx: Transaction, referral_id: str, now: datetime, until: datetime) -> None:
    """Postpones a referral's notice that could not be recorded."""
    tx.execute(
        "UPDATE renewals SET next_time = %s WHERE referral_id = %s AND next_time <= %s",
        (until, referral_id, now),
    )


def next_time(tx: Transaction) -> datetime | None:
    """Returns the time of the next notice; None if none is left."""
    row = tx.execute("SELECT min(next_time) AS next FROM renewals").fetchone()
    return row["next"] if row else None
