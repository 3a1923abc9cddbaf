"""Locations: places, services at them, and the addresses of confidential ones."""

from chassis.audit import Entry
from chassis.ids import new_id
from chassis.rpc import Call
from chassis.wire import PageTokens, masked, page_size
from keys.sealing import Keyring
from protos.partners.v1 import locations_pb2 as pb
from services.partners import usecases, wire
from services.partners.domain.location import Location, LocationEntry, ServiceAtLocation
from services.partners.wire import locations as said


class Locations:
    """One method an rpc of the contract, which says what each does and refuses."""

    def __init__(self, keyring: Keyring, pages: PageTokens) -> None:
        self._keyring = keyring
        self._pages = pages

    def ListAreas(self, request: pb.ListAreasRequest, call: Call) -> pb.ListAreasResponse:
        return pb.ListAreasResponse(areas=[said.area(area) for area in usecases.list_areas()])

    def CreateLocation(self, request: pb.CreateLocationRequest, call: Call) -> pb.Location:
        given = request.location
        entry = said.location_entry(given)
        location = usecases.create_location(call.tx, self._keyring, call.caller, call.clock.now(), given.organization_id, entry)
        call.trail.append(Entry("location_create", location.id))
        return self._said(location, call)

    def GetLocation(self, request: pb.GetLocationRequest, call: Call) -> pb.Location:
        return self._said(usecases.get_location(call.tx, call.caller, request.id), call)

    def ListLocations(self, request: pb.ListLocationsRequest, call: Call) -> pb.ListLocationsResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        locations, more = usecases.list_locations(call.tx, call.caller, request.organization_id, size, after)
        return pb.ListLocationsResponse(
            locations=[self._said(one, call) for one in locations], next_page_token=self._pages.token(request, more)
        )

    def UpdateLocation(self, request: pb.UpdateLocationRequest, call: Call) -> pb.Location:
        given = request.location
        entry = said.location_entry(given)
        changes = {path: getattr(entry, path, None) for path in sorted(masked(request.update_mask, LocationEntry.__dataclass_fields__))}
        location = usecases.update_location(call.tx, self._keyring, call.caller, call.clock.now(), given.id, given.etag, changes)
        call.trail.append(Entry("location_change", location.id, detail_codes=tuple(changes)))
        return self._said(location, call)

    def DeleteLocation(self, request: pb.DeleteLocationRequest, call: Call) -> pb.DeleteLocationResponse:
        usecases.delete_location(call.tx, call.caller, request.id, request.etag)
        call.trail.append(Entry("location_delete", request.id))
        return pb.DeleteLocationResponse()

    def SetServiceAtLocation(self, request: pb.SetServiceAtLocationRequest, call: Call) -> pb.ServiceAtLocation:
        wanted = said.service_at_location(request.service_at_location, new_id())
        one, where = usecases.set_service_at_location(call.tx, call.caller, call.clock.now(), wanted)
        call.trail.append(Entry("service_at_location_set", one.id))
        return self._at(one, where, call)

    def ListServiceAtLocations(self, request: pb.ListServiceAtLocationsRequest, call: Call) -> pb.ListServiceAtLocationsResponse:
        offers = usecases.list_service_at_locations(call.tx, call.caller, request.service_id)
        return pb.ListServiceAtLocationsResponse(service_at_locations=[self._at(one, where, call) for one, where in offers])

    def DeleteServiceAtLocation(self, request: pb.DeleteServiceAtLocationRequest, call: Call) -> pb.DeleteServiceAtLocationResponse:
        usecases.delete_service_at_location(call.tx, call.caller, call.clock.now(), request.id)
        call.trail.append(Entry("service_at_location_delete", request.id))
        return pb.DeleteServiceAtLocationResponse()

    def OpenAddress(self, request: pb.OpenAddressRequest, call: Call) -> pb.OpenAddressResponse:
        opened = usecases.open_address(call.tx, self._keyring, call.caller, call.clock.now(), request.referral_id)
        call.trail.extend(Entry("address_open", where.id, purpose_code=request.referral_id) for where, _ in opened)
        return pb.OpenAddressResponse(
            addresses=[pb.OpenedAddress(location_id=where.id, name=where.entry.name, **secret) for where, secret in opened]
        )

    def OpenOwnAddress(self, request: pb.OpenOwnAddressRequest, call: Call) -> pb.OpenedAddress:
        where, secret = usecases.open_own_address(call.tx, self._keyring, call.caller, request.location_id)
        call.trail.append(Entry("address_open", where.id))
        return pb.OpenedAddress(location_id=where.id, name=where.entry.name, **secret)

    def ListTruthScores(self, request: pb.ListTruthScoresRequest, call: Call) -> pb.ListTruthScoresResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        now = call.clock.now()
        listed, more = usecases.list_truth(call.tx, call.caller, now, request.organization_id, size, after, doubtful=request.doubtful)
        return pb.ListTruthScoresResponse(
            scores=[said.truth(service, usecases.viewer(call.caller), now) for service in listed],
            next_page_token=self._pages.token(request, more),
        )

    def ListFieldChanges(self, request: pb.ListFieldChangesRequest, call: Call) -> pb.ListFieldChangesResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, int)
        changes, more = usecases.list_field_changes(call.tx, call.caller, request.subject_id, size, after)
        return pb.ListFieldChangesResponse(
            changes=[said.field_change(each) for each in changes], next_page_token=self._pages.token(request, more)
        )

    @staticmethod
    def _said(location: Location, call: Call) -> pb.Location:
        return said.location(location, wire.etag_of(location), usecases.viewer(call.caller).tier_of(location.organization_id))

    @staticmethod
    def _at(one: ServiceAtLocation, where: Location, call: Call) -> pb.ServiceAtLocation:
        tier = usecases.viewer(call.caller).tier_of(where.organization_id)
        return said.said_at_location(one, Locations._said(where, call), tier)
