"""The search for services: by words and facts in this process, by distance in the database.

Results come in pages. They are ordered by the number of optional words that a service contains,
then by the number of words in the service's name, in the organisation's name and in the names of
the needs; equal results are ordered by the service's name. Entries that the caller may not see are
removed before results are ordered, paged and counted.
"""

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from math import cos, radians

from pyroaring import BitMap

from chassis.db import Row, Transaction
from chassis.wire import Cursor
from services.partners.directory.domain.search import Near, SearchTerms
from services.partners.directory.domain.service import Gender, Service
from services.partners.directory.store.directory_index import MAX_ATTEMPTS, Content, DirectoryIndex
from services.partners.directory.store.open_hours import OPEN
from services.partners.directory.store.search_index import Hit, SearchIndex
from services.partners.directory.store.services import FROM, READ_COLUMNS, read
from services.partners.directory.store.words import Word, words_of_search

# kilometres in a degree of latitude, on a sphere with the Earth's mean radius, 6,371 km
_KM_PER_DEGREE = 111.2
# The condition first selects a square around the point, through the index, and then the circle
# (haversine). A confidential place is never found by distance.
_NEAR = (
    "SELECT l.service_id AS id FROM service_at_locations AS l"
    " JOIN locations AS p ON p.id = l.location_id JOIN services AS s ON s.id = l.service_id"
    " WHERE NOT s.confidential AND NOT p.confidential"
    " AND p.latitude BETWEEN %(latitude)s - %(north)s AND %(latitude)s + %(north)s"
    " AND p.longitude BETWEEN %(longitude)s - %(east)s AND %(longitude)s + %(east)s"
    " AND 12742 * asin(sqrt(power(sin(radians(p.latitude - %(latitude)s) / 2), 2)"
    " + cos(radians(%(latitude)s)) * cos(radians(p.latitude)) * power(sin(radians(p.longitude -"
    " %(longitude)s) / 2), 2))) <= %(km)s"
)


@dataclass(frozen=True)
class Results:
    """A page of services, the position of the next page, the total, and the totals by department.

    Departments are counted for the country that the search names.
    """

    services: list[Service]
    next_cursor: Cursor | None
    total: int
    departments: dict[str, int] = field(default_factory=dict)
    open_now: dict[str, bool] = field(default_factory=dict)
    """Whether each service is open now. Services that state no hours are left out."""


def find(
    tx: Transaction,
    index: DirectoryIndex,
    terms: SearchTerms,
    now: datetime,
    size: int,
    after: Cursor | None,
    *,
    sees_shelters: bool,
    sees_others_shelters: bool,
    sees_unlisted: bool,
) -> Results:
    """Returns a page of the services that meet the terms.

    The services of the page are read from the database. If one of them may no longer be shown, or
    has been renamed, the search is repeated, up to MAX_ATTEMPTS searches in all.
    """
    words = words_of_search(tx, terms.words, sees_shelters=sees_others_shelters)
    ids_near = _ids_near(tx, terms.near) if terms.near else None
    after_hit = _hit(*after) if after else None
    for attempt in range(1, MAX_ATTEMPTS + 1):
        with index.current_content(tx, now, reload=attempt == MAX_ATTEMPTS) as content:
            hits = _hits_by_facts(
                content, terms, sees_shelters=sees_shelters, sees_unlisted=sees_unlisted
            )
            if ids_near is not None:
                hits &= content.search.slots_of(ids_near)
            hits, rankings = _hits_with_words(content.search, hits, words)
            page = content.search.page(hits, rankings, size + 1, after_hit)
            departments = _departments(content.search, hits, terms.count_country)
        rows = _rows(tx, page, now, sees_shelters=sees_shelters, sees_unlisted=sees_unlisted)
        if all(id in rows and rows[id]["name_key"] == name for _, name, id in page):
            break
    next_cursor: Cursor | None = [*page[size - 1]] if len(page) > size else None
    open_now = {id: row["open_now"] for id, row in rows.items() if row["open_now"] is not None}
    return Results(
        [read(rows[id]) for _, _, id in page[:size] if id in rows],
        next_cursor,
        len(hits),
        departments,
        open_now,
    )


def _hits_by_facts(
    content: Content, terms: SearchTerms, *, sees_shelters: bool, sees_unlisted: bool
) -> BitMap:
    index = content.search
    hits = index.slots_with("listed", True, *([False] if sees_unlisted else []))
    for kind, value in (
        ("need", terms.need_code),
        ("country", terms.country),
        ("language", terms.language.lower()),
        ("organization", terms.organization_id),
    ):
        if value:
            hits &= index.slots_with(kind, value)
    if terms.department:
        hits &= index.slots_with("area", terms.department, terms.department[:2])
    if terms.age is not None:
        hits &= index.slots_matching("ages", partial(_takes_age, terms.age))
    if terms.gender is not None:
        hits &= index.slots_matching("genders", partial(_takes_gender, terms.gender))
    if terms.dependants:
        hits &= index.slots_matching("dependants", partial(_takes_dependants, terms.dependants))
    if terms.has_room:
        hits &= index.slots_with("room", True)
    if terms.open_at is not None:
        hits &= index.slots_with("hours", *content.open_at(terms.open_at))
    hits -= index.slots_with("organization", *terms.excluded_organization_ids)
    hits -= index.slots_with("department", *filter(None, terms.excluded_areas))
    return hits if sees_shelters else hits - index.slots_with("shelter", True)


def _takes_age(age: int, limits: tuple[int | None, int | None]) -> bool:
    minimum, maximum = limits
    return (minimum is None or minimum <= age) and (maximum is None or age <= maximum)


def _takes_gender(gender: Gender, accepted_genders: tuple[Gender, ...]) -> bool:
    return not accepted_genders or gender in accepted_genders


def _takes_dependants(dependants: int, limits: tuple[bool | None, int | None]) -> bool:
    accepts, maximum = limits
    return accepts is not False and (maximum is None or dependants <= maximum)


def _hits_with_words(
    index: SearchIndex, hits: BitMap, words: list[Word]
) -> tuple[BitMap, list[list[BitMap]]]:
    """Returns the hits with all required words, and the sets that determine their order.

    If no word is required, the hits have at least one of the words.
    """
    sets_by_word = [index.slots_containing(word) for word in words]
    slots_by_word = [BitMap.union(*by_weight) for by_weight in sets_by_word]
    for word, matches in zip(words, slots_by_word, strict=True):
        if word.is_required:
            hits &= matches
    if words and not any(word.is_required for word in words):
        hits &= BitMap.union(*slots_by_word)
    optional_sets = [
        matches for word, matches in zip(words, slots_by_word, strict=True) if not word.is_required
    ]
    return hits, [
        optional_sets,
        *(list(by_word) for by_word in list(zip(*sets_by_word, strict=True))[:-1]),
    ]


def _departments(index: SearchIndex, hits: BitMap, country: str) -> dict[str, int]:
    """Counts all hits, not only those on the page, by department; the largest number comes first.

    The hits contain only services that the caller may see.
    """
    count_by_department = (
        index.count("department", hits & index.slots_with("country", country)) if country else {}
    )
    return {
        str(department): number
        for department, number in sorted(
            count_by_department.items(), key=lambda item: (-item[1], str(item[0]))
        )
    }


def _hit(rank: str | int, name_key: str | int, id: str | int) -> Hit:
    return int(rank), str(name_key), str(id)


def _ids_near(tx: Transaction, near: Near) -> list[str]:
    north = near.radius_km / _KM_PER_DEGREE
    values = {"north": north, "east": north / max(0.01, cos(radians(near.latitude)))}
    return [
        row["id"]
        for row in tx.execute(
            _NEAR,
            values | {"latitude": near.latitude, "longitude": near.longitude, "km": near.radius_km},
        )
    ]


def _rows(
    tx: Transaction, page: list[Hit], now: datetime, *, sees_shelters: bool, sees_unlisted: bool
) -> dict[str, Row]:
    """Returns the rows of the hits that may be shown now, by id."""
    rows = tx.execute(
        f"SELECT {READ_COLUMNS}, {OPEN} AS open_now FROM {FROM} WHERE s.id = ANY(%s)"
        " AND (%s OR s.listed) AND (%s OR NOT s.shelter)",
        (now, now, [id for _, _, id in page], sees_unlisted, sees_shelters),
    )
    return {row["id"]: row for row in rows}
