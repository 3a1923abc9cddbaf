"""An organisation of the coalition: its entry, and its life from application and probation to
approval, suspension and back, or to its leaving.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any, TypeVar

from chassis.errors import Conflict, Invalid
from chassis.second import Second, check_second
from services.partners.members.domain.evidence import Evidence, EvidenceKind, warning
from services.partners.members.domain.suspension import (
    HOLD,
    HOLD_AGAIN,
    PROPOSAL,
    Coordinator,
    First,
    Suspension,
    SuspensionReason,
)
from services.partners.network.domain.check import Check
from services.partners.network.domain.subject import Subject

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


class SharesWith(StrEnum):
    """The authority that a member is or answers to, which may hold a person, charge her or send her
    away.
    """

    POLICE = "POLICE"
    MIGRATION = "MIGRATION"


_SHARES_WITH = {
    OrganizationType.LAW_ENFORCEMENT: SharesWith.POLICE,
    OrganizationType.PROSECUTION: SharesWith.POLICE,
    OrganizationType.IMMIGRATION_SERVICE: SharesWith.MIGRATION,
    OrganizationType.CONSULATE: SharesWith.MIGRATION,
}


def shares_with(type: OrganizationType | None) -> SharesWith | None:
    """Returns the authority with which a member of this kind shares what it hears: the mark of its
    services wherever somebody chooses one.
    """
    return _SHARES_WITH.get(type) if type else None


class OrganizationStatus(StrEnum):
    """The life of a member."""

    PROBATION = "PROBATION"
    APPROVED = "APPROVED"
    SUSPENDED = "SUSPENDED"
    LEFT = "LEFT"
    APPLIED = "APPLIED"
    REJECTED = "REJECTED"


class RejectionReason(StrEnum):
    """Why an application was turned away."""

    NOT_RELATED = "NOT_RELATED"
    NOT_VERIFIED = "NOT_VERIFIED"
    DUPLICATE = "DUPLICATE"
    SAFETY = "SAFETY"
    WITHDRAWN = "WITHDRAWN"
    UNANSWERED = "UNANSWERED"


ACTIVE = frozenset({OrganizationStatus.PROBATION, OrganizationStatus.APPROVED})
NO_MEMBER = frozenset({OrganizationStatus.APPLIED, OrganizationStatus.REJECTED})
"""Not admitted: to all but those who steer or check it does not exist."""


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

    def check(self, at: str = "organization") -> None:
        """Refuses an entry that is wrong."""
        check = Check(at)
        check.department("department", self.department, self.country)
        check.phone("phone", self.phone)
        check.listed("languages", self.languages)
        check.done()


NETWORK_FIELDS = ("type", "country", "hotline_number")
"""Of these others depend: what kind of member may get what, which country's rules hold, and the
number that a caller finds on the public page.
"""


@dataclass(frozen=True)
class Proposal:
    """What one person of the coordination wants to change of the network's fields, and another has
    not yet agreed to.
    """

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
    evidence: tuple[Evidence, ...] = ()  # of each kind the newest, as many as are needed
    approval_proposed_by_worker_id: str = ""
    warned_days: int | None = None  # the last warning that was given of the end of its agreement
    rejection_reason: RejectionReason | None = None
    suspension: Suspension | None = None  # proposed, held, or agreed to
    last_hold: First | None = None  # the last hold to which nobody agreed
    reinstatement: First | None = None
    leaving: First | None = None  # of a coordinator who says that it leaves

    @classmethod
    def apply(cls, id: str, entry: OrganizationEntry, now: datetime) -> "Organization":
        """Somebody asks for its membership."""
        entry.check("")
        organization = cls(
            id=id, create_time=now, update_time=now, entry=entry, status=OrganizationStatus.APPLIED
        )
        organization.note("applied", now)
        return organization

    @classmethod
    def register(
        cls, id: str, entry: OrganizationEntry, now: datetime, worker_id: str = ""
    ) -> "Organization":
        """A new member is on probation."""
        entry.check()
        organization = cls(
            id=id, create_time=now, update_time=now, entry=entry, registered_by_worker_id=worker_id
        )
        organization.note("registered", now)
        return organization

    def change(self, changes: Mapping[str, Any], now: datetime) -> None:
        """Changes these fields of the entry; what is the same as before is no fact.

        The network's fields are changed by two people.
        """
        entry = changed(self.entry, changes, "organization")
        entry.check()
        if any(getattr(entry, name) != getattr(self.entry, name) for name in NETWORK_FIELDS):
            raise Conflict("two_people_required")
        if entry != self.entry:
            self.entry = entry
            self.note("changed", now)

    def propose(self, changes: Mapping[str, Any], worker_id: str, now: datetime) -> None:
        """Proposes other values of the network's fields; a newer proposal takes the place of an
        older one.
        """
        unknown = sorted(changes.keys() - set(NETWORK_FIELDS))
        if unknown:
            raise Invalid(*((f"organization.{path}", "unknown_code") for path in unknown))
        entry = self._with(changed(self.entry, changes, "organization"))
        assert entry.type is not None, "checked"
        self.proposal = Proposal(entry.type, entry.country, entry.hotline_number, worker_id, now)
        self.note("change_proposed", now)

    def confirm_change(self, second: Second, now: datetime) -> None:
        """A second person agrees to what was proposed."""
        if self.proposal is None:
            raise Conflict("nothing_to_confirm")
        check_second(second, self.proposal.worker_id)
        wanted, self.proposal = self.proposal, None
        self.entry = self._with(
            replace(
                self.entry,
                type=wanted.type,
                country=wanted.country,
                hotline_number=wanted.hotline_number,
            )
        )
        self.note("changed", now)

    def drop_change(self, now: datetime) -> None:
        """What was proposed is no longer wanted."""
        if self.proposal is None:
            raise Conflict("nothing_to_confirm")
        self.proposal = None
        self.note("change_dropped", now)

    def _with(self, entry: OrganizationEntry) -> OrganizationEntry:
        """A checked entry; a department of another country than before is none of the new one."""
        if entry.country != self.entry.country and not entry.department.startswith(
            f"{entry.country}-"
        ):
            entry = replace(entry, department="")
        entry.check()
        return entry

    def admit(self, now: datetime, worker_id: str) -> None:
        """From application to probation; who admits it is who registered it."""
        self._become(
            OrganizationStatus.PROBATION, "admitted", now, since=OrganizationStatus.APPLIED
        )
        self.registered_by_worker_id = worker_id

    def reject(self, reason: RejectionReason, now: datetime) -> None:
        """Turned away.

        Of what it said of itself only what tells it from others is kept for a while.
        """
        self._become(OrganizationStatus.REJECTED, "rejected", now, since=OrganizationStatus.APPLIED)
        self.rejection_reason = reason
        self.entry = replace(self.entry, phone="", url="", description="")

    def record(self, seen: Evidence, now: datetime, today: date) -> None:
        """Notes what was seen; `today` is the day at its place, here and below.

        Who had proposed the approval had seen something else, so two people look anew.
        """
        if not self.is_active:
            raise Conflict("illegal_transition")
        seen.check(today)
        same = [
            one
            for one in self.evidence
            if one.kind is seen.kind and one.reference.casefold() != seen.reference.casefold()
        ]
        stays = same[-(seen.kind.needed - 1) :] if seen.kind.needed > 1 else []
        self.evidence = (*(one for one in self.evidence if one.kind is not seen.kind), *stays, seen)
        self.approval_proposed_by_worker_id = ""
        if seen.kind is EvidenceKind.AGREEMENT:
            self.warned_days = None
        self.note("evidence_recorded", now)

    def missing_evidence(self, today: date) -> list[EvidenceKind]:
        """What nobody has seen yet, or whose time is over."""
        good = [one.kind for one in self.evidence if not one.is_over(today)]
        return [kind for kind in EvidenceKind if good.count(kind) < kind.needed]

    def approve(self, now: datetime, today: date, by: Second | None = None) -> None:
        """From probation to full member, by two people who have seen the same.

        Nobody in particular approves it at once: the network itself is founded.
        """
        if self.status is not OrganizationStatus.PROBATION:
            raise Conflict("illegal_transition")
        if by:
            if missing := self.missing_evidence(today):
                raise Conflict("evidence_missing", *(kind.lower() for kind in missing))
            if not self.approval_proposed_by_worker_id:
                self.approval_proposed_by_worker_id = by.id
                self.note("approval_proposed", now)
                return
            check_second(by, self.approval_proposed_by_worker_id)
        self.approval_proposed_by_worker_id = ""
        self._become(
            OrganizationStatus.APPROVED, "approved", now, since=OrganizationStatus.PROBATION
        )

    def check_invited_by(self, second: Second) -> None:
        """Two people stand behind each member that somebody can act for: who registered it does not
        invite its first manager before another has approved it.
        """
        if self.status is OrganizationStatus.PROBATION and self.registered_by_worker_id:
            check_second(second, self.registered_by_worker_id)

    def suspend(
        self, by: Coordinator, reason: SuspensionReason | None, now: datetime, *, hold: bool = False
    ) -> None:
        """Ends all access of its workers and keys: the first coordinator proposes it with a reason,
        the second does it.

        `hold`: the first one alone stops it, for a day. Only a full member: what is suspended comes
        back approved, and probation is no approval.
        """
        waiting = self.suspension if self.suspension and self.suspension.expire_time else None
        held = self.status is OrganizationStatus.SUSPENDED
        if not (waiting if held else self.status is OrganizationStatus.APPROVED):
            raise Conflict("illegal_transition")
        if (
            waiting
            and not waiting.is_over(now)
            and (held or not hold or waiting.first.is_agreed_by(by))
        ):
            waiting.first.check(by)
            self.suspension = replace(waiting, expire_time=None, second_worker_id=by.person.id)
            self.last_hold = self.reinstatement = None
            self.status = OrganizationStatus.SUSPENDED
            self.note("suspension_confirmed" if held else "suspended", now)
            return
        if held:  # its day is over, and the clock is a moment late
            raise Conflict("illegal_transition")
        reason = reason or (waiting.reason if waiting else None)
        if reason is None:
            raise Invalid(("reason", "required"))
        if not hold:
            self.suspension = Suspension(reason, First.of(by, now), now + PROPOSAL)
            self.note("suspension_proposed", now)
            return
        if (
            self.last_hold
            and now < self.last_hold.time + HOLD_AGAIN
            and not self.last_hold.is_agreed_by(by)
        ):
            raise Conflict("held_lately")
        self.suspension = Suspension(
            reason, First(by.person.id, by.organization_id, now), now + HOLD
        )
        self._become(OrganizationStatus.SUSPENDED, "held", now, since=OrganizationStatus.APPROVED)

    def reinstate(self, by: Coordinator, now: datetime, today: date) -> None:
        """Ends a suspension or a hold: the first coordinator proposes it, the second does it.

        If its agreement ended meanwhile, it is on probation.
        """
        if self.status is not OrganizationStatus.SUSPENDED:
            raise Conflict("illegal_transition")
        if self.reinstatement is None:
            self.reinstatement = First.of(by, now)
            self.note("reinstatement_proposed", now)
            return
        self.reinstatement.check(by)
        self._give_back("reinstated", now)
        self.watch_agreement(now, today)

    def watch_suspension(self, now: datetime, today: date) -> None:
        """Ends a hold or a proposal to which no second coordinator agreed in time."""
        if self.suspension is None or not self.suspension.is_over(now):
            return
        if self.status is OrganizationStatus.SUSPENDED:
            self._give_back("hold_ended", now)
            self.watch_agreement(now, today)
        else:
            self.suspension = None
            self.note("suspension_dropped", now)

    def _give_back(self, fact: str, now: datetime) -> None:
        if self.suspension and self.suspension.expire_time:
            self.last_hold = self.suspension.first
        self.suspension = self.reinstatement = None
        self._become(OrganizationStatus.APPROVED, fact, now, since=OrganizationStatus.SUSPENDED)

    def leave(self, now: datetime, by: Coordinator | None = None) -> None:
        """It is no longer a member, for good: who comes back applies anew.

        Its own manager says so alone, for it `by` is None; coordinators are two.
        """
        if self.status in NO_MEMBER or self.status is OrganizationStatus.LEFT:
            raise Conflict("illegal_transition")
        if by and self.leaving is None:
            self.leaving = First.of(by, now)
            self.note("leaving_proposed", now)
            return
        if by and self.leaving:
            self.leaving.check(by)
        self.proposal, self.approval_proposed_by_worker_id = None, ""
        self.suspension = self.reinstatement = self.leaving = None
        self.status = OrganizationStatus.LEFT
        self.note("left", now)

    def watch_agreement(self, now: datetime, today: date) -> None:
        """Warns of its end, each time once; what has ended leads back to probation.

        Without an agreement that was recorded nothing ends.
        """
        days = self.agreement_days(today)
        if self.status is not OrganizationStatus.APPROVED or days is None:
            return
        if days < 0:
            self._become(
                OrganizationStatus.PROBATION,
                "agreement_expired",
                now,
                since=OrganizationStatus.APPROVED,
            )
        elif (due := warning(days, self.warned_days)) is not None:
            self.warned_days = due
            self.note("agreement_ending", now)

    @property
    def stop(self) -> str:
        """How its access is stopped: held (by one coordinator, for a day) or suspended; empty while
        it is not.
        """
        if self.status is not OrganizationStatus.SUSPENDED:
            return ""
        return "held" if self.suspension and self.suspension.expire_time else "suspended"

    @property
    def agreement_expire_date(self) -> date | None:
        """The last day of its agreement."""
        return next(
            (one.expire_date for one in self.evidence if one.kind is EvidenceKind.AGREEMENT), None
        )

    def agreement_days(self, today: date) -> int | None:
        """In how many days its agreement ends: 0 on its last day, less when it is over."""
        return (self.agreement_expire_date - today).days if self.agreement_expire_date else None

    @property
    def is_member(self) -> bool:
        """Whether it is, or was, a member."""
        return self.status not in NO_MEMBER

    @property
    def is_active(self) -> bool:
        """Whether its workers and keys may act."""
        return self.status in ACTIVE

    def _become(
        self, status: OrganizationStatus, fact: str, now: datetime, *, since: OrganizationStatus
    ) -> None:
        if self.status is not since:
            raise Conflict("illegal_transition")
        self.status = status
        self.note(fact, now)


def changed(entry: E, changes: Mapping[str, Any], at: str) -> E:
    """The entry with these fields replaced; refuses an empty mask and a field that can't be changed
    so.
    """
    known = {field.name for field in fields(entry)}  # type: ignore[arg-type]
    if not changes:
        raise Invalid(("update_mask", "required"))
    unknown = sorted(changes.keys() - known)
    if unknown:
        raise Invalid(*((f"{at}.{path}", "unknown_code") for path in unknown))
    return replace(entry, **changes)  # type: ignore[type-var]
