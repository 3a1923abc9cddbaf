"""What anybody may read of the directory. Nothing here looks at what fewer may see: not the words of the search, which know narrowed descriptions and
resemble words of hidden entries, not the organisation's or the service's update_time, and no count of hidden ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from chassis.db import Row, Transaction
from services.partners.domain.location import Location, ServiceAtLocation
from services.partners.domain.organization import Organization
from services.partners.domain.service import Service
from services.partners.store import locations, organizations, services

_PUBLIC = "s.public AND s.active AND NOT s.confidential AND NOT s.shelter AND o.status = 'APPROVED'"
_DESCRIPTION = "CASE WHEN s.tiers ? 'description' THEN '' ELSE s.description END"
_WORDS = f"to_tsvector('enlace', s.name || ' ' || o.name || ' ' || {_DESCRIPTION}) @@ plainto_tsquery('enlace', %(words)s)"
_WANTED = (
    f"{_PUBLIC} AND (%(organization)s = '' OR s.organization_id = %(organization)s) AND (%(need)s = '' OR s.facets @> ARRAY['need:' || %(need)s])"
    f" AND (%(after)s::timestamptz IS NULL OR s.public_time >= %(after)s) AND (%(words)s = '' OR {_WORDS})"
)
_ORGANIZATIONS = (
    f"EXISTS (SELECT FROM services AS s WHERE s.organization_id = o.id AND {_PUBLIC}) AND (%(organization)s = '' OR o.id = %(organization)s)"
    " AND (%(words)s = '' OR to_tsvector('enlace', o.name || ' ' || o.description) @@ plainto_tsquery('enlace', %(words)s))"
)


@dataclass(frozen=True)
class Open:
    """A service with what anybody may read with it."""

    service: Service
    organization: Organization
    places: list[tuple[ServiceAtLocation, Location]]
    time: datetime


def page(
    tx: Transaction, number: int, size: int, *, words: str = "", need: str = "", organization: str = "", after: datetime | None = None
) -> tuple[list[Open], int]:
    """A page by id, from 1, and how many there are."""
    wanted: Row = {"words": words, "need": need, "organization": organization, "after": after}
    count = tx.execute(f"SELECT count(*) AS n FROM {services.FROM} WHERE {_WANTED}", wanted).fetchone()
    rows = tx.execute(
        f"SELECT {services.SEEN}, s.public_time FROM {services.FROM} WHERE {_WANTED} ORDER BY s.id LIMIT %(size)s OFFSET %(offset)s",
        wanted | {"size": size, "offset": (number - 1) * size},
    ).fetchall()
    return _with_places(tx, rows), int(count["n"]) if count else 0


def page_of_places(
    tx: Transaction,
    number: int,
    size: int,
    *,
    words: str = "",
    need: str = "",
    organization: str = "",
    after: datetime | None = None,
    id: str = "",
) -> tuple[list[Open], int]:
    """The same of services at open places, each with the one place."""
    wanted: Row = {"words": words, "need": need, "organization": organization, "after": after, "id": id}
    source = (
        f"{services.FROM} JOIN service_at_locations AS a ON a.service_id = s.id JOIN locations AS l ON l.id = a.location_id AND NOT l.confidential"
        f" WHERE {_WANTED} AND (%(id)s = '' OR a.id = %(id)s)"
    )
    count = tx.execute(f"SELECT count(*) AS n FROM {source}", wanted).fetchone()
    rows = tx.execute(
        f"SELECT {services.SEEN}, s.public_time, a.id AS at_id FROM {source} ORDER BY a.id LIMIT %(size)s OFFSET %(offset)s",
        wanted | {"size": size, "offset": (number - 1) * size},
    ).fetchall()
    found = zip(rows, _with_places(tx, rows), strict=True)
    return [replace(each, places=[pair for pair in each.places if pair[0].id == row["at_id"]]) for row, each in found], int(
        count["n"]
    ) if count else 0


def one(tx: Transaction, id: str) -> Open | None:
    """One, if it is public."""
    rows = tx.execute(f"SELECT {services.SEEN}, s.public_time FROM {services.FROM} WHERE s.id = %s AND {_PUBLIC}", (id,)).fetchall()
    return next(iter(_with_places(tx, rows)), None)


def members(tx: Transaction, number: int, size: int, *, words: str = "", organization: str = "") -> tuple[list[Organization], int]:
    """A page of the members that offer something public, by id, and how many there are."""
    wanted: Row = {"words": words, "organization": organization}
    count = tx.execute(f"SELECT count(*) AS n FROM organizations AS o WHERE {_ORGANIZATIONS}", wanted).fetchone()
    rows = tx.execute(
        f"SELECT o.* FROM organizations AS o WHERE {_ORGANIZATIONS} ORDER BY o.id LIMIT %(size)s OFFSET %(offset)s",
        wanted | {"size": size, "offset": (number - 1) * size},
    ).fetchall()
    return [organizations.read(row) for row in rows], int(count["n"]) if count else 0


def _with_places(tx: Transaction, rows: Sequence[Row]) -> list[Open]:
    places = locations.open_places(tx, [row["id"] for row in rows])
    owners = {each.id: each for each in organizations.fetch_many(tx, list({row["organization_id"] for row in rows}))}
    return [Open(services.read(row), owners[row["organization_id"]], places.get(row["id"], []), row["public_time"]) for row in rows]
