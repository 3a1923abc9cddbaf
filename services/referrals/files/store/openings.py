"""Reads the accesses to protected data from the trail.

The statements have the actions as literals, because a partial index depends on them.
"""

from datetime import datetime

from chassis.db import Row, Transaction
from chassis.locks import advisory_lock
from facts import outbox
from services.referrals.files.domain.openings import READING
from services.referrals.files.wire.facts import export_fact

_READING = ", ".join(f"'{action}'" for action in READING)


def lock(tx: Transaction, worker_id: str) -> None:
    """Locks the worker until the end of the transaction, which puts the access on the trail.

    So simultaneous accesses are counted one after the other, even in different processes.
    """
    advisory_lock(tx, f"openings/{worker_id}")


def belongs_to(tx: Transaction, identifier: str, organization_id: str) -> bool:
    """Returns whether the person's file or the contact with this id belongs to an organisation."""
    row = tx.execute(
        "SELECT EXISTS (SELECT FROM people WHERE id = %(id)s"
        " AND organization_id = %(organization)s)"
        " OR EXISTS (SELECT FROM contacts WHERE id = %(id)s"
        " AND organization_id = %(organization)s) AS belongs",
        {"id": identifier, "organization": organization_id},
    ).fetchone()
    return bool(row and row["belongs"])


def opened_between(
    tx: Transaction, actor_id: str, start: datetime, end: datetime, *, others_only: bool = False
) -> dict[str, datetime]:
    """Returns when a worker or key last accessed each person and contact in a period.

    `others_only` leaves out files and contacts of the worker's or key's own organisation. An access
    to a contact counts once, although it is on the trail both for the contact and for the person.
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


def publish_export(
    tx: Transaction,
    export_id: str,
    person_id: str,
    organization_id: str,
    worker_id: str,
    time: datetime,
) -> None:
    """Publishes that a person's data sheet was exported. The call itself is on the trail anyway."""
    outbox.save(tx, [export_fact(export_id, person_id, organization_id, worker_id, time)])


def exported_since(
    tx: Transaction, actor_id: str, since: datetime, limit: int, before: int | None
) -> list[Row]:
    """Returns a worker's exports of people's data since `since`, newest first.

    `object_id` of a row is the person. Returns at most `limit` rows, with a sequence below `before`
    unless that is None.
    """
    return tx.execute(
        "SELECT sequence, object_id, time FROM audit WHERE actor_id = %s AND time >= %s"
        " AND action = 'export_person' AND allowed"
        " AND (%s::bigint IS NULL OR sequence < %s) ORDER BY sequence DESC LIMIT %s",
        (actor_id, since, before, before, limit),
    ).fetchall()
