"""The inbox: for each consumer, the last applied version of each subject. A consumer ignores
repeats, never applies a fact out of order, and skips a fact only if an operator discards it.

The effect of a fact and its row here are written in one transaction. Repeats are recognised
forever, not within a window of time. A fact that can't be applied yet waits here, either because an
earlier fact is missing (parked), or because its handler refused it (held, with a reason, the number
of attempts, and the time of the next try).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from chassis.db import Transaction
from facts.outbox import STORE, Fact

# Pauses between two tries of a held fact. Once its cause is repaired, the fact is applied within
# five minutes, or at once after `redrive`.
_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(minutes=5)


class FactPosition(Enum):
    """The position of a fact relative to the facts of its subject that have been applied."""

    NEXT = "next"
    KNOWN = "known"  # the next fact of a new epoch, but already applied in an earlier epoch
    SEEN = "seen"  # already applied, or of an epoch that is over
    AHEAD = "ahead"  # an earlier fact is missing, or held
    # the next fact, but its handler has refused it: it is tried again when it is due, not whenever
    # it is published again
    HELD = "held"


@dataclass(frozen=True)
class WaitingFact:
    """A waiting fact, its topic, the reason if it is held, and how often it was tried."""

    topic: str
    fact: Fact
    reason: str = ""
    attempts: int = 0


def position(tx: Transaction, consumer: str, fact: Fact) -> FactPosition:
    """Returns the position of this fact. Locks its subject for the transaction, so that two
    consumers with the same name can't both apply the fact.

    A fact of a later epoch replaces the history of the subject: versions count from 1 again, and
    versions that both epochs share count as applied.
    """
    parameters = {
        "consumer": consumer,
        "subject": fact.subject,
        "version": fact.version,
        "epoch": fact.epoch,
    }
    tx.execute(
        "INSERT INTO inbox (consumer, subject, version) VALUES (%(consumer)s, %(subject)s, 0)"
        " ON CONFLICT DO NOTHING",
        parameters,
    )
    row = tx.execute(
        "SELECT version, epoch, overtaken, EXISTS (SELECT FROM inbox_parked p"
        " WHERE p.consumer = %(consumer)s AND p.subject = %(subject)s"
        " AND p.version = %(version)s AND p.epoch = %(epoch)s AND p.reason <> '') AS held"
        " FROM inbox WHERE consumer = %(consumer)s AND subject = %(subject)s FOR UPDATE",
        parameters,
    ).fetchone()
    assert row is not None
    version, epoch, overtaken = row["version"], row["epoch"], row["overtaken"]
    if fact.epoch < epoch:
        return FactPosition.SEEN
    if fact.epoch > epoch:
        version, overtaken = 0, max(version, overtaken)
        tx.execute(
            "UPDATE inbox SET epoch = %(epoch)s, version = 0, overtaken = %(overtaken)s"
            " WHERE consumer = %(consumer)s AND subject = %(subject)s",
            {**parameters, "overtaken": overtaken},
        )
    if fact.version <= version:
        return FactPosition.SEEN
    if fact.version > version + 1:
        return FactPosition.AHEAD
    # The last shared fact is applied again if later facts of the old epoch are no longer true.
    went_back = fact.version == fact.base and overtaken > fact.base
    if fact.version <= min(overtaken, fact.base) and not went_back:
        return FactPosition.KNOWN
    return FactPosition.HELD if row["held"] else FactPosition.NEXT


def advance(tx: Transaction, consumer: str, fact: Fact) -> bool:
    """Records that this fact was applied, and removes it from the waiting facts; returns True if
    the next fact of its subject is waiting.
    """
    row = tx.execute(
        "WITH moved AS (UPDATE inbox SET version = %(version)s WHERE consumer = %(consumer)s"
        " AND subject = %(subject)s),"
        " gone AS (DELETE FROM inbox_parked WHERE consumer = %(consumer)s AND subject = %(subject)s"
        " AND version <= %(version)s AND epoch <= %(epoch)s)"
        " SELECT EXISTS (SELECT FROM inbox_parked WHERE consumer = %(consumer)s"
        " AND subject = %(subject)s AND version = %(version)s + 1) AS follows",
        {
            "consumer": consumer,
            "subject": fact.subject,
            "version": fact.version,
            "epoch": fact.epoch,
        },
    ).fetchone()
    return bool(row and row["follows"])


@dataclass(frozen=True)
class AppliedVersion:
    """The last applied version of a subject. `plain` is True if no fact of the subject is waiting,
    and no earlier epoch has to be considered.
    """

    epoch: int
    version: int
    plain: bool


def lock(tx: Transaction, consumer: str, subjects: Collection[str]) -> dict[str, AppliedVersion]:
    """Locks the subjects for the transaction; returns the last applied version of each subject."""
    parameters = {"consumer": consumer, "subjects": sorted(subjects)}
    tx.execute(
        "INSERT INTO inbox (consumer, subject, version)"
        " SELECT %(consumer)s, subject, 0 FROM unnest(%(subjects)s::text[]) AS subject"
        " ON CONFLICT DO NOTHING",
        parameters,
    )
    rows = tx.execute(
        "SELECT subject, epoch, version, overtaken = 0 AND NOT EXISTS (SELECT FROM inbox_parked p"
        " WHERE p.consumer = i.consumer AND p.subject = i.subject) AS plain FROM inbox i"
        " WHERE consumer = %(consumer)s AND subject = ANY(%(subjects)s)"
        " ORDER BY subject FOR UPDATE",
        parameters,
    )
    return {
        row["subject"]: AppliedVersion(row["epoch"], row["version"], row["plain"]) for row in rows
    }


def advance_plain(tx: Transaction, consumer: str, versions: Mapping[str, int]) -> None:
    """Records the last applied versions of subjects that have no waiting fact."""
    tx.execute(
        "UPDATE inbox SET version = applied.version"
        " FROM unnest(%s::text[], %s::bigint[]) AS applied (subject, version)"
        " WHERE consumer = %s AND inbox.subject = applied.subject",
        (list(versions), list(versions.values()), consumer),
    )


def park(tx: Transaction, consumer: str, topic: str, fact: Fact, now: datetime) -> None:
    """Stores a fact until the fact before it has been applied; a held fact stays held."""
    tx.execute(
        "INSERT INTO inbox_parked (consumer, topic, subject, version, type, payload, time, epoch,"
        " base, trace, parked_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (consumer, subject, version) DO UPDATE"
        " SET type = excluded.type, payload = excluded.payload, time = excluded.time,"
        " epoch = excluded.epoch, base = excluded.base, parked_at = excluded.parked_at, reason ="
        " '', attempts = 0, next_try_time = '-infinity'"
        " WHERE inbox_parked.epoch < excluded.epoch",
        (
            consumer,
            topic,
            fact.subject,
            fact.version,
            fact.type,
            fact.payload,
            fact.time,
            fact.epoch,
            fact.base,
            fact.trace,
            now,
        ),
    )


def hold(tx: Transaction, consumer: str, waiting: WaitingFact, reason: str, now: datetime) -> None:
    """Holds a refused fact, and with it all later facts of its subject. Each pause between two
    tries is twice as long as the previous pause, up to five minutes.

    Does nothing if another process applied the fact meanwhile.
    """
    fact = waiting.fact
    if position(tx, consumer, fact) not in (FactPosition.NEXT, FactPosition.HELD):
        return
    park(tx, consumer, waiting.topic, fact, now)
    pause = min(_FIRST_PAUSE * 2 ** min(waiting.attempts, 16), _LONGEST_PAUSE)
    tx.execute(
        "UPDATE inbox_parked SET reason = %s, attempts = %s, next_try_time = %s WHERE consumer = %s"
        " AND subject = %s AND version = %s",
        (reason, waiting.attempts + 1, now + pause, consumer, fact.subject, fact.version),
    )


_NEXT = (
    " FROM inbox_parked p JOIN inbox i USING (consumer, subject)"
    " WHERE p.consumer = %(consumer)s AND p.epoch = i.epoch AND p.version = i.version + 1"
    # If the time of the next try lies further in the future than the longest pause, a clock was
    # wrong; the fact then counts as due.
    " AND p.next_try_time NOT BETWEEN %(now)s + interval '1 microsecond'"
    f" AND %(now)s + interval '{_LONGEST_PAUSE.total_seconds():.0f} s'"
)


def due_subjects(tx: Transaction, consumer: str, now: datetime, limit: int) -> list[str]:
    """Returns at most `limit` subjects with a waiting fact that can be tried now, the earliest due
    first.
    """
    rows = tx.execute(
        f"SELECT p.subject{_NEXT} ORDER BY p.next_try_time, p.subject LIMIT %(limit)s",
        {"consumer": consumer, "now": now, "limit": limit},
    )
    return [row["subject"] for row in rows]


def due_fact(tx: Transaction, consumer: str, subject: str, now: datetime) -> WaitingFact | None:
    """Returns the fact of this subject that can be tried now; None if there is none."""
    row = tx.execute(
        "SELECT p.subject, p.version, p.type, p.payload, p.time, p.epoch, p.base, p.trace,"
        f" p.topic, p.reason, p.attempts{_NEXT} AND p.subject = %(subject)s",
        {"consumer": consumer, "now": now, "subject": subject},
    ).fetchone()
    if row is None:
        return None
    topic, reason, attempts = row.pop("topic"), row.pop("reason"), row.pop("attempts")
    return WaitingFact(topic, Fact(**row), reason, attempts)


def forget_overtaken(tx: Transaction, consumer: str) -> None:
    """Deletes waiting facts whose version has been applied by now, or whose epoch is over."""
    tx.execute(
        "DELETE FROM inbox_parked p USING inbox i WHERE p.consumer = %s AND i.consumer = p.consumer"
        " AND i.subject = p.subject"
        " AND (p.epoch < i.epoch OR (p.epoch = i.epoch AND p.version <= i.version))",
        (consumer,),
    )


def gaps(tx: Transaction, consumer: str, before: datetime) -> list[tuple[str, str]]:
    """Returns (topic, subject) for each subject with facts that began to wait before `before`,
    because an earlier fact has not arrived.
    """
    rows = tx.execute(
        "SELECT p.topic, p.subject FROM inbox_parked p JOIN inbox i USING (consumer, subject)"
        " WHERE p.consumer = %s AND p.epoch = i.epoch"
        " GROUP BY p.topic, p.subject, i.version HAVING min(p.version) > i.version + 1"
        " AND min(p.parked_at) NOT BETWEEN %s AND %s",
        (consumer, before, before + _LONGEST_PAUSE),
    ).fetchall()
    return [(row["topic"], row["subject"]) for row in rows]


def register(tx: Transaction, consumer: str, epoch: int) -> bool:
    """Registers a consumer, if it is new, with this epoch of its own store. Returns True if the
    consumer is new, or if it has requested all facts again since its store was last restored.
    """
    row = tx.execute("SELECT epoch FROM consumers WHERE consumer = %s", (consumer,)).fetchone()
    if row is None:
        tx.execute(
            "INSERT INTO consumers (consumer, epoch) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (consumer, epoch),
        )
    return row is None or row["epoch"] == epoch


def has_nothing_to_do(tx: Transaction, consumer: str) -> bool:
    """Returns True if no fact and no unreadable record of this consumer waits, and its own store
    has not been restored since the consumer last requested all facts. Sends only one statement,
    since it runs even while nothing happens.
    """
    row = tx.execute(
        "SELECT relay.store = found.store AND EXISTS"
        " (SELECT FROM consumers WHERE consumer = %(consumer)s AND epoch = relay.epoch)"
        " AND NOT EXISTS (SELECT FROM inbox_parked WHERE consumer = %(consumer)s)"
        " AND NOT EXISTS (SELECT FROM dead_letters WHERE consumer = %(consumer)s) AS nothing"
        f" FROM relay CROSS JOIN ({STORE}) AS found",
        {"consumer": consumer},
    ).fetchone()
    return bool(row and row["nothing"])


def record_full_request(tx: Transaction, consumer: str, epoch: int) -> None:
    """Records that the consumer requested all facts in this epoch of its own store."""
    tx.execute("UPDATE consumers SET epoch = %s WHERE consumer = %s", (epoch, consumer))
