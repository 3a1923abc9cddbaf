"""Services: stored with the data that the search needs, fetched, and locked for changes."""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache

from chassis.db import Row, Transaction
from facts import outbox
from services.partners.directory.domain.location import Accessibility
from services.partners.directory.domain.schedule import Schedule
from services.partners.directory.domain.service import (
    Capacity,
    Eligibility,
    Figure,
    Gender,
    Intake,
    Service,
    ServiceEntry,
    for_others,
)
from services.partners.directory.store import open_hours
from services.partners.directory.store.taxonomy import edition, taxonomy, type_synonyms
from services.partners.directory.store.words import store_places, store_words
from services.partners.directory.wire import facts
from services.partners.members.domain.organization import OrganizationType
from services.partners.network.domain.time_step import time_step_of
from services.partners.network.domain.visibility import Tier
from services.partners.network.store.sort_keys import sort_key

_COLUMNS = (
    "id version organization_id name name_key description need_codes country department languages"
    " minimum_age maximum_age genders"
    " takes_dependants maximum_dependants intake available maximum unit capacity_time declined_time"
    " confidential phone assured_time active create_time"
    " update_time takes_pregnant takes_with_addiction takes_without_papers maximum_age_of_boys"
    " schedules area_codes accessibility public tiers"
).split()
_FIXED = ("id", "organization_id", "create_time", "public_time", "open_hours", "open_until")
# The writing statement itself reads the organisation, so that it uses the organisation's present
# state and not the state at the time when the service was fetched.
_COMPUTED = {
    # Members on probation find the other services of a shelter only if these services are public.
    "shelter": "k.shelter OR (d.type = 'SHELTER' AND NOT k.public)",
    "facets": "k.facets",
    "listed": "k.active AND (d.status = 'APPROVED' OR (d.status = 'PROBATION' AND NOT k.shelter))",
    "document": "setweight(to_tsvector('enlace', k.name), 'A') || d.document ||"
    " setweight(to_tsvector('enlace', k.searchable_description), 'D')"
    # Synonyms have no positions, so that each counts once, with the weight of a description.
    " || strip(d.synonyms_document)",
    # The public words contain no description that only some viewers may read.
    "public_document": "CASE WHEN k.public THEN to_tsvector('enlace', k.name) || d.document ||"
    " strip(d.synonyms_document)"
    " || to_tsvector('enlace', CASE WHEN k.tiers ? 'description' THEN ''"
    " ELSE k.description END) END",
    "edition": "k.edition",
    "public_time": "k.update_time",
    # Written for new services only; open_hours.py updates the hours of existing services.
    "open_hours": "k.open_hours",
    "open_until": "k.open_until",
}
# The public data of a service; {0} is `services` (before the change) or `excluded` (after it).
_IN_PUBLIC = (
    "{0}.public, {0}.name, CASE WHEN {0}.tiers ? 'description' THEN ''"
    " ELSE {0}.description END, {0}.need_codes, {0}.country, {0}.department,"
    " {0}.languages, {0}.minimum_age, {0}.maximum_age, {0}.genders, {0}.takes_dependants,"
    " {0}.maximum_dependants, {0}.takes_pregnant,"
    " {0}.takes_with_addiction, {0}.takes_without_papers, {0}.maximum_age_of_boys, CASE"
    " WHEN {0}.tiers ? 'phone' THEN '' ELSE {0}.phone END,"
    " {0}.assured_time, {0}.active, {0}.schedules, {0}.area_codes, {0}.accessibility"
)
_PUBLIC_TIME = (
    f"public_time = CASE WHEN ({_IN_PUBLIC.format('services')}) IS DISTINCT"
    f" FROM ({_IN_PUBLIC.format('excluded')})"
    " THEN excluded.update_time ELSE services.public_time END"
)
# Words that are common to all services of an organisation with the same needs are computed once,
# because stemming is most of the cost of a row.
_UPSERT = (
    "WITH written AS MATERIALIZED (SELECT row.*,"
    " fields ->> 'searchable_description' AS searchable_description,"
    " fields ->> 'need_words' AS need_words,"
    " fields ->> 'synonyms' AS synonyms FROM jsonb_array_elements(%(services)s::jsonb) AS fields"
    " CROSS JOIN LATERAL jsonb_populate_record(NULL::services, fields) AS row),"
    " shared AS MATERIALIZED (SELECT o.id, o.status, o.type, a.need_words, a.synonyms,"
    " setweight(to_tsvector('enlace', o.name), 'B') || setweight(to_tsvector('enlace',"
    " a.need_words), 'C') AS document,"
    " to_tsvector('enlace', a.synonyms || ' ' || coalesce(%(type_synonyms)s::jsonb ->> o.type, ''))"
    " AS synonyms_document"
    " FROM (SELECT DISTINCT organization_id, need_words, synonyms FROM written) AS a"
    " JOIN organizations AS o ON o.id = a.organization_id)"
    f" INSERT INTO services ({', '.join([*_COLUMNS, *_COMPUTED])})"
    f" SELECT {', '.join([*(f'k.{name}' for name in _COLUMNS), *_COMPUTED.values()])}"
    " FROM written AS k JOIN shared AS d ON d.id = k.organization_id"
    " AND d.need_words = k.need_words"
    " AND d.synonyms = k.synonyms"
    " ON CONFLICT (id) DO UPDATE SET"
    f" {', '.join(f'{name} = excluded.{name}' for name in (*_COLUMNS, *_COMPUTED) if name not in _FIXED)},"  # noqa: E501
    f" {_PUBLIC_TIME}"
)
# maximum number of services whose words are computed in one transaction; this locks them for less
# than a second
BATCH_SIZE = 500
FROM = "services AS s JOIN organizations AS o ON o.id = s.organization_id"
FIGURE = "s.kept, s.broken, s.figure_before, s.figure_step"
READ_COLUMNS = (
    ", ".join(f"s.{name}" for name in _COLUMNS)
    + f", {FIGURE}, s.overfull, s.public_time, o.name AS organization_name,"
    " o.type AS organization_type"
)
# The SQL that stores the figure at the beginning of the current time step. Each statement that
# changes the room or counts a new promise includes this SQL.
FIGURE_BEFORE = (
    "figure_before = CASE WHEN figure_step = %(step)s"
    " AND figure_before IS NOT NULL THEN figure_before"
    " ELSE jsonb_build_object('intake', intake, 'available', available, 'maximum', maximum, 'unit',"
    " unit, 'capacity_time', capacity_time,"
    " 'declined_time', declined_time, 'kept', kept, 'broken', broken) END, figure_step = %(step)s"
)
# A service's first figure replaces no other figure, so it can't reveal that a person came.
FIGURE_BEFORE_UNLESS_FIRST = FIGURE_BEFORE.replace(
    " ELSE", " WHEN capacity_time IS NULL THEN NULL ELSE"
)


def save(tx: Transaction, service: Service) -> None:
    """Stores the service with its facts and its search words."""
    _write(tx, [_values(service)])
    _refresh_words(tx, [service])
    _publish(tx, service)


def save_many(
    tx: Transaction,
    new_services: Sequence[Service],
    changed_services: Sequence[Service],
    now: datetime,
) -> None:
    """Stores many services at once, new services with their hours.

    Steps that would take a lock for each service run once for all of them. The caller must have
    locked the organisations, and calls `refresh_words` when the places are stored, too.
    """
    written_services, hours = [*new_services, *changed_services], cache(open_hours.computed_hours)
    if not written_services:
        return
    with_hours = [
        (item, hours(item.entry.schedules, item.entry.country, item.entry.department, now))
        for item in new_services
    ]
    rows = [
        _values(item) | {"open_hours": times, "open_until": until}
        for item, (times, until) in with_hours
    ]
    _write(tx, rows + [_values(item) for item in changed_services])
    outbox.save(tx, [fact for service in written_services for fact in facts.service_facts(service)])
    for service in written_services:
        service.facts.clear()


def save_capacity(tx: Transaction, service: Service, now: datetime) -> None:
    """Stores a new figure, and the facts that the service has noted.

    The service's search words do not depend on figures, so they stay.
    """
    figure = service.capacity
    tx.execute(
        "UPDATE services SET version = %(version)s, update_time = %(update_time)s, intake ="
        " %(intake)s, available = %(available)s,"
        " maximum = %(maximum)s, unit = %(unit)s, capacity_time = %(capacity_time)s, declined_time"
        " = %(declined_time)s, overfull = %(overfull)s,"
        f" {FIGURE_BEFORE_UNLESS_FIRST} WHERE id = %(id)s",
        {
            "id": service.id,
            "version": service.version,
            "update_time": service.update_time,
            "intake": figure.intake,
            "available": figure.available,
            "maximum": figure.maximum,
            "unit": figure.unit,
            "capacity_time": figure.update_time,
            "declined_time": figure.declined_time,
            "overfull": service.overfull,
            "step": time_step_of(now),
        },
    )
    _publish(tx, service)


def refresh_all_of(tx: Transaction, organization_id: str) -> None:
    """Computes the search data of all services of an organisation that has changed.

    The services are then found by the organisation's new name, or no longer found if the
    organisation has become inactive. If a service is now a shelter, or no longer one, because of
    the organisation's new type, a fact about the service is published.
    """
    rows = tx.execute(
        f"SELECT {READ_COLUMNS}, s.shelter, o.update_time AS refresh_time FROM {FROM}"
        " WHERE o.id = %s ORDER BY s.id FOR UPDATE OF s",
        (organization_id,),
    ).fetchall()
    _refresh_rows(tx, rows)


def refresh_outdated(tx: Transaction, now: datetime) -> int:
    """Computes the search data of services whose words come from another edition of the taxonomy.

    Returns how many services were updated, BATCH_SIZE at most.
    """
    rows = tx.execute(
        f"SELECT {READ_COLUMNS}, s.shelter, %s AS refresh_time FROM {FROM} WHERE s.edition <> %s"
        " ORDER BY s.id LIMIT %s FOR UPDATE OF s SKIP LOCKED",
        (now, edition(), BATCH_SIZE),
    ).fetchall()
    _refresh_rows(tx, rows)
    return len(rows)


def _refresh_rows(tx: Transaction, rows: Sequence[Row]) -> None:
    refreshed_services = [read(row) for row in rows]
    for service, row in zip(refreshed_services, rows, strict=True):
        if service.is_shelter != row["shelter"]:
            service.note("changed", row["refresh_time"])
    _write(tx, [_values(service) for service in refreshed_services])
    _refresh_words(tx, refreshed_services)
    outbox.save(
        tx, [fact for service in refreshed_services for fact in facts.service_facts(service)]
    )


def fetch(tx: Transaction, id: str, *, lock: bool = False) -> Service | None:
    """Returns a service; with `lock` its row is locked until the transaction ends."""
    return next(iter(fetch_many(tx, [id], lock=lock)), None)


def touch_public(tx: Transaction, ids: Sequence[str], now: datetime) -> None:
    """Records that public data shown with these services, such as a place, has changed."""
    tx.execute("UPDATE services SET public_time = %s WHERE id = ANY(%s)", (now, list(ids)))


def fetch_many(tx: Transaction, ids: Sequence[str], *, lock: bool = False) -> list[Service]:
    """Returns the services with these ids that exist, ordered by id; with `lock`, locked.

    Without an order, the answer would show which row was written last, and so reveal that the free
    places of a shelter have changed.
    """
    if lock:
        # A statement that locks and reads would return the organisation as it was before the wait
        # for the lock, and so perhaps a shelter's service as the service of another member.
        tx.execute("SELECT FROM services WHERE id = ANY(%s) ORDER BY id FOR UPDATE", (list(ids),))
    return [
        read(row)
        for row in tx.execute(
            f"SELECT {READ_COLUMNS} FROM {FROM} WHERE s.id = ANY(%s) ORDER BY s.id", (list(ids),)
        )
    ]


def read(row: Row) -> Service:
    """Returns the service that a row describes."""
    return Service(
        id=row["id"],
        version=row["version"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        organization_id=row["organization_id"],
        organization_name=row["organization_name"],
        organization_type=OrganizationType(row["organization_type"]),
        entry=ServiceEntry(
            name=row["name"],
            need_codes=tuple(row["need_codes"]),
            description=row["description"],
            country=row["country"],
            department=row["department"],
            languages=tuple(row["languages"]),
            eligibility=eligibility(row),
            confidential=row["confidential"],
            phone=row["phone"],
            active=row["active"],
            schedules=tuple(Schedule.from_dict(schedule) for schedule in row["schedules"]),
            area_codes=tuple(row["area_codes"]),
            accessibility=tuple(Accessibility(word) for word in row["accessibility"]),
            public=row["public"],
            tiers=tuple((field, Tier(tier)) for field, tier in row["tiers"].items()),
        ),
        capacity=capacity(row),
        assured_time=row["assured_time"],
        overfull=row["overfull"],
        kept=row["kept"],
        broken=row["broken"],
        figure_before=_figure_before(row),
        entry_time=row["public_time"],
    )


def eligibility(row: Row) -> Eligibility:
    """Returns the eligibility that a row describes."""
    return Eligibility(
        minimum_age=row["minimum_age"],
        maximum_age=row["maximum_age"],
        genders=tuple(Gender(word) for word in row["genders"]),
        takes_dependants=row["takes_dependants"],
        maximum_dependants=row["maximum_dependants"],
        takes_pregnant=row["takes_pregnant"],
        takes_with_addiction=row["takes_with_addiction"],
        takes_without_papers=row["takes_without_papers"],
        maximum_age_of_boys=row["maximum_age_of_boys"],
    )


def capacity(row: Row) -> Capacity:
    """Returns the room figure that a row describes."""
    intake = Intake(row["intake"]) if row["intake"] else None
    return Capacity(
        intake,
        row["available"],
        row["maximum"],
        row["unit"],
        row["capacity_time"],
        row["declined_time"],
    )


def _figure_before(row: Row) -> Figure | None:
    former_values = row["figure_before"]
    if former_values is None:
        return None
    times = {
        name: datetime.fromisoformat(former_values[name]) if former_values[name] else None
        for name in ("capacity_time", "declined_time")
    }
    return Figure(
        capacity(former_values | times),
        former_values["kept"],
        former_values["broken"],
        row["figure_step"],
    )


def others_figure(row: Row, now: datetime) -> Figure:
    """Returns the figure that other organisations see for the service in a row.

    Searching and matching use this figure even for the service's own organisation.
    """
    live_figure = Figure(capacity(row), row["kept"], row["broken"])
    return for_others(live_figure, _figure_before(row), now) if row["shelter"] else live_figure


def searchable_description(entry: ServiceEntry) -> str:
    """Returns the searchable description; "" if not all partners may read the description."""
    return (
        ""
        if dict(entry.tiers).get("description", Tier.PARTNER) > Tier.PARTNER
        else entry.description
    )


def facets(entry: ServiceEntry) -> list[str]:
    """Returns the facets ("kind:value") of a service, which a search compares for equality.

    `need` includes the groups of the needs; `exactly` does not.
    """
    return [
        *(f"need:{code}" for code in taxonomy().with_parents(entry.need_codes)),
        *(f"exactly:{code}" for code in entry.need_codes),
        f"country:{entry.country}",
        *dict.fromkeys(
            f"area:{area.partition('.')[0]}"
            for area in (entry.department or entry.country, *entry.area_codes)
        ),
        *language_facets(entry.languages),
    ]


def language_facets(languages: Sequence[str]) -> list[str]:
    """Returns the facets of these languages; "en-US" is found as "en-us" and as "en"."""
    tags = {part.lower() for tag in languages for part in (tag, tag.split("-")[0]) if part != "x"}
    return [f"language:{tag}" for tag in sorted(tags)]


def _write(tx: Transaction, rows: Sequence[Row]) -> None:
    tx.execute(
        _UPSERT,
        {
            "services": json.dumps(rows, default=datetime.isoformat),
            "type_synonyms": _type_synonyms(),
        },
    )


def refresh_words(tx: Transaction, ids: Sequence[str]) -> None:
    """Stores the words and languages of these services' places, and all their known words.

    A transaction calls this function once, so that two writers can't deadlock.
    """
    _refresh_words(tx, fetch_many(tx, ids, lock=True))


def _refresh_words(tx: Transaction, services: Sequence[Service]) -> None:
    """Stores what `refresh_words` stores. The services must be locked.

    The known words are those of offered services, and are used to correct mistyped words. Words of
    services that nobody may find are not added, because corrections would reveal them.
    """
    place_words = store_places(tx, [service.id for service in services])
    for shelter in (False, True):
        texts = [
            text
            for service in services
            if service.id in place_words and service.is_shelter is shelter
            for text in (*_texts_of(service), place_words[service.id])
        ]
        store_words(tx, texts, shelter=shelter)


def _texts_of(service: Service) -> list[str]:
    """Returns the texts that a search for the service looks at, without those of its places.

    They include the synonyms for its needs and for its organisation's type.
    """
    entry = service.entry
    texts = [
        entry.name,
        searchable_description(entry),
        service.organization_name,
        taxonomy().words(entry.need_codes),
    ]
    return [
        *texts,
        taxonomy().synonyms(entry.need_codes),
        type_synonyms().get(service.organization_type or "", ""),
    ]


def _values(service: Service) -> Row:
    entry, eligibility, figure = service.entry, service.entry.eligibility, service.capacity
    return {
        "id": service.id,
        "version": service.version,
        "organization_id": service.organization_id,
        "name": entry.name,
        "name_key": sort_key(entry.name),
        "description": entry.description,
        "need_codes": list(entry.need_codes),
        "country": entry.country,
        "department": entry.department,
        "languages": list(entry.languages),
        "minimum_age": eligibility.minimum_age,
        "maximum_age": eligibility.maximum_age,
        "genders": list(eligibility.genders),
        "takes_dependants": eligibility.takes_dependants,
        "maximum_dependants": eligibility.maximum_dependants,
        "takes_pregnant": eligibility.takes_pregnant,
        "takes_with_addiction": eligibility.takes_with_addiction,
        "takes_without_papers": eligibility.takes_without_papers,
        "maximum_age_of_boys": eligibility.maximum_age_of_boys,
        "schedules": [schedule.to_dict() for schedule in entry.schedules],
        "area_codes": list(entry.area_codes),
        "accessibility": list(entry.accessibility),
        "public": entry.public,
        "tiers": dict(entry.tiers),
        "intake": figure.intake,
        "available": figure.available,
        "maximum": figure.maximum,
        "unit": figure.unit,
        "capacity_time": figure.update_time,
        "declined_time": figure.declined_time,
        "confidential": entry.confidential,
        "phone": entry.phone,
        "assured_time": service.assured_time,
        "active": entry.active,
        "create_time": service.create_time,
        "update_time": service.update_time,
        "shelter": entry.is_shelter,
        "searchable_description": searchable_description(entry),
        "need_words": taxonomy().words(entry.need_codes),
        "synonyms": taxonomy().synonyms(entry.need_codes),
        "edition": edition(),
        "facets": facets(entry),
    }


@cache
def _type_synonyms() -> str:
    return json.dumps(type_synonyms())


def _publish(tx: Transaction, service: Service) -> None:
    outbox.save(tx, facts.service_facts(service))
    service.facts.clear()
