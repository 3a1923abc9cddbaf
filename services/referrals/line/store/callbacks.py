"""Stores callbacks with their facts."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

from chassis.db import Row, Transaction
from chassis.errors import NotFound, Stale
from chassis.wire import Cursor
from facts import outbox
from services.referrals.files.store.person_ids import ids_of
from services.referrals.line.domain.callback import Callback
from services.referrals.line.wire.facts import callback_fact
from services.referrals.network.domain.deadline import CLOCK_FIELDS, Deadline, DeadlineKind
from services.referrals.network.store.deadlines import announce

_PLAIN_COLUMNS = [field.name for field in fields(Callback) if field.name != "clock"]
_COLUMNS = [*_PLAIN_COLUMNS, *(f"clock_{name}" for name in CLOCK_FIELDS), "clock_next_time"]
# Column names, joined once; no value ever becomes part of the text of a statement.
_INSERT = (
    f"INSERT INTO callbacks ({', '.join(_COLUMNS)})"
    f" VALUES ({', '.join(f'%({c})s' for c in _COLUMNS)})"
)
_UPDATE = (
    "UPDATE callbacks SET"
    f" {', '.join(f'{c} = %({c})s' for c in _COLUMNS if c not in ('id', 'create_time'))}"
    " WHERE id = %(id)s AND version = %(version)s - 1"
)


def save(tx: Transaction, callback: Callback, verb: str) -> None:
    """Saves a new callback, or a new version of a callback, with its fact. Raises Stale."""
    if tx.execute(_INSERT if callback.version == 1 else _UPDATE, _values(callback)).rowcount != 1:
        raise Stale
    outbox.save(tx, [callback_fact(callback, verb)])
    announce(tx, "contacts", callback.clock.next_time)


def lock(tx: Transaction, identifier: str) -> Callback:
    """Locks and returns one callback; raises NotFound outside the scope."""
    row = tx.execute("SELECT * FROM callbacks WHERE id = %s FOR UPDATE", (identifier,)).fetchone()
    if row is None:
        raise NotFound
    return _read(row)


def contact_of(tx: Transaction, identifier: str) -> str:
    """Returns the id of the callback's contact; raises NotFound outside the scope."""
    row = tx.execute("SELECT contact_id FROM callbacks WHERE id = %s", (identifier,)).fetchone()
    if row is None:
        raise NotFound
    return str(row["contact_id"])


def first_owed(tx: Transaction, contact_ids: Sequence[str]) -> Callback | None:
    """Returns the callback that is owed to these contacts and due first, or None."""
    row = tx.execute(
        "SELECT * FROM callbacks WHERE contact_id = ANY(%s) AND outcome_code = ''"
        " ORDER BY clock_due_time, id",
        (list(contact_ids),),
    ).fetchone()
    return _read(row) if row else None


def owed_to(tx: Transaction, contact_ids: Sequence[str]) -> list[Callback]:
    """Locks and returns the callbacks that are owed to these contacts."""
    rows = tx.execute(
        "SELECT * FROM callbacks WHERE contact_id = ANY(%s) AND outcome_code = ''"
        " ORDER BY id FOR UPDATE",
        (list(contact_ids),),
    )
    return [_read(row) for row in rows]


def owed_to_person(tx: Transaction, person_id: str) -> list[Callback]:
    """Locks and returns the callbacks that any line owes to a person."""
    return owed_to(tx, ids_of(tx, person_id).contact_ids)


def page(
    tx: Transaction, organization_id: str, limit: int, after: Cursor | None
) -> tuple[list[tuple[Callback, Row]], Cursor | None]:
    """Returns a page of the callbacks that an organisation owes, the earliest due first.

    Each callback comes with the reference hint, the person, the line's country and the department
    of its contact. The second value is the cursor of the next page.
    """
    time, identifier = after or ("-infinity", "")
    rows = tx.execute(
        "SELECT b.*, c.reference_hint, c.line_country, c.department, coalesce(nullif(c.person_id,"
        " ''), (SELECT min(person_id) FROM referrals WHERE contact_id = c.id), '')"
        " AS person_id, b.clock_due_time::text AS key FROM callbacks b"
        " JOIN contacts c ON c.id = b.contact_id"
        " WHERE b.organization_id = %s AND b.outcome_code = ''"
        " AND (b.clock_due_time, b.id) > (%s::timestamptz, %s)"
        " ORDER BY b.clock_due_time, b.id LIMIT %s",
        (organization_id, time, identifier, limit + 1),
    ).fetchall()
    callbacks = [(_read(row), row) for row in rows[:limit]]
    return callbacks, [rows[limit - 1]["key"], rows[limit - 1]["id"]] if len(rows) > limit else None


def due(tx: Transaction, now: datetime, limit: int) -> list[str]:
    """Returns the ids of callbacks whose deadline has reached a level, the earliest first.

    The callbacks are locked for this transaction, so that two processes take different callbacks.
    """
    rows = tx.execute(
        "SELECT id FROM callbacks WHERE clock_next_time <= %s ORDER BY clock_next_time"
        " LIMIT %s FOR UPDATE SKIP LOCKED",
        (now, limit),
    )
    return [row["id"] for row in rows]


def put_aside(tx: Transaction, identifier: str, now: datetime, until: datetime) -> None:
    """Postpones a deadline that could not be fired."""
    tx.execute(
        "UPDATE callbacks SET clock_next_time = %s WHERE id = %s AND clock_next_time <= %s",
        (until, identifier, now),
    )


def _values(callback: Callback) -> dict[str, object]:
    clock = callback.clock
    return {
        **{name: getattr(callback, name) for name in _PLAIN_COLUMNS},
        **{f"clock_{name}": getattr(clock, name) for name in CLOCK_FIELDS},
        "clock_next_time": clock.next_time,
    }


def _read(row: Row) -> Callback:
    clock = Deadline(DeadlineKind.CALLBACK, **{name: row[f"clock_{name}"] for name in CLOCK_FIELDS})
    return Callback(**{name: row[name] for name in _PLAIN_COLUMNS}, clock=clock)
