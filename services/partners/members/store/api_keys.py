"""API keys; only the hash of a secret is stored."""

from datetime import datetime

from chassis.db import Row, Transaction, skip_if_disk_full
from facts import outbox
from services.partners.members.domain.api_key import ApiKey, ApiKeyEntry
from services.partners.members.wire import facts


def add(tx: Transaction, key: ApiKey, secret_hash: bytes) -> None:
    """Stores a new key with its facts."""
    tx.execute(
        "INSERT INTO api_keys (id, version, organization_id, label, scopes, secret_hash,"
        " create_time, update_time, expire_time, worker_id,"
        " made_by_worker_id, unconfirmed) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            key.id,
            key.version,
            key.organization_id,
            key.entry.label,
            list(key.entry.scopes),
            secret_hash,
            key.create_time,
            key.update_time,
            key.entry.expire_time,
            key.worker_id,
            key.made_by_worker_id,
            key.unconfirmed,
        ),
    )
    _publish(tx, key)


def save(tx: Transaction, key: ApiKey) -> None:
    """Stores those fields of a key that may change, and the key's facts."""
    tx.execute(
        "UPDATE api_keys SET version = %s, update_time = %s, revoke_time = %s, worker_id = %s,"
        " unconfirmed = %s, confirmed_by_worker_id = %s"
        " WHERE id = %s",
        (
            key.version,
            key.update_time,
            key.revoke_time,
            key.worker_id,
            key.unconfirmed,
            key.confirmed_by_worker_id,
            key.id,
        ),
    )
    _publish(tx, key)


def fetch(tx: Transaction, id: str, *, lock: bool = False) -> tuple[ApiKey, bytes] | None:
    """Returns a key and the hash of its secret; with `lock` its row is locked."""
    row = tx.execute(
        f"SELECT * FROM api_keys WHERE id = %s {'FOR UPDATE' if lock else ''}", (id,)
    ).fetchone()
    return (read(row), bytes(row["secret_hash"])) if row else None


def keys_of(tx: Transaction, organization_id: str) -> list[ApiKey]:
    """Returns all keys of an organisation, newest first."""
    rows = tx.execute(
        "SELECT * FROM api_keys WHERE organization_id = %s ORDER BY create_time DESC, id",
        (organization_id,),
    )
    return [read(row) for row in rows]


def lapsing_with(tx: Transaction, worker_id: str) -> list[ApiKey]:
    """Locks and returns the unrevoked keys that lapse when a manager's account ends."""
    rows = tx.execute(
        "SELECT * FROM api_keys WHERE worker_id = %s AND revoke_time IS NULL"
        " ORDER BY id FOR UPDATE",
        (worker_id,),
    )
    return [read(row) for row in rows]


def decided_by(tx: Transaction, worker_id: str, since: datetime, now: datetime) -> list[ApiKey]:
    """Returns the keys that a manager created at or after `since`.

    Also returns keys that she confirmed or answers for, if they changed at or after `since`.
    Revoked and expired keys are left out.
    """
    rows = tx.execute(
        "SELECT * FROM api_keys WHERE revoke_time IS NULL AND expire_time > %(now)s"
        " AND ((made_by_worker_id = %(id)s AND create_time >= %(since)s)"
        " OR ((confirmed_by_worker_id = %(id)s OR worker_id = %(id)s)"
        " AND update_time >= %(since)s))",
        {"id": worker_id, "since": since, "now": now},
    )
    return [read(row) for row in rows]


def count_live(tx: Transaction, organization_id: str, now: datetime) -> int:
    """Returns the number of keys that are neither revoked nor expired."""
    row = tx.execute(
        "SELECT count(*) AS n FROM api_keys WHERE organization_id = %s AND revoke_time IS NULL"
        " AND expire_time > %s",
        (organization_id, now),
    ).fetchone()
    return int(row["n"]) if row else 0


def touch(tx: Transaction, id: str, now: datetime) -> None:
    """Records a use of a key, without a fact and without a new version."""
    with skip_if_disk_full(tx):
        tx.execute("UPDATE api_keys SET last_use_time = %s WHERE id = %s", (now, id))


def is_in_good_standing(tx: Transaction, id: str, organization_id: str, now: datetime) -> bool:
    """Returns whether a key and its organisation may act."""
    return bool(
        tx.execute(
            "SELECT 1 FROM api_keys AS k JOIN organizations AS o ON o.id = k.organization_id"
            " WHERE k.id = %s AND o.id = %s"
            " AND k.revoke_time IS NULL AND NOT k.unconfirmed AND k.expire_time > %s"
            " AND o.status IN ('PROBATION', 'APPROVED')",
            (id, organization_id, now),
        ).fetchone()
    )


def read(row: Row) -> ApiKey:
    """Returns the key that a row describes."""
    return ApiKey(
        id=row["id"],
        version=row["version"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        organization_id=row["organization_id"],
        entry=ApiKeyEntry(row["label"], tuple(row["scopes"]), row["expire_time"]),
        last_use_time=row["last_use_time"],
        revoke_time=row["revoke_time"],
        made_by_worker_id=row["made_by_worker_id"],
        worker_id=row["worker_id"],
        unconfirmed=row["unconfirmed"],
        confirmed_by_worker_id=row["confirmed_by_worker_id"],
    )


def _publish(tx: Transaction, key: ApiKey) -> None:
    outbox.save(tx, facts.api_key_facts(key))
    key.facts.clear()
