"""The times at which people are received, computed from schedules for some weeks ahead.

The times come from the schedules of a service and of its places. With these times, "open now" is a
simple condition of the search.
"""

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from chassis.db import Transaction
from chassis.local_time import zone_of
from chassis.public_holidays import is_public_holiday
from services.partners.directory.domain.schedule import Schedule, hours

COMPUTED_PERIOD = timedelta(days=35)
"""The period for which times are computed in advance."""
RENEWAL_PERIOD = timedelta(days=14)
"""How much of that period is left when the times are computed again.

Even if the sweeper stops for two weeks, there are times for every service.
"""
BATCH = 200  # maximum number of services whose times are recomputed in one run
OPEN = "CASE WHEN s.open_until > %s THEN s.open_hours @> %s::timestamptz END"
"""The SQL for whether a service is open at a time (passed twice); NULL if that is not known."""
_SCHEDULES = (
    "SELECT s.id, s.schedules, s.country, s.department, array_remove(array_agg(l.schedules), NULL)"
    " AS there, array_agg(p.country) AS countries,"
    " array_agg(p.department) AS departments FROM services AS s"
    " LEFT JOIN service_at_locations AS l ON l.service_id = s.id AND l.schedules <> '[]' LEFT"
    " JOIN locations AS p ON p.id = l.location_id"
    " WHERE s.id = ANY(%s) GROUP BY s.id"
)


def refresh(tx: Transaction, service_id: str, now: datetime) -> None:
    """Computes and stores the times of one service."""
    refresh_many(tx, [service_id], now)


def refresh_many(tx: Transaction, service_ids: Sequence[str], now: datetime) -> None:
    """Computes and stores the times of many services; equal schedules are computed once."""
    memo: dict[str, list[tuple[datetime, datetime]]] = {}

    def times(
        schedules: Sequence[dict[str, Any]], country: str, department: str
    ) -> list[tuple[datetime, datetime]]:
        key = json.dumps([schedules, country, department])
        if key not in memo:
            memo[key] = _times(
                [Schedule.from_dict(schedule) for schedule in schedules],
                country,
                department,
                now.date(),
            )
        return memo[key]

    ids_by_sources: dict[str, list[str]] = {}  # ids of services by their schedules
    for row in tx.execute(_SCHEDULES, (list(service_ids),)):
        sources = [
            (row["schedules"], row["country"], row["department"]),
            *zip(row["there"], row["countries"], row["departments"], strict=False),
        ]
        ids_by_sources.setdefault(
            json.dumps([source for source in sources if source[0]]), []
        ).append(row["id"])
    for key, ids in ids_by_sources.items():
        sources = json.loads(key)
        hours_literal = (
            _literal([span for source in sources for span in times(*source)]) if sources else None
        )
        tx.execute(
            "UPDATE services SET open_hours = %s::tstzmultirange, open_until = %s"
            " WHERE id = ANY(%s)",
            (hours_literal, now + COMPUTED_PERIOD if sources else None, ids),
        )


def computed_hours(
    schedules: Sequence[Schedule], country: str, department: str, now: datetime
) -> tuple[str | None, datetime | None]:
    """Returns the opening times of a service without places, and until when they are computed.

    Both have the form in which the service's row stores them.
    """
    if not schedules:
        return None, None
    return _literal(_times(schedules, country, department, now.date())), now + COMPUTED_PERIOD


def refresh_ending(tx: Transaction, now: datetime) -> int:
    """Recomputes times that end soon; returns the number of services, BATCH at most."""
    rows = tx.execute(
        "SELECT id FROM services WHERE open_until < %s ORDER BY open_until"
        " LIMIT %s FOR UPDATE SKIP LOCKED",
        (now + RENEWAL_PERIOD, BATCH),
    ).fetchall()
    refresh_many(tx, [row["id"] for row in rows], now)
    return len(rows)


def open_now(tx: Transaction, ids: Sequence[str], now: datetime) -> dict[str, bool]:
    """Returns, by id, whether these services are open now; services without hours are left out."""
    rows = tx.execute(
        f"SELECT s.id, {OPEN} AS open FROM services AS s WHERE s.id = ANY(%s)",
        (now, now, list(ids)),
    )
    return {row["id"]: row["open"] for row in rows if row["open"] is not None}


def _times(
    schedules: Sequence[Schedule], country: str, department: str, today: date
) -> list[tuple[datetime, datetime]]:
    last_day = today + COMPUTED_PERIOD + timedelta(days=1)
    return hours(
        schedules,
        today - timedelta(days=1),
        last_day,
        zone_of(country, department),
        partial(is_public_holiday, country),
    )


def _literal(times: Sequence[tuple[datetime, datetime]]) -> str:
    return (
        "{"
        + ",".join(
            f"[{opening_time.isoformat()},{closing_time.isoformat()})"
            for opening_time, closing_time in times
        )
        + "}"
    )
