"""Finding services: by words and facets through one index, in pages; and narrowing those that are to be matched.

Few found (up to 1,000): all are ranked, by how well the words meet the name, the organisation, the need, the description. Many found: they come
by name, walking the index of names, and the total says 1,000. What the caller may not see takes part in neither order nor total.
"""

from collections.abc import Sequence

from chassis.db import Row, Transaction
from services.partners.domain.matching import Candidate, Question
from services.partners.domain.search import Wanted
from services.partners.domain.service import Service
from services.partners.store import pages
from services.partners.store.services import FROM, SEEN, capacity, eligibility, read
from services.partners.store.taxonomy import taxonomy
from services.partners.store.words import query

FEW = 1000
CANDIDATES = 300  # looked at for one match: far more than anybody reads, and few enough to stay quick


def find(
    tx: Transaction, wanted: Wanted, *, size: int, page_token: str, sees_shelters: bool, sees_unlisted: bool
) -> tuple[list[Service], str, int]:
    """A page, the token of the next, and how many there are (FEW means: or more)."""
    after = pages.place(page_token, (int, str, str))
    where, values = _conditions(tx, wanted, sees_shelters=sees_shelters, sees_unlisted=sees_unlisted)
    # Without it the planner may read the whole table to save a walk through the index that is quicker by far.
    tx.execute("SELECT set_config('enable_seqscan', 'off', true)")
    values |= {"few": FEW + 1, "size": size + 1, "after": after is not None}
    values |= dict(zip(("after_rank", "after_name", "after_id"), after or (0, "", ""), strict=True))
    rows = tx.execute(_few(where, ranked="query" in values), values).fetchall()
    total = int(rows[0]["total"]) if rows else 0
    if total > FEW:
        rows, total = tx.execute(_many(where), values).fetchall(), FEW
    found = [row for row in rows if row["id"]]
    last = found[size - 1] if len(found) > size else None
    return [read(row) for row in found[:size]], pages.token(last["rank"], last["name_key"], last["id"]) if last else "", total


def candidates(tx: Transaction, question: Question, *, sees_shelters: bool) -> list[Candidate]:
    """Services that may meet the need, those near and with room first; who is excluded is not among them."""
    needs = [question.need_code, taxonomy().parent(question.need_code)]
    rows = tx.execute(
        "SELECT id, name_key, need_codes, department, languages, minimum_age, maximum_age, genders, takes_dependants, maximum_dependants,"
        " intake, available, maximum, unit, capacity_time, assured_time FROM services"
        " WHERE listed AND facets && %(needs)s"
        + (" AND facets @> %(country)s" if question.country else "")
        + " AND NOT organization_id = ANY(%(excluded)s) AND (%(group)s OR need_codes && %(exactly)s) AND (%(sees_shelters)s OR NOT shelter)"
        " ORDER BY intake IS NOT DISTINCT FROM 'CLOSED', department NOT IN (%(department)s, ''), available > 0 DESC NULLS LAST,"
        " capacity_time DESC NULLS LAST, id LIMIT %(limit)s",
        {
            "needs": [f"need:{code}" for code in needs if code],
            "exactly": [code for code in needs if code],
            # A group is met by whatever is in it; a kind of help only by itself or by a service that names the group alone.
            "group": not needs[1],
            "country": [f"country:{question.country}"],
            "excluded": list(question.excluded_organization_ids),
            "department": question.department,
            "sees_shelters": sees_shelters,
            "limit": CANDIDATES,
        },
    ).fetchall()
    return [_candidate(row) for row in rows]


def _conditions(tx: Transaction, wanted: Wanted, *, sees_shelters: bool, sees_unlisted: bool) -> tuple[str, Row]:
    facets = [f"need:{wanted.need_code}"] if wanted.need_code else []
    facets += [f"country:{wanted.country}"] if wanted.country else []
    facets += [f"language:{wanted.language.lower()}"] if wanted.language else []
    where, values = ["true" if sees_unlisted else "s.listed"], Row(facets=facets)
    if facets:
        where.append("s.facets @> %(facets)s")
    if wanted.department:
        where.append("s.facets && %(areas)s")
        values["areas"] = [f"area:{wanted.department}", f"area:{wanted.department[:2]}"]
    if wanted.words and (found := query(tx, wanted.words)):
        where.append("s.document @@ %(query)s::tsquery")
        values["query"] = found
    if wanted.organization_id:
        where.append("s.organization_id = %(organization)s")
        values["organization"] = wanted.organization_id
    if wanted.age is not None:
        where.append("coalesce(s.minimum_age, 0) <= %(age)s AND coalesce(s.maximum_age, 200) >= %(age)s")
        values["age"] = wanted.age
    if wanted.dependants:
        where.append("s.takes_dependants IS DISTINCT FROM false AND coalesce(s.maximum_dependants, 200) >= %(dependants)s")
        values["dependants"] = wanted.dependants
    if wanted.has_room:
        where.append("s.intake = 'OPEN' AND s.available > 0")
    if not sees_shelters:
        where.append("NOT s.shelter")
    return " AND ".join(where), values


def _few(where: str, *, ranked: bool) -> str:
    rank = "(ts_rank(s.document, %(query)s::tsquery) * 1e6)::int" if ranked else "0"
    return (
        f"WITH found AS MATERIALIZED (SELECT s.id, s.name_key, {rank} AS rank FROM services AS s WHERE {where} LIMIT %(few)s),"
        " page AS (SELECT * FROM found WHERE NOT %(after)s OR rank < %(after_rank)s"
        " OR (rank = %(after_rank)s AND (name_key, id) > (%(after_name)s, %(after_id)s)) ORDER BY rank DESC, name_key, id LIMIT %(size)s)"
        # The total comes also with an empty page.
        f" SELECT {SEEN}, page.rank, total FROM (SELECT count(*) AS total FROM found) AS counted LEFT JOIN"
        f" (page JOIN ({FROM}) ON s.id = page.id) ON total <= {FEW} ORDER BY page.rank DESC, s.name_key, s.id"
    )


def _many(where: str) -> str:
    return (
        f"SELECT {SEEN}, 0 AS rank FROM {FROM} WHERE {where} AND (NOT %(after)s OR (s.name_key, s.id) > (%(after_name)s, %(after_id)s))"
        " ORDER BY s.name_key, s.id LIMIT %(size)s"
    )


def _candidate(row: Row) -> Candidate:
    return Candidate(
        service_id=row["id"],
        name_key=row["name_key"],
        need_codes=tuple(row["need_codes"]),
        department=row["department"],
        languages=tuple(row["languages"]),
        eligibility=eligibility(row),
        capacity=capacity(row),
        assured_time=row["assured_time"],
    )


def in_order(services: Sequence[Service], ids: Sequence[str]) -> list[Service]:
    """The services in the order of the ids."""
    by_id = {service.id: service for service in services}
    return [by_id[id] for id in ids if id in by_id]
