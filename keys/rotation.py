"""Re-seals ("rewraps") data that was sealed with a service's older keys, using its newest key.

The service keeps running meanwhile: the work is done in batches, each in its own transaction. Each
sealed value starts with the number of its key, so the rows themselves record the progress. The
rotation may be killed at any moment and started again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chassis.db import Database, Transaction
from chassis.tokens import SYSTEM
from keys.sealing import CannotOpen, Keyring

_BATCH = 500


@dataclass(frozen=True)
class SealedColumn:
    """A column whose values the service seals: its table, the columns that identify a row, and the
    context built from them.
    """

    table: str
    column: str
    ids: tuple[str, ...]
    context: str  # a format string; {0}, {1} stand for the ids
    # selects the rows that are sealed with the service's keys, not with another key
    where: str = "true"


DEAD_LETTERS = SealedColumn("dead_letters", "sealed", ("consumer", "id"), "dead_letters/{0}/{1}")
"""The sealed column that each service has."""


def count_older(tx: Transaction, keyring: Keyring, columns: Sequence[SealedColumn]) -> int:
    """Returns the number of rows that are not yet sealed with the newest key."""
    return _count_others(tx, [keyring.newest_prefix], columns)


def count_keyless(tx: Transaction, keyring: Keyring, columns: Sequence[SealedColumn]) -> int:
    """Returns the number of rows that are sealed with none of the current keys, e.g. after a
    restore of a copy that was made before their key was retired.
    """
    return _count_others(tx, keyring.prefixes, columns)


def _count_others(
    tx: Transaction, prefixes: Sequence[bytes], columns: Sequence[SealedColumn]
) -> int:
    counts = [
        tx.execute(
            f"SELECT count(*) AS n FROM {sealed.table} WHERE {_other_condition(sealed, prefixes)}"
        ).fetchone()
        for sealed in columns
    ]
    return sum(row["n"] for row in counts if row)


def rewrap(
    database: Database,
    keyring: Keyring,
    columns: Sequence[SealedColumn],
    on_progress: Callable[[int], object] = lambda _: None,
) -> tuple[int, int]:
    """Rewraps all rows that are not yet sealed with the newest key; returns the number of rewrapped
    rows, and the number of rows that cannot be opened, which are logged and skipped. After each
    batch, calls `on_progress` with the number of rows rewrapped so far.
    """
    rewrapped_count = broken_count = 0
    for sealed in columns:
        after: list[str] = [""] * len(sealed.ids)
        while True:
            with database.transaction(SYSTEM, timeout=30) as tx:
                rewrapped, broken, last = _rewrap_batch(tx, keyring, sealed, after)
            rewrapped_count += rewrapped
            broken_count += broken
            if last is None:
                break
            after = last
            on_progress(rewrapped_count)
    return rewrapped_count, broken_count


def _rewrap_batch(
    tx: Transaction, keyring: Keyring, sealed: SealedColumn, after: Sequence[str]
) -> tuple[int, int, list[str] | None]:
    ids = ", ".join(sealed.ids)
    rows = tx.execute(
        f"SELECT {ids}, {sealed.column} AS sealed FROM {sealed.table}"
        f" WHERE ({ids}) > ({', '.join(['%s'] * len(sealed.ids))})"
        f" AND {_other_condition(sealed, [keyring.newest_prefix])}"
        f" ORDER BY {ids} LIMIT {_BATCH} FOR UPDATE",
        tuple(after),
    ).fetchall()
    changes, broken_count = [], 0
    for row in rows:
        values = [row[name] for name in sealed.ids]
        try:
            changes.append(
                (keyring.rewrap(bytes(row["sealed"]), sealed.context.format(*values)), *values)
            )
        except CannotOpen as damaged:
            broken_count += 1
            damaged.alarm()
    with tx.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {sealed.table} SET {sealed.column} = %s"
            f" WHERE {' AND '.join(f'{name} = %s' for name in sealed.ids)}",
            changes,
        )
    return len(changes), broken_count, [rows[-1][name] for name in sealed.ids] if rows else None


def _other_condition(sealed: SealedColumn, prefixes: Sequence[bytes]) -> str:
    """Returns the SQL condition for rows whose sealed value begins with none of these prefixes.

    The condition is built only from names defined in this project and from hexadecimal digits,
    never from input.
    """
    return f"({sealed.where}) AND {sealed.column} IS NOT NULL" + "".join(
        f" AND substring({sealed.column} FROM 1 FOR {len(prefix)}) <> '\\x{prefix.hex()}'::bytea"
        for prefix in prefixes
    )
