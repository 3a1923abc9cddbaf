"""An organisation of the coalition: its entry, and its life from probation to approval, suspension and back."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from chassis.errors import Conflict, Invalid
from services.partners.domain.codes import MAX_DESCRIPTION, Check
from services.partners.domain.subject import Subject

E = TypeVar("E")


class OrganizationType(StrEnum):
    """The kinds of member."""

    NGO = "NGO"
    LAW_ENFORCEMENT = "LAW_ENFORCEMENT"
    HEALTH_SERVICE = "HEALTH_SERVICE"
    CENTRAL_GOVERNMENT = "CENTRAL_GOVERNMENT"
    LOCAL_GOVERNMENT = "LOCAL_GOVERNMENT"
    IMMIGRATION_SERVICE = "IMMIGRATION_SERVICE"
    LEGAL_SERVICE = "LEGAL_SERVICE"
    CORPORATE_BUSINESS = "CORPORATE_BUSINESS"
    SCHOOL_OR_COLLEGE = "SCHOOL_OR_COLLEGE"
    RELIGIOUS = "RELIGIOUS"
    SHELTER = "SHELTER"
    HOTLINE = "HOTLINE"
    INTERNATIONAL = "INTERNATIONAL"
    CONSULATE = "CONSULATE"
    COMMUNITY_GROUP = "COMMUNITY_GROUP"


class OrganizationStatus(StrEnum):
    """The life of a member."""

    PROBATION = "PROBATION"
    APPROVED = "APPROVED"
    SUSPENDED = "SUSPENDED"
    LEFT = "LEFT"


ACTIVE = frozenset({OrganizationStatus.PROBATION, OrganizationStatus.APPROVED})


@dataclass(frozen=True)
class OrganizationEntry:
    """What a member says of itself."""

    name: str
    type: OrganizationType | None
    country: str
    department: str = ""
    phone: str = ""  # E.164
    url: str = ""
    languages: tuple[str, ...] = ()
    description: str = ""
    hotline_number: str = ""  # as dialled in the country

    def check(self) -> None:
        """Refuses an entry that is wrong."""
        check = Check("organization")
        check.text("name", self.name, required=True)
        if self.type is None:
            check.say("type", "required")
        check.country("country", self.country, required=True)
        check.department("department", self.department, self.country)
        check.phone("phone", self.phone)
        check.url("url", self.url)
        check.languages("languages", self.languages)
        check.text("description", self.description, limit=MAX_DESCRIPTION)
        check.dialled("hotline_number", self.hotline_number)
        check.done()


@dataclass
class Organization(Subject):
    """A member."""

    entry: OrganizationEntry
    status: OrganizationStatus = OrganizationStatus.PROBATION

    @classmethod
    def register(cls, id: str, entry: OrganizationEntry, now: datetime) -> "Organization":
        """A new member is on probation."""
        entry.check()
        organization = cls(id=id, create_time=now, update_time=now, entry=entry)
        organization.note("registered", now)
        return organization

    def change(self, changes: Mapping[str, Any], now: datetime) -> None:
        """Changes these fields of the entry; what is the same as before is no fact."""
        entry = changed(self.entry, changes, "organization")
        entry.check()
        if entry != self.entry:
            self.entry = entry
            self.note("changed", now)

    def approve(self, now: datetime) -> None:
        """From probation to full member."""
        self._become(OrganizationStatus.APPROVED, "approved", now, since=OrganizationStatus.PROBATION)

    def suspend(self, now: datetime) -> None:
        """Ends all access of its workers and keys. Only a full member: what is suspended comes back approved, and probation is no approval."""
        self._become(OrganizationStatus.SUSPENDED, "suspended", now, since=OrganizationStatus.APPROVED)

    def reinstate(self, now: datetime) -> None:
        """Ends a suspension."""
        self._become(OrganizationStatus.APPROVED, "reinstated", now, since=OrganizationStatus.SUSPENDED)

    @property
    def is_active(self) -> bool:
        """Whether its workers and keys may act."""
        return self.status in ACTIVE

    def _become(self, status: OrganizationStatus, fact: str, now: datetime, *, since: OrganizationStatus) -> None:
        if self.status is not since:
            raise Conflict("illegal_transition")
        self.status = status
        self.note(fact, now)


def changed(entry: E, changes: Mapping[str, Any], at: str) -> E:
    """The entry with these fields replaced; refuses an empty mask and a field that can't be changed so."""
    known = {field.name for field in fields(entry)}  # type: ignore[arg-type]
    if not changes:
        raise Invalid(("update_mask", "required"))
    unknown = sorted(changes.keys() - known)
    if unknown:
        raise Invalid(*((f"{at}.{path}", "unknown_code") for path in unknown))
    return replace(entry, **changes)  # type: ignore[type-var]
