"""Verifies the chain of the audit trail."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from chassis.audit import Head, Marker
from chassis.db import Bounded, Transaction


@dataclass(frozen=True)
class Finding:
    """Where the trail is not what it was: `reason` is altered, missing, forked (another row was
    witnessed there), cut (rows were witnessed beyond), forged (its mark is not of the service's
    key), unmarked (it has none), untied (a worker's or a key's, without a token) or repeated (a
    copy of an earlier row).
    """

    sequence: int
    reason: str


_ROLLING = timedelta(hours=1)
"""Time after the first marked row in which the version before, which makes none, may still run."""


# A row as it was hashed, by nothing but built-in functions, with its hash before it (migration 3
# says the same), and its mark behind it.
_LINES = (
    "COPY (SELECT encode(hash, 'hex'), sequence, (extract(epoch"
    " FROM time) * 1000000)::bigint, (extract(epoch FROM recorded_time) * 1000000)::bigint,"
    " actor_kind, actor_id, organization_id, action, object_id, purpose_code,"
    " array_to_string(detail_codes, ','), allowed::int, reason,"
    " token_hash, (extract(epoch FROM token_end) * 1000000)::bigint, encode(mark, 'hex')"
    " FROM audit WHERE sequence > %s AND sequence <= %s ORDER BY sequence) TO STDOUT (NULL '')"
)


def marked_since(tx: Transaction) -> int | None:
    """The sequence from which on every row has to be marked; None if there is none yet.

    Rows of before an update have none.
    """
    row = tx.execute(
        "WITH first AS (SELECT sequence, recorded_time FROM audit WHERE mark IS NOT NULL"
        " ORDER BY sequence LIMIT 1)"
        " SELECT CASE WHEN sequence = 1 THEN 1 ELSE (SELECT min(audit.sequence) FROM audit"
        " WHERE audit.sequence > first.sequence"
        " AND audit.recorded_time > first.recorded_time + %s) END AS sequence FROM first",
        (_ROLLING,),
    ).fetchone()
    return row["sequence"] if row else None


def repeated(tx: Transaction) -> list[Finding]:
    """Rows that were copied: a mark is made once."""
    rows = tx.execute(
        "SELECT sequence FROM (SELECT sequence, row_number() OVER (PARTITION BY mark"
        " ORDER BY sequence) AS times FROM audit WHERE mark IS NOT NULL) AS marked"
        " WHERE times > 1 ORDER BY sequence"
    )
    return [Finding(row["sequence"], "repeated") for row in rows]


def verify(
    tx: Transaction,
    after: Head,
    until: int,
    witnessed: Mapping[int, Iterable[bytes]],
    marked: int | None = None,
) -> tuple[Head, list[Finding]]:
    """Computes the chain anew from the row after `after` to the one at `until`; `witnessed` are the
    hashes that others have kept, by sequence.

    Marks are checked where the service's own key is at hand; from the sequence `marked` on
    (`marked_since`) a row without one is a finding. Returns the last row with the hash that it
    should have, and what is wrong up to there. Nothing that the database says of the chain is
    believed.
    """
    findings: list[Finding] = []
    marker = tx.marker if isinstance(tx, Bounded) else None
    last, expected = after.sequence, after.hash
    with tx.cursor() as cursor, cursor.copy(_LINES, (after.sequence, until)) as rows:
        for row in rows:
            kept, _, text = bytes(row[:-1]).partition(b"\t")
            line, token_hash, token_end, mark = text.rsplit(b"\t", 3)
            sequence = int(line[: line.index(b"\t")])
            if sequence != last + 1:
                findings.append(Finding(last + 1, "missing"))
            digest = sha256(expected + line)
            fits = digest.hexdigest().encode() == kept
            # so that the rows behind it are not all called altered
            expected = digest.digest() if fits else bytes.fromhex(kept.decode())
            if not fits:
                findings.append(Finding(sequence, "altered"))
            if any(seen != expected for seen in witnessed.get(sequence, ())):
                findings.append(Finding(sequence, "forked"))
            due = marked is not None and sequence >= marked
            reason = (
                _unproven(marker, line, token_hash, token_end, mark, due=due)
                if fits and marker
                else ""
            )
            if reason:
                findings.append(Finding(sequence, reason))
            last = sequence
    if last < until:
        findings.append(Finding(last + 1, "missing"))
    return Head(last, expected), findings


def _unproven(
    marker: Marker, line: bytes, token_hash: bytes, token_end: bytes, mark: bytes, *, due: bool
) -> str:
    """Returns why the proof of a row does not hold; "" if it does."""
    if not mark:
        return "unmarked" if due else ""
    _, time, _, said = line.split(b"\t", 3)
    if not marker.holds(
        bytes.fromhex(mark.decode()), b"\t".join((time, said, token_hash, token_end))
    ):
        return "forged"
    return "untied" if not token_hash and said.startswith((b"worker\t", b"key\t")) else ""
