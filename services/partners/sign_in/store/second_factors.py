"""Second factors of accounts, and challenges that wait for an answer.

Only hashes of challenges and recovery codes are stored.
"""

from datetime import datetime

from chassis.db import Transaction
from keys.sealing import Keyring
from services.partners.sign_in.domain.second_factor import CHALLENGE_LIFE, Purpose, SecondFactor


def get(tx: Transaction, worker_id: str, *, lock: bool = False) -> SecondFactor | None:
    """Returns an account's app, or None; with `lock`, locked until the transaction ends."""
    row = tx.execute(
        f"SELECT * FROM second_factors WHERE worker_id = %s {'FOR UPDATE' if lock else ''}",
        (worker_id,),
    ).fetchone()
    if row is None:
        return None
    return SecondFactor(
        worker_id,
        row["confirm_time"],
        row["last_step"],
        tuple(bytes(stored) for stored in row["recovery_hashes"]),
    )


def secret(tx: Transaction, keyring: Keyring, worker_id: str) -> bytes:
    """Returns the secret of an account's app, from which codes are made."""
    row = tx.execute(
        "SELECT secret FROM second_factors WHERE worker_id = %s", (worker_id,)
    ).fetchone()
    assert row is not None, "it was read before"
    return keyring.open_bytes(row["secret"], _context(worker_id))


def begin(tx: Transaction, keyring: Keyring, worker_id: str, secret: bytes) -> None:
    """Stores the secret of a new app, which is not in use yet.

    Changes nothing if an app is in use: it may have been activated since the account was read.
    """
    tx.execute(
        "INSERT INTO second_factors (worker_id, secret) VALUES (%s, %s)"
        " ON CONFLICT (worker_id) DO UPDATE SET secret = excluded.secret, last_step = 0"
        " WHERE second_factors.confirm_time IS NULL",
        (worker_id, keyring.seal_bytes(secret, _context(worker_id))),
    )


def save(tx: Transaction, factor: SecondFactor) -> None:
    """Stores the changes to an app."""
    tx.execute(
        "UPDATE second_factors SET confirm_time = %s, last_step = %s, recovery_hashes = %s"
        " WHERE worker_id = %s",
        (factor.confirm_time, factor.last_step, list(factor.recovery_hashes), factor.worker_id),
    )


def end(tx: Transaction, worker_id: str) -> None:
    """Deletes an account's app, and the worker's open challenges."""
    tx.execute("DELETE FROM second_factors WHERE worker_id = %s", (worker_id,))
    drop_challenges(tx, worker_id)


def drop_challenges(tx: Transaction, worker_id: str) -> None:
    """Deletes a worker's open challenges.

    Used when the proof on which the challenges are based is no longer valid.
    """
    tx.execute("DELETE FROM challenges WHERE worker_id = %s", (worker_id,))


def add_challenge(
    tx: Transaction, secret_hash: bytes, worker_id: str | None, purpose: Purpose, now: datetime
) -> None:
    """Stores a challenge. If `worker_id` is None, any worker may answer it."""
    tx.execute(
        "INSERT INTO challenges (secret_hash, worker_id, purpose, create_time)"
        " VALUES (%s, %s, %s, %s)",
        (secret_hash, worker_id, purpose, now),
    )


def challenge_owner(
    tx: Transaction, secret_hash: bytes, now: datetime
) -> tuple[str | None, Purpose] | None:
    """Returns the worker (None: any worker) and the purpose of a challenge; None if it has ended.

    The challenge is locked, so that it is answered only once.
    """
    row = tx.execute(
        "SELECT worker_id, purpose FROM challenges WHERE secret_hash = %s AND create_time > %s"
        " AND create_time < %s FOR UPDATE",
        (secret_hash, now - CHALLENGE_LIFE, now + CHALLENGE_LIFE),
    ).fetchone()
    return (row["worker_id"], Purpose(row["purpose"])) if row else None


def delete_challenge(tx: Transaction, secret_hash: bytes) -> None:
    """Deletes a challenge that was answered correctly."""
    tx.execute("DELETE FROM challenges WHERE secret_hash = %s", (secret_hash,))


def forget(tx: Transaction, now: datetime) -> int:
    """Deletes expired challenges; returns how many."""
    return tx.execute(
        "DELETE FROM challenges WHERE create_time < %s", (now - CHALLENGE_LIFE,)
    ).rowcount


def _context(worker_id: str) -> str:
    return f"second_factors/{worker_id}/secret"
