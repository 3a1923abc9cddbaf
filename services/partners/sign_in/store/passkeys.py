"""Stores the passkeys of accounts. Of a passkey's two keys, only the public key is stored."""

from chassis.db import Row, Transaction
from services.partners.sign_in.domain.passkey import Passkey


def by_worker(tx: Transaction, worker_id: str) -> list[Passkey]:
    """Returns the passkeys of a worker's account, oldest first."""
    rows = tx.execute(
        "SELECT * FROM passkeys WHERE worker_id = %s ORDER BY create_time, id", (worker_id,)
    )
    return [_read(row) for row in rows]


def by_credential(tx: Transaction, credential_id: bytes) -> Passkey | None:
    """Returns the passkey with this credential id, locked.

    Because of the lock, the passkey's sign-ins happen one after the other.
    """
    row = tx.execute(
        "SELECT * FROM passkeys WHERE credential_id = %s FOR UPDATE", (credential_id,)
    ).fetchone()
    return _read(row) if row else None


def add(tx: Transaction, passkey: Passkey) -> bool:
    """Stores a new passkey. Returns False, and writes nothing, if an account has it already."""
    return bool(
        tx.execute(
            "INSERT INTO passkeys (id, worker_id, credential_id, credential, sign_count, label,"
            " create_time) VALUES (%s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (credential_id) DO NOTHING",
            (
                passkey.id,
                passkey.worker_id,
                passkey.credential_id,
                passkey.credential,
                passkey.sign_count,
                passkey.label,
                passkey.create_time,
            ),
        ).rowcount
    )


def record_use(tx: Transaction, passkey: Passkey) -> None:
    """Stores the passkey's sign count and the time of its last use."""
    tx.execute(
        "UPDATE passkeys SET sign_count = %s, last_use_time = %s WHERE id = %s",
        (passkey.sign_count, passkey.last_use_time, passkey.id),
    )


def delete(tx: Transaction, worker_id: str, id: str = "") -> None:
    """Deletes the worker's passkey with this id, or all the worker's passkeys if `id` is ""."""
    tx.execute(
        "DELETE FROM passkeys WHERE worker_id = %s AND (%s = '' OR id = %s)", (worker_id, id, id)
    )


def _read(row: Row) -> Passkey:
    return Passkey(
        id=row["id"],
        worker_id=row["worker_id"],
        label=row["label"],
        create_time=row["create_time"],
        credential_id=bytes(row["credential_id"]),
        credential=bytes(row["credential"]),
        sign_count=row["sign_count"],
        last_use_time=row["last_use_time"],
    )
