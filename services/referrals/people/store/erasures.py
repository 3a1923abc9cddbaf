"""Stores proposals and proofs of erasures, and destroys the data of an erased person."""

from collections.abc import Collection
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from chassis.announcements import AT_ONCE, announce
from chassis.db import Row, Transaction
from chassis.errors import Stale
from chassis.wire import Cursor
from facts import outbox
from services.referrals.files.store.caught_up import CAUGHT_UP
from services.referrals.files.store.person_ids import PersonIds
from services.referrals.network.store import members
from services.referrals.people.domain.erasure import PROPOSED_FOR, DestroyedCounts, Erasure
from services.referrals.people.store import person_rows
from services.referrals.people.wire.facts import erasure_fact

CHANNEL = "erasures"
"""The channel that announces completed erasures."""
_PLAIN_COLUMNS = [
    field.name
    for field in fields(Erasure)
    if field.name not in ("destroyed_counts", "proposer_suspended")
]
_COLUMNS = [*_PLAIN_COLUMNS, *(field.name for field in fields(DestroyedCounts))]
_UPSERT = (
    f"INSERT INTO erasures ({', '.join(_COLUMNS)})"
    f" VALUES ({', '.join(f'%({c})s' for c in _COLUMNS)})"
    " ON CONFLICT (person_id) DO UPDATE SET"
    f" {', '.join(f'{c} = excluded.{c}' for c in _COLUMNS if c not in ('id', 'person_id'))}"
    " WHERE erasures.version < excluded.version"
)
_LAPSED = f"({CAUGHT_UP} AND erase_time IS NULL AND NOT lapsed AND propose_time <= %s)"
_PROPOSER_SUSPENDED = members.suspended_condition("erasures.proposed_by_worker_id")


def save(tx: Transaction, erasure: Erasure, verb: str) -> None:
    """Saves a new version of an erasure with its fact; `verb` is "proposed" or "done".

    Raises Stale unless the stored version is older.
    """
    if tx.execute(_UPSERT, _values(erasure)).rowcount != 1:
        raise Stale
    outbox.save(tx, [erasure_fact(erasure, verb)])
    if erasure.erase_time is not None:
        announce(tx, CHANNEL, AT_ONCE)


def of_person(tx: Transaction, person_id: str, *, for_update: bool = False) -> Erasure | None:
    """Returns the erasure of a file, or None if the scope shows none."""
    row = tx.execute(
        f"SELECT *, {_PROPOSER_SUSPENDED} AS proposer_suspended FROM erasures WHERE person_id = %s"
        + (" FOR UPDATE" if for_update else ""),
        (person_id,),
    ).fetchone()
    return _read(row) if row else None


def open_proposals(
    tx: Transaction, organization_id: str, since: datetime, limit: int, after: Cursor | None
) -> tuple[list[Erasure], Cursor | None]:
    """Returns the open proposals that an organisation made after `since`, oldest first.

    The second value is the cursor of the next page.
    """
    time, identifier = after or ("-infinity", "")
    rows = tx.execute(
        "SELECT *, propose_time::text AS key FROM erasures WHERE organization_id = %s"
        f" AND erase_time IS NULL AND propose_time > %s AND NOT {_PROPOSER_SUSPENDED}"
        " AND (propose_time, id) > (%s::timestamptz, %s) ORDER BY propose_time, id LIMIT %s",
        (organization_id, since, time, identifier, limit + 1),
    ).fetchall()
    return [_read(row) for row in rows[:limit]], [
        rows[limit - 1]["key"],
        rows[limit - 1]["id"],
    ] if len(rows) > limit else None


def other_erasures(tx: Transaction, known_ids: Collection[str]) -> list[Erasure]:
    """Returns completed erasures whose ids are not in `known_ids`; at most 500, oldest first."""
    rows = tx.execute(
        "SELECT * FROM erasures WHERE erase_time IS NOT NULL AND NOT id = ANY(%s)"
        " ORDER BY erase_time LIMIT 500",
        (list(known_ids),),
    )
    return [_read(row) for row in rows]


def publish_lapsed(tx: Transaction, now: datetime) -> None:
    """Publishes, once for each proposal, that nobody confirmed it in time."""
    rows = tx.execute(
        f"UPDATE erasures SET version = version + 1, lapsed = true WHERE {_LAPSED} RETURNING *",
        (now - PROPOSED_FOR,),
    ).fetchall()
    outbox.save(tx, [erasure_fact(_read(row), "lapsed") for row in rows])


def has_work(tx: Transaction, known_ids: Collection[str], now: datetime) -> bool:
    """Returns whether the loop of erasures has work.

    It has work if the id of a completed erasure is not in `known_ids`, if a proposal has lapsed, or
    if this store has not caught up.
    """
    row = tx.execute(
        f"SELECT NOT {CAUGHT_UP} OR EXISTS (SELECT FROM erasures WHERE {_LAPSED}"
        " OR (erase_time IS NOT NULL AND NOT id = ANY(%s))) AS has_work",
        (now - PROPOSED_FOR, list(known_ids)),
    ).fetchone()
    return bool(row and row["has_work"])


def note_witnessed(tx: Transaction, published_ids: Collection[str], now: datetime) -> None:
    """Records that these erasures were received back from the topic."""
    tx.execute(
        "UPDATE erasures SET witness_time = %s WHERE id = ANY(%s) AND erase_time IS NOT NULL"
        " AND witness_time IS NULL",
        (now, list(published_ids)),
    )


def people_without_erasure(tx: Transaction, person_ids: Collection[str]) -> set[str]:
    """Returns the ids of the people whose erasure is missing in this store.

    All these people have been erased. If an erasure is missing, the store is a restored copy, which
    still has the person's file or never had it.
    """
    rows = tx.execute(
        "SELECT id FROM unnest(%s::text[]) AS person (id) WHERE NOT EXISTS (SELECT FROM erasures"
        " WHERE person_id = person.id AND erase_time IS NOT NULL)",
        (list(person_ids),),
    )
    return {row["id"] for row in rows}


def note_first_store(tx: Transaction) -> None:
    """Records the id of this store, unless an id is recorded already.

    A restored copy has a different id, and so finds that it has to catch up.
    """
    tx.execute("UPDATE erasure_store SET store = %s WHERE store = ''", (outbox.store(tx),))


def is_caught_up(tx: Transaction) -> bool:
    """Returns whether all erasures that are known outside this store have been applied to it."""
    row = tx.execute(f"SELECT {CAUGHT_UP} AS caught_up").fetchone()
    return bool(row and row["caught_up"])


def note_caught_up(tx: Transaction) -> None:
    """Records that all erasures that are known outside this store have been applied to it."""
    tx.execute(
        "UPDATE erasure_store SET store = %(store)s WHERE store <> %(store)s",
        {"store": outbox.store(tx)},
    )


def destroy(tx: Transaction, ids: PersonIds, now: datetime) -> DestroyedCounts:
    """Destroys a person's key, and deletes or blanks her rows (PARTS); returns the counts.

    Sealed data that stay, such as notes in the history, can't be read without the key. Needs the
    scope of the whole service. If somebody destroys her key by hand instead, database triggers
    still delete her plans and the hashed words of her name.
    """
    row = tx.execute(
        "SELECT (SELECT count(*) FROM contacts WHERE note_sealed IS NOT NULL"
        " AND id = ANY(%(contact_ids)s))"
        " + (SELECT count(*) FROM referral_events e JOIN referrals r ON r.id = e.referral_id"
        " WHERE r.person_id = ANY(%(person_ids)s)"
        "   AND e.note_sealed IS NOT NULL) AS notes",
        vars(ids),
    ).fetchone()
    assert row is not None
    counts = person_rows.erase(tx, ids)
    tx.execute(
        "UPDATE people SET version = version + 1, update_time = %s WHERE id = ANY(%s)",
        (now, ids.person_ids),
    )
    # so that a system that lists changed referrals learns that the coarse data are gone
    tx.execute(
        "UPDATE referrals SET update_time = %s WHERE person_id = ANY(%s)", (now, ids.person_ids)
    )
    return DestroyedCounts(
        sealed_parts=counts["person_sealed"],
        notes=row["notes"] + counts["contact_notes"],
        name_marks=counts["person_names"],
        plans=counts["plans"],
    )


def _values(erasure: Erasure) -> dict[str, Any]:
    return {name: getattr(erasure, name) for name in _PLAIN_COLUMNS} | asdict(
        erasure.destroyed_counts
    )


def _read(row: Row) -> Erasure:
    counts = DestroyedCounts(**{field.name: row[field.name] for field in fields(DestroyedCounts)})
    values = {name: row[name] for name in _PLAIN_COLUMNS}
    return Erasure(
        **values, destroyed_counts=counts, proposer_suspended=row.get("proposer_suspended", False)
    )
