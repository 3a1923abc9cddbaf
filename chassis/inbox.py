"""The inbox: which version of each subject a consumer has taken in, so that repeats are ignored and nothing is applied out of order.

The effect of a fact and its row here are one transaction. Repeats are recognised for ever, not for a window of time.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum

from chassis.db import Transaction
from chassis.outbox import Fact


class Place(Enum):
    """Where a fact stands among those already taken in."""

    NEXT = "next"
    SEEN = "seen"
    AHEAD = "ahead"  # one before it is still missing


def place(tx: Transaction, consumer: str, subject: str, version: int) -> Place:
    """Where this version stands; holds the subject for this transaction, so that two consumers of one name can't both apply it."""
    tx.execute("INSERT INTO inbox (consumer, subject, version) VALUES (%s, %s, 0) ON CONFLICT DO NOTHING", (consumer, subject))
    row = tx.execute("SELECT version FROM inbox WHERE consumer = %s AND subject = %s FOR UPDATE", (consumer, subject)).fetchone()
    seen = int(row["version"]) if row else 0
    if version <= seen:
        return Place.SEEN
    return Place.NEXT if version == seen + 1 else Place.AHEAD


def advance(tx: Transaction, consumer: str, subject: str, version: int) -> None:
    """Notes that this version has been taken in (or was given up as a dead letter)."""
    tx.execute("UPDATE inbox SET version = %s WHERE consumer = %s AND subject = %s", (version, consumer, subject))


def seen(tx: Transaction, consumer: str, subjects: Sequence[str]) -> dict[str, int]:
    """The versions already taken in, for a batch: repeats of a replay are passed over without a transaction each."""
    rows = tx.execute("SELECT subject, version FROM inbox WHERE consumer = %s AND subject = ANY(%s)", (consumer, list(subjects))).fetchall()
    return {row["subject"]: row["version"] for row in rows}


def park(tx: Transaction, consumer: str, topic: str, fact: Fact) -> None:
    """Puts a fact aside until the one before it has come."""
    tx.execute(
        "INSERT INTO inbox_parked (consumer, topic, subject, version, type, payload, time) VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (consumer, topic, fact.subject, fact.version, fact.type, fact.payload, fact.time),
    )


def take_parked(tx: Transaction, consumer: str, subject: str, version: int) -> Fact | None:
    """The parked fact of this version, taken out; None when there is none."""
    row = tx.execute(
        "DELETE FROM inbox_parked WHERE consumer = %s AND subject = %s AND version = %s RETURNING subject, version, type, payload, time",
        (consumer, subject, version),
    ).fetchone()
    return Fact(**row) if row else None


def waiting(tx: Transaction, consumer: str, now: datetime, patience: timedelta) -> list[tuple[str, str]]:
    """(topic, subject) of facts parked longer than `patience`: their gap did not close by itself."""
    rows = tx.execute(
        "SELECT DISTINCT topic, subject FROM inbox_parked WHERE consumer = %s AND parked_at < %s", (consumer, now - patience)
    ).fetchall()
    return [(row["topic"], row["subject"]) for row in rows]
