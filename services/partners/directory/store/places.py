"""The beds and other places that referrals take up in services."""

from datetime import datetime

from chassis.db import Row, Transaction


def lock_stay(tx: Transaction, referral_id: str) -> Row | None:
    """Returns the stay of a referral that takes or took room, locked until the transaction ends.

    Its columns are referral_id, service_id, places, take_time and leave_time.
    """
    return tx.execute(
        "SELECT * FROM places_taken WHERE referral_id = %s FOR UPDATE", (referral_id,)
    ).fetchone()


def take(tx: Transaction, referral_id: str, service_id: str, people: int, at: datetime) -> None:
    """Records that the referral takes room from `at` on.

    A referral that took room before keeps its former service and number of places.
    """
    tx.execute(
        "INSERT INTO places_taken (referral_id, service_id, places, take_time)"
        " VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (referral_id) DO UPDATE SET take_time = excluded.take_time, leave_time ="
        " NULL",
        (referral_id, service_id, people, at),
    )


def leave(tx: Transaction, referral_id: str, at: datetime) -> None:
    """Records that the referral no longer takes room from `at` on."""
    tx.execute("UPDATE places_taken SET leave_time = %s WHERE referral_id = %s", (at, referral_id))
