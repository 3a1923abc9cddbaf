"""Changes to entries, each stored in the transaction that makes the change.

A stored change is never altered, except that its values may be deleted.
"""

import json
from collections.abc import Sequence

from chassis.db import Transaction
from chassis.wire import Cursor
from services.partners.network.domain.field_change import FieldChange

_INSERT = (
    "INSERT INTO field_changes (subject_id, organization_id, field, change_time, worker_id,"
    " old_value, new_value)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s)"
)


def save(
    tx: Transaction, subject_id: str, organization_id: str, changes: Sequence[FieldChange]
) -> None:
    """Stores these changes to an entry."""
    save_many(tx, [(subject_id, organization_id, changes)])


def save_many(tx: Transaction, changes: Sequence[tuple[str, str, Sequence[FieldChange]]]) -> None:
    """Stores changes to many entries: for each entry, (subject id, organisation id, changes)."""
    with tx.cursor() as cursor:
        cursor.executemany(
            _INSERT,
            [
                (
                    subject,
                    owner,
                    change.field,
                    change.time,
                    change.worker_id,
                    _json(change.old),
                    _json(change.new),
                )
                for subject, owner, changes_of_subject in changes
                for change in changes_of_subject
            ],
        )


def forget_values(tx: Transaction, subject_id: str, fields: Sequence[str]) -> None:
    """Deletes the old and new values in all stored changes to these fields of a subject.

    Used when a place or a service becomes confidential, because former values would still lead to
    the place.
    """
    tx.execute(
        "UPDATE field_changes SET old_value = NULL, new_value = NULL WHERE subject_id = %s"
        " AND field = ANY(%s)",
        (subject_id, list(fields)),
    )


def page_of(
    tx: Transaction,
    subject_id: str,
    organization_id: str | None,
    size: int,
    after: Cursor | None,
    *,
    without: Sequence[str] = (),
) -> tuple[list[FieldChange], Cursor | None]:
    """Returns a page of changes to a subject, newest first, and the next page's cursor or None.

    `organization_id`: only changes to entries of this organisation; None: of any organisation.
    `without`: SQL patterns for the names of fields that are left out.
    """
    rows = tx.execute(
        "SELECT * FROM field_changes WHERE subject_id = %(subject)s AND (%(owner)s::text IS NULL"
        " OR organization_id = %(owner)s)"
        " AND (%(after)s::bigint IS NULL OR id < %(after)s) AND NOT field LIKE ANY(%(without)s)"
        " ORDER BY id DESC LIMIT %(limit)s",
        {
            "subject": subject_id,
            "without": list(without),
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
