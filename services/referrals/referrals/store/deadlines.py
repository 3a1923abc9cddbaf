"""Saves and reads the deadlines of referrals, and finds the referrals with due deadlines."""

from collections.abc import Callable, Iterable
from datetime import datetime

from chassis.db import Row, Transaction
from services.referrals.network.domain.deadline import CLOCK_FIELDS, Urgency
from services.referrals.referrals.domain.referral import Referral

_TYPES = {
    "referral_id": "text",
    "number": "integer",
    "rank": "smallint",
    "kind": "text",
    "start_time": "timestamptz",
    "due_time": "timestamptz",
    "stop_time": "timestamptz",
    "pause_time": "timestamptz",
    "fired_percent": "integer",
    "policy_version": "integer",
    "next_time": "timestamptz",
}
_CHANGEABLE = "rank start_time due_time stop_time pause_time fired_percent next_time".split()
# Unchanged rows are left out first: ON CONFLICT would lock, and so write, each of them.
_SAVE = (
    f"INSERT INTO clocks ({', '.join(_TYPES)}) SELECT * FROM unnest("
    f"{', '.join(f'%s::{type_}[]' for type_ in _TYPES.values())})"
    f" AS new ({', '.join(_TYPES)})"
    " WHERE NOT EXISTS (SELECT FROM clocks AS c WHERE c.referral_id = new.referral_id"
    f" AND c.number = new.number AND ({', '.join(f'c.{name}' for name in _CHANGEABLE)})"
    f" IS NOT DISTINCT FROM ({', '.join(f'new.{name}' for name in _CHANGEABLE)}))"
    " ON CONFLICT (referral_id, number) DO UPDATE SET"
    f" {', '.join(f'{name} = excluded.{name}' for name in _CHANGEABLE)}"
)


def query_rows(tx: Transaction, identifiers: list[str]) -> Callable[[], list[Row]]:
    """Queries the deadlines of referrals, and returns a function that waits for the rows."""
    return tx.execute(
        f"SELECT referral_id, kind, {', '.join(CLOCK_FIELDS)} FROM clocks"
        " WHERE referral_id = ANY(%s) ORDER BY referral_id, number",
        (identifiers,),
    ).fetchall


def save(tx: Transaction, referrals: Iterable[Referral]) -> None:
    """Saves the deadlines that are new or have changed, in one statement."""
    rows = [
        (
            r.id,
            number,
            r.urgency.rank if r.urgency else 0,
            c.kind.value,
            *(getattr(c, name) for name in CLOCK_FIELDS),
            c.next_time,
        )
        for r in referrals
        for number, c in enumerate(r.deadlines)
    ]
    if rows:
        tx.execute(_SAVE, [list(column) for column in zip(*rows, strict=True)])


def due(tx: Transaction, now: datetime, limit: int) -> list[str]:
    """Returns the ids of referrals with a deadline that has reached a level.

    The most urgent come first; among equally urgent referrals, the longest due. The referrals are
    locked for this transaction, so that two processes take different referrals.
    """
    identifiers = list[str]()
    for rank in sorted((urgency.rank for urgency in Urgency), reverse=True):
        # The ranks are read one after the other, in the order of an index: with all ranks in one
        # statement the planner would sort all due rows each time.
        rows = tx.execute(
            "SELECT id FROM clocks JOIN referrals ON id = referral_id WHERE rank = %s"
            " AND next_time <= %s ORDER BY next_time LIMIT %s"
            " FOR UPDATE OF referrals SKIP LOCKED",
            (rank, now, limit - len(identifiers)),
        ).fetchall()
        identifiers += [row["id"] for row in rows]
        if len(identifiers) == limit:
            break
    return list(dict.fromkeys(identifiers))


def put_aside(tx: Transaction, identifier: str, now: datetime, until: datetime) -> None:
    """Postpones the due levels of a referral until `until`; fired levels and due times stay."""
    tx.execute(
        "UPDATE clocks SET next_time = %s WHERE referral_id = %s AND next_time <= %s",
        (until, identifier, now),
    )


def next_time(tx: Transaction) -> datetime | None:
    """Returns when any referral's deadline next reaches a level; None if no level is left."""
    # the first deadline of each rank, in the order of the index that `due` reads
    row = tx.execute(
        "SELECT min(first.next_time) AS next FROM unnest(%s::smallint[]) AS ranks (rank)"
        " CROSS JOIN LATERAL (SELECT next_time FROM clocks WHERE clocks.rank = ranks.rank"
        " AND next_time IS NOT NULL ORDER BY next_time LIMIT 1) AS first",
        ([urgency.rank for urgency in Urgency],),
    ).fetchone()
    return row["next"] if row else None
