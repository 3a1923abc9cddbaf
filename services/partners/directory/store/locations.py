"""Places, and services at them.

The address of a confidential place and the directions to it are sealed, and only `address` reads
them.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict

from chassis.db import Row, Transaction
from chassis.wire import Cursor
from keys.sealing import Keyring
from services.partners.directory.domain.location import (
    SEALED,
    Accessibility,
    ContactPoint,
    Location,
    LocationEntry,
    Phone,
    ServiceAtLocation,
)
from services.partners.directory.domain.schedule import Schedule

_COLUMNS = (
    "id version organization_id name country department area_code address latitude longitude"
    " transportation accessibility confidential secret"
    " create_time update_time"
).split()
_UPSERT = (
    f"INSERT INTO locations ({', '.join(_COLUMNS)})"
    f" VALUES ({', '.join(f'%({name})s' for name in _COLUMNS)}) ON CONFLICT (id) DO UPDATE SET "
) + ", ".join(
    f"{name} = excluded.{name}"
    for name in _COLUMNS
    if name not in ("id", "organization_id", "create_time")
)
_CONTEXT = "locations/{}/secret"


def save(tx: Transaction, keyring: Keyring, location: Location) -> None:
    """Stores a place.

    If the place is confidential, the fields in SEALED that have values in the entry are sealed; the
    stored values of the other fields in SEALED stay as they are.
    """
    entry = location.entry
    values = _values(location)
    if entry.confidential:
        new_values = {name: getattr(entry, name) for name in SEALED}
        secret = address(tx, keyring, location.id) | {
            name: value for name, value in new_values.items() if value
        }
        values |= dict.fromkeys(SEALED, "") | {
            "secret": keyring.seal_bytes(json.dumps(secret).encode(), _CONTEXT.format(location.id))
        }
    tx.execute(_UPSERT, values)
    # Facts about places are not published: no other service needs them.
    location.facts.clear()


def fetch_many(tx: Transaction, ids: Sequence[str]) -> list[Location]:
    """Returns the places with these ids that exist, locked in the order of their ids."""
    return [
        _read(row)
        for row in tx.execute(
            "SELECT * FROM locations WHERE id = ANY(%s) ORDER BY id FOR UPDATE", (list(ids),)
        )
    ]


def save_many(tx: Transaction, keyring: Keyring, places: Sequence[Location]) -> None:
    """Stores many places at once; confidential places one by one, because each is sealed."""
    with tx.cursor() as cursor:
        cursor.executemany(
            _UPSERT, [_values(place) for place in places if not place.entry.confidential]
        )
    for place in places:
        if place.entry.confidential:
            save(tx, keyring, place)
        place.facts.clear()


def address(tx: Transaction, keyring: Keyring, id: str) -> dict[str, str]:
    """Returns the address of a confidential place and the directions to it.

    Both are "" if the id is not that of a confidential place.
    """
    row = tx.execute("SELECT secret FROM locations WHERE id = %s", (id,)).fetchone()
    if row is None or row["secret"] is None:
        return dict.fromkeys(SEALED, "")
    sealed_values: dict[str, str] = json.loads(
        keyring.open_bytes(row["secret"], _CONTEXT.format(id))
    )
    return dict.fromkeys(SEALED, "") | sealed_values


def _values(location: Location) -> Row:
    entry = location.entry
    return asdict(entry) | {
        "accessibility": list(entry.accessibility),
        "secret": None,
        "id": location.id,
        "version": location.version,
        "organization_id": location.organization_id,
        "create_time": location.create_time,
        "update_time": location.update_time,
    }


def fetch(tx: Transaction, id: str, *, lock: bool = False) -> Location | None:
    """Returns a place; with `lock` its row is locked until the transaction ends."""
    row = tx.execute(
        f"SELECT * FROM locations WHERE id = %s {'FOR UPDATE' if lock else ''}", (id,)
    ).fetchone()
    return _read(row) if row else None


_HIDDEN = "(s.confidential OR (s.shelter AND NOT %(shelters)s))"
# True for an open place that would lead to a service that the caller does not see: the only
# services offered there are confidential (they became so later) or, for a member on probation,
# shelters.
_LEADS_TO_HIDDEN = (
    f"(NOT l.confidential AND (SELECT coalesce(bool_or({_HIDDEN})"
    f" AND bool_and({_HIDDEN} OR NOT s.active), false)"
    " FROM service_at_locations AS a JOIN services AS s ON s.id = a.service_id"
    " WHERE a.location_id = l.id))"
)


def page_of(
    tx: Transaction,
    organization_id: str,
    size: int,
    after: Cursor | None,
    *,
    sees_shelters: bool,
    is_owner: bool,
) -> tuple[list[Location], Cursor | None]:
    """Returns a page of an organisation's places, and the position of the next page.

    The oldest places come first. `sees_shelters`: confidential places, and places of shelters, are
    included. `is_owner`: open places that would lead to a hidden service are included.
    """
    rows = tx.execute(
        "SELECT * FROM locations AS l WHERE organization_id = %(owner)s AND (%(shelters)s"
        f" OR NOT confidential) AND (%(own)s OR NOT {_LEADS_TO_HIDDEN})"
        " AND (%(after)s::text[] IS NULL"
        " OR (create_time, id) > ((%(after)s::text[])[1]::timestamptz, (%(after)s::text[])[2]))"
        " ORDER BY create_time, id LIMIT %(limit)s",
        {
            "owner": organization_id,
            "shelters": sees_shelters,
            "own": is_owner,
            "after": after,
            "limit": size + 1,
        },
    ).fetchall()
    next_cursor = (
        [rows[size - 1]["create_time"].isoformat(), rows[size - 1]["id"]]
        if len(rows) > size
        else None
    )
    return [_read(row) for row in rows[:size]], next_cursor


def leads_to_hidden(tx: Transaction, id: str, *, sees_shelters: bool) -> bool:
    """Returns whether an open place would lead to a hidden service.

    `sees_shelters`: whether the caller sees shelters of other members.
    """
    return (
        tx.execute(
            f"SELECT 1 FROM locations AS l WHERE id = %(id)s AND {_LEADS_TO_HIDDEN}",
            {"id": id, "shelters": sees_shelters},
        ).fetchone()
        is not None
    )


def is_used(tx: Transaction, id: str) -> bool:
    """Returns whether a service is offered at the place."""
    return (
        tx.execute(
            "SELECT 1 FROM service_at_locations WHERE location_id = %s LIMIT 1", (id,)
        ).fetchone()
        is not None
    )


def delete(tx: Transaction, id: str) -> None:
    """Deletes a place."""
    tx.execute("DELETE FROM locations WHERE id = %s", (id,))


def save_service(tx: Transaction, offer: ServiceAtLocation) -> None:
    """Stores a service at a place; replaces an earlier record of this service at this place."""
    save_services(tx, [offer])


def save_services(tx: Transaction, offers: Sequence[ServiceAtLocation]) -> None:
    """Stores many services at places at once."""
    with tx.cursor() as cursor:
        cursor.executemany(_UPSERT_SERVICE, [_service_values(offer) for offer in offers])


def of_services(
    tx: Transaction, service_ids: Sequence[str]
) -> dict[tuple[str, str], ServiceAtLocation]:
    """Returns the records of these services at their places, by (service id, place id)."""
    rows = tx.execute(
        "SELECT * FROM service_at_locations WHERE service_id = ANY(%s)", (list(service_ids),)
    )
    return {(row["service_id"], row["location_id"]): _read_service(row) for row in rows}


_UPSERT_SERVICE = (
    "INSERT INTO service_at_locations (id, service_id, location_id, phones, contacts, schedules,"
    " languages) VALUES (%s, %s, %s, %s, %s, %s, %s)"
    " ON CONFLICT (service_id, location_id) DO UPDATE"
    " SET phones = excluded.phones, contacts = excluded.contacts,"
    " schedules = excluded.schedules, languages = excluded.languages"
)


def _service_values(offer: ServiceAtLocation) -> tuple[object, ...]:
    return (
        offer.id,
        offer.service_id,
        offer.location_id,
        json.dumps([asdict(phone) for phone in offer.phones]),
        json.dumps([asdict(contact) for contact in offer.contacts]),
        json.dumps([schedule.to_dict() for schedule in offer.schedules]),
        list(offer.languages),
    )


def delete_phones_and_contacts(tx: Transaction, location_id: str) -> None:
    """Deletes the phones and contacts at a place that has become confidential."""
    tx.execute(
        "UPDATE service_at_locations SET phones = '[]', contacts = '[]' WHERE location_id = %s",
        (location_id,),
    )


def fetch_service(
    tx: Transaction, *, id: str = "", service_id: str = "", location_id: str = ""
) -> ServiceAtLocation | None:
    """Returns a service at a place, by its own id, or by the ids of the service and the place."""
    row = tx.execute(
        "SELECT * FROM service_at_locations WHERE id = %s OR (service_id = %s"
        " AND location_id = %s)",
        (id, service_id, location_id),
    ).fetchone()
    return _read_service(row) if row else None


def places_of_service(tx: Transaction, service_id: str) -> list[tuple[ServiceAtLocation, Location]]:
    """Returns the places at which a service is offered, confidential places first, then by name."""
    rows = tx.execute(
        "SELECT * FROM service_at_locations WHERE service_id = %s", (service_id,)
    ).fetchall()
    places = {
        row["id"]: _read(row) for row in _fetch_rows(tx, [row["location_id"] for row in rows])
    }
    pairs = [(_read_service(row), places[row["location_id"]]) for row in rows]
    return sorted(
        pairs,
        key=lambda pair: ("" if pair[1].entry.confidential else pair[1].entry.name, pair[1].id),
    )


def open_places(
    tx: Transaction, service_ids: Sequence[str]
) -> dict[str, list[tuple[ServiceAtLocation, Location]]]:
    """Returns the places at which these services are offered, by service.

    Confidential places are left out.
    """
    rows = tx.execute(
        "SELECT a.* FROM service_at_locations AS a JOIN locations AS l ON l.id = a.location_id"
        " WHERE a.service_id = ANY(%s) AND NOT l.confidential"
        ' ORDER BY a.service_id, l.name COLLATE "C", l.id',
        (list(service_ids),),
    ).fetchall()
    places = {
        row["id"]: _read(row) for row in _fetch_rows(tx, [row["location_id"] for row in rows])
    }
    by_service: dict[str, list[tuple[ServiceAtLocation, Location]]] = {}
    for row in rows:
        by_service.setdefault(row["service_id"], []).append(
            (_read_service(row), places[row["location_id"]])
        )
    return by_service


def service_ids_at(tx: Transaction, location_id: str) -> list[str]:
    """Returns the ids of the services that are offered at the place."""
    return [
        row["service_id"]
        for row in tx.execute(
            "SELECT service_id FROM service_at_locations WHERE location_id = %s", (location_id,)
        )
    ]


def delete_service(tx: Transaction, id: str) -> None:
    """Deletes a service at a place."""
    tx.execute("DELETE FROM service_at_locations WHERE id = %s", (id,))


def _fetch_rows(tx: Transaction, ids: Sequence[str]) -> list[Row]:
    return tx.execute("SELECT * FROM locations WHERE id = ANY(%s)", (list(ids),)).fetchall()


def _read(row: Row) -> Location:
    names = (name for name in LocationEntry.__dataclass_fields__ if name != "accessibility")
    entry = LocationEntry(
        **{name: row[name] for name in names},
        accessibility=tuple(Accessibility(word) for word in row["accessibility"]),
    )
    return Location(
        id=row["id"],
        version=row["version"],
        organization_id=row["organization_id"],
        entry=entry,
        create_time=row["create_time"],
        update_time=row["update_time"],
    )


def _read_service(row: Row) -> ServiceAtLocation:
    return ServiceAtLocation(
        id=row["id"],
        service_id=row["service_id"],
        location_id=row["location_id"],
        phones=tuple(
            Phone(**item | {"languages": tuple(item["languages"])}) for item in row["phones"]
        ),
        contacts=tuple(ContactPoint(**item) for item in row["contacts"]),
        schedules=tuple(Schedule.from_dict(item) for item in row["schedules"]),
        languages=tuple(row["languages"]),
    )
