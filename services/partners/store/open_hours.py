"""When people are received, as times: made from the schedules of a service and of its places for some weeks, so that "open now" is one question of the search."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import partial

from chassis.db import Transaction
from chassis.local_time import is_public_holiday, zone_of
from services.partners.domain.schedule import Schedule, hours

AHEAD, RENEWED = timedelta(days=35), timedelta(days=14)
"""So far they are made; and made anew when less than that is left, so that a sweeper that was away for two weeks costs nothing."""
AT_ONCE = 200
_SCHEDULES = (
    "SELECT s.schedules, s.country, s.department, array_remove(array_agg(l.schedules), NULL) AS there, array_agg(p.country) AS countries,"
    " array_agg(p.department) AS departments FROM services AS s"
    " LEFT JOIN service_at_locations AS l ON l.service_id = s.id AND l.schedules <> '[]' LEFT JOIN locations AS p ON p.id = l.location_id"
    " WHERE s.id = %s GROUP BY s.id"
)


def refresh(tx: Transaction, service_id: str, now: datetime) -> None:
    """Makes those of one service."""
    row = tx.execute(_SCHEDULES, (service_id,)).fetchone()
    assert row is not None, "it was kept before"
    said = [(row["schedules"], row["country"], row["department"]), *zip(row["there"], row["countries"], row["departments"], strict=False)]
    made = [
        times
        for schedules, country, department in said
        for times in _times([Schedule.kept(each) for each in schedules], country, department, now.date())
    ]
    known = any(schedules for schedules, _, _ in said)
    tx.execute(
        "UPDATE services SET open_hours = %s::tstzmultirange, open_until = %s WHERE id = %s",
        (_literal(made) if known else None, now + AHEAD if known else None, service_id),
    )


def refresh_ending(tx: Transaction, now: datetime) -> int:
    """Makes those that end soon; returns of how many services, AT_ONCE at most."""
    ending = tx.execute(
        "SELECT id FROM services WHERE open_until < %s ORDER BY open_until LIMIT %s FOR UPDATE SKIP LOCKED", (now + RENEWED, AT_ONCE)
    ).fetchall()
    for row in ending:
        refresh(tx, row["id"], now)
    return len(ending)


def open_now(tx: Transaction, ids: Sequence[str], now: datetime) -> dict[str, bool]:
    """Of these services those that say when they receive people, and whether they do now."""
    rows = tx.execute(
        "SELECT id, open_hours @> %s::timestamptz AS open FROM services WHERE id = ANY(%s) AND open_until > %s", (now, list(ids), now)
    )
    return {row["id"]: row["open"] for row in rows}


def _times(schedules: Sequence[Schedule], country: str, department: str, today: date) -> list[tuple[datetime, datetime]]:
    last = today + AHEAD + timedelta(days=1)
    return hours(schedules, today - timedelta(days=1), last, zone_of(country, department), partial(is_public_holiday, country))


def _literal(times: Sequence[tuple[datetime, datetime]]) -> str:
    return "{" + ",".join(f"[{begins.isoformat()},{ends.isoformat()})" for begins, ends in times) + "}"
