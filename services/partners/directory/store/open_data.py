"""The public part of the directory.

This module finds only entries that everybody may see, and depends only on data that everybody may
see. So it doesn't search the words that members search (they include narrowed descriptions and
words of hidden entries), doesn't filter by update_time, and doesn't count hidden entries.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from chassis.db import Row, Transaction
from chassis.wire import Cursor
from services.partners.directory.domain.location import Location, ServiceAtLocation
from services.partners.directory.domain.search import PublicSearchTerms
from services.partners.directory.domain.service import Service
from services.partners.directory.store import locations, services
from services.partners.directory.store.words import words_without_people
from services.partners.members.domain.organization import Organization
from services.partners.members.store import organizations

_PUBLIC = "s.public AND s.active AND NOT s.confidential AND NOT s.shelter AND o.status = 'APPROVED'"
_WORDS = "s.public_document @@ plainto_tsquery('enlace', %(words)s)"
# The results must not reveal where housing is: a search in any department finds all housing in the
# country, as it finds services for the whole country.
_IN_DEPARTMENT = (
    "(%(department)s = '' OR s.facets && ARRAY['area:' || %(department)s, 'area:' ||"
    " left(%(department)s, 2)]"
    " OR s.facets @> ARRAY['need:HOU', 'country:' || left(%(department)s, 2)])"
)
_WANTED = (
    f"{_PUBLIC} AND (%(organization)s = '' OR s.organization_id = %(organization)s)"
    " AND (%(need)s = '' OR s.facets @> ARRAY['need:' || %(need)s])"
    " AND (%(after)s::timestamptz IS NULL OR s.public_time >= %(after)s) AND (%(words)s = ''"
    f" OR {_WORDS}) AND {_IN_DEPARTMENT}"
)
# websearch_to_tsquery understands "or" between words
_WANTED_BY_NAME = _WANTED.replace("plainto_tsquery", "websearch_to_tsquery")
_ORGANIZATIONS = (
    f"EXISTS (SELECT FROM services AS s WHERE s.organization_id = o.id AND {_PUBLIC})"
    " AND (%(organization)s = '' OR o.id = %(organization)s)"
    " AND (%(words)s = '' OR to_tsvector('enlace', o.name || ' ' || o.description) @@"
    " plainto_tsquery('enlace', %(words)s))"
)
MANY = 1000  # the highest total of a search by name: enough for a page that people read


@dataclass(frozen=True)
class PublicEntry:
    """A public service with its organisation and its public places.

    `time`: when the service's public data last changed.
    """

    service: Service
    organization: Organization
    places: list[tuple[ServiceAtLocation, Location]]
    time: datetime


def page(tx: Transaction, terms: PublicSearchTerms) -> tuple[list[PublicEntry], int]:
    """Returns a page of public services, ordered by id, and the total."""
    rows, total = _page(
        tx,
        f"{services.READ_COLUMNS}, s.public_time",
        f"{services.FROM} WHERE {_WANTED}",
        "s.id",
        terms,
    )
    return _with_places(tx, rows), total


def page_by_name(
    tx: Transaction, terms: PublicSearchTerms, after: Cursor | None
) -> tuple[list[PublicEntry], Cursor | None, int]:
    """Returns a page of public services, ordered by name, the next page's position, and the total.

    A total of MANY means "MANY or more".
    """
    values = asdict(terms) | {
        "words": words_without_people(terms.words),
        "more": terms.size + 1,
        "many": MANY,
    }
    source = f"{services.FROM} WHERE {_WANTED_BY_NAME}"
    after_condition = ""
    if after:
        after_condition = " AND (s.name_key, s.id) > (%(after_name)s, %(after_id)s)"
        values |= dict(zip(("after_name", "after_id"), after, strict=True))
    # First finds the ids of the page through the index of names, so that only the page's rows are
    # read whole.
    ids = f"SELECT s.id FROM {source}{after_condition} ORDER BY s.name_key, s.id LIMIT %(more)s"
    rows = tx.execute(
        f"SELECT {services.READ_COLUMNS}, s.name_key, s.public_time FROM ({ids}) AS page"
        f" JOIN ({services.FROM}) ON s.id = page.id ORDER BY s.name_key, s.id",
        values,
    ).fetchall()
    page = rows[: terms.size]
    next_cursor: Cursor | None = (
        [page[-1]["name_key"], page[-1]["id"]] if len(rows) > terms.size else None
    )
    return (
        _with_places(tx, page),
        next_cursor,
        _count(tx, f"(SELECT FROM {source} LIMIT %(many)s) AS counted", values),
    )


def page_of_places(tx: Transaction, terms: PublicSearchTerms) -> tuple[list[PublicEntry], int]:
    """Returns a page of public services at their places, and the total.

    Each entry has one place. Confidential places are left out.
    """
    source = (
        f"{services.FROM} JOIN service_at_locations AS a ON a.service_id = s.id"
        " JOIN locations AS l ON l.id = a.location_id AND NOT l.confidential"
        f" WHERE {_WANTED} AND (%(id)s = '' OR a.id = %(id)s)"
    )
    rows, total = _page(
        tx, f"{services.READ_COLUMNS}, s.public_time, a.id AS at_id", source, "a.id", terms
    )
    by_row = zip(rows, _with_places(tx, rows), strict=True)
    return [
        replace(entry, places=[pair for pair in entry.places if pair[0].id == row["at_id"]])
        for row, entry in by_row
    ], total


def public_service(tx: Transaction, id: str) -> PublicEntry | None:
    """Returns a service if it is public, otherwise None."""
    rows = tx.execute(
        f"SELECT {services.READ_COLUMNS}, s.public_time FROM {services.FROM}"
        f" WHERE s.id = %s AND {_PUBLIC}",
        (id,),
    ).fetchall()
    return next(iter(_with_places(tx, rows)), None)


def members(tx: Transaction, terms: PublicSearchTerms) -> tuple[list[Organization], int]:
    """Returns a page of the members that offer a public service, ordered by id, and the total."""
    rows, total = _page(tx, "o.*", f"organizations AS o WHERE {_ORGANIZATIONS}", "o.id", terms)
    return [organizations.read(row) for row in rows], total


def _page(
    tx: Transaction, columns: str, source: str, order: str, terms: PublicSearchTerms
) -> tuple[list[Row], int]:
    values: Row = asdict(terms) | {"offset": (terms.page_number - 1) * terms.size}
    rows = tx.execute(
        f"SELECT {columns} FROM {source} ORDER BY {order} LIMIT %(size)s OFFSET %(offset)s", values
    ).fetchall()
    return rows, _count(tx, source, values)


def _count(tx: Transaction, source: str, values: Row) -> int:
    count = tx.execute(f"SELECT count(*) AS n FROM {source}", values).fetchone()
    return int(count["n"]) if count else 0


def _with_places(tx: Transaction, rows: Sequence[Row]) -> list[PublicEntry]:
    places = locations.open_places(tx, [row["id"] for row in rows])
    owners = {
        owner.id: owner
        for owner in organizations.fetch_many(tx, list({row["organization_id"] for row in rows}))
    }
    return [
        PublicEntry(
            services.read(row),
            owners[row["organization_id"]],
            places.get(row["id"], []),
            row["public_time"],
        )
        for row in rows
    ]
