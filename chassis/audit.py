"""The trail: who did or read what, for which purpose, and whether it was allowed; ids and codes only.

Written in the transaction of what it records: no row, no change, and no answer. The service's role can add rows, not change or remove them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chassis.db import Transaction
from chassis.tokens import Caller


@dataclass(frozen=True)
class Entry:
    """One act on one object. `action` is a verb of the business, `object_id` opaque, `detail_codes` e.g. field groups."""

    action: str
    object_id: str
    purpose_code: str = ""
    detail_codes: tuple[str, ...] = ()


def record(tx: Transaction, caller: Caller, time: datetime, entries: Sequence[Entry], *, refused: str = "") -> None:
    """Adds entries to the trail; `refused` is the reason when they were not allowed."""
    with tx.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO audit (time, actor_kind, actor_id, organization_id, action, object_id, purpose_code, detail_codes, allowed, reason)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    time,
                    caller.kind,
                    caller.id,
                    caller.organization_id,
                    e.action,
                    e.object_id,
                    e.purpose_code,
                    list(e.detail_codes),
                    not refused,
                    refused,
                )
                for e in entries
            ],
        )


def is_append_only(tx: Transaction) -> bool:
    """Whether the trail is closed to changes by the service's role."""
    row = tx.execute("SELECT has_table_privilege('audit', 'UPDATE, DELETE, TRUNCATE') AS open").fetchone()
    return bool(row and not row["open"])


def readings(tx: Transaction, object_id: str, actions: Sequence[str], *, limit: int, before: int | None = None) -> list[dict[str, Any]]:
    """The trail of an object, newest first; `before` is a sequence to go on from."""
    return tx.execute(
        "SELECT sequence, time, actor_kind, actor_id, organization_id, action, purpose_code, detail_codes, allowed FROM audit"
        " WHERE object_id = %s AND action = ANY(%s) AND (%s::bigint IS NULL OR sequence < %s) ORDER BY sequence DESC LIMIT %s",
        (object_id, list(actions), before, before, limit),
    ).fetchall()
