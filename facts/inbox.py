"""The inbox: which version of each subject a consumer has taken in, so that repeats are ignored and
nothing is applied out of order or passed over.

The effect of a fact and its row here are one transaction. Repeats are recognised for ever, not for
a window of time. A fact that can't be applied now waits here: behind the one before it (parked), or
because its handler refused it (held: a reason, attempts, the time of the next try).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from chassis.db import Transaction
from facts.outbox import Fact

_FIRST_PAUSE, _LONGEST_PAUSE = (
    timedelta(seconds=1),
    timedelta(minutes=5),
)  # a mended cause is noticed within five minutes, or at once by `redrive`


class Position(Enum):
    """Where a fact stands among those already taken in."""

    NEXT = "next"
    KNOWN = "known"  # next in a new epoch, and already taken in under the one before
    SEEN = "seen"
    AHEAD = "ahead"  # one before it is still missing, or is held
    # next, and refused when it was tried: it is tried at its time, not whenever it is told again
    HELD = "held"


@dataclass(frozen=True)
class Waiting:
    """A fact that waits, with the topic it came by and how often it was tried."""

    topic: str
    fact: Fact
    reason: str = ""
    attempts: int = 0


def position(tx: Transaction, consumer: str, fact: Fact) -> Position:
    """Where this fact stands; holds the subject for this transaction, so that two consumers of one
    name can't both apply it.

    A later epoch than the one before is the truth from now on: its versions are counted anew, what
    it has in common with what was taken in is known.
    """
    key = {
        "consumer": consumer,
        "subject": fact.subject,
        "version": fact.version,
        "epoch": fact.epoch,
    }
    tx.execute(
        "INSERT INTO inbox (consumer, subject, version) VALUES (%(consumer)s, %(subject)s, 0)"
        " ON CONFLICT DO NOTHING",
        key,
    )
    row = tx.execute(
        "SELECT version, epoch, overtaken, EXISTS (SELECT FROM inbox_parked p"
        " WHERE p.consumer = %(consumer)s AND p.subject = %(subject)s"
        " AND p.version = %(version)s AND p.epoch = %(epoch)s AND p.reason <> '') AS held"
        " FROM inbox WHERE consumer = %(consumer)s AND subject = %(subject)s FOR UPDATE",
        key,
    ).fetchone()
    assert row is not None
    version, epoch, overtaken = row["version"], row["epoch"], row["overtaken"]
    if fact.epoch < epoch:
        return Position.SEEN
    if fact.epoch > epoch:
        version, overtaken = 0, max(version, overtaken)
        tx.execute(
            "UPDATE inbox SET epoch = %(epoch)s, version = 0, overtaken = %(overtaken)s"
            " WHERE consumer = %(consumer)s AND subject = %(subject)s",
            {**key, "overtaken": overtaken},
        )
    if fact.version <= version:
        return Position.SEEN
    if fact.version > version + 1:
        return Position.AHEAD
    # The last fact that both have in common says how things stand; it is applied again if what came
    # after it is no longer true.
    went_back = fact.version == fact.base and overtaken > fact.base
    if fact.version <= min(overtaken, fact.base) and not went_back:
        return Position.KNOWN
    return Position.HELD if row["held"] else Position.NEXT


def advance(tx: Transaction, consumer: str, fact: Fact) -> bool:
    """Notes that this fact has been taken in, and that it waits no longer; returns whether another
    waits behind it.
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


def seen(tx: Transaction, consumer: str, subjects: Sequence[str]) -> dict[str, tuple[int, int]]:
    """(epoch, version) already taken in, for a batch: repeats of a replay are passed over without a
    transaction each.
    """
    rows = tx.execute(
        "SELECT subject, epoch, version FROM inbox WHERE consumer = %s AND subject = ANY(%s)",
        (consumer, list(subjects)),
    ).fetchall()
    return {row["subject"]: (row["epoch"], row["version"]) for row in rows}


def park(tx: Transaction, consumer: str, topic: str, fact: Fact, now: datetime) -> None:
    """Puts a fact aside until the one before it has been taken in; a held one stays held."""
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


def hold(tx: Transaction, consumer: str, waiting: Waiting, reason: str, now: datetime) -> None:
    """Holds a fact that was refused, and with it its subject; the pauses between tries grow.

    Nothing if another process applied it meanwhile.
    """
    fact = waiting.fact
    if position(tx, consumer, fact) not in (Position.NEXT, Position.HELD):
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
    # Further ahead than the longest pause lies only what a clock wrote that was ahead.
    " AND p.next_try_time NOT BETWEEN %(now)s + interval '1 microsecond'"
    f" AND %(now)s + interval '{_LONGEST_PAUSE.total_seconds():.0f} s'"
)


def due_subjects(tx: Transaction, consumer: str, now: datetime, limit: int) -> list[str]:
    """Subjects of which a waiting fact can be tried now."""
    rows = tx.execute(
        f"SELECT p.subject{_NEXT} ORDER BY p.next_try_time, p.subject LIMIT %(limit)s",
        {"consumer": consumer, "now": now, "limit": limit},
    )
    return [row["subject"] for row in rows]


def due(tx: Transaction, consumer: str, subject: str, now: datetime) -> Waiting | None:
    """The fact of this subject that can be tried now, if there is one."""
    row = tx.execute(
        "SELECT p.subject, p.version, p.type, p.payload, p.time, p.epoch, p.base, p.trace,"
        f" p.topic, p.reason, p.attempts{_NEXT} AND p.subject = %(subject)s",
        {"consumer": consumer, "now": now, "subject": subject},
    ).fetchone()
    if row is None:
        return None
    topic, reason, attempts = row.pop("topic"), row.pop("reason"), row.pop("attempts")
    return Waiting(topic, Fact(**row), reason, attempts)


def forget_overtaken(tx: Transaction, consumer: str) -> None:
    """Takes away waiting facts whose version was taken in on another way, or whose epoch is
    over.
    """
    tx.execute(
        "DELETE FROM inbox_parked p USING inbox i WHERE p.consumer = %s AND i.consumer = p.consumer"
        " AND i.subject = p.subject"
        " AND (p.epoch < i.epoch OR (p.epoch = i.epoch AND p.version <= i.version))",
        (consumer,),
    )


def gaps(tx: Transaction, consumer: str, before: datetime) -> list[tuple[str, str]]:
    """(topic, subject) of facts that wait since before a moment for one that has not come at all.

    So do those that wait since much later than that moment: a clock wrote it that was ahead.
    """
    rows = tx.execute(
        "SELECT p.topic, p.subject FROM inbox_parked p JOIN inbox i USING (consumer, subject)"
        " WHERE p.consumer = %s AND p.epoch = i.epoch"
        " GROUP BY p.topic, p.subject, i.version HAVING min(p.version) > i.version + 1"
        " AND min(p.parked_at) NOT BETWEEN %s AND %s",
        (consumer, before, before + _LONGEST_PAUSE),
    ).fetchall()
    return [(row["topic"], row["subject"]) for row in rows]


def count_held(tx: Transaction, consumer: str) -> int:
    """How many facts are held."""
    row = tx.execute(
        "SELECT count(*) AS n FROM inbox_parked WHERE consumer = %s AND reason <> ''", (consumer,)
    ).fetchone()
    return int(row["n"]) if row else 0


def missed_nothing(tx: Transaction, consumer: str, epoch: int) -> bool:
    """Whether this consumer has heard all that was told since its own store was restored; a
    consumer seen for the first time has.
    """
    tx.execute(
        "INSERT INTO consumers (consumer, epoch) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (consumer, epoch),
    )
    row = tx.execute("SELECT epoch FROM consumers WHERE consumer = %s", (consumer,)).fetchone()
    return row is None or row["epoch"] == epoch


def asked_for_everything(tx: Transaction, consumer: str, epoch: int) -> None:
    """Notes that it has asked for everything in this epoch of its own store."""
    tx.execute("UPDATE consumers SET epoch = %s WHERE consumer = %s", (epoch, consumer))
