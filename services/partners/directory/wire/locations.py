"""Converts places, and services at places, between messages and the domain."""

import json
from datetime import datetime

from chassis.wire import EnumCodec, etag, timestamp
from protos.partners.v1 import directory_pb2, locations_pb2
from services.partners.directory.domain.area import Area
from services.partners.directory.domain.location import (
    Accessibility,
    ContactPoint,
    Location,
    LocationEntry,
    Phone,
    ServiceAtLocation,
)
from services.partners.directory.domain.service import Service
from services.partners.directory.domain.truth import ReliabilityScore
from services.partners.directory.wire.schedules import schedule, schedules
from services.partners.network.domain.field_change import FieldChange
from services.partners.network.domain.visibility import Tier, Viewer
from services.partners.network.wire.phones import phone
from services.partners.network.wire.visibility import visible_part

ACCESSIBILITY = EnumCodec(directory_pb2.Accessibility, Accessibility)


def location_entry(message: locations_pb2.Location) -> LocationEntry:
    """Returns the entry that a message describes."""
    return LocationEntry(
        name=message.name.strip(),
        country=message.country,
        department=message.department,
        area_code=message.area_code,
        address=message.address.strip(),
        latitude=message.latitude if message.HasField("latitude") else None,
        longitude=message.longitude if message.HasField("longitude") else None,
        transportation=message.transportation.strip(),
        accessibility=tuple(ACCESSIBILITY.members(message.accessibility, "location.accessibility")),
        confidential=message.confidential,
    )


def location(
    location: Location, tag: str, tier: Tier, *, is_own: bool = False
) -> locations_pb2.Location:
    """Returns a place as a caller of this tier sees it.

    Only the place's own organisation (`is_own`) sees the name of a confidential place, and when it
    changed, because a changed place may have moved. Others learn only its department.
    Coordinators, who may change the place, see its true etag.
    """
    entry = location.entry
    is_hidden = entry.confidential and not is_own
    if is_hidden and tier < Tier.COORDINATOR:
        tag = etag(0, entry.country, entry.department, *entry.accessibility)
    return visible_part(
        locations_pb2.Location(
            id=location.id,
            etag=tag,
            organization_id=location.organization_id,
            name="" if is_hidden else entry.name,
            country=entry.country,
            department=entry.department,
            area_code=entry.area_code,
            address=entry.address,
            latitude=entry.latitude,
            longitude=entry.longitude,
            transportation=entry.transportation,
            accessibility=[ACCESSIBILITY.number(means) for means in entry.accessibility],
            confidential=entry.confidential,
            create_time=timestamp(location.create_time),
            update_time=None if is_hidden else timestamp(location.update_time),
        ),
        tier,
    )


def service_at_location(message: locations_pb2.ServiceAtLocation, id: str) -> ServiceAtLocation:
    """Returns a service at a place from a message."""
    at = "service_at_location"
    return ServiceAtLocation(
        id=id,
        service_id=message.service_id,
        location_id=message.location_id,
        phones=tuple(
            Phone(
                phone(f"{at}.phones.{n}.number", p.number),
                p.extension.strip(),
                p.description.strip(),
                tuple(p.languages),
            )
            for n, p in enumerate(message.phones)
        ),
        contacts=tuple(
            ContactPoint(
                c.name.strip(),
                c.title.strip(),
                c.email.strip(),
                phone(f"{at}.contacts.{n}.phone", c.phone),
            )
            for n, c in enumerate(message.contacts)
        ),
        schedules=schedules(message.schedules, f"{at}.schedules"),
        languages=tuple(message.languages),
    )


def service_at_location_message(
    offer: ServiceAtLocation, location: locations_pb2.Location | None, tier: Tier
) -> locations_pb2.ServiceAtLocation:
    """Returns a service at a place as a caller of this tier sees it.

    `location`: the place as the same caller sees it; None leaves the place out.
    """
    return visible_part(
        locations_pb2.ServiceAtLocation(
            id=offer.id,
            service_id=offer.service_id,
            location_id=offer.location_id,
            phones=[
                directory_pb2.Phone(
                    number=p.number,
                    extension=p.extension,
                    description=p.description,
                    languages=p.languages,
                )
                for p in offer.phones
            ],
            contacts=[
                directory_pb2.ContactPoint(name=c.name, title=c.title, email=c.email, phone=c.phone)
                for c in offer.contacts
            ],
            schedules=[schedule(hours) for hours in offer.schedules],
            languages=offer.languages,
            location=location,
        ),
        tier,
    )


def area(area: Area) -> locations_pb2.Area:
    """Returns an area as a message."""
    return locations_pb2.Area(code=area.code, parent_code=area.parent, name=area.name)


def truth_score(service: Service, viewer: Viewer, now: datetime) -> locations_pb2.TruthScore:
    """Returns a service's score, with the data on which it is based.

    The data includes the room figure that this viewer sees.
    """
    figure = service.figure_for(viewer, now)
    score = ReliabilityScore(figure.kept, figure.broken, figure.capacity, service.entry.need_codes)
    return locations_pb2.TruthScore(
        service_id=service.id,
        organization_id=service.organization_id,
        score=score.score(now),
        reliability=score.reliability,
        freshness=score.freshness(now),
        kept=score.kept,
        broken=score.broken,
        update_time=timestamp(figure.capacity.update_time),
        assured_time=timestamp(service.assured_time),
    )


def field_change(change: FieldChange) -> locations_pb2.FieldChange:
    """Returns a change as a message. The values are JSON, because fields are of many types."""
    old, new = (
        "" if value is None else json.dumps(value, ensure_ascii=False)
        for value in (change.old, change.new)
    )
    return locations_pb2.FieldChange(
        field=change.field,
        change_time=timestamp(change.time),
        worker_id=change.worker_id,
        old_value=old,
        new_value=new,
    )
