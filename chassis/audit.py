"""The trail: who did or read what, for which purpose, and whether it was allowed; ids and codes only, each row chained to the one before.

Written in the transaction of what it records: no row, no change, and no answer. The service's role can add rows, and neither choose their place nor
change or remove any. Who owns the database can; then the chain does not fit any more, or not what others have witnessed of it (chassis.heads).
Limit: who acted is what the service says; a service that was taken over can write false rows from then on, not other ones in their place.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
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


@dataclass(frozen=True)
class Head:
    """A row's place in the chain: its sequence and its hash."""

    sequence: int
    hash: bytes


@dataclass(frozen=True)
class Finding:
    """Where the trail is not what it was: `reason` is altered, missing, forked (another row was witnessed there) or cut (rows were witnessed beyond)."""

    sequence: int
    reason: str


START = Head(0, sha256(b"enlace.audit.v1").digest())
"""What the first row is chained to."""

# A row as it was hashed, by nothing but built-in functions, with its hash before it; migration 3 says the same.
_LINES = (
    "COPY (SELECT encode(hash, 'hex'), sequence, (extract(epoch FROM time) * 1000000)::bigint, (extract(epoch FROM recorded_time) * 1000000)::bigint,"
    " actor_kind, actor_id, organization_id, action, object_id, purpose_code, array_to_string(detail_codes, ','), allowed::int, reason"
    " FROM audit WHERE sequence > %s AND sequence <= %s ORDER BY sequence) TO STDOUT"
)


def record(tx: Transaction, caller: Caller, time: datetime, entries: Sequence[Entry], *, refused: str = "") -> None:
    """Adds entries to the trail; `refused` is the reason when they were not allowed.

    The last act of a transaction: from here on nobody else can write to the trail until it ends.
    """
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
    """Whether the tables that say so of themselves are closed to changes by the service's role."""
    row = tx.execute(
        "SELECT count(*) > 0 AND bool_and(NOT has_table_privilege(oid, 'UPDATE, DELETE, TRUNCATE')"
        " AND (obj_description(oid, 'pg_class') NOT LIKE 'owner only%' OR NOT has_table_privilege(oid, 'INSERT'))) AS closed"
        " FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND obj_description(oid, 'pg_class') ~ '^(owner|append) only'"
    ).fetchone()
    return bool(row and row["closed"])


def readings(tx: Transaction, object_id: str, actions: Sequence[str], *, limit: int, before: int | None = None) -> list[dict[str, Any]]:
    """Returns who did these actions on an object, newest first; `before` is a sequence to go on from.

    Somebody who does the same several times within an hour by the clock did it once; each refusal is listed.
    """
    return tx.execute(
        "SELECT sequence, time, actor_kind, actor_id, organization_id, action, purpose_code, detail_codes, allowed FROM ("
        " SELECT *, row_number() OVER (PARTITION BY actor_id, action, purpose_code, detail_codes, date_trunc('hour', time),"
        " CASE WHEN allowed THEN 0 ELSE sequence END ORDER BY sequence) AS times FROM audit WHERE object_id = %s AND action = ANY(%s)) AS acts"
        " WHERE times = 1 AND (%s::bigint IS NULL OR sequence < %s) ORDER BY sequence DESC LIMIT %s",
        (object_id, list(actions), before, before, limit),
    ).fetchall()


def search(
    tx: Transaction,
    *,
    object_id: str = "",
    actor_id: str = "",
    organization_id: str = "",
    action: str = "",
    start: datetime | None = None,
    end: datetime | None = None,
    refused: bool = False,
    limit: int,
    before: int | None = None,
) -> list[dict[str, Any]]:
    """Rows of the trail, newest first; what is empty does not narrow it. `before` is a sequence to go on from."""
    return tx.execute(
        "SELECT sequence, time, actor_kind, actor_id, organization_id, action, object_id, purpose_code, detail_codes, allowed, reason FROM audit"
        " WHERE (%(object_id)s = '' OR object_id = %(object_id)s) AND (%(actor_id)s = '' OR actor_id = %(actor_id)s)"
        " AND (%(organization_id)s = '' OR organization_id = %(organization_id)s) AND (%(action)s = '' OR action = %(action)s)"
        " AND (%(start)s::timestamptz IS NULL OR time >= %(start)s) AND (%(end)s::timestamptz IS NULL OR time < %(end)s)"
        " AND (NOT %(refused)s OR NOT allowed) AND (%(before)s::bigint IS NULL OR sequence < %(before)s) ORDER BY sequence DESC LIMIT %(limit)s",
        {
            "object_id": object_id,
            "actor_id": actor_id,
            "organization_id": organization_id,
            "action": action,
            "start": start,
            "end": end,
            "refused": refused,
            "limit": limit,
            "before": before,
        },
    ).fetchall()


def head(tx: Transaction) -> Head:
    """The last row, as the database keeps it apart."""
    row = tx.execute("SELECT sequence, hash FROM audit_head").fetchone()
    return Head(row["sequence"], bytes(row["hash"])) if row else Head(-1, b"")


def verify(tx: Transaction, after: Head, until: int, witnessed: Mapping[int, Iterable[bytes]]) -> tuple[Head, list[Finding]]:
    """Computes the chain anew from the row after `after` to the one at `until`; `witnessed` are the hashes that others have kept, by sequence.

    Returns the last row with the hash that it should have, and what is wrong up to there. Nothing that the database says of the chain is believed.
    """
    findings: list[Finding] = []
    last, expected = after.sequence, after.hash
    with tx.cursor() as cursor, cursor.copy(_LINES, (after.sequence, until)) as rows:
        for row in rows:
            kept, _, line = bytes(row[:-1]).partition(b"\t")
            sequence = int(line[: line.index(b"\t")])
            if sequence != last + 1:
                findings.append(Finding(last + 1, "missing"))
            digest = sha256(expected + line)
            if digest.hexdigest().encode() != kept:
                findings.append(Finding(sequence, "altered"))
                expected = bytes.fromhex(kept.decode())  # so that the rows behind it are not all called altered
            else:
                expected = digest.digest()
            if any(seen != expected for seen in witnessed.get(sequence, ())):
                findings.append(Finding(sequence, "forked"))
            last = sequence
    if last < until:
        findings.append(Finding(last + 1, "missing"))
    return Head(last, expected), findings
