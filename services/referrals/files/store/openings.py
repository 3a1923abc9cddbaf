"""What the trail says of who looked at what.

The acts stand in the statements, for an index goes by them.
"""

from datetime import datetime

from chassis import outbox
from chassis.db import Row, Transaction, take_turn
from services.referrals.files.domain.openings import READING
from services.referrals.files.wire.facts import export_fact

_READING = ", ".join(f"'{action}'" for action in READING)


def hold(tx: Transaction, worker_id: str) -> None:
    """Whoever looks at something takes her own turn until that is on record, in whichever process:
    many at once are all counted.
    """
    take_turn(tx, f"openings/{worker_id}")


def is_of(tx: Transaction, identifier: str, organization_id: str) -> bool:
    """Whether this person's file, or this contact, is an organisation's own."""
    row = tx.execute(
        "SELECT EXISTS (SELECT FROM people WHERE id = %(id)s"
        " AND organization_id = %(organization)s)"
        " OR EXISTS (SELECT FROM contacts WHERE id = %(id)s"
        " AND organization_id = %(organization)s) AS own",
        {"id": identifier, "organization": organization_id},
    ).fetchone()
    return bool(row and row["own"])


def opened_between(
    tx: Transaction, actor_id: str, start: datetime, end: datetime, *, others_only: bool = False
) -> dict[str, datetime]:
    """What a worker or key has looked at in this time, and when last; `others_only`: without the
    files and contacts of its own organisation.

    A person's contact is one thing, though it is on record with both.
    """
    rows = tx.execute(
        "SELECT object_id, max(time) AS time FROM audit AS a WHERE actor_id = %s AND time > %s"
        f" AND time < %s AND allowed AND action IN ({_READING})"
        " AND NOT (action = 'read_contact' AND cardinality(detail_codes) > 1)"
        " AND NOT (%s AND (EXISTS (SELECT FROM people AS p WHERE p.id = a.object_id"
        " AND p.organization_id = a.organization_id)"
        " OR EXISTS (SELECT FROM contacts AS c WHERE c.id = a.object_id"
        " AND c.organization_id = a.organization_id)))"
        " GROUP BY object_id",
        (actor_id, start, end, others_only),
    )
    return {row["object_id"]: row["time"] for row in rows}


def note_export(
    tx: Transaction,
    export_id: str,
    person_id: str,
    organization_id: str,
    worker_id: str,
    time: datetime,
) -> None:
    """Tells that the sheet of a person leaves as a file. The act itself is on the trail."""
    outbox.keep(tx, [export_fact(export_id, person_id, organization_id, worker_id, time)])


def exported_since(
    tx: Transaction, actor_id: str, since: datetime, limit: int, before: int | None
) -> list[Row]:
    """Of whom a worker exported the sheet since then (`object_id`), and when, the newest first;
    `before` is a sequence to go on from.
    """
    return tx.execute(
        "SELECT sequence, object_id, time FROM audit WHERE actor_id = %s AND time >= %s"
        " AND action = 'export_person' AND allowed"
        " AND (%s::bigint IS NULL OR sequence < %s) ORDER BY sequence DESC LIMIT %s",
        (actor_id, since, before, before, limit),
    ).fetchall()
