"""Attempts to sign in, by keyed hash of the e-mail. An attempt counts as failed from its beginning, so that many at once can't slip through."""

from datetime import datetime

from chassis.db import Transaction
from services.partners.domain.worker import FORGET_ATTEMPTS, pause_after


def begin(tx: Transaction, email_hash: bytes, now: datetime) -> float:
    """Counts an attempt, or returns how many seconds it has to wait instead; then it is not counted."""
    tx.execute(
        "INSERT INTO attempts (email_hash, failures, last_time, blocked_until) VALUES (%s, 0, %s, %s) ON CONFLICT DO NOTHING",
        (email_hash, now, now),
    )
    row = tx.execute("SELECT * FROM attempts WHERE email_hash = %s FOR UPDATE", (email_hash,)).fetchone()
    if row is None:  # somebody signed in with it just now
        return 0.0
    if row["blocked_until"] > now:
        return float((row["blocked_until"] - now).total_seconds())
    failures = 1 if now - row["last_time"] > FORGET_ATTEMPTS else row["failures"] + 1
    tx.execute(
        "UPDATE attempts SET failures = %s, last_time = %s, blocked_until = %s WHERE email_hash = %s",
        (failures, now, now + pause_after(failures), email_hash),
    )
    return 0.0


def forgive(tx: Transaction, email_hash: bytes) -> None:
    """After a success nothing is left of the failures before."""
    tx.execute("DELETE FROM attempts WHERE email_hash = %s", (email_hash,))


def forget(tx: Transaction, now: datetime) -> int:
    """Takes away those of long ago; returns how many."""
    return tx.execute("DELETE FROM attempts WHERE last_time < %s", (now - FORGET_ATTEMPTS,)).rowcount
