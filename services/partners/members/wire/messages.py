"""Converts members between the domain and the messages of protos/partners/v1.

Numbers of enums become the words of the domain; a number that only newer versions know is refused
as an unknown code.
"""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from chassis.errors import Invalid
from chassis.local_time import day_at
from chassis.wire import EnumCodec, etag, number, timestamp
from protos.areas import DEPARTMENTS
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import letters_pb2, members_pb2
from services.partners.members.domain.api_key import ApiKey
from services.partners.members.domain.application import Application
from services.partners.members.domain.evidence import Evidence, EvidenceKind
from services.partners.members.domain.invitation import (
    Invitation,
    InvitationEntry,
    InvitationStatus,
)
from services.partners.members.domain.organization import (
    Organization,
    OrganizationEntry,
    OrganizationStatus,
    OrganizationType,
    RejectionReason,
)
from services.partners.members.domain.shares_with import SharesWith, shares_with
from services.partners.members.domain.suspension import Suspension, SuspensionReason
from services.partners.members.domain.worker import Role, Worker, WorkerStatus
from services.partners.network.domain.visibility import Tier
from services.partners.network.wire.days import day
from services.partners.network.wire.messages import etag_of
from services.partners.network.wire.phones import phone
from services.partners.network.wire.visibility import visible_part

TYPES = EnumCodec(pb.OrganizationType, OrganizationType)


STATUSES = EnumCodec(pb.OrganizationStatus, OrganizationStatus)


_EVIDENCE = EnumCodec(pb.EvidenceKind, EvidenceKind)


REJECTIONS = EnumCodec(pb.RejectionReason, RejectionReason)


SHARES = EnumCodec(pb.SharesWith, SharesWith)


SUSPENSIONS = EnumCodec(pb.SuspensionReason, SuspensionReason)


_ROLES = EnumCodec(contract_pb2.Role, Role)


_WORKER_STATUSES = EnumCodec(members_pb2.WorkerStatus, WorkerStatus)


def organization_entry(message: pb.Organization) -> OrganizationEntry:
    """Returns the entry of an organisation in a message."""
    return replace(_entry(message, "organization."), hotline_number=message.hotline_number.strip())


def applicant(message: pb.ApplyForMembershipRequest) -> OrganizationEntry:
    """Returns the entry of an applicant, which has no hotline number."""
    return _entry(message, "")


def application_contact(
    message: pb.ApplyForMembershipRequest, reference: str, now: datetime
) -> Application:
    """Returns the contact person and the reason in an application, with this reference."""
    return Application(
        reference,
        message.contact_name.strip(),
        message.contact_email.strip(),
        message.statement.strip(),
        message.language or "es",
        now,
    )


def application_letter(email: str, token: str, language: str) -> bytes:
    """Returns the data of the e-mail with the applicant's link, which notifications will send."""
    return letters_pb2.ApplicationLetter(
        email=email, token=token, language=language or "es"
    ).SerializeToString()


def _entry(message: pb.Organization | pb.ApplyForMembershipRequest, at: str) -> OrganizationEntry:
    """Returns the entry in a message. Refuses an unknown department of a listed country."""
    listed_countries = {code[:2] for code in DEPARTMENTS}
    if message.department not in DEPARTMENTS and message.department[:2] in listed_countries:
        raise Invalid((f"{at}department", "unknown_code"))
    return OrganizationEntry(
        name=message.name.strip(),
        type=TYPES.member(message.type, f"{at}type"),
        country=message.country,
        department=message.department,
        phone=phone(f"{at}phone", message.phone),
        url=message.url.strip(),
        languages=tuple(message.languages),
        description=message.description.strip(),
    )


def evidence(message: pb.Evidence, worker_id: str, now: datetime) -> Evidence:
    """Returns the evidence in a message, as recorded now by this worker.

    Raises Invalid if its kind or the date on which it was checked is missing, or if a date is not
    valid.
    """
    kind = _EVIDENCE.member(message.kind, "evidence.kind")
    seen_date = day("evidence.seen_date", message.seen_date)
    if kind is None or seen_date is None:
        raise Invalid(
            *(
                (f"evidence.{path}", "required")
                for path, value in (("kind", kind), ("seen_date", seen_date))
                if value is None
            )
        )
    return Evidence(
        kind,
        message.reference.strip(),
        seen_date,
        day("evidence.expire_date", message.expire_date),
        worker_id,
        now,
    )


def application(application: Application) -> pb.OrganizationApplication:
    """Returns an application as a message."""
    return pb.OrganizationApplication(
        reference=application.reference,
        contact_name=application.contact_name,
        contact_email=application.contact_email,
        statement=application.statement,
        language=application.language,
        create_time=timestamp(application.time),
    )


def stored_application(data: bytes) -> Application:
    """Returns the application that a stored message contains."""
    message = pb.OrganizationApplication.FromString(data)
    return Application(
        message.reference,
        message.contact_name,
        message.contact_email,
        message.statement,
        message.language,
        message.create_time.ToDatetime(tzinfo=UTC),
    )


def invitation_entry(message: members_pb2.Invitation) -> InvitationEntry:
    """Returns the entry of an invitation in a message."""
    roles = _ROLES.members(message.roles, "invitation.roles")
    return InvitationEntry(
        message.email.strip(), tuple(roles), message.language or "es", message.on_paper
    )


def organization(
    organization: Organization,
    tier: Tier = Tier.PARTNER,
    *,
    now: datetime | None = None,
    is_own: bool = False,
) -> pb.Organization:
    """Returns an organisation as a caller of this tier sees it.

    Members see the same etag and `update_time` as before if only the coordinators see a change,
    such as a proposed suspension.

    With `is_own`, the message includes the end of the agreement, because the caller belongs to the
    organisation. With `now`, the message includes the evidence, the kinds of evidence that are
    missing at this time, who proposed an approval, and why an application was rejected; the tier
    must be high enough to see them.
    """
    entry, proposal = organization.entry, organization.proposal
    proposal_message = None
    if proposal is not None:
        proposal_message = pb.OrganizationProposal(
            type=TYPES.number(proposal.type),
            country=proposal.country,
            hotline_number=proposal.hotline_number,
            worker_id=proposal.worker_id,
            time=timestamp(proposal.time),
        )
    message = pb.Organization(
        id=organization.id,
        etag=organization_etag(organization, tier),
        name=entry.name,
        type=TYPES.number(entry.type),
        status=STATUSES.number(organization.status),
        country=entry.country,
        department=entry.department,
        phone=entry.phone,
        url=entry.url,
        languages=entry.languages,
        description=entry.description,
        hotline_number=entry.hotline_number,
        create_time=timestamp(organization.create_time),
        update_time=timestamp(
            organization.seen[1]
            if organization.seen and tier < Tier.COORDINATOR
            else organization.update_time
        ),
        registered_by_worker_id=organization.registered_by_worker_id,
        proposal=proposal_message,
        agreement_expire_date=str(organization.agreement_expire_date or ""),
        shares_with=SHARES.number(shares_with(entry.type)),
        suspension=_suspension(organization.suspension) if organization.suspension else None,
        reinstatement_proposed_by_worker_id=organization.reinstatement.worker_id
        if organization.reinstatement
        else "",
        leaving_proposed_by_worker_id=organization.leaving.worker_id
        if organization.leaving
        else "",
        **(_vetting(organization, now) if now else {}),
    )
    visible_part(message, tier)
    if is_own:
        message.agreement_expire_date = str(organization.agreement_expire_date or "")
    return message


def organization_etag(organization: Organization, tier: Tier) -> str:
    """Returns the etag of an organisation for a caller of this tier."""
    if organization.seen and tier < Tier.COORDINATOR:
        return etag(organization.seen[0])
    return etag_of(organization)


def _suspension(suspension: Suspension) -> pb.Suspension:
    return pb.Suspension(
        reason=SUSPENSIONS.number(suspension.reason),
        worker_id=suspension.first.worker_id,
        time=timestamp(suspension.first.time),
        expire_time=timestamp(suspension.expire_time),
        second_worker_id=suspension.second_worker_id,
    )


def today_at(organization: Organization, now: datetime) -> date:
    """Returns the date in the organisation's time zone. This date decides when agreements end."""
    return day_at(now, organization.entry.country, organization.entry.department)


def _vetting(organization: Organization, now: datetime) -> dict[str, Any]:
    missing = (
        organization.missing_evidence(today_at(organization, now))
        if organization.was_admitted
        else []
    )
    return {
        "evidence": [
            pb.Evidence(
                kind=_EVIDENCE.number(evidence.kind),
                reference=evidence.reference,
                seen_date=str(evidence.seen_date),
                expire_date=str(evidence.expire_date or ""),
                recorded_by_worker_id=evidence.worker_id,
                record_time=timestamp(evidence.time),
            )
            for evidence in sorted(
                organization.evidence, key=lambda evidence: list(EvidenceKind).index(evidence.kind)
            )
        ],
        "missing_evidence": [_EVIDENCE.number(kind) for kind in missing],
        "approval_proposed_by_worker_id": organization.approval_proposed_by_worker_id,
        "rejection_reason": REJECTIONS.number(organization.rejection_reason),
    }


def worker(worker: Worker) -> members_pb2.Worker:
    """Returns a worker as her own organisation sees her."""
    return members_pb2.Worker(
        id=worker.id,
        etag=etag_of(worker),
        organization_id=worker.organization_id,
        name=worker.entry.name,
        email=worker.entry.email,
        roles=[_ROLES.number(role) for role in worker.entry.roles],
        language=worker.entry.language,
        status=_WORKER_STATUSES.number(worker.status),
        suspension_proposed_by_worker_id=worker.suspension_proposed_by_worker_id,
        create_time=timestamp(worker.create_time),
        update_time=timestamp(worker.update_time),
    )


def invitation(invitation: Invitation) -> members_pb2.Invitation:
    """Returns an invitation as its inviter sees it: its entry, and its expiry."""
    return members_pb2.Invitation(
        id=invitation.id,
        organization_id=invitation.organization_id,
        email=invitation.entry.email,
        roles=[_ROLES.number(role) for role in invitation.entry.roles],
        language=invitation.entry.language,
        create_time=timestamp(invitation.create_time),
        expire_time=timestamp(invitation.expire_time),
        unconfirmed=invitation.status is InvitationStatus.WAITING,
    )


def letter(invitation: Invitation, token: str) -> bytes:
    """Returns the data of the e-mail with the invitation's link, which notifications will send."""
    return letters_pb2.InvitationLetter(
        email=invitation.entry.email, token=token, language=invitation.entry.language
    ).SerializeToString()


def account_letter(worker: Worker, token: str) -> bytes:
    """Returns the data of the e-mail about a worker's account, which notifications will send."""
    return letters_pb2.AccountLetter(
        email=worker.entry.email, token=token, language=worker.entry.language
    ).SerializeToString()


def api_key(api_key: ApiKey) -> members_pb2.ApiKey:
    """Returns a key, without its secret."""
    return members_pb2.ApiKey(
        id=api_key.id,
        organization_id=api_key.organization_id,
        label=api_key.entry.label,
        scopes=[number(contract_pb2.Scope, scope) for scope in api_key.entry.scopes],
        create_time=timestamp(api_key.create_time),
        expire_time=timestamp(api_key.entry.expire_time),
        last_use_time=timestamp(api_key.last_use_time),
        revoke_time=timestamp(api_key.revoke_time),
        worker_id=api_key.worker_id,
        unconfirmed=api_key.unconfirmed,
        confirmed_by_worker_id=api_key.confirmed_by_worker_id,
    )


def organization_ref(organization: Organization) -> members_pb2.OrganizationRef:
    """Returns the data that pages show about the signed-in worker's organisation."""
    entry = organization.entry
    return members_pb2.OrganizationRef(
        id=organization.id, name=entry.name, country=entry.country, department=entry.department
    )
