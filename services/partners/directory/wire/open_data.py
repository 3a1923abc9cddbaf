"""The messages of the public part of the directory.

Fields are left out by the same function as for all other callers, here with the lowest tier.
"""

from datetime import UTC, datetime

from chassis.wire import page_size, timestamp
from protos.partners.v1 import locations_pb2
from protos.partners.v1 import open_data_pb2 as pb
from services.partners.directory.domain.location import Location, ServiceAtLocation
from services.partners.directory.domain.search import PublicSearchTerms
from services.partners.directory.domain.service import Service
from services.partners.directory.wire import locations, messages
from services.partners.members.domain.organization import Organization
from services.partners.members.wire.messages import organization as organization_message
from services.partners.network.domain.visibility import ANYONE


def public_service(
    service: Service,
    organization: Organization,
    places: list[tuple[ServiceAtLocation, Location]],
    time: datetime,
) -> pb.PublicService:
    """Returns a service with its organisation and the given places, which are not confidential.

    `time`: when the public data last changed. The message does not tell whether the service is open
    now, because that depends on the hours of hidden places, too.
    """
    message = messages.service(service, ANYONE, time)
    message.ClearField("update_time")
    return pb.PublicService(
        service=message,
        organization=organization_message(organization, ANYONE.tier),
        service_at_locations=[
            locations.service_at_location_message(offer, _place(location), ANYONE.tier)
            for offer, location in places
        ],
        modify_time=timestamp(time),
    )


def public_search_terms(
    request: pb.ListPublicServicesRequest | pb.ListPublicServiceAtLocationsRequest,
) -> PublicSearchTerms:
    """Returns the terms of a public search for services."""
    after = (
        request.modified_after.ToDatetime(tzinfo=UTC)
        if request.HasField("modified_after")
        else None
    )
    return PublicSearchTerms(
        *page_and_size(request), request.words, request.need_code, request.organization_id, after
    )


def page_and_size(
    request: pb.ListPublicServicesRequest
    | pb.ListPublicServiceAtLocationsRequest
    | pb.ListPublicOrganizationsRequest,
) -> tuple[int, int]:
    """Returns the number of the page (from 1) and the size of a page."""
    return max(1, request.page), page_size(request.page_size, default=50, maximum=200)


def _place(location: Location) -> locations_pb2.Location:
    assert not location.entry.confidential, "the store leaves them out"
    return locations.location(location, "", ANYONE.tier)
