"""Wraps what is sealed by older keys of a service by its newest, while the service works: in
batches, each a transaction of its own.

How far it has come is what the rows say themselves (each begins with the number of its key), so it
may be killed at any moment and begun again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chassis.db import Database, Transaction
from chassis.tokens import SYSTEM
from keys.sealing import CannotOpen, Keyring

_BATCH = 500


@dataclass(frozen=True)
class Sealed:
    """A column that the service's key seals: its table, what tells its rows apart, and their
    context, by these.
    """

    table: str
    column: str
    ids: tuple[str, ...]
    context: str  # {0}, {1}: the ids
    where: str = "true"  # which rows: in others it holds what another key sealed


DEAD_LETTERS = Sealed("dead_letters", "sealed", ("consumer", "id"), "dead_letters/{0}/{1}")
"""Of every service."""


def remaining(tx: Transaction, keyring: Keyring, columns: Sequence[Sealed]) -> int:
    """How many rows are still sealed by an older key than the newest."""
    counts = [
        tx.execute(
            f"SELECT count(*) AS n FROM {sealed.table} WHERE {_older(sealed, keyring)}"
        ).fetchone()
        for sealed in columns
    ]
    return sum(row["n"] for row in counts if row)


def rewrap(
    database: Database,
    keyring: Keyring,
    columns: Sequence[Sealed],
    going_on: Callable[[int], object] = lambda _: None,
) -> tuple[int, int]:
    """Wraps all; returns how many it did, and how many do not open: those are said in the log, and
    the others go on.
    """
    done = broken = 0
    for sealed in columns:
        after: list[str] = [""] * len(sealed.ids)
        while True:
            with database.transaction(SYSTEM, timeout=30) as tx:
                wrapped, bad, last = _batch(tx, keyring, sealed, after)
            done, broken = done + wrapped, broken + bad
            if last is None:
                break
            after = last
            going_on(done)
    return done, broken


def _batch(
    tx: Transaction, keyring: Keyring, sealed: Sealed, after: Sequence[str]
) -> tuple[int, int, list[str] | None]:
    ids = ", ".join(sealed.ids)
    rows = tx.execute(
        f"SELECT {ids}, {sealed.column} AS sealed FROM {sealed.table}"
        f" WHERE ({ids}) > ({', '.join(['%s'] * len(sealed.ids))})"
        f" AND {_older(sealed, keyring)} ORDER BY {ids} LIMIT {_BATCH} FOR UPDATE",
        tuple(after),
    ).fetchall()
    changed, broken = [], 0
    for row in rows:
        names = [row[name] for name in sealed.ids]
        try:
            changed.append(
                (keyring.rewrap(bytes(row["sealed"]), sealed.context.format(*names)), *names)
            )
        except CannotOpen as damaged:
            broken += 1
            damaged.alarm()
    with tx.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {sealed.table} SET {sealed.column} = %s"
            f" WHERE {' AND '.join(f'{name} = %s' for name in sealed.ids)}",
            changed,
        )
    return len(changed), broken, [rows[-1][name] for name in sealed.ids] if rows else None


def _older(sealed: Sealed, keyring: Keyring) -> str:
    """Of a column that is there: not begun with the mark of the newest key.

    Hexadecimal digits of ours, never what anybody sent.
    """
    mark = keyring.mark
    return (
        f"({sealed.where}) AND {sealed.column} IS NOT NULL"
        f" AND substring({sealed.column} FROM 1 FOR {len(mark)}) <> '\\x{mark.hex()}'::bytea"
    )
