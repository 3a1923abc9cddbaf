"""Events of referrals, in the order in which they became visible.

A transaction that began earlier or drew a lower number than another one may commit later.
So a reader that follows the order of times or numbers would miss events. Therefore an event gets
its position only after it was committed, and one process at a time gives positions. An event that
becomes visible later has a later position, so a reader that has reached a position has missed no
event before it. The database calls the position `place`.
"""

from dataclasses import dataclass

from chassis.db import Transaction
from services.referrals.referrals.domain.filter import Filter
from services.referrals.referrals.domain.lifecycle import State
from services.referrals.referrals.domain.record import Event
from services.referrals.referrals.domain.referral import UNDECIDING, Referral
from services.referrals.referrals.store import boxes, referrals

_BATCH = 1_000
WINDOW = 5_000
"""The maximum number of positions that one read covers.

The limit is on positions, so that a reader that was away for a long time makes progress even if
few of the events match.
"""


@dataclass(frozen=True)
class Change:
    """An event at its position; `step_version` is the version of the last step at that time."""

    position: int
    referral: Referral
    event: Event
    step_version: int


def give_positions(tx: Transaction) -> int:
    """Gives positions to some events that have none; returns the number of these events.

    The events are ordered by time. Events of one referral keep the order of their versions, even if
    the machines that recorded their times had different clocks.
    """
    row = tx.execute("SELECT last FROM places FOR UPDATE").fetchone()
    assert row is not None, "the migration writes the only row"
    count = tx.execute(
        "WITH without AS (SELECT referral_id, version, max(time) OVER (PARTITION BY referral_id"
        " ORDER BY version) AS time FROM ("
        "   SELECT referral_id, version, time FROM referral_events WHERE place IS NULL"
        " ORDER BY version, referral_id LIMIT %s) AS batch),"
        " next AS (SELECT referral_id, version, row_number() OVER (ORDER BY time, version,"
        " referral_id) AS number FROM without)"
        " UPDATE referral_events e SET place = %s + next.number FROM next"
        " WHERE e.referral_id = next.referral_id AND e.version = next.version",
        (_BATCH, row["last"]),
    ).rowcount
    if count:
        tx.execute("UPDATE places SET last = last + %s", (count,))
    return count


def last_position(tx: Transaction) -> int:
    """Returns the last position that was given; all events up to it are visible."""
    row = tx.execute("SELECT last FROM places").fetchone()
    assert row is not None
    return int(row["last"])


def changes(tx: Transaction, query: Filter, after: int, until: int, limit: int) -> list[Change]:
    """Returns the events in the scope after one position and up to another, in order.

    Returns at most `limit` events. Only the sender sees the events of a draft.
    """
    where, values = boxes.conditions(query)
    rows = tx.execute(
        "SELECT e.*, (SELECT max(s.version) FROM referral_events s"
        " WHERE s.referral_id = e.referral_id AND s.version <= e.version AND s.clock = ''"
        "   AND s.verb <> ALL(%(undeciding)s))"
        " AS step_version FROM referral_events e JOIN referrals ON referrals.id = e.referral_id"
        f" WHERE e.place > %(after)s AND e.place <= %(until)s AND {where}"
        " AND (sender_organization_id = %(organization)s OR (send_time IS NOT NULL"
        " AND e.to_state <> %(draft)s)) ORDER BY e.place LIMIT %(limit)s",
        values
        | {
            "after": after,
            "until": until,
            "limit": limit,
            "draft": State.DRAFT.value,
            "undeciding": sorted(UNDECIDING),
        },
    ).fetchall()
    referrals_by_id = referrals.by_ids(tx, {row["referral_id"] for row in rows})
    return [
        Change(
            row["place"],
            referrals_by_id[row["referral_id"]],
            referrals.read_event(row, None),
            row["step_version"],
        )
        for row in rows
    ]
