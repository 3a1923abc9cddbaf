"""Places, and the details of a service at one of its places.

The directory shows only the department of a confidential place. The store seals the place's address
and the directions to it, and only store.locations.address opens them. The place's coordinates,
municipality, phones and staff are not stored at all, so that they can't be shown by mistake.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from chassis.errors import Conflict, Invalid
from services.partners.directory.domain.area import Areas
from services.partners.directory.domain.schedule import Schedule, check_schedules
from services.partners.network.domain.check import Check
from services.partners.network.domain.field_change import with_changes
from services.partners.network.domain.subject import Subject

MAX_PLACES = 50
"""The maximum number of places at which one service may be offered."""
LOOK_AGAIN = timedelta(minutes=30)
"""How long after first opening an address a worker may open it again.

She can then still find the door if her session ends on the way.
"""
SEALED = ("address", "transportation")
"""The fields of a confidential place that are sealed."""


class Accessibility(StrEnum):
    """A means of access that a person may need and a place may offer."""

    STEP_FREE = "STEP_FREE"
    SIGN_LANGUAGE = "SIGN_LANGUAGE"
    LOW_VISION = "LOW_VISION"
    EASY_LANGUAGE = "EASY_LANGUAGE"
    PERSONAL_ASSISTANCE = "PERSONAL_ASSISTANCE"


@dataclass(frozen=True)
class LocationEntry:
    """The data that a member enters about a place."""

    name: str = ""
    country: str = ""
    department: str = ""
    area_code: str = ""
    address: str = ""
    latitude: float | None = None
    longitude: float | None = None
    transportation: str = ""
    accessibility: tuple[Accessibility, ...] = ()
    confidential: bool = False

    def check(self, areas: Areas) -> None:
        """Raises Invalid if a field of the entry is wrong."""
        check = Check("location")
        if not self.country:
            check.refuse("country", "required")
        check.department("department", self.department, self.country, areas.knows)
        if self.area_code and not (
            areas.knows(self.area_code)
            and areas.lies_in(self.area_code, self.department or self.country)
        ):
            check.refuse("area_code", "unknown_code")
        if (self.latitude is None) != (self.longitude is None):
            check.refuse("longitude" if self.longitude is None else "latitude", "required")
        check.distinct("accessibility", self.accessibility)
        check.done()

    def in_country(self, country: str) -> "LocationEntry":
        """Returns the entry, with this country if the entry states none."""
        return self if self.country else replace(self, country=country)

    def discreet(self) -> "LocationEntry":
        """Returns the entry; for a confidential place, without the fields that are not stored."""
        return (
            replace(self, area_code="", latitude=None, longitude=None)
            if self.confidential
            else self
        )


@dataclass
class Location(Subject):
    """A place."""

    organization_id: str
    entry: LocationEntry

    @classmethod
    def register(
        cls, id: str, organization_id: str, entry: LocationEntry, areas: Areas, now: datetime
    ) -> "Location":
        """Returns a new place."""
        entry.check(areas)
        location = cls(
            id=id,
            create_time=now,
            update_time=now,
            organization_id=organization_id,
            entry=entry.discreet(),
        )
        location.note("registered", now)
        return location

    def change(self, changes: Mapping[str, Any], areas: Areas, now: datetime) -> None:
        """Changes the given fields.

        With another address or in another area, the place loses the coordinates, which would lead
        to the wrong house, unless they are given. Raises Invalid if a confidential place would no
        longer be confidential: others would then learn where people were hidden.
        """
        entry = with_changes(self.entry, changes, "location")
        has_moved = any(
            getattr(self.entry, name) not in ("", getattr(entry, name))
            for name in ("country", "department", "area_code", "address")
        )
        if has_moved and changes.keys().isdisjoint(("latitude", "longitude")):
            entry = replace(entry, latitude=None, longitude=None)
        if self.entry.confidential and not entry.confidential:
            raise Invalid(("location.confidential", "out_of_range"))
        entry.check(areas)
        if entry.discreet() != self.entry:
            self.entry = entry.discreet()
            self.note("changed", now)


@dataclass(frozen=True)
class Phone:
    """A phone number for a service at a place."""

    number: str
    extension: str = ""
    description: str = ""
    languages: tuple[str, ...] = ()


@dataclass(frozen=True)
class ContactPoint:
    """A contact person at a place."""

    name: str
    title: str = ""
    email: str = ""
    phone: str = ""


@dataclass(frozen=True)
class ServiceAtLocation:
    """A service at one of its places."""

    id: str
    service_id: str
    location_id: str
    phones: tuple[Phone, ...] = ()
    contacts: tuple[ContactPoint, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    languages: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises Invalid if a field is wrong."""
        check = Check("service_at_location")
        check_schedules(self.schedules, check, "schedules")
        check.distinct("languages", self.languages)
        check.done()

    def discreet(self) -> "ServiceAtLocation":
        """Returns the data that is stored for a confidential place.

        The data includes no phone of the place, and no name of a person who works there.
        """
        return replace(self, phones=(), contacts=())


@dataclass
class AddressGrant:
    """The permission for one worker to open the address of a referral's service.

    The worker belongs to the organisation that sent the referral. The grant begins when the
    referral is accepted and lasts until the referral ends.
    """

    referral_id: str
    service_id: str
    organization_id: str
    grant_time: datetime
    end_time: datetime | None = None
    open_time: datetime | None = None
    worker_id: str = ""

    def open(self, worker_id: str, now: datetime) -> None:
        """Records that this worker opens the address.

        Raises Conflict if another worker has opened it, or if this worker first opened it
        LOOK_AGAIN ago or earlier.
        """
        if self.open_time is not None and (
            self.worker_id != worker_id or abs(now - self.open_time) >= LOOK_AGAIN
        ):
            raise Conflict("address_opened")
        if self.open_time is None:
            self.worker_id, self.open_time = worker_id, now
