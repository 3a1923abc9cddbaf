"""Stores emergency accesses with their facts."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

from chassis.db import Row, Transaction
from chassis.errors import NotFound, Stale
from chassis.wire import Cursor
from facts import outbox
from keys.sealing import SealingKey
from services.referrals.files.domain.emergency import EmergencyAccess
from services.referrals.files.wire.facts import emergency_fact
from services.referrals.network.store.deadlines import announce

_COLUMNS = [field.name for field in fields(EmergencyAccess)]
_CHANGEABLE = (
    "end_time",
    "version",
    "ended",
    "overdue",
    "review_time",
    "reviewed_by_worker_id",
    "review_code",
    "next_time",
)


def add(tx: Transaction, emergency: EmergencyAccess, key: SealingKey, note: str) -> None:
    """Inserts an emergency access and its fact."""
    columns = [*_COLUMNS, "note", "next_time"]
    tx.execute(
        f"INSERT INTO emergencies ({', '.join(columns)})"
        f" VALUES ({', '.join(f'%({c})s' for c in columns)})",
        _values(emergency) | {"note": key.seal(note, _context(emergency.id))},
    )
    outbox.save(tx, [emergency_fact(emergency, "opened", emergency.create_time)])
    announce(tx, "emergencies", emergency.next_time)


def change(tx: Transaction, emergency: EmergencyAccess, verb: str, now: datetime) -> None:
    """Saves a new version of an emergency access, with its fact. Raises Stale."""
    row_count = tx.execute(
        f"UPDATE emergencies SET {', '.join(f'{c} = %({c})s' for c in _CHANGEABLE)}"
        " WHERE id = %(id)s AND version = %(version)s - 1",
        _values(emergency),
    ).rowcount
    if row_count != 1:
        raise Stale
    outbox.save(tx, [emergency_fact(emergency, verb, now)])
    announce(tx, "emergencies", emergency.next_time)


def get(tx: Transaction, identifier: str, *, for_update: bool = False) -> EmergencyAccess:
    """Returns one emergency access; raises NotFound outside the scope."""
    row = tx.execute(
        "SELECT * FROM emergencies WHERE id = %s" + (" FOR UPDATE" if for_update else ""),
        (identifier,),
    ).fetchone()
    if row is None:
        raise NotFound
    return _read(row)


def note(tx: Transaction, identifier: str, key: SealingKey) -> str:
    """Returns the note of an emergency access. The calling code must record the access."""
    row = tx.execute("SELECT note FROM emergencies WHERE id = %s", (identifier,)).fetchone()
    assert row is not None, "it was read before"
    return key.open(row["note"], _context(identifier))


def live_of(
    tx: Transaction, worker_id: str, referral_id: str, now: datetime
) -> EmergencyAccess | None:
    """Returns the emergency access with which a worker may open the data of a referral's person.

    Returns None if the worker has no live access.
    """
    row = tx.execute(
        "SELECT * FROM emergencies WHERE worker_id = %s AND referral_id = %s AND NOT ended"
        " AND end_time > %s ORDER BY end_time DESC LIMIT 1",
        (worker_id, referral_id, now),
    ).fetchone()
    return _read(row) if row else None


def referral_ids_with_live_access(
    tx: Transaction, person_ids: Sequence[str], now: datetime
) -> set[str]:
    """Returns the ids of the referrals whose receiver has a live emergency access to a person."""
    rows = tx.execute(
        "SELECT referral_id FROM emergencies WHERE person_id = ANY(%s) AND NOT ended"
        " AND end_time > %s",
        (list(person_ids), now),
    )
    return {row["referral_id"] for row in rows}


def owes_review(tx: Transaction, organization_id: str, now: datetime) -> bool:
    """Returns whether the review of any emergency access by this organisation is overdue."""
    return (
        tx.execute(
            "SELECT FROM emergencies WHERE organization_id = %s AND review_time IS NULL"
            " AND review_due_time <= %s LIMIT 1",
            (organization_id, now),
        ).fetchone()
        is not None
    )


def open_of_person(tx: Transaction, person_id: str, organization_id: str) -> list[EmergencyAccess]:
    """Locks and returns the emergency accesses to a person that have not ended.

    `organization_id` selects the accesses by one organisation; "" selects all.
    """
    rows = tx.execute(
        "SELECT * FROM emergencies WHERE person_id = %s AND NOT ended"
        " AND %s IN ('', organization_id) ORDER BY id FOR UPDATE",
        (person_id, organization_id),
    )
    return [_read(row) for row in rows]


def page(
    tx: Transaction,
    limit: int,
    after: Cursor | None,
    *,
    person_id: str,
    referral_id: str,
    waiting: bool,
) -> tuple[list[EmergencyAccess], Cursor | None]:
    """Returns the emergency accesses that the scope shows, newest first.

    `waiting` selects accesses without a review. The second value is the cursor of the next page.
    """
    time, identifier = after or ("infinity", "")
    rows = tx.execute(
        "SELECT *, create_time::text AS key FROM emergencies WHERE %s IN ('', person_id)"
        " AND %s IN ('', referral_id)"
        " AND (review_time IS NULL OR NOT %s) AND (create_time < %s::timestamptz"
        " OR (create_time = %s::timestamptz AND id > %s))"
        " ORDER BY create_time DESC, id LIMIT %s",
        (person_id, referral_id, waiting, time, time, identifier, limit + 1),
    ).fetchall()
    next_cursor = [rows[limit - 1]["key"], rows[limit - 1]["id"]] if len(rows) > limit else None
    return [_read(row) for row in rows[:limit]], next_cursor


def due(tx: Transaction, now: datetime, limit: int) -> list[str]:
    """Returns the ids of emergency accesses with an event that is due.

    The accesses are locked for this transaction, so that two processes take different accesses.
    """
    rows = tx.execute(
        "SELECT id FROM emergencies WHERE next_time <= %s ORDER BY next_time"
        " LIMIT %s FOR UPDATE SKIP LOCKED",
        (now, limit),
    )
    return [row["id"] for row in rows]


def put_aside(tx: Transaction, identifier: str, now: datetime, until: datetime) -> None:
    """Postpones an event that failed."""
    tx.execute(
        "UPDATE emergencies SET next_time = %s WHERE id = %s AND next_time <= %s",
        (until, identifier, now),
    )


def next_time(tx: Transaction) -> datetime | None:
    """Returns the time of the next event of any emergency access; None if none is left."""
    row = tx.execute(
        "SELECT min(next_time) AS next FROM emergencies WHERE next_time IS NOT NULL"
    ).fetchone()
    return row["next"] if row else None


def _context(identifier: str) -> str:
    return f"emergencies/{identifier}/note"


def _values(emergency: EmergencyAccess) -> dict[str, object]:
    return {**vars(emergency), "next_time": emergency.next_time}


def _read(row: Row) -> EmergencyAccess:
    return EmergencyAccess(**{name: row[name] for name in _COLUMNS})
