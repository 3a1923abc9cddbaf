"""What one may ask of places: kept by their organisation, seen by tiers, and of confidential ones the address through one door."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from chassis.db import Transaction
from chassis.errors import Conflict, Invalid, NotAllowed, NotFound
from chassis.ids import is_id, new_id
from chassis.tokens import Caller
from chassis.wire import Position, check_etag
from keys.sealing import Keyring
from services.partners import wire
from services.partners.domain.area import Area
from services.partners.domain.field_change import FieldChange, changes_of
from services.partners.domain.location import MOST_PLACES, SEALED, Location, LocationEntry, ServiceAtLocation
from services.partners.store import address_grants, field_changes, locations, open_hours, organizations, services
from services.partners.store.areas import areas
from services.partners.usecases.organizations import owner_of
from services.partners.usecases.services import get_service, held_service
from services.partners.usecases.standing import may_act_for, sees_everything, sees_shelters, viewer, worker_of

_LEADS_THERE = (*SEALED, "area_code", "latitude", "longitude", "name")


def list_areas() -> list[Area]:
    """The areas that can be named."""
    return list(areas().areas.values())


def create_location(
    tx: Transaction, keyring: Keyring, caller: Caller, now: datetime, organization_id: str, entry: LocationEntry, *, id: str | None = None
) -> Location:
    """Adds a place to an organisation, the caller's own if none is named; in its country if none is said."""
    organization = owner_of(tx, caller, organization_id)
    entry = entry.in_country(organization.entry.country)
    location = Location.register(id or new_id(), organization.id, entry, areas(), now)
    locations.keep(tx, keyring, location)
    return _fresh(tx, location.id)


def get_location(tx: Transaction, caller: Caller, id: str) -> Location:
    """One place."""
    location = locations.fetch(tx, id) if is_id(id) else None
    if location is None or not _visible(tx, caller, location):
        raise NotFound
    return location


def list_locations(
    tx: Transaction, caller: Caller, organization_id: str, size: int, after: Position | None
) -> tuple[list[Location], Position | None]:
    """A page of an organisation's places. Members on probation see none of a shelter, and no confidential ones but their own."""
    owner = organization_id or caller.organization_id
    if not is_id(owner):
        return [], None
    every = owner == caller.organization_id or sees_shelters(tx, caller)
    if not every and organizations.shelters(tx, [owner]):
        return [], None
    return locations.listed(tx, owner, size, after, confidential=every)


def update_location(
    tx: Transaction, keyring: Keyring, caller: Caller, now: datetime, id: str, etag: str, changes: Mapping[str, Any]
) -> Location:
    """Changes what is said of a place. Where a confidential one is its own people say, and nobody for them."""
    location = _held(tx, caller, id)
    check_etag(etag, wire.etag_of(location), "location.etag")
    before = location.entry
    if before.confidential and caller.organization_id != location.organization_id and not set(SEALED).isdisjoint(changes):
        raise Invalid(*((f"location.{name}", "out_of_range") for name in SEALED if name in changes))
    change_location(tx, keyring, caller, now, location, changes)
    return _fresh(tx, id)


def change_location(
    tx: Transaction, keyring: Keyring, caller: Caller, now: datetime, location: Location, changes: Mapping[str, Any]
) -> None:
    """Changes a place that is held, with its history."""
    id, before = location.id, location.entry
    location.change(changes, areas(), now)
    after = location.entry
    locations.keep(tx, keyring, location)
    hidden = _LEADS_THERE if after.confidential else ()
    field_changes.keep(tx, id, location.organization_id, changes_of(before, after, worker_of(caller), now, hidden))
    if after.confidential and not before.confidential:
        field_changes.forget_values(tx, id, _LEADS_THERE)
        locations.strip(tx, id)
    if (before.country, before.department) != (after.country, after.department):  # another clock, and other holidays
        open_hours.refresh_many(tx, locations.offered_at(tx, id), now)
    if not (before.confidential and after.confidential) and before != after:
        services.touch_public(tx, locations.offered_at(tx, id), now)


def delete_location(tx: Transaction, caller: Caller, id: str, etag: str) -> None:
    """Removes a place at which nothing is offered."""
    location = _held(tx, caller, id)
    check_etag(etag, wire.etag_of(location))
    if locations.is_used(tx, id):
        raise Conflict("location_in_use")
    locations.delete(tx, id)


def set_service_at_location(tx: Transaction, caller: Caller, now: datetime, said: ServiceAtLocation) -> tuple[ServiceAtLocation, Location]:
    """Says that a service is offered at a place of the same organisation."""
    service, location = held_service(tx, caller, said.service_id), _held(tx, caller, said.location_id)
    if service.organization_id != location.organization_id:
        raise NotFound
    before = locations.fetch_service(tx, service_id=service.id, location_id=location.id)
    if before is None and len(locations.services_at(tx, service.id)) >= MOST_PLACES:
        raise Invalid(("service_at_location.location_id", "too_long"))
    said.check()
    if service.entry.confidential and not location.entry.confidential:
        raise Invalid(("service_at_location.location_id", "out_of_range"))  # its address would lead to what is to be hidden
    if location.entry.confidential:
        said = said.discreet()
    locations.keep_service(tx, said)
    open_hours.refresh(tx, service.id, now)
    if not location.entry.confidential and (before is None or _in_public(before) != _in_public(said)):
        services.touch_public(tx, [service.id], now)
    kept = locations.fetch_service(tx, service_id=service.id, location_id=location.id)
    assert kept is not None, "it was kept"
    return kept, location


def list_service_at_locations(tx: Transaction, caller: Caller, service_id: str) -> list[tuple[ServiceAtLocation, Location]]:
    """Where a service is offered; of a service that one may not see nothing."""
    service = get_service(tx, caller, service_id)
    # One that became confidential is offered at open places no more, as others see it.
    hides = service.entry.confidential and service.organization_id != caller.organization_id
    there = locations.services_at(tx, service_id)
    return [(one, where) for one, where in there if _visible(tx, caller, where) and (where.entry.confidential or not hides)]


def delete_service_at_location(tx: Transaction, caller: Caller, now: datetime, id: str) -> None:
    """Says that a service is no longer offered at a place."""
    one = locations.fetch_service(tx, id=id) if is_id(id) else None
    if one is None:
        raise NotFound
    service, location = held_service(tx, caller, one.service_id), locations.fetch(tx, one.location_id)
    locations.delete_service(tx, id)
    open_hours.refresh(tx, service.id, now)
    if location is not None and not location.entry.confidential:
        services.touch_public(tx, [service.id], now)


def grant_address(tx: Transaction, referral_id: str, service_id: str, receiver_id: str, sender_id: str, at: datetime) -> None:
    """A service's own organisation accepted who another sent: one of its workers may open where it is."""
    service = services.fetch(tx, service_id)
    if service is not None and service.organization_id == receiver_id:
        address_grants.grant(tx, referral_id, service_id, sender_id, at)


def end_address(tx: Transaction, referral_id: str, at: datetime) -> None:
    """She is there no more, or never came: where it is concerns nobody now."""
    address_grants.end(tx, referral_id, at)


def open_address(
    tx: Transaction, keyring: Keyring, caller: Caller, now: datetime, referral_id: str
) -> list[tuple[Location, dict[str, str]]]:
    """Each confidential place of the service that accepted, with its address: for one worker, once."""
    grant = address_grants.fetch(tx, referral_id, caller.organization_id) if is_id(referral_id) else None
    if grant is None:
        raise NotFound
    if not sees_shelters(tx, caller):
        raise NotAllowed("member_on_probation")
    hidden = [where for _, where in locations.services_at(tx, grant.service_id) if where.entry.confidential]
    if not hidden:
        raise NotFound  # nothing to open; the one opening is not spent
    grant.open(caller.id, now)
    address_grants.keep(tx, grant)
    return [(where, locations.address(tx, keyring, where.id)) for where in hidden]


def open_own_address(tx: Transaction, keyring: Keyring, caller: Caller, id: str) -> tuple[Location, dict[str, str]]:
    """A confidential place of the caller's own organisation, with its address."""
    location = locations.fetch(tx, id) if is_id(id) else None
    if location is None or location.organization_id != caller.organization_id or not location.entry.confidential:
        raise NotFound
    return location, locations.address(tx, keyring, id)


def list_field_changes(
    tx: Transaction, caller: Caller, subject_id: str, size: int, after: Position | None
) -> tuple[list[FieldChange], Position | None]:
    """What changed of one's own entries; of any for who steers or checks the network, but for a shelter's room, which its own people alone see change."""
    owner = None if sees_everything(caller) else caller.organization_id
    service = services.fetch(tx, subject_id) if owner is None and is_id(subject_id) else None
    hides_room = service is not None and not service.is_live_for(viewer(caller))
    return field_changes.listed(tx, subject_id, owner, size, after, without="capacity." if hides_room else "")


def _in_public(one: ServiceAtLocation) -> tuple[object, ...]:
    """What anybody may read of it, were its place open."""
    return one.phones, one.schedules, one.languages


def _fresh(tx: Transaction, id: str) -> Location:
    """As it is kept: without what was sealed."""
    location = locations.fetch(tx, id)
    assert location is not None, "it was kept"
    return location


def _held(tx: Transaction, caller: Caller, id: str) -> Location:
    location = locations.fetch(tx, id, hold=True) if is_id(id) else None
    if location is None or not may_act_for(caller, location.organization_id):
        raise NotFound
    return location


def _visible(tx: Transaction, caller: Caller, location: Location) -> bool:
    if location.organization_id == caller.organization_id or sees_shelters(tx, caller):
        return True
    return not location.entry.confidential and not organizations.shelters(tx, [location.organization_id])
