"""The origins of accounts, and the devices from which people signed in to them.

Together with mailboxes and accounts at sign-in providers, they show which accounts may belong to
one person.
"""

from collections.abc import Iterator
from datetime import datetime

from chassis.db import Transaction
from services.partners.members.domain.independence import (
    DEVICE_LIFE,
    INVITATION_KINSHIP,
    MAX_RELATED,
)

# Follows relations from one account to its direct kin, and so on, until no more kin are found. Each
# relation is followed in both directions, so that all accounts of a family have the same kin. An
# account becomes kin of the accounts that had used its first device before; a device that a
# colleague uses later, after her own first device, does not make her account kin.
_KIN = """
    WITH RECURSIVE kin (id) AS (
        SELECT %(id)s
        UNION
        SELECT near.id FROM kin CROSS JOIN LATERAL (
            SELECT inviter_id FROM account_origins WHERE worker_id = kin.id AND inviter_id <> ''
                AND time > %(since)s
            UNION ALL SELECT worker_id FROM account_origins WHERE inviter_id = kin.id
                AND time > %(since)s
            UNION ALL SELECT other.id FROM workers AS own JOIN workers AS other USING (mailbox_key)
                WHERE own.id = kin.id
            UNION ALL SELECT other.worker_id FROM account_devices AS own
                JOIN account_devices AS other USING (device_mark)
                WHERE own.worker_id = kin.id AND ((own.first AND other.since <= own.since)
                    OR (other.first AND own.since <= other.since))
            UNION ALL SELECT other.worker_id FROM account_subjects AS own
                JOIN account_subjects AS other USING (issuer, subject_hash)
                WHERE own.worker_id = kin.id
        ) AS near (id)
    ), keys AS (
        SELECT api_keys.id FROM kin JOIN api_keys ON api_keys.worker_id = kin.id
        UNION SELECT api_keys.id FROM kin JOIN api_keys ON api_keys.made_by_worker_id = kin.id
    )
    SELECT id FROM (SELECT id FROM kin UNION SELECT id FROM keys) AS related WHERE id <> %(id)s
        LIMIT %(most)s
"""


def note_origin(tx: Transaction, worker_id: str, inviter_id: str, now: datetime) -> None:
    """Records who invited an account; "" if the network's setup created the account.

    Earlier records stay.
    """
    tx.execute(
        "INSERT INTO account_origins (worker_id, inviter_id, time) VALUES (%s, %s, %s)",
        (worker_id, inviter_id, now),
    )


def note_device(tx: Transaction, worker_id: str, device_mark: bytes, now: datetime) -> None:
    """Records a device from which a worker signed in.

    If it is the account's first device, the device's earlier users become kin of the account.
    """
    tx.execute(
        "INSERT INTO account_devices (worker_id, device_mark, first, since, time)"
        " VALUES (%(id)s, %(mark)s, NOT EXISTS (SELECT FROM account_devices"
        " WHERE worker_id = %(id)s), %(now)s, %(now)s)"
        " ON CONFLICT (worker_id, device_mark) DO UPDATE SET time = excluded.time",
        {"id": worker_id, "mark": device_mark, "now": now},
    )


def is_origin_known(tx: Transaction, worker_id: str, now: datetime) -> bool:
    """Returns whether the origin of an account is on record, or too long ago to matter."""
    row = tx.execute(
        "SELECT FROM workers AS w WHERE id = %s AND (create_time <= %s OR EXISTS (SELECT"
        " FROM account_origins WHERE worker_id = w.id))",
        (worker_id, now - INVITATION_KINSHIP),
    ).fetchone()
    return row is not None


def related_accounts(tx: Transaction, worker_id: str, now: datetime) -> Iterator[str]:
    """Returns the ids of an account's kin, which are accounts and keys, at most MAX_RELATED + 1.

    The query is sent now, and its result is awaited when the first id is read.
    """
    rows = tx.execute(
        _KIN, {"id": worker_id, "since": now - INVITATION_KINSHIP, "most": MAX_RELATED + 1}
    )
    return (row["id"] for row in rows)


def forget(tx: Transaction, now: datetime) -> int:
    """Deletes devices from which nobody has signed in for DEVICE_LIFE; returns the number of rows.

    Origins stay: they record how an account came about.
    """
    return tx.execute("DELETE FROM account_devices WHERE time <= %s", (now - DEVICE_LIFE,)).rowcount
