"""An organisation of the coalition: its entry, and its life from probation to approval, suspension and back."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from chassis.errors import Conflict, Invalid
from services.partners.domain.codes import Check
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
    PROSECUTION = "PROSECUTION"


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
        check.department("department", self.department, self.country)
        check.phone("phone", self.phone)
        check.listed("languages", self.languages)
        check.done()


NETWORK_FIELDS = ("type", "country", "hotline_number")
"""Of these others depend: what kind of member may get what, which country's rules hold, and the number that a caller finds on the public page."""


@dataclass(frozen=True)
class Proposal:
    """What one person of the coordination wants to change of the network's fields, and another has not yet agreed to."""

    type: OrganizationType
    country: str
    hotline_number: str
    worker_id: str
    time: datetime


@dataclass
class Organization(Subject):
    """A member."""

    entry: OrganizationEntry
    status: OrganizationStatus = OrganizationStatus.PROBATION
    registered_by_worker_id: str = ""
    proposal: Proposal | None = None

    @classmethod
    def register(cls, id: str, entry: OrganizationEntry, now: datetime, worker_id: str = "") -> "Organization":
        """A new member is on probation."""
        entry.check()
        organization = cls(id=id, create_time=now, update_time=now, entry=entry, registered_by_worker_id=worker_id)
        organization.note("registered", now)
        return organization

    def change(self, changes: Mapping[str, Any], now: datetime) -> None:
        """Changes these fields of the entry; what is the same as before is no fact. The network's fields are changed by two people."""
        entry = changed(self.entry, changes, "organization")
        entry.check()
        if any(getattr(entry, name) != getattr(self.entry, name) for name in NETWORK_FIELDS):
            raise Conflict("two_people_required")
        if entry != self.entry:
            self.entry = entry
            self.note("changed", now)

    def propose(self, changes: Mapping[str, Any], worker_id: str, now: datetime) -> None:
        """Proposes other values of the network's fields; a newer proposal takes the place of an older one."""
        unknown = sorted(changes.keys() - set(NETWORK_FIELDS))
        if unknown:
            raise Invalid(*((f"organization.{path}", "unknown_code") for path in unknown))
        entry = self._with(changed(self.entry, changes, "organization"))
        assert entry.type is not None, "checked"
        self.proposal = Proposal(entry.type, entry.country, entry.hotline_number, worker_id, now)
        self.note("change_proposed", now)

    def confirm_change(self, worker_id: str, now: datetime) -> None:
        """Another person agrees to what was proposed."""
        if self.proposal is None:
            raise Conflict("nothing_to_confirm")
        if self.proposal.worker_id == worker_id:
            raise Conflict("second_person_required")
        wanted, self.proposal = self.proposal, None
        self.entry = self._with(replace(self.entry, type=wanted.type, country=wanted.country, hotline_number=wanted.hotline_number))
        self.note("changed", now)

    def drop_change(self, now: datetime) -> None:
        """What was proposed is no longer wanted."""
        if self.proposal is None:
            raise Conflict("nothing_to_confirm")
        self.proposal = None
        self.note("change_dropped", now)

    def _with(self, entry: OrganizationEntry) -> OrganizationEntry:
        """A checked entry; a department of another country than before is none of the new one."""
        if entry.country != self.entry.country and not entry.department.startswith(f"{entry.country}-"):
            entry = replace(entry, department="")
        entry.check()
        return entry

    def approve(self, now: datetime, worker_id: str = "") -> None:
        """From probation to full member, by another person than who registered it."""
        if worker_id and worker_id == self.registered_by_worker_id:
            raise Conflict("second_person_required")
        self._become(OrganizationStatus.APPROVED, "approved", now, since=OrganizationStatus.PROBATION)

    def check_invited_by(self, worker_id: str) -> None:
        """Two people stand behind each member that somebody can act for: who registered it does not invite its first manager before another has approved it."""
        if self.status is OrganizationStatus.PROBATION and worker_id == self.registered_by_worker_id:
            raise Conflict("second_person_required")

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
