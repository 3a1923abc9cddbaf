"""What happened to referrals, in the order in which it became visible.

Of two transactions the one that began first, or drew the lower number, may be committed last;
whoever goes by that passes it over. So an event is given its position after it was committed, by
one process at a time: what becomes visible later has a later one, and one that was given has all
before it. The database calls it `place`.
"""

from dataclasses import dataclass

from chassis.db import Transaction
from services.referrals.referrals.domain.filter import Filter
from services.referrals.referrals.domain.lifecycle import TRANSITIONS, State
from services.referrals.referrals.domain.record import Event
from services.referrals.referrals.domain.referral import Referral
from services.referrals.referrals.store import boxes, referrals

_BATCH = 1_000
WINDOW = 5_000
"""Positions that one look passes at most: whoever was away for long, and finds little that is his,
still gets on.
"""


@dataclass(frozen=True)
class Change:
    """An event at its position; `step_version` is that of the referral's last step at the time."""

    position: int
    referral: Referral
    event: Event
    step_version: int


def give_positions(tx: Transaction) -> int:
    """Gives the next events without a position theirs: by time, and those of one referral in their
    order whatever clock said it; returns how many.
    """
    last = tx.execute("SELECT last FROM places FOR UPDATE").fetchone()
    assert last is not None, "the migration writes the only row"
    given = tx.execute(
        "WITH without AS (SELECT referral_id, version, max(time) OVER (PARTITION BY referral_id"
        " ORDER BY version) AS time FROM ("
        "   SELECT referral_id, version, time FROM referral_events WHERE place IS NULL"
        " ORDER BY version, referral_id LIMIT %s) AS batch),"
        " next AS (SELECT referral_id, version, row_number() OVER (ORDER BY time, version,"
        " referral_id) AS number FROM without)"
        " UPDATE referral_events e SET place = %s + next.number FROM next"
        " WHERE e.referral_id = next.referral_id AND e.version = next.version",
        (_BATCH, last["last"]),
    ).rowcount
    if given:
        tx.execute("UPDATE places SET last = last + %s", (given,))
    return given


def last_position(tx: Transaction) -> int:
    """The last position that was given; all up to it can be seen, by whoever may."""
    row = tx.execute("SELECT last FROM places").fetchone()
    assert row is not None
    return int(row["last"])


def changes(tx: Transaction, wanted: Filter, after: int, until: int, limit: int) -> list[Change]:
    """What happened after a position and up to another, as the scope shows it.

    What happened to a draft its sender alone hears.
    """
    where, values = boxes.conditions(wanted)
    rows = tx.execute(
        "SELECT e.*, (SELECT max(s.version) FROM referral_events s"
        " WHERE s.referral_id = e.referral_id AND s.version <= e.version AND s.clock = ''"
        "   AND s.verb <> ALL(%(undecided)s))"
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
            "undecided": [t.fact for t in TRANSITIONS if not t.decides],
        },
    ).fetchall()
    shown = referrals.some(tx, {row["referral_id"] for row in rows})
    return [
        Change(
            row["place"],
            shown[row["referral_id"]],
            referrals.read_event(row, None),
            row["step_version"],
        )
        for row in rows
    ]
