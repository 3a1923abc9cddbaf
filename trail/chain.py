"""Verifies the chain of an audit trail: recomputes the hash of each row, and checks its mark and
the heads that other services store.

Nothing that the database states about the chain is trusted.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from chassis.audit import Head, Marker
from chassis.db import BoundedConnection, Transaction


@dataclass(frozen=True)
class Finding:
    """A place at which the trail is not valid. `reason` is altered, missing, forked (another row
    was witnessed there), cut (rows after the end were witnessed), forged (the mark was not made
    with the service's key), unmarked (no mark), untied (the row names a worker or an API key, but
    no token) or repeated (a copy of an earlier row).
    """

    sequence: int
    reason: str


_ROLLING_UPDATE = timedelta(hours=1)
"""Time after the first marked row during which the previous version, which makes no marks, may
still be running.
"""

# Rows in the format that their hashes cover, made with built-in functions only (migration 3 has the
# same format). In each line, the hash of the row stands before the row, and the token and the mark
# after it. `plain` is false for a row whose fields contain a character that could give two
# different rows the same line.
_LINES = (
    "SELECT convert_to(concat_ws(E'\\t', encode(hash, 'hex'), sequence, (extract(epoch"
    " FROM time) * 1000000)::bigint, (extract(epoch FROM recorded_time) * 1000000)::bigint,"
    " actor_kind, actor_id, organization_id, action, object_id, purpose_code,"
    " array_to_string(detail_codes, ','), allowed::int, reason, coalesce(token_hash, ''),"
    " coalesce((extract(epoch FROM token_end) * 1000000)::bigint::text, ''),"
    " coalesce(encode(mark, 'hex'), '')), 'UTF8') AS line,"
    " concat(actor_kind, actor_id, organization_id, action, object_id, purpose_code,"
    " array_to_string(detail_codes, ''), reason, token_hash) !~ '[[:cntrl:]\\\\,]' AS plain"
    " FROM audit WHERE sequence > %s AND sequence <= %s ORDER BY sequence LIMIT %s"
)
_CHUNK = 10_000  # rows that are in memory at once


def first_marked_sequence(tx: Transaction) -> int | None:
    """Returns the sequence of the first row that must have a mark, as must all later rows; None if
    no row needs a mark yet.

    Rows that were written before the update to a version with marks have none.
    """
    row = tx.execute(
        "WITH first AS (SELECT sequence, recorded_time FROM audit WHERE mark IS NOT NULL"
        " ORDER BY sequence LIMIT 1)"
        " SELECT CASE WHEN sequence = 1 THEN 1 ELSE (SELECT min(audit.sequence) FROM audit"
        " WHERE audit.sequence > first.sequence"
        " AND audit.recorded_time > first.recorded_time + %s) END AS sequence FROM first",
        (_ROLLING_UPDATE,),
    ).fetchone()
    return row["sequence"] if row else None


def repeated_marks(tx: Transaction, after: int, until: int) -> list[Finding]:
    """Returns a finding for each row after the sequence `after`, up to `until`, that has the same
    mark, and so the same time, as an earlier row: each mark is made only once.
    """
    rows = tx.execute(
        "SELECT sequence FROM audit WHERE sequence > %s AND sequence <= %s"
        " AND EXISTS (SELECT FROM audit AS earlier"
        " WHERE earlier.time = audit.time AND earlier.mark = audit.mark"
        " AND earlier.sequence < audit.sequence) ORDER BY sequence",
        (after, until),
    )
    return [Finding(row["sequence"], "repeated") for row in rows]


def verify(
    tx: Transaction,
    after: Head,
    until: int,
    witnessed: Mapping[int, Iterable[bytes]],
    marked_since: int | None = None,
) -> tuple[Head, list[Finding]]:
    """Recomputes the chain from the row after `after` to the row at `until`; `witnessed` holds the
    hashes that other services store, by sequence.

    Checks marks if the service's own key is available. A row without a mark is a finding if its
    sequence is `marked_since` or higher (see `first_marked_sequence`). Returns the position of
    the last row, with its computed hash (or its stored hash, if the row is altered), and the
    findings; rows that are missing at the end are a finding, too.
    """
    findings: list[Finding] = []
    marker = tx.marker if isinstance(tx, BoundedConnection) else None
    last_sequence, expected_hash = after.sequence, after.hash
    for row, plain in _rows(tx, after.sequence, until):
        stored_hash, _, text = row.partition(b"\t")
        line, token_hash, token_end, mark = text.rsplit(b"\t", 3)
        sequence = int(line[: line.index(b"\t")])
        if sequence != last_sequence + 1:
            findings.append(Finding(last_sequence + 1, "missing"))
        digest = sha256(expected_hash + line)
        is_intact = plain and digest.hexdigest().encode() == stored_hash
        # continues with the stored hash, so that later rows are not all reported as altered
        expected_hash = digest.digest() if is_intact else bytes.fromhex(stored_hash.decode())
        if not is_intact:
            findings.append(Finding(sequence, "altered"))
        if any(witnessed_hash != expected_hash for witnessed_hash in witnessed.get(sequence, ())):
            findings.append(Finding(sequence, "forked"))
        must_be_marked = marked_since is not None and sequence >= marked_since
        reason = (
            _mark_fault(marker, line, token_hash, token_end, mark, must_be_marked=must_be_marked)
            if is_intact and marker
            else ""
        )
        if reason:
            findings.append(Finding(sequence, reason))
        last_sequence = sequence
    if last_sequence < until:
        findings.append(Finding(last_sequence + 1, "missing"))
    return Head(last_sequence, expected_hash), findings


def _rows(tx: Transaction, after: int, until: int) -> Iterator[tuple[bytes, bool]]:
    """Yields the line of each row, and whether its fields are free of separators."""
    while rows := tx.execute(_LINES, (after, until, _CHUNK)).fetchall():
        yield from ((row["line"], row["plain"]) for row in rows)
        after = int(rows[-1]["line"].split(b"\t", 2)[1])


def _mark_fault(
    marker: Marker,
    line: bytes,
    token_hash: bytes,
    token_end: bytes,
    mark: bytes,
    *,
    must_be_marked: bool,
) -> str:
    """Returns the reason why a row's mark does not prove the row; "" if it does, or if the row
    needs no mark.
    """
    if not mark:
        return "unmarked" if must_be_marked else ""
    _, time, _, contents = line.split(b"\t", 3)
    if not marker.is_valid(
        bytes.fromhex(mark.decode()), b"\t".join((time, contents, token_hash, token_end))
    ):
        return "forged"
    return "untied" if not token_hash and contents.startswith((b"worker\t", b"key\t")) else ""


def is_append_only(tx: Transaction) -> bool:
    """Returns True if the service's role can neither change rows of protected tables (their comment
    is `append only` or `owner only`), nor add rows to the `owner only` tables.

    Returns False if no table is protected.
    """
    row = tx.execute(
        "SELECT count(*) > 0 AND bool_and(NOT has_table_privilege(oid, 'UPDATE, DELETE, TRUNCATE')"
        " AND (obj_description(oid, 'pg_class') NOT LIKE 'owner only%'"
        " OR NOT has_table_privilege(oid, 'INSERT'))) AS closed"
        " FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        " AND obj_description(oid, 'pg_class') ~ '^(owner|append) only'"
    ).fetchone()
    return bool(row and row["closed"])
