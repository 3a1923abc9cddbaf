"""Places and services at them.

Of a confidential place address and way there are sealed, and read by nothing but `address`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict

from chassis.db import Row, Transaction
from chassis.wire import Position
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
_KEEP = (
    f"INSERT INTO locations ({', '.join(_COLUMNS)})"
    f" VALUES ({', '.join(f'%({name})s' for name in _COLUMNS)}) ON CONFLICT (id) DO UPDATE SET "
) + ", ".join(
    f"{name} = excluded.{name}"
    for name in _COLUMNS
    if name not in ("id", "organization_id", "create_time")
)
_SEALED_AT = "locations/{}/secret"


def keep(tx: Transaction, keyring: Keyring, location: Location) -> None:
    """Writes a place.

    What is new of what is sealed is taken out of the entry; what was not said again stays as it was
    sealed.
    """
    entry = location.entry
    values = _values(location)
    if entry.confidential:
        new = {name: getattr(entry, name) for name in SEALED}
        told = address(tx, keyring, location.id) | {
            name: value for name, value in new.items() if value
        }
        values |= dict.fromkeys(SEALED, "") | {
            "secret": keyring.seal_bytes(json.dumps(told).encode(), _SEALED_AT.format(location.id))
        }
    tx.execute(_KEEP, values)
    location.facts.clear()  # nobody hears of places: no other service asks where something is


def fetch_many(tx: Transaction, ids: Sequence[str]) -> list[Location]:
    """Those of these ids that exist, held in the order of their ids."""
    return [
        _read(row)
        for row in tx.execute(
            "SELECT * FROM locations WHERE id = ANY(%s) ORDER BY id FOR UPDATE", (list(ids),)
        )
    ]


def keep_many(tx: Transaction, keyring: Keyring, kept: Sequence[Location]) -> None:
    """Writes many at once; confidential ones one by one, for each is sealed."""
    with tx.cursor() as cursor:
        cursor.executemany(_KEEP, [_values(one) for one in kept if not one.entry.confidential])
    for one in kept:
        if one.entry.confidential:
            keep(tx, keyring, one)
        one.facts.clear()


def address(tx: Transaction, keyring: Keyring, id: str) -> dict[str, str]:
    """Address and way there of a confidential place; of another, and of none, nothing."""
    row = tx.execute("SELECT secret FROM locations WHERE id = %s", (id,)).fetchone()
    if row is None or row["secret"] is None:
        return dict.fromkeys(SEALED, "")
    opened: dict[str, str] = json.loads(keyring.open_bytes(row["secret"], _SEALED_AT.format(id)))
    return dict.fromkeys(SEALED, "") | opened


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


def fetch(tx: Transaction, id: str, *, hold: bool = False) -> Location | None:
    """One place; held until the transaction ends if it is to be changed."""
    row = tx.execute(
        f"SELECT * FROM locations WHERE id = %s {'FOR UPDATE' if hold else ''}", (id,)
    ).fetchone()
    return _read(row) if row else None


def listed(
    tx: Transaction, organization_id: str, size: int, after: Position | None, *, confidential: bool
) -> tuple[list[Location], Position | None]:
    """A page of an organisation's, by their time of making, and where the next goes on; with
    confidential ones or without.
    """
    rows = tx.execute(
        "SELECT * FROM locations WHERE organization_id = %(owner)s AND (%(confidential)s"
        " OR NOT confidential) AND (%(after)s::text[] IS NULL"
        " OR (create_time, id) > ((%(after)s::text[])[1]::timestamptz, (%(after)s::text[])[2]))"
        " ORDER BY create_time, id LIMIT %(limit)s",
        {"owner": organization_id, "confidential": confidential, "after": after, "limit": size + 1},
    ).fetchall()
    more = (
        [rows[size - 1]["create_time"].isoformat(), rows[size - 1]["id"]]
        if len(rows) > size
        else None
    )
    return [_read(row) for row in rows[:size]], more


def is_used(tx: Transaction, id: str) -> bool:
    """Whether something is offered there."""
    return (
        tx.execute(
            "SELECT 1 FROM service_at_locations WHERE location_id = %s LIMIT 1", (id,)
        ).fetchone()
        is not None
    )


def delete(tx: Transaction, id: str) -> None:
    """Removes a place."""
    tx.execute("DELETE FROM locations WHERE id = %s", (id,))


def keep_service(tx: Transaction, one: ServiceAtLocation) -> None:
    """Writes a service at a place, in the place of what was said before of the two."""
    keep_services(tx, [one])


def keep_services(tx: Transaction, kept: Sequence[ServiceAtLocation]) -> None:
    """The same of many at once."""
    with tx.cursor() as cursor:
        cursor.executemany(_KEEP_SERVICE, [_service_values(one) for one in kept])


def of_services(
    tx: Transaction, service_ids: Sequence[str]
) -> dict[tuple[str, str], ServiceAtLocation]:
    """Where these services are offered, by service and place."""
    rows = tx.execute(
        "SELECT * FROM service_at_locations WHERE service_id = ANY(%s)", (list(service_ids),)
    )
    return {(row["service_id"], row["location_id"]): _read_service(row) for row in rows}


_KEEP_SERVICE = (
    "INSERT INTO service_at_locations (id, service_id, location_id, phones, contacts, schedules,"
    " languages) VALUES (%s, %s, %s, %s, %s, %s, %s)"
    " ON CONFLICT (service_id, location_id) DO UPDATE"
    " SET phones = excluded.phones, contacts = excluded.contacts,"
    " schedules = excluded.schedules, languages = excluded.languages"
)


def _service_values(one: ServiceAtLocation) -> tuple[object, ...]:
    return (
        one.id,
        one.service_id,
        one.location_id,
        json.dumps([asdict(phone) for phone in one.phones]),
        json.dumps([asdict(contact) for contact in one.contacts]),
        json.dumps([schedule.said() for schedule in one.schedules]),
        list(one.languages),
    )


def strip(tx: Transaction, location_id: str) -> None:
    """Drops what leads to a place that has become confidential, and who works there."""
    tx.execute(
        "UPDATE service_at_locations SET phones = '[]', contacts = '[]' WHERE location_id = %s",
        (location_id,),
    )


def fetch_service(
    tx: Transaction, *, id: str = "", service_id: str = "", location_id: str = ""
) -> ServiceAtLocation | None:
    """A service at a place, by its id, or by the two."""
    row = tx.execute(
        "SELECT * FROM service_at_locations WHERE id = %s OR (service_id = %s"
        " AND location_id = %s)",
        (id, service_id, location_id),
    ).fetchone()
    return _read_service(row) if row else None


def services_at(tx: Transaction, service_id: str) -> list[tuple[ServiceAtLocation, Location]]:
    """Where a service is offered, by the name of the place."""
    rows = tx.execute(
        "SELECT * FROM service_at_locations WHERE service_id = %s", (service_id,)
    ).fetchall()
    places = {row["id"]: _read(row) for row in _of(tx, [row["location_id"] for row in rows])}
    both = [(_read_service(row), places[row["location_id"]]) for row in rows]
    return sorted(
        both,
        key=lambda pair: ("" if pair[1].entry.confidential else pair[1].entry.name, pair[1].id),
    )


def open_places(
    tx: Transaction, service_ids: Sequence[str]
) -> dict[str, list[tuple[ServiceAtLocation, Location]]]:
    """Where these services are offered, by service, without the confidential places."""
    rows = tx.execute(
        "SELECT a.* FROM service_at_locations AS a JOIN locations AS l ON l.id = a.location_id"
        " WHERE a.service_id = ANY(%s) AND NOT l.confidential"
        ' ORDER BY a.service_id, l.name COLLATE "C", l.id',
        (list(service_ids),),
    ).fetchall()
    places = {row["id"]: _read(row) for row in _of(tx, [row["location_id"] for row in rows])}
    by_service: dict[str, list[tuple[ServiceAtLocation, Location]]] = {}
    for row in rows:
        by_service.setdefault(row["service_id"], []).append(
            (_read_service(row), places[row["location_id"]])
        )
    return by_service


def offered_at(tx: Transaction, location_id: str) -> list[str]:
    """The ids of the services that are offered there."""
    return [
        row["service_id"]
        for row in tx.execute(
            "SELECT service_id FROM service_at_locations WHERE location_id = %s", (location_id,)
        )
    ]


def delete_service(tx: Transaction, id: str) -> None:
    """A service is no longer offered at a place."""
    tx.execute("DELETE FROM service_at_locations WHERE id = %s", (id,))


def _of(tx: Transaction, ids: Sequence[str]) -> list[Row]:
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
            Phone(**each | {"languages": tuple(each["languages"])}) for each in row["phones"]
        ),
        contacts=tuple(ContactPoint(**each) for each in row["contacts"]),
        schedules=tuple(Schedule.kept(each) for each in row["schedules"]),
        languages=tuple(row["languages"]),
    )
