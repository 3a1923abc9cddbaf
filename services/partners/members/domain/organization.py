"""An organisation in the coalition: its entry and its life cycle.

It applies, is admitted on probation, is approved, may be suspended and reinstated, and may leave.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from chassis.errors import Conflict, Invalid
from chassis.second import Second, check_second
from services.partners.members.domain.evidence import NOTICE, Evidence, EvidenceKind, due_warning
from services.partners.members.domain.suspension import (
    HOLD,
    HOLD_AGAIN,
    PROPOSAL,
    Coordinator,
    FirstCoordinator,
    Suspension,
    SuspensionReason,
)
from services.partners.network.domain.check import Check
from services.partners.network.domain.field_change import with_changes
from services.partners.network.domain.subject import Subject


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
    """The states of an organisation, from its application until it leaves."""

    PROBATION = "PROBATION"
    APPROVED = "APPROVED"
    SUSPENDED = "SUSPENDED"
    LEFT = "LEFT"
    APPLIED = "APPLIED"
    REJECTED = "REJECTED"


class RejectionReason(StrEnum):
    """The reasons for rejecting an application."""

    NOT_RELATED = "NOT_RELATED"
    NOT_VERIFIED = "NOT_VERIFIED"
    DUPLICATE = "DUPLICATE"
    SAFETY = "SAFETY"
    WITHDRAWN = "WITHDRAWN"
    UNANSWERED = "UNANSWERED"


ACTIVE = frozenset({OrganizationStatus.PROBATION, OrganizationStatus.APPROVED})
NEVER_ADMITTED = frozenset({OrganizationStatus.APPLIED, OrganizationStatus.REJECTED})
"""The states of an organisation that was not admitted: only coordinators and auditors see it."""


@dataclass(frozen=True)
class OrganizationEntry:
    """The data that a member enters about itself."""

    name: str
    type: OrganizationType | None
    country: str
    department: str = ""
    phone: str = ""  # E.164
    url: str = ""
    languages: tuple[str, ...] = ()
    description: str = ""
    hotline_number: str = ""  # as dialled within the country

    def check(self, at: str = "organization") -> None:
        """Raises Invalid if a field of the entry is wrong."""
        check = Check(at)
        check.department("department", self.department, self.country)
        check.phone("phone", self.phone)
        check.distinct("languages", self.languages)
        check.done()


NETWORK_FIELDS = ("type", "country", "hotline_number")
"""The fields that other members and the public rely on.

They decide which data a member may receive, which country's rules apply, and which number the
public page shows.
"""


@dataclass(frozen=True)
class Proposal:
    """A proposed change to NETWORK_FIELDS.

    One coordinator has proposed the change, and a second person has not yet agreed.
    """

    type: OrganizationType
    country: str
    hotline_number: str
    worker_id: str
    time: datetime


@dataclass
class Organization(Subject):
    """An organisation: an applicant, a member, or a former member."""

    entry: OrganizationEntry
    status: OrganizationStatus = OrganizationStatus.PROBATION
    registered_by_worker_id: str = ""
    proposal: Proposal | None = None
    evidence: tuple[Evidence, ...] = ()  # the newest of each kind, as many as are needed
    approval_proposed_by_worker_id: str = ""
    warned_days: int | None = None  # the days named in the last warning of the agreement's end
    rejection_reason: RejectionReason | None = None
    suspension: Suspension | None = None  # a proposed or agreed suspension, or a hold
    # the first coordinator of the last hold that no second coordinator agreed to
    last_hold: FirstCoordinator | None = None
    reinstatement: FirstCoordinator | None = None
    leaving: FirstCoordinator | None = None  # the coordinator who proposed to end the membership
    # the number and time of the last change that members see; set when the organisation is stored
    seen: tuple[int, datetime] | None = None

    @classmethod
    def apply(cls, id: str, entry: OrganizationEntry, now: datetime) -> "Organization":
        """Returns a new organisation that applies for membership."""
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
        """Returns a new member, which is on probation."""
        entry.check()
        organization = cls(
            id=id, create_time=now, update_time=now, entry=entry, registered_by_worker_id=worker_id
        )
        organization.note("registered", now)
        return organization

    def change(self, changes: Mapping[str, Any], now: datetime) -> None:
        """Changes the given fields of the entry; a fact is recorded only if a value changes.

        A new name of a member has a fact of its own, since the coordinators must be notified: a
        member could take another member's name. A proposed approval is dropped: its proposer had
        seen another entry, perhaps another name. Raises Conflict for a change to NETWORK_FIELDS,
        which needs two people.
        """
        entry = with_changes(self.entry, changes, "organization")
        entry.check()
        if any(getattr(entry, name) != getattr(self.entry, name) for name in NETWORK_FIELDS):
            raise Conflict("two_people_required")
        if entry != self.entry:
            is_renamed = (
                entry.name != self.entry.name and self.status is not OrganizationStatus.APPLIED
            )
            self.entry, self.approval_proposed_by_worker_id = entry, ""
            self.note("renamed" if is_renamed else "changed", now)

    def propose(self, changes: Mapping[str, Any], worker_id: str, now: datetime) -> None:
        """Proposes other values for NETWORK_FIELDS; replaces an older proposal."""
        unknown = sorted(changes.keys() - set(NETWORK_FIELDS))
        if unknown:
            raise Invalid(*((f"organization.{path}", "unknown_code") for path in unknown))
        entry = self._checked_entry(with_changes(self.entry, changes, "organization"))
        assert entry.type is not None, "checked"
        self.proposal = Proposal(entry.type, entry.country, entry.hotline_number, worker_id, now)
        self.note("change_proposed", now)

    def confirm_change(self, second: Second, now: datetime) -> None:
        """Applies the proposed change after a second person agreed; drops a proposed approval."""
        if self.proposal is None:
            raise Conflict("nothing_to_confirm")
        check_second(second, self.proposal.worker_id)
        proposal, self.proposal = self.proposal, None
        self.approval_proposed_by_worker_id = ""
        self.entry = self._checked_entry(
            replace(
                self.entry,
                type=proposal.type,
                country=proposal.country,
                hotline_number=proposal.hotline_number,
            )
        )
        self.note("changed", now)

    def drop_change(self, now: datetime) -> None:
        """Drops the proposed change."""
        if self.proposal is None:
            raise Conflict("nothing_to_confirm")
        self.proposal = None
        self.note("change_dropped", now)

    def _checked_entry(self, entry: OrganizationEntry) -> OrganizationEntry:
        """Returns the checked entry; a department of a former country is removed."""
        if entry.country != self.entry.country and not entry.department.startswith(
            f"{entry.country}-"
        ):
            entry = replace(entry, department="")
        entry.check()
        return entry

    def admit(self, now: datetime, worker_id: str) -> None:
        """Turns an applicant into a member on probation.

        The worker who admits the organisation counts as its registrar.
        """
        self._become(OrganizationStatus.PROBATION, "admitted", now, old=OrganizationStatus.APPLIED)
        self.registered_by_worker_id = worker_id

    def reject(self, reason: RejectionReason, now: datetime) -> None:
        """Rejects an application.

        Only the data that identifies the organisation is kept, for a while.
        """
        self._become(OrganizationStatus.REJECTED, "rejected", now, old=OrganizationStatus.APPLIED)
        self.rejection_reason = reason
        self.entry = replace(self.entry, phone="", url="", description="")

    def record(
        self, evidence: Evidence, now: datetime, today: date, by: Second | None = None
    ) -> None:
        """Records evidence. Here and below, `today` is the date where the organisation is.

        A proposed approval is dropped, because its proposer had seen other evidence: two people
        must look at the evidence again. Without `by`, nobody's independence is checked.
        """
        if not self.is_active:
            raise Conflict("illegal_transition")
        earliest_end = today
        if self.status is OrganizationStatus.APPROVED:
            earliest_end = min(today + NOTICE, self.agreement_expire_date or date.max)
        evidence.check(today, earliest_end)
        if by and self.agreement and self.status is OrganizationStatus.APPROVED:
            evidence.check_renewal(self.agreement, by)
        others_of_kind = [
            other
            for other in self.evidence
            if other.kind is evidence.kind
            and other.reference.casefold() != evidence.reference.casefold()
        ]
        self.evidence = (
            *(other for other in self.evidence if other.kind is not evidence.kind),
            *(*others_of_kind, evidence)[-evidence.kind.required_count :],
        )
        self.approval_proposed_by_worker_id = ""
        if evidence.kind is EvidenceKind.AGREEMENT:
            self.warned_days = None
        self.note("evidence_recorded", now)

    def missing_evidence(self, today: date) -> list[EvidenceKind]:
        """Returns the kinds of evidence that are missing or have expired."""
        valid = [evidence.kind for evidence in self.evidence if not evidence.has_expired(today)]
        return [kind for kind in EvidenceKind if valid.count(kind) < kind.required_count]

    def approve(self, now: datetime, today: date, by: Second | None = None) -> None:
        """Turns probation into full membership after two people have seen the same evidence.

        The first call proposes the approval, and a second person's call completes it. Without `by`,
        the organisation is approved at once, because the network is being founded.
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
        self._become(OrganizationStatus.APPROVED, "approved", now, old=OrganizationStatus.PROBATION)

    def check_inviter(self, second: Second) -> None:
        """Raises Conflict if the first manager's inviter may also have registered the member.

        This way, two people vouch for each member that can act: its registrar can't invite the
        first manager before another person has approved the member.
        """
        if self.status is OrganizationStatus.PROBATION and self.registered_by_worker_id:
            check_second(second, self.registered_by_worker_id)

    def suspend(
        self, by: Coordinator, reason: SuspensionReason | None, now: datetime, *, hold: bool = False
    ) -> None:
        """Ends all access of the organisation's workers and keys.

        The first coordinator's call only proposes the suspension, with a reason; the second
        coordinator's call carries it out. `hold`: one coordinator alone stops access for a day.
        Only a full member can be suspended: reinstatement makes a full member, so a member on
        probation could otherwise become one without an approval.
        """
        open_suspension = (
            self.suspension if self.suspension and self.suspension.expire_time else None
        )
        is_stopped = self.status is OrganizationStatus.SUSPENDED
        if not (open_suspension if is_stopped else self.status is OrganizationStatus.APPROVED):
            raise Conflict("illegal_transition")
        if (
            open_suspension
            and not open_suspension.is_over(now)
            and (is_stopped or not hold or open_suspension.first.allows_second(by))
        ):
            if not open_suspension.first.worker_id:
                self.suspension = replace(open_suspension, first=FirstCoordinator.of(by, now))
                self.note("suspension_proposed", now)
                return
            open_suspension.first.check(by)
            self.suspension = replace(
                open_suspension, expire_time=None, second_worker_id=by.person.id
            )
            self.last_hold = self.reinstatement = None
            self.status = OrganizationStatus.SUSPENDED
            self.note("suspension_confirmed" if is_stopped else "suspended", now)
            return
        if is_stopped:  # the hold's time is over, but the sweeper has not yet ended the hold
            raise Conflict("illegal_transition")
        reason = reason or (open_suspension.reason if open_suspension else None)
        if reason is None:
            raise Invalid(("reason", "required"))
        if not hold:
            self.suspension = Suspension(reason, FirstCoordinator.of(by, now), now + PROPOSAL)
            self.note("suspension_proposed", now)
            return
        if (
            self.last_hold
            and now < self.last_hold.time + HOLD_AGAIN
            and not self.last_hold.allows_second(by)
        ):
            raise Conflict("held_lately")
        self.suspension = Suspension(
            reason, FirstCoordinator(by.person.id, by.organization_id, now), now + HOLD
        )
        self._become(OrganizationStatus.SUSPENDED, "held", now, old=OrganizationStatus.APPROVED)

    def reinstate(self, by: Coordinator, now: datetime, today: date) -> None:
        """Ends a suspension or a hold.

        The first coordinator's call proposes the end, and the second coordinator's call carries it
        out. If the agreement has ended meanwhile, the organisation goes on probation.
        """
        if self.status is not OrganizationStatus.SUSPENDED:
            raise Conflict("illegal_transition")
        if self.reinstatement is None or self.reinstatement.is_over(now):
            self.reinstatement = FirstCoordinator.of(by, now)
            self.note("reinstatement_proposed", now)
            return
        self.reinstatement.check(by)
        self._restore_access("reinstated", now)
        self.warn_or_restart_probation(now, today)

    def drop_proposals_of(self, worker_id: str, now: datetime) -> None:
        """Drops the proposals of a worker whose account was suspended.

        A hold of hers goes on, but two other coordinators must agree to a suspension.
        """
        for name in ("proposal", "reinstatement", "leaving"):
            proposal = getattr(self, name)
            if proposal and proposal.worker_id == worker_id:
                setattr(self, name, None)
        if self.approval_proposed_by_worker_id == worker_id:
            self.approval_proposed_by_worker_id = ""
        suspension = self.suspension
        if suspension and suspension.expire_time and suspension.first.worker_id == worker_id:
            nobody = FirstCoordinator("", "", suspension.first.time)
            self.suspension = replace(suspension, first=nobody) if self.stop else None
        self.note("proposal_dropped", now)

    def end_expired_proposals(self, now: datetime, today: date) -> None:
        """Ends a hold or a proposal to which no second coordinator agreed in time."""
        for name in ("reinstatement", "leaving"):
            first = getattr(self, name)
            if first and first.is_over(now):
                setattr(self, name, None)
                self.note("proposal_dropped", now)
        if self.suspension is None or not self.suspension.is_over(now):
            return
        if self.status is OrganizationStatus.SUSPENDED:
            self._restore_access("hold_ended", now)
            self.warn_or_restart_probation(now, today)
        else:
            self.suspension = None
            self.note("suspension_dropped", now)

    def _restore_access(self, fact: str, now: datetime) -> None:
        if self.suspension and self.suspension.expire_time:
            self.last_hold = self.suspension.first
        self.suspension = self.reinstatement = None
        self._become(OrganizationStatus.APPROVED, fact, now, old=OrganizationStatus.SUSPENDED)

    def leave(self, now: datetime, by: Coordinator | None = None) -> None:
        """Ends the membership for good: to come back, the organisation has to apply again.

        The organisation's own manager can do this alone (`by` is None); otherwise it takes two
        coordinators.
        """
        if self.status in NEVER_ADMITTED or self.status is OrganizationStatus.LEFT:
            raise Conflict("illegal_transition")
        if by and (self.leaving is None or self.leaving.is_over(now)):
            self.leaving = FirstCoordinator.of(by, now)
            self.note("leaving_proposed", now)
            return
        if by and self.leaving:
            self.leaving.check(by)
        self.proposal, self.approval_proposed_by_worker_id = None, ""
        self.suspension = self.reinstatement = self.leaving = None
        self.status = OrganizationStatus.LEFT
        self.note("left", now)

    def warn_or_restart_probation(self, now: datetime, today: date) -> None:
        """Gives each warning of the agreement's end once; after the end, starts a new probation.

        Nothing happens unless the organisation is approved and has an agreement on record.
        """
        days = self.agreement_days(today)
        if self.status is not OrganizationStatus.APPROVED or days is None:
            return
        if days < 0:
            self._become(
                OrganizationStatus.PROBATION,
                "agreement_expired",
                now,
                old=OrganizationStatus.APPROVED,
            )
        elif (due := due_warning(days, self.warned_days)) is not None:
            self.warned_days = due
            self.note("agreement_ending", now)

    @property
    def stop(self) -> str:
        """How access is stopped.

        It is "held" (by one coordinator, for a day), "suspended", or "" if access is not stopped.
        """
        if self.status is not OrganizationStatus.SUSPENDED:
            return ""
        return "held" if self.suspension and self.suspension.expire_time else "suspended"

    @property
    def agreement(self) -> Evidence | None:
        """The organisation's agreement; None if no agreement is recorded."""
        return next(
            (evidence for evidence in self.evidence if evidence.kind is EvidenceKind.AGREEMENT),
            None,
        )

    @property
    def agreement_expire_date(self) -> date | None:
        """The last day of the organisation's agreement; None if no agreement is recorded."""
        return self.agreement.expire_date if self.agreement else None

    def agreement_days(self, today: date) -> int | None:
        """Returns the days until the agreement's last day: 0 on that day, negative afterwards.

        Returns None if no agreement is recorded.
        """
        return (self.agreement_expire_date - today).days if self.agreement_expire_date else None

    @property
    def was_admitted(self) -> bool:
        """Returns whether the organisation is, or was, a member."""
        return self.status not in NEVER_ADMITTED

    @property
    def is_active(self) -> bool:
        """Returns whether the organisation's workers and keys may act."""
        return self.status in ACTIVE

    def _become(
        self, status: OrganizationStatus, fact: str, now: datetime, *, old: OrganizationStatus
    ) -> None:
        if self.status is not old:
            raise Conflict("illegal_transition")
        self.status = status
        self.note(fact, now)
