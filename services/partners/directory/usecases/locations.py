"""The rpcs for members' places, services at places, and addresses of confidential places."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from chassis.audit import Entry
from chassis.db import Transaction
from chassis.errors import Conflict, Invalid, NotAllowed, NotFound
from chassis.ids import is_id, new_id
from chassis.rpc import Call
from chassis.tokens import Caller
from chassis.wire import PageTokens, check_etag, mask_names, page_size
from keys.sealing import Keyring
from protos.partners.v1 import locations_pb2 as pb
from services.partners.directory.domain.location import (
    MAX_PLACES,
    SEALED,
    Location,
    LocationEntry,
    ServiceAtLocation,
)
from services.partners.directory.domain.matching import CONFIRMATION_INTERVAL
from services.partners.directory.store import (
    address_grants,
    locations,
    open_hours,
    promises,
    services,
)
from services.partners.directory.store.areas import areas
from services.partners.directory.usecases.services import locked_service, visible_service
from services.partners.directory.wire import locations as messages
from services.partners.members.store import organizations
from services.partners.members.usecases.organizations import check_change, owner_of
from services.partners.members.usecases.standing import (
    may_act_for,
    sees_inactive_members,
    sees_shelters,
    viewer,
    worker_of,
)
from services.partners.network.domain.field_change import changes_of
from services.partners.network.store import field_changes
from services.partners.network.wire.messages import etag_of

REVEALING_FIELDS = (*SEALED, "area_code", "latitude", "longitude", "name")
"""The fields that would lead to a confidential place, or show that it has moved."""


class Locations:
    """Handles the rpcs for places, services at places, reliability scores, and entry histories."""

    def __init__(self, keyring: Keyring, mail: Keyring, pages: PageTokens) -> None:
        """Sets up the handlers; `mail` is the keyring that seals e-mails to managers."""
        self._keyring = keyring
        self._mail = mail
        self._pages = pages

    def ListAreas(self, request: pb.ListAreasRequest, call: Call) -> pb.ListAreasResponse:
        """Lists the areas that an entry can name."""
        return pb.ListAreasResponse(areas=map(messages.area, areas().areas.values()))

    def CreateLocation(self, request: pb.CreateLocationRequest, call: Call) -> pb.Location:
        """Adds a place to the named organisation, or to the caller's organisation if none is named.

        A place without a stated country is in the organisation's country.
        """
        entry = messages.location_entry(request.location)
        organization = owner_of(call.tx, call.caller, request.location.organization_id)
        entry = entry.in_country(organization.entry.country)
        location = Location.register(new_id(), organization.id, entry, areas(), call.clock.now())
        check_change(call, self._mail, organization.id, "location", None, location.entry)
        locations.save(call.tx, self._keyring, location)
        call.trail.append(Entry("location_create", location.id))
        return _message(_stored_location(call.tx, location.id), call.caller)

    def GetLocation(self, request: pb.GetLocationRequest, call: Call) -> pb.Location:
        """Returns a place."""
        location = locations.fetch(call.tx, request.id) if is_id(request.id) else None
        if location is None or not _is_visible(call, location):
            raise NotFound
        return _message(location, call.caller)

    def ListLocations(
        self, request: pb.ListLocationsRequest, call: Call
    ) -> pb.ListLocationsResponse:
        """Returns a page of an organisation's places.

        Members on probation see no places of shelters, and no confidential places, except their
        own. Only the owner sees an open place at which only confidential services are offered.
        """
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        owner = request.organization_id or call.caller.organization_id
        is_owner = owner == call.caller.organization_id
        sees_all = is_owner or sees_shelters(call.tx, call.caller)
        if not is_id(owner) or (not sees_all and organizations.shelters(call.tx, [owner])):
            return pb.ListLocationsResponse()
        page, next_cursor = locations.page_of(
            call.tx, owner, size, after, sees_shelters=sees_all, is_owner=is_owner
        )
        return pb.ListLocationsResponse(
            locations=[_message(location, call.caller) for location in page],
            next_page_token=self._pages.token(request, next_cursor),
        )

    def UpdateLocation(self, request: pb.UpdateLocationRequest, call: Call) -> pb.Location:
        """Changes a place.

        Only the organisation that owns a confidential place may change its name, its address or the
        directions to it. If the organisation has a manager, this is so for each of its places.
        """
        entry = messages.location_entry(request.location)
        changes = {
            path: getattr(entry, path, None)
            for path in sorted(mask_names(request.update_mask, LocationEntry.__dataclass_fields__))
        }
        location = _locked_location(call, request.location.id)
        check_etag(request.location.etag, etag_of(location), "location.etag")
        is_owner = call.caller.organization_id == location.organization_id
        own_fields = [
            name for name in (*SEALED, "name") if name in changes and location.entry.confidential
        ]
        if own_fields and not is_owner:
            raise Invalid(*((f"location.{name}", "member_only") for name in own_fields))
        # An empty text is refused, because the store keeps a sealed field if its new text is empty.
        if empty_fields := [name for name in own_fields if name in SEALED and not changes[name]]:
            raise Invalid(*((f"location.{name}", "required") for name in empty_fields))
        before = location.entry
        change_location(call.tx, self._keyring, call.caller, call.clock.now(), location, changes)
        # a place that becomes confidential loses its phones and its history for good
        check_change(
            call,
            self._mail,
            location.organization_id,
            "location",
            before,
            location.entry,
            "confidential",
        )
        services.refresh_words(call.tx, locations.service_ids_at(call.tx, location.id))
        call.trail.append(Entry("location_change", location.id, detail_codes=tuple(changes)))
        return _message(_stored_location(call.tx, location.id), call.caller)

    def DeleteLocation(
        self, request: pb.DeleteLocationRequest, call: Call
    ) -> pb.DeleteLocationResponse:
        """Deletes a place at which nothing is offered."""
        location = _locked_location(call, request.id)
        _check_may_remove(call, location)
        check_etag(request.etag, etag_of(location))
        if locations.is_used(call.tx, location.id):
            raise Conflict("location_in_use")
        check_change(call, self._mail, location.organization_id)
        locations.delete(call.tx, location.id)
        call.trail.append(Entry("location_delete", location.id))
        return pb.DeleteLocationResponse()

    def SetServiceAtLocation(
        self, request: pb.SetServiceAtLocationRequest, call: Call
    ) -> pb.ServiceAtLocation:
        """States that a service is offered at a place of the same organisation."""
        offer = messages.service_at_location(request.service_at_location, new_id())
        service = locked_service(call.tx, call.caller, offer.service_id)
        location = _locked_location(call, offer.location_id)
        if service.organization_id != location.organization_id:
            raise NotFound
        former_offer = locations.fetch_service(
            call.tx, service_id=service.id, location_id=location.id
        )
        if (
            former_offer is None
            and len(locations.places_of_service(call.tx, service.id)) >= MAX_PLACES
        ):
            raise Invalid(("service_at_location.location_id", "too_long"))
        offer.check()
        if service.entry.confidential and not location.entry.confidential:
            # the open place's address would lead to the hidden service
            raise Invalid(("service_at_location.location_id", "out_of_range"))
        is_owner = call.caller.organization_id == location.organization_id
        reveals_place = location.entry.confidential or service.entry.public
        if reveals_place and former_offer is None and not is_owner:
            # the sender of a referral to the service may open a confidential place's address, and
            # everybody reads the address of a public service's place
            raise Invalid(("service_at_location.location_id", "member_only"))
        if location.entry.confidential:
            offer = offer.discreet()
        check_change(
            call, self._mail, service.organization_id, "service_at_location", former_offer, offer
        )
        locations.save_service(call.tx, offer)
        open_hours.refresh(call.tx, service.id, call.clock.now())
        if not location.entry.confidential and (
            former_offer is None or _public_part(former_offer) != _public_part(offer)
        ):
            services.touch_public(call.tx, [service.id], call.clock.now())
            services.refresh_words(call.tx, [service.id])
        stored_offer = locations.fetch_service(
            call.tx, service_id=service.id, location_id=location.id
        )
        assert stored_offer is not None, "it was saved"
        call.trail.append(Entry("service_at_location_set", stored_offer.id))
        return _offer_message(stored_offer, location, call.caller)

    def ListServiceAtLocations(
        self, request: pb.ListServiceAtLocationsRequest, call: Call
    ) -> pb.ListServiceAtLocationsResponse:
        """Lists the places at which a service is offered.

        Raises NotFound for a service that does not exist for the caller.
        """
        service = visible_service(call.tx, call.caller, request.service_id)
        # After a service has become confidential, other members no longer see its open places, not
        # even those that they see because of another service.
        hides_open_places = (
            service.entry.confidential and service.organization_id != call.caller.organization_id
        )
        return pb.ListServiceAtLocationsResponse(
            service_at_locations=[
                _offer_message(offer, location, call.caller)
                for offer, location in locations.places_of_service(call.tx, service.id)
                if _is_visible(call, location)
                and (location.entry.confidential or not hides_open_places)
            ]
        )

    def DeleteServiceAtLocation(
        self, request: pb.DeleteServiceAtLocationRequest, call: Call
    ) -> pb.DeleteServiceAtLocationResponse:
        """States that a service is no longer offered at a place."""
        offer = locations.fetch_service(call.tx, id=request.id) if is_id(request.id) else None
        if offer is None:
            raise NotFound
        service = locked_service(call.tx, call.caller, offer.service_id)
        location = _locked_location(call, offer.location_id)
        _check_may_remove(call, location)
        check_change(call, self._mail, service.organization_id)
        locations.delete_service(call.tx, offer.id)
        open_hours.refresh(call.tx, service.id, call.clock.now())
        if not location.entry.confidential:
            services.touch_public(call.tx, [service.id], call.clock.now())
            services.refresh_words(call.tx, [service.id])
        call.trail.append(Entry("service_at_location_delete", offer.id))
        return pb.DeleteServiceAtLocationResponse()

    def OpenAddress(self, request: pb.OpenAddressRequest, call: Call) -> pb.OpenAddressResponse:
        """Returns the address of each hidden place of the service that accepted the referral.

        A place is hidden if it or the service is confidential. Only one worker may open the
        addresses: once, and then again within LOOK_AGAIN.
        """
        id = request.referral_id
        grant = (
            address_grants.fetch(call.tx, id, call.caller.organization_id) if is_id(id) else None
        )
        if grant is None:
            raise NotFound
        if not sees_shelters(call.tx, call.caller):
            raise NotAllowed("member_on_probation")
        service = services.fetch(call.tx, grant.service_id)
        hidden_places = [
            location
            for _, location in locations.places_of_service(call.tx, grant.service_id)
            if location.entry.confidential or (service and service.entry.confidential)
        ]
        if not hidden_places:
            raise NotFound  # there is nothing to open, so the worker's one opening is not used up
        grant.open(call.caller.id, call.clock.now())
        address_grants.save(call.tx, grant)
        addresses = [self._address(call, location) for location in hidden_places]
        call.trail.extend(
            Entry("address_open", location.id, purpose_code=id) for location in hidden_places
        )
        return pb.OpenAddressResponse(addresses=addresses)

    def OpenOwnAddress(self, request: pb.OpenOwnAddressRequest, call: Call) -> pb.OpenedAddress:
        """Returns the address of a confidential place of the caller's own organisation."""
        location = (
            locations.fetch(call.tx, request.location_id) if is_id(request.location_id) else None
        )
        if (
            location is None
            or location.organization_id != call.caller.organization_id
            or not location.entry.confidential
        ):
            raise NotFound
        address = self._address(call, location)
        call.trail.append(Entry("address_open", location.id))
        return address

    def ListTruthScores(
        self, request: pb.ListTruthScoresRequest, call: Call
    ) -> pb.ListTruthScoresResponse:
        """Returns a page of services with scores for the reliability of their room figures.

        Most callers see only the scores of their own organisation's services. Coordinators and
        auditors see the scores of all members' services.
        """
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        now = call.clock.now()
        own_id = call.caller.organization_id
        sees_all = sees_inactive_members(call.caller)
        if not sees_all and request.organization_id not in ("", own_id):
            return pb.ListTruthScoresResponse()
        owner = request.organization_id or None if sees_all else own_id
        page, next_cursor = promises.offered_services(
            call.tx,
            owner,
            size,
            after,
            unconfirmed_since=now - CONFIRMATION_INTERVAL if request.doubtful else None,
        )
        return pb.ListTruthScoresResponse(
            scores=[messages.truth_score(service, viewer(call.caller), now) for service in page],
            next_page_token=self._pages.token(request, next_cursor),
        )

    def ListFieldChanges(
        self, request: pb.ListFieldChangesRequest, call: Call
    ) -> pb.ListFieldChangesResponse:
        """Returns a page of the changes to an entry, newest first.

        Coordinators and auditors may read the changes to any entry, other callers only the changes
        to their own organisation's entries. Only the organisation itself sees how the room of its
        shelter changed, and that the name or address of its confidential place changed.
        """
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, int)
        owner = None if sees_inactive_members(call.caller) else call.caller.organization_id
        id = request.subject_id
        is_shared = owner is None and is_id(id)
        service = services.fetch(call.tx, id) if is_shared else None
        location = locations.fetch(call.tx, id) if is_shared else None
        hidden_fields: tuple[str, ...] = ()
        if service is not None and not service.is_live_for(viewer(call.caller)):
            hidden_fields = ("capacity.%",)
        elif location is not None and location.entry.confidential:
            is_own = location.organization_id == call.caller.organization_id
            hidden_fields = () if is_own else REVEALING_FIELDS
        changes, next_cursor = field_changes.page_of(
            call.tx, id, owner, size, after, without=hidden_fields
        )
        return pb.ListFieldChangesResponse(
            changes=map(messages.field_change, changes),
            next_page_token=self._pages.token(request, next_cursor),
        )

    def _address(self, call: Call, location: Location) -> pb.OpenedAddress:
        entry = location.entry
        address = (
            locations.address(call.tx, self._keyring, location.id)
            if entry.confidential
            else {name: getattr(entry, name) for name in SEALED}
        )
        return pb.OpenedAddress(location_id=location.id, name=entry.name, **address)


def change_location(
    tx: Transaction,
    keyring: Keyring,
    caller: Caller,
    now: datetime,
    location: Location,
    changes: Mapping[str, Any],
) -> None:
    """Changes a locked place, and records the change in its history."""
    id, before = location.id, location.entry
    location.change(changes, areas(), now)
    after = location.entry
    locations.save(tx, keyring, location)
    hidden_fields = REVEALING_FIELDS if after.confidential else ()
    field_changes.save(
        tx,
        id,
        location.organization_id,
        changes_of(before, after, worker_of(caller), now, hidden_fields),
    )
    if after.confidential and not before.confidential:
        field_changes.forget_values(tx, id, REVEALING_FIELDS)
        locations.delete_phones_and_contacts(tx, id)
    # the place may now have another time zone and other holidays
    if (before.country, before.department) != (after.country, after.department):
        open_hours.refresh_many(tx, locations.service_ids_at(tx, id), now)
    if not (before.confidential and after.confidential) and before != after:
        services.touch_public(tx, locations.service_ids_at(tx, id), now)


def grant_address(
    tx: Transaction,
    referral_id: str,
    service_id: str,
    receiver_id: str,
    sender_id: str,
    at: datetime,
) -> None:
    """Lets one worker of the sender open the service's address.

    Does nothing if the service does not belong to the receiver.
    """
    service = services.fetch(tx, service_id)
    if service is not None and service.organization_id == receiver_id:
        address_grants.grant(tx, referral_id, service_id, sender_id, at)


def end_address(tx: Transaction, referral_id: str, at: datetime) -> None:
    """Ends the right to open the address when the person has left the service or did not come."""
    address_grants.end(tx, referral_id, at)


def _message(location: Location, caller: Caller) -> pb.Location:
    return messages.location(
        location,
        etag_of(location),
        viewer(caller).tier_of(location.organization_id),
        is_own=caller.organization_id == location.organization_id,
    )


def _offer_message(
    offer: ServiceAtLocation, location: Location, caller: Caller
) -> pb.ServiceAtLocation:
    return messages.service_at_location_message(
        offer, _message(location, caller), viewer(caller).tier_of(location.organization_id)
    )


def _public_part(offer: ServiceAtLocation) -> tuple[object, ...]:
    """Returns the part of a service at a place that is public unless the place is confidential."""
    return offer.phones, offer.schedules, offer.languages


def _stored_location(tx: Transaction, id: str) -> Location:
    """Returns the place as it is stored: without its sealed fields."""
    location = locations.fetch(tx, id)
    assert location is not None, "it was saved"
    return location


def _locked_location(call: Call, id: str) -> Location:
    """Returns a place, locked. Raises NotFound if the caller may not act for its organisation."""
    location = locations.fetch(call.tx, id, lock=True) if is_id(id) else None
    if location is None or not may_act_for(call.caller, location.organization_id):
        raise NotFound
    return location


def _check_may_remove(call: Call, location: Location) -> None:
    """Refuses to remove another organisation's confidential place, or a service from it.

    Only that organisation knows the address, and a person may be on her way to it.
    """
    if location.entry.confidential and location.organization_id != call.caller.organization_id:
        raise NotAllowed("right_missing")


def _is_visible(call: Call, location: Location) -> bool:
    if location.organization_id == call.caller.organization_id:
        return True
    sees_all = sees_shelters(call.tx, call.caller)
    if locations.leads_to_hidden(call.tx, location.id, sees_shelters=sees_all):
        return False
    if sees_all:
        return True
    return not location.entry.confidential and not organizations.shelters(
        call.tx, [location.organization_id]
    )
