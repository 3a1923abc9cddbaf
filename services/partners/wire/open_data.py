"""What anybody may read, in messages: by the same function that leaves out fields for everybody else, at the lowest tier."""

from datetime import datetime

from chassis.wire import timestamp
from protos.partners.v1 import locations_pb2
from protos.partners.v1 import open_data_pb2 as pb
from services.partners import wire
from services.partners.domain.location import Location, ServiceAtLocation
from services.partners.domain.organization import Organization
from services.partners.domain.service import Service
from services.partners.domain.visibility import ANYONE
from services.partners.wire import locations as said


def public_service(
    service: Service, organization: Organization, places: list[tuple[ServiceAtLocation, Location]], time: datetime
) -> pb.PublicService:
    """A service with its organisation and its open places. Whether it is open now is not said: hours of hidden places count in it."""
    shown = wire.service(service, ANYONE, time)
    shown.ClearField("update_time")
    return pb.PublicService(
        service=shown,
        organization=wire.organization(organization, ANYONE.tier),
        service_at_locations=[said.said_at_location(one, _place(where), ANYONE.tier) for one, where in places],
        modify_time=timestamp(time),
    )


def _place(where: Location) -> locations_pb2.Location:
    assert not where.entry.confidential, "the store leaves them out"
    return said.location(where, "", ANYONE.tier)
