"""What changed of entries: written in the transaction that changes them, never changed."""

import json
from collections.abc import Sequence

from chassis.db import Transaction
from chassis.wire import Position
from services.partners.network.domain.field_change import FieldChange

_KEEP = (
    "INSERT INTO field_changes (subject_id, organization_id, field, change_time, worker_id,"
    " old_value, new_value)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s)"
)


def keep(
    tx: Transaction, subject_id: str, organization_id: str, changes: Sequence[FieldChange]
) -> None:
    """Adds these changes of an entry."""
    keep_many(tx, [(subject_id, organization_id, changes)])


def keep_many(tx: Transaction, changes: Sequence[tuple[str, str, Sequence[FieldChange]]]) -> None:
    """Adds those of many entries: (subject, organisation, changes)."""
    with tx.cursor() as cursor:
        cursor.executemany(
            _KEEP,
            [
                (
                    subject,
                    owner,
                    each.field,
                    each.time,
                    each.worker_id,
                    _json(each.old),
                    _json(each.new),
                )
                for subject, owner, some in changes
                for each in some
            ],
        )


def forget_values(tx: Transaction, subject_id: str, fields: Sequence[str]) -> None:
    """Drops what these fields were: the place has become confidential, and what was said of it
    before leads there still.
    """
    tx.execute(
        "UPDATE field_changes SET old_value = NULL, new_value = NULL WHERE subject_id = %s"
        " AND field = ANY(%s)",
        (subject_id, list(fields)),
    )


def listed(
    tx: Transaction,
    subject_id: str,
    organization_id: str | None,
    size: int,
    after: Position | None,
    *,
    without: str = "",
) -> tuple[list[FieldChange], Position | None]:
    """A page, the newest first, and where the next goes on; `organization_id`: only if it is this
    organisation's; `without`: no fields that begin so.
    """
    rows = tx.execute(
        "SELECT * FROM field_changes WHERE subject_id = %(subject)s AND (%(owner)s::text IS NULL"
        " OR organization_id = %(owner)s)"
        " AND (%(after)s::bigint IS NULL OR id < %(after)s) AND (%(without)s = ''"
        " OR NOT starts_with(field, %(without)s))"
        " ORDER BY id DESC LIMIT %(limit)s",
        {
            "subject": subject_id,
            "without": without,
            "owner": organization_id,
            "after": after[0] if after else None,
            "limit": size + 1,
        },
    ).fetchall()
    changes = [
        FieldChange(
            row["field"], row["change_time"], row["worker_id"], row["old_value"], row["new_value"]
        )
        for row in rows[:size]
    ]
    return changes, [rows[size - 1]["id"]] if len(rows) > size else None


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
