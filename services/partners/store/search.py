"""Finding services: by words and facets through one index, in pages.

Few found (up to 1,000): all are ranked, by how well the words meet the name, the organisation, the need, the description. Many found: they come
by name, and the total says 1,000. What the caller may not see takes part in neither order nor total, nor in which of the two it is.
"""

from dataclasses import dataclass, field
from math import cos, radians

from chassis.db import Row, Transaction
from chassis.wire import Position
from services.partners.domain.search import Wanted
from services.partners.domain.service import Service
from services.partners.store.services import FROM, SEEN, read
from services.partners.store.words import query

FEW = 1000
READ = 1500  # names of one walk: some milliseconds
_BEYOND = "(NOT %(after)s OR (s.name_key, s.id) > (%(after_name)s, %(after_id)s))"
_BY_NAME = -1  # in a position, in the place of the rank: the page before was one of many
# Two habits of the planner cost more than they save here: reading the whole table, and starting helpers. Its guess at how many services there are is taken along.
_QUICKLY = (
    "SELECT set_config('enable_seqscan', 'off', true), set_config('max_parallel_workers_per_gather', '0', true),"
    " reltuples AS services FROM pg_class WHERE oid = 'services'::regclass"
)

_KM_A_DEGREE = 111.2  # of a meridian, on a sphere of the Earth's mean radius, 6,371 km
# In a square around the point, by the index; of those whoever is in the circle (haversine). What is confidential is near nothing.
_NEAR = (
    "NOT s.confidential AND s.id IN (SELECT l.service_id FROM service_at_locations AS l JOIN locations AS p ON p.id = l.location_id"
    " WHERE NOT p.confidential AND p.latitude BETWEEN %(latitude)s - %(north)s AND %(latitude)s + %(north)s"
    " AND p.longitude BETWEEN %(longitude)s - %(east)s AND %(longitude)s + %(east)s"
    " AND 12742 * asin(sqrt(power(sin(radians(p.latitude - %(latitude)s) / 2), 2)"
    " + cos(radians(%(latitude)s)) * cos(radians(p.latitude)) * power(sin(radians(p.longitude - %(longitude)s) / 2), 2))) <= %(km)s)"
)


@dataclass(frozen=True)
class Found:
    """A page, where the next page goes on, how many there are (FEW means: or more), and how many in each department of the country that was asked for."""

    services: list[Service]
    more: Position | None
    total: int
    departments: dict[str, int] = field(default_factory=dict)


def find(
    tx: Transaction,
    wanted: Wanted,
    size: int,
    after: Position | None,
    *,
    sees_shelters: bool,
    sees_others_shelters: bool,
    sees_unlisted: bool,
) -> Found:
    """What fits.

    Which order it has follows from how many the caller may see. The planner's guess knows also what is hidden: it only says what is tried first.
    """
    where, values = _conditions(wanted, sees_shelters=sees_shelters, sees_unlisted=sees_unlisted)
    must, ranked = query(tx, wanted.words, sees_shelters=sees_others_shelters) if wanted.words else ("", "")
    if must:
        where += " AND s.document @@ %(query)s::tsquery"
        values |= {"query": must, "ranked": ranked}
    values |= {"few": FEW + 1, "size": size + 1, "after": after is not None, "read": READ}
    values |= dict(zip(("after_rank", "after_name", "after_id"), after or (0, "", ""), strict=True))
    planner = tx.execute(_QUICKLY).fetchone()
    departments = _by_department(tx, where, values, wanted.count_country) if wanted.count_country else {}
    many = after is not None and after[0] == _BY_NAME
    guess, rows, total = _estimate(tx, where, values), list[Row](), FEW
    # Twice as many as a page takes are expected on a walk of READ names.
    spread = planner is None or guess * READ > 2 * size * max(1, planner["services"])  # -1: nobody counted yet
    if guess > FEW and spread and not many:
        values["ids"] = _some(tx, where, values)
        many = len(values["ids"]) > FEW and after is None
    elif guess > FEW and after is None:
        rows = _sorted(tx, where, values)
        many = bool(rows) and rows[0]["total"] > FEW
    if not many:
        where = f"s.id = ANY(%(ids)s) AND {where}" if "ids" in values and len(values["ids"]) <= FEW else where
        rows = tx.execute(_few(where, ranked="query" in values), values).fetchall()
        total = int(rows[0]["total"])
        if many := total > FEW and after is None:
            rows = []
    if many and not rows:
        rows = (spread and _walk(tx, where, values, listed=not sees_unlisted)) or _sorted(tx, where, values)
    hits = [row for row in rows if row["id"]]
    last = hits[size - 1] if len(hits) > size else None
    more: Position | None = [last["rank"], last["name_key"], last["id"]] if last else None
    return Found([read(row) for row in hits[:size]], more, min(total, FEW), departments)


def _conditions(wanted: Wanted, *, sees_shelters: bool, sees_unlisted: bool) -> tuple[str, Row]:
    facets = [f"need:{wanted.need_code}"] if wanted.need_code else []
    facets += [f"country:{wanted.country}"] if wanted.country else []
    facets += [f"language:{wanted.language.lower()}"] if wanted.language else []
    where, values = ["true" if sees_unlisted else "s.listed"], Row(facets=facets)
    if facets:
        where.append("s.facets @> %(facets)s")
    if wanted.department:
        where.append("s.facets && %(areas)s")
        values["areas"] = [f"area:{wanted.department}", f"area:{wanted.department[:2]}"]
    if wanted.organization_id:
        where.append("s.organization_id = %(organization)s")
        values["organization"] = wanted.organization_id
    if wanted.age is not None:
        where.append("(s.minimum_age IS NULL OR s.minimum_age <= %(age)s) AND (s.maximum_age IS NULL OR s.maximum_age >= %(age)s)")
        values["age"] = wanted.age
    if wanted.gender is not None:
        where.append("(s.genders = '{}' OR s.genders @> %(genders)s)")
        values["genders"] = [wanted.gender]
    if wanted.dependants:
        where.append(
            "(s.takes_dependants IS NULL OR s.takes_dependants) AND (s.maximum_dependants IS NULL OR s.maximum_dependants >= %(dependants)s)"
        )
        values["dependants"] = wanted.dependants
    if wanted.has_room:
        where.append("s.intake = 'OPEN' AND s.available > 0 AND s.declined_time IS NULL")
    if wanted.open_at is not None:
        where.append("s.open_until > %(open_at)s AND s.open_hours @> %(open_at)s::timestamptz")
        values["open_at"] = wanted.open_at
    if wanted.near is not None:
        where.append(_NEAR)
        north = wanted.near.radius_km / _KM_A_DEGREE
        values |= {"north": north, "east": north / max(0.01, cos(radians(wanted.near.latitude)))}
        values |= {"latitude": wanted.near.latitude, "longitude": wanted.near.longitude, "km": wanted.near.radius_km}
    if wanted.excluded_organization_ids:
        where.append("NOT s.organization_id = ANY(%(excluded)s)")
        values["excluded"] = list(wanted.excluded_organization_ids)
    if wanted.excluded_areas:
        where.append("NOT s.department = ANY(%(excluded_areas)s)")
        values["excluded_areas"] = list(filter(None, wanted.excluded_areas))
    if not sees_shelters:
        where.append("NOT s.shelter")
    return " AND ".join(where), values


def _by_department(tx: Transaction, where: str, values: Row, country: str) -> dict[str, int]:
    """All that is found, page or not, narrowed as the search is: so nothing is counted that the caller may not see."""
    rows = tx.execute(
        f"SELECT s.department, count(*) AS n FROM services AS s WHERE {where} AND s.country = %(count_country)s"
        " GROUP BY s.department ORDER BY n DESC, s.department",
        values | {"count_country": country},
    )
    return {row["department"]: row["n"] for row in rows}


def _estimate(tx: Transaction, where: str, values: Row) -> int:
    """How many the planner believes there are, from its statistics of words and facets; asking it costs no look at the rows."""
    plan = tx.execute(f"EXPLAIN (FORMAT JSON) SELECT 1 FROM services AS s WHERE {where}", values).fetchone()
    return int(plan["QUERY PLAN"][0]["Plan"]["Plan Rows"]) if plan else 0


def _few(where: str, *, ranked: bool) -> str:
    rank = "(ts_rank(s.document, %(ranked)s::tsquery) * 1e6)::int" if ranked else "0"
    return (
        f"WITH hits AS MATERIALIZED (SELECT s.id, s.name_key, {rank} AS rank FROM services AS s WHERE {where} LIMIT %(few)s),"
        " page AS (SELECT * FROM hits WHERE NOT %(after)s OR rank < %(after_rank)s"
        " OR (rank = %(after_rank)s AND (name_key, id) > (%(after_name)s, %(after_id)s)) ORDER BY rank DESC, name_key, id LIMIT %(size)s)"
        # The total comes also with an empty page.
        f" SELECT {SEEN}, page.rank, total FROM (SELECT count(*) AS total FROM hits) AS counted LEFT JOIN"
        f" (page JOIN ({FROM}) ON s.id = page.id) ON true ORDER BY page.rank DESC, s.name_key, s.id"
    )


def _some(tx: Transaction, where: str, values: Row) -> list[str]:
    """Of what the caller may see, FEW and one at most. Without looking at words or names, which is what takes long."""
    return [row["id"] for row in tx.execute(f"SELECT s.id FROM services AS s WHERE {where} LIMIT %(few)s", values)]


def _walk(tx: Transaction, where: str, values: Row, *, listed: bool) -> list[Row]:
    """A page of many, from a short walk along the names; empty if that does not fill it."""
    names = f"SELECT * FROM services AS s WHERE {_BEYOND}{' AND s.listed' if listed else ''} ORDER BY s.name_key, s.id LIMIT %(read)s"
    rows = tx.execute(_page(f"SELECT s.id FROM ({names}) AS s WHERE {where} ORDER BY s.name_key, s.id LIMIT %(size)s"), values).fetchall()
    return rows if len(rows) == values["size"] else []


def _sorted(tx: Transaction, where: str, values: Row) -> list[Row]:
    """A page by name, from all that is found: quicker than a walk where hits are few among the names, or stand together. In each row how many there are."""
    # MATERIALIZED, or the planner walks: it believes that a page is soon full.
    hits = f"WITH hits AS MATERIALIZED (SELECT s.id, s.name_key FROM services AS s WHERE {where})"
    page = f"SELECT s.id, (SELECT count(*) FROM hits) AS total FROM hits AS s WHERE {_BEYOND} ORDER BY s.name_key, s.id LIMIT %(size)s"
    return tx.execute(_page(page, hits, "page.total"), values).fetchall()


def _page(ids: str, before: str = "", besides: str = "0") -> str:
    return f"{before} SELECT {SEEN}, {_BY_NAME} AS rank, {besides} AS total FROM ({ids}) AS page JOIN ({FROM}) ON s.id = page.id ORDER BY s.name_key, s.id"
