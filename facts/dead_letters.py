"""Dead letters: held facts and unreadable records, which wait for an operator. Operators list them,
retry them, or discard them.

Unreadable records are stored here, sealed; facts.inbox stores held facts.

Discarding is the only way past a fact that can't be applied. The trail records each retry and each
discard with the operator's reason.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chassis import audit
from chassis.db import Transaction
from chassis.tokens import Caller
from facts import inbox, records
from facts.outbox import Fact
from keys.sealing import CannotOpen, Keyring

OPERATIONS = Caller("operations", "system", "")


@dataclass(frozen=True)
class Record:
    """A record as it was read from its topic."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass(frozen=True)
class DeadLetter:
    """A held fact or an unreadable record that waits for an operator.

    `kind` is `held` (a fact; its `id` is subject/version) or `unreadable` (a record).
    """

    kind: str
    consumer: str
    id: str
    topic: str
    reason: str
    attempts: int
    since: datetime
    next_try_time: datetime | None
    type: str = ""


def save(
    tx: Transaction, keyring: Keyring, consumer: str, record: Record, reason: str, now: datetime
) -> bool:
    """Stores a record, sealed; returns False if the same record is already stored."""
    packed = records.pack(record.key, record.value, record.headers)
    identity = hashlib.sha256(packed).hexdigest()[:32]
    return bool(
        tx.execute(
            "INSERT INTO dead_letters (consumer, id, topic, partition, record_offset, reason,"
            " sealed, time) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (
                consumer,
                identity,
                record.topic,
                record.partition,
                record.offset,
                reason,
                keyring.seal_bytes(packed, _context(consumer, identity)),
                now,
            ),
        ).rowcount
    )


def count(tx: Transaction, consumer: str) -> tuple[int, int, int]:
    """Returns three numbers for a consumer: held facts, all waiting facts (held facts included),
    and stored records.
    """
    row = tx.execute(
        "SELECT count(*) FILTER (WHERE reason <> '') AS held, count(*) AS waiting,"
        " (SELECT count(*) FROM dead_letters WHERE consumer = %(consumer)s) AS stored"
        " FROM inbox_parked WHERE consumer = %(consumer)s",
        {"consumer": consumer},
    ).fetchone()
    return (row["held"], row["waiting"], row["stored"]) if row else (0, 0, 0)


def any_held(tx: Transaction) -> bool:
    """Returns True if any consumer of this service has a held fact."""
    return tx.execute("SELECT FROM inbox_parked WHERE reason <> '' LIMIT 1").fetchone() is not None


def take_redriven(
    tx: Transaction, keyring: Keyring, consumer: str, limit: int
) -> list[tuple[str, Record]]:
    """Returns (id, record) for each record that an operator has marked to be read again, at most
    `limit` of them.

    Clears the marks of these records. The records stay stored until `remove`. A record that can't
    be opened is reported and left out.
    """
    rows = tx.execute(
        "UPDATE dead_letters SET redrive = false WHERE (consumer, id) IN"
        " (SELECT consumer, id FROM dead_letters WHERE consumer = %s AND redrive"
        " LIMIT %s FOR UPDATE SKIP LOCKED)"
        " RETURNING id, topic, partition, record_offset, sealed",
        (consumer, limit),
    ).fetchall()
    redriven = []
    for row in rows:
        try:
            packed = keyring.open_bytes(row["sealed"], _context(consumer, row["id"]))
        except CannotOpen as damaged:  # a damaged record must not block the consumer's facts
            damaged.alarm()
        else:
            redriven.append((row["id"], _unpack(row, packed)))
    return redriven


def remove(tx: Transaction, consumer: str, identity: str) -> None:
    """Deletes a stored record, once it has been read or because an operator discards it."""
    tx.execute("DELETE FROM dead_letters WHERE consumer = %s AND id = %s", (consumer, identity))


def list_letters(tx: Transaction) -> list[DeadLetter]:
    """Returns all held facts and unreadable records, of every consumer of this service, oldest
    first.
    """
    rows = tx.execute(
        "SELECT 'held' AS kind, consumer, subject || '/' || version AS id, topic, reason, attempts,"
        " parked_at AS since, next_try_time, type"
        " FROM inbox_parked WHERE reason <> ''"
        " UNION ALL SELECT 'unreadable', consumer, id, topic, reason, 0, time, NULL, ''"
        " FROM dead_letters ORDER BY since, id"
    ).fetchall()
    return [DeadLetter(**row) for row in rows]


def select(
    letters: Sequence[DeadLetter], *, identity: str = "", subject: str = ""
) -> list[DeadLetter]:
    """Returns the letters with this id (several consumers may have a letter with the same id), or
    the held facts of this subject; all letters if neither is given.
    """
    if identity:
        return [letter for letter in letters if letter.id == identity]
    if subject:
        return [
            letter
            for letter in letters
            if letter.kind == "held" and letter.id.rpartition("/")[0] == subject
        ]
    return list(letters)


def redrive(tx: Transaction, letters: Sequence[DeadLetter], reason: str, now: datetime) -> None:
    """Marks these letters, so that the running service retries them at once."""
    for letter in letters:
        if letter.kind == "held":
            subject, _, version = letter.id.rpartition("/")
            tx.execute(
                "UPDATE inbox_parked SET next_try_time = '-infinity' WHERE consumer = %s"
                " AND subject = %s AND version = %s",
                (letter.consumer, subject, int(version)),
            )
        else:
            tx.execute(
                "UPDATE dead_letters SET redrive = true WHERE consumer = %s AND id = %s",
                (letter.consumer, letter.id),
            )
    _record(tx, "redrive_dead_letter", letters, reason, now)


def discard(tx: Transaction, letters: Sequence[DeadLetter], reason: str, now: datetime) -> None:
    """Discards these letters. A held fact then never takes effect, and the later facts of its
    subject can be applied.
    """
    for letter in letters:
        if letter.kind == "held":
            _skip_fact(tx, letter)
        else:
            remove(tx, letter.consumer, letter.id)
    _record(tx, "discard_dead_letter", letters, reason, now)


def _skip_fact(tx: Transaction, letter: DeadLetter) -> None:
    subject, _, version = letter.id.rpartition("/")
    row = tx.execute(
        "SELECT subject, version, type, payload, time, epoch, base FROM inbox_parked"
        " WHERE consumer = %s AND subject = %s AND version = %s",
        (letter.consumer, subject, int(version)),
    ).fetchone()
    if row and inbox.position(tx, letter.consumer, Fact(**row)) is inbox.FactPosition.HELD:
        inbox.advance(tx, letter.consumer, Fact(**row))


def _record(
    tx: Transaction, action: str, letters: Sequence[DeadLetter], reason: str, now: datetime
) -> None:
    entries = [
        audit.Entry(action, letter.id, reason, (letter.kind, letter.consumer, letter.reason))
        for letter in letters
    ]
    audit.record(tx, OPERATIONS, now, entries)


def _context(consumer: str, identity: str) -> str:
    return f"dead_letters/{consumer}/{identity}"


def _unpack(row: dict[str, Any], packed: bytes) -> Record:
    key, value, headers = records.unpack(packed)
    return Record(
        row["topic"],
        row["partition"],
        row["record_offset"],
        key or b"",
        value,
        [(name, header or b"") for name, header in headers],
    )
