"""Between what a member is here and what is said of it to others: the messages of
protos/partners/v1, in both directions.

Numbers of enums become the words of the domain; what a newer caller knows and we do not is an
unknown code.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from chassis.errors import Invalid
from chassis.local_time import day_at
from chassis.wire import EnumCodec, etag, masked, number, timestamp, word
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import letters_pb2, members_pb2
from services.partners.domain.api_key import ApiKey
from services.partners.domain.application import Application
from services.partners.domain.codes import Term
from services.partners.domain.evidence import Evidence, EvidenceKind
from services.partners.domain.invitation import Invitation, InvitationEntry, InvitationStatus
from services.partners.domain.matching import Match, Question, Verdict
from services.partners.domain.organization import (
    Organization,
    OrganizationEntry,
    OrganizationStatus,
    OrganizationType,
    RejectionReason,
    SharesWith,
    shares_with,
)
from services.partners.domain.search import Near, Wanted
from services.partners.domain.service import (
    NOT_STATED,
    Capacity,
    Eligibility,
    Gender,
    Intake,
    Service,
    ServiceEntry,
    stale_time,
)
from services.partners.domain.subject import Subject
from services.partners.domain.suspension import Suspension, SuspensionReason
from services.partners.domain.visibility import Tier, Viewer
from services.partners.domain.worker import Role, Worker, WorkerStatus
from services.partners.wire.locations import ACCESSIBILITY
from services.partners.wire.phones import phone
from services.partners.wire.schedules import day, schedule, schedules
from services.partners.wire.visibility import shown

TYPES, STATUSES = (
    EnumCodec(pb.OrganizationType, OrganizationType),
    EnumCodec(pb.OrganizationStatus, OrganizationStatus),
)
_EVIDENCE, REJECTIONS = (
    EnumCodec(pb.EvidenceKind, EvidenceKind),
    EnumCodec(pb.RejectionReason, RejectionReason),
)
_SHARES = EnumCodec(pb.SharesWith, SharesWith)
SUSPENSIONS = EnumCodec(pb.SuspensionReason, SuspensionReason)
_GENDERS, _INTAKES, _VERDICTS = (
    EnumCodec(pb.Gender, Gender),
    EnumCodec(pb.Intake, Intake),
    EnumCodec(pb.Verdict, Verdict),
)
_ROLES, _WORKER_STATUSES = (
    EnumCodec(contract_pb2.Role, Role),
    EnumCodec(members_pb2.WorkerStatus, WorkerStatus),
)


def organization_entry(message: pb.Organization) -> OrganizationEntry:
    """What a caller says of an organisation."""
    return replace(_entry(message, "organization."), hotline_number=message.hotline_number.strip())


def applicant(message: pb.ApplyForMembershipRequest) -> OrganizationEntry:
    """What somebody says of an organisation that would be a member: no number of the public
    page.
    """
    return _entry(message, "")


def applied(message: pb.ApplyForMembershipRequest, reference: str, now: datetime) -> Application:
    """Returns the contact person and the reason of an application."""
    return Application(
        reference,
        message.contact_name.strip(),
        message.contact_email.strip(),
        message.statement.strip(),
        message.language or "es",
        now,
    )


def application_letter(email: str, token: str, language: str) -> bytes:
    """Builds the letter with which notifications brings the link to the applicant; to be sealed."""
    return letters_pb2.ApplicationLetter(
        email=email, token=token, language=language or "es"
    ).SerializeToString()


def _entry(message: pb.Organization | pb.ApplyForMembershipRequest, at: str) -> OrganizationEntry:
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
    """What somebody says that she has seen."""
    kind = _EVIDENCE.member(message.kind, "evidence.kind")
    seen = day("evidence.seen_date", message.seen_date)
    if kind is None or seen is None:
        raise Invalid(
            *(
                (f"evidence.{path}", "required")
                for path, value in (("kind", kind), ("seen_date", seen))
                if value is None
            )
        )
    return Evidence(
        kind,
        message.reference.strip(),
        seen,
        day("evidence.expire_date", message.expire_date),
        worker_id,
        now,
    )


def application(application: Application) -> pb.OrganizationApplication:
    """How somebody applied."""
    return pb.OrganizationApplication(
        reference=application.reference,
        contact_name=application.contact_name,
        contact_email=application.contact_email,
        statement=application.statement,
        language=application.language,
        create_time=timestamp(application.time),
    )


def kept_application(kept: bytes) -> Application:
    """The same as it was kept."""
    said = pb.OrganizationApplication.FromString(kept)
    return Application(
        said.reference,
        said.contact_name,
        said.contact_email,
        said.statement,
        said.language,
        said.create_time.ToDatetime(tzinfo=UTC),
    )


def service_entry(message: pb.Service, *, active: bool) -> ServiceEntry:
    """What a caller says of a service."""
    return ServiceEntry(
        name=message.name.strip(),
        need_codes=tuple(message.need_codes),
        description=message.description.strip(),
        country=message.country,
        department=message.department,
        languages=tuple(message.languages),
        eligibility=_eligibility(message.eligibility),
        confidential=message.confidential,
        phone=phone("service.phone", message.phone),
        active=active,
        schedules=schedules(message.schedules, "service.schedules"),
        area_codes=tuple(message.area_codes),
        accessibility=tuple(ACCESSIBILITY.members(message.accessibility, "service.accessibility")),
        public=message.public,
        tiers=tuple(
            (each.field, Tier(each.tier))
            for each in message.tiers
            if each.tier in contract_pb2.Tier.values()
        ),
    )


def capacity(message: pb.Capacity, at: str) -> Capacity:
    """A figure; its time is ours to say."""
    return Capacity(
        intake=_INTAKES.member(message.intake, f"{at}.intake"),
        available=message.available if message.HasField("available") else None,
        maximum=message.maximum if message.HasField("maximum") else None,
        unit=word(pb.CapacityUnit, message.unit, f"{at}.unit"),
    )


def invitation_entry(message: members_pb2.Invitation) -> InvitationEntry:
    """What a caller says of whom to invite."""
    roles = _ROLES.members(message.roles, "invitation.roles")
    return InvitationEntry(
        message.email.strip(), tuple(roles), message.language or "es", message.on_paper
    )


def question(message: pb.MatchServicesRequest) -> Question:
    """What is to be matched."""
    return Question(
        need_code=message.need_code,
        country=message.country,
        department=message.department,
        age=message.age if message.HasField("age") else None,
        gender=_GENDERS.member(message.gender, "gender"),
        dependants=message.dependants if message.HasField("dependants") else None,
        language=message.language,
        excluded_organization_ids=_excluded(message),
        excluded_areas=tuple(message.excluded_areas),
        pregnant=message.pregnant,
        with_addiction=message.with_addiction,
        without_papers=message.without_papers,
        oldest_boy_age=message.oldest_boy_age if message.HasField("oldest_boy_age") else None,
        accessibility=tuple(ACCESSIBILITY.members(message.accessibility, "accessibility")),
    )


def wanted(message: pb.SearchServicesRequest, now: datetime) -> Wanted:
    """What is looked for."""
    near = message.near
    return Wanted(
        words=message.words,
        need_code=message.need_code,
        country=message.country,
        department=message.department,
        language=message.language,
        age=message.age if message.HasField("age") else None,
        gender=_GENDERS.member(message.gender, "gender"),
        dependants=message.dependants if message.HasField("dependants") else None,
        has_room=message.has_room,
        organization_id=message.organization_id,
        open_at=now if message.open_now else None,
        near=Near(near.latitude, near.longitude, near.radius_km)
        if message.HasField("near")
        else None,
        excluded_organization_ids=_excluded(message),
        excluded_areas=tuple(message.excluded_areas),
        count_country=message.count_country,
    )


def _excluded(message: pb.MatchServicesRequest | pb.SearchServicesRequest) -> tuple[str, ...]:
    """The organisations that are left out.

    A worker is refused, whoever it is: by what is left out for her one would learn where she works.
    """
    if message.excluded_worker_ids:
        raise Invalid(("excluded_worker_ids", "out_of_range"))
    return tuple(message.excluded_organization_ids)


def changes(
    mask: FieldMask, entry: OrganizationEntry | ServiceEntry, *besides: str
) -> dict[str, Any]:
    """The fields that a mask names with their values; `besides` may be named too, though the entry
    has not got them.
    """
    paths = masked(mask, [*(field.name for field in fields(entry)), *besides])
    return {path: getattr(entry, path, None) for path in sorted(paths)}


def etag_of(subject: Subject) -> str:
    """Another one whenever what a reader sees has changed."""
    return etag(subject.version, *subject.seen_besides())


def organization(
    organization: Organization,
    tier: Tier = Tier.PARTNER,
    *,
    now: datetime | None = None,
    own: bool = False,
) -> pb.Organization:
    """An organisation, as somebody of this tier sees it; the end of its agreement its `own` people
    see, too. `now`: with what is missing now.
    """
    entry, wanted = organization.entry, organization.proposal
    proposal = None
    if wanted is not None:
        proposal = pb.OrganizationProposal(
            type=TYPES.number(wanted.type),
            country=wanted.country,
            hotline_number=wanted.hotline_number,
            worker_id=wanted.worker_id,
            time=timestamp(wanted.time),
        )
    said = pb.Organization(
        id=organization.id,
        etag=etag_of(organization),
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
        update_time=timestamp(organization.update_time),
        registered_by_worker_id=organization.registered_by_worker_id,
        proposal=proposal,
        agreement_expire_date=str(organization.agreement_expire_date or ""),
        shares_with=_SHARES.number(shares_with(entry.type)),
        suspension=_suspension(organization.suspension) if organization.suspension else None,
        reinstatement_proposed_by_worker_id=organization.reinstatement.worker_id
        if organization.reinstatement
        else "",
        leaving_proposed_by_worker_id=organization.leaving.worker_id
        if organization.leaving
        else "",
        **(_vetting(organization, now) if now else {}),
    )
    shown(said, tier)
    if own:
        said.agreement_expire_date = str(organization.agreement_expire_date or "")
    return said


def _suspension(suspension: Suspension) -> pb.Suspension:
    return pb.Suspension(
        reason=SUSPENSIONS.number(suspension.reason),
        worker_id=suspension.first.worker_id,
        time=timestamp(suspension.first.time),
        expire_time=timestamp(suspension.expire_time),
        second_worker_id=suspension.second_worker_id,
    )


def today_at(organization: Organization, now: datetime) -> date:
    """The day at its place: an agreement ends when its last day ends there."""
    return day_at(now, organization.entry.country, organization.entry.department)


def _vetting(organization: Organization, now: datetime) -> dict[str, Any]:
    missing = (
        organization.missing_evidence(today_at(organization, now)) if organization.is_member else []
    )
    return {
        "evidence": [
            pb.Evidence(
                kind=_EVIDENCE.number(one.kind),
                reference=one.reference,
                seen_date=str(one.seen_date),
                expire_date=str(one.expire_date or ""),
                recorded_by_worker_id=one.worker_id,
                record_time=timestamp(one.time),
            )
            for one in sorted(
                organization.evidence, key=lambda one: list(EvidenceKind).index(one.kind)
            )
        ],
        "missing_evidence": [_EVIDENCE.number(kind) for kind in missing],
        "approval_proposed_by_worker_id": organization.approval_proposed_by_worker_id,
        "rejection_reason": REJECTIONS.number(organization.rejection_reason),
    }


def service(
    service: Service, viewer: Viewer, now: datetime, *, open_now: bool | None = None
) -> pb.Service:
    """A service, as this viewer sees it.

    Where that is not the live figure, the etag is of what is seen: a version would count what
    becomes of the room.
    """
    entry, figure = service.entry, service.figure_for(viewer, now).capacity
    said = pb.Service(
        id=service.id,
        organization_id=service.organization_id,
        organization_name=service.organization_name,
        organization_type=TYPES.number(service.organization_type),
        shares_with=_SHARES.number(shares_with(service.organization_type)),
        name=entry.name,
        description=entry.description,
        need_codes=entry.need_codes,
        country=entry.country,
        department=entry.department,
        languages=entry.languages,
        eligibility=pb.Eligibility(
            minimum_age=entry.eligibility.minimum_age,
            maximum_age=entry.eligibility.maximum_age,
            genders=[_GENDERS.number(gender) for gender in entry.eligibility.genders],
            takes_dependants=entry.eligibility.takes_dependants,
            maximum_dependants=entry.eligibility.maximum_dependants,
            takes_pregnant=entry.eligibility.takes_pregnant,
            takes_with_addiction=entry.eligibility.takes_with_addiction,
            takes_without_papers=entry.eligibility.takes_without_papers,
            maximum_age_of_boys=entry.eligibility.maximum_age_of_boys,
        ),
        capacity=_capacity(figure, entry.need_codes) if figure != NOT_STATED else None,
        confidential=entry.confidential,
        phone="" if entry.confidential else entry.phone,
        assured_time=timestamp(service.assured_time),
        active=entry.active,
        create_time=timestamp(service.create_time),
        schedules=[schedule(each) for each in entry.schedules],
        area_codes=entry.area_codes,
        accessibility=[ACCESSIBILITY.number(each) for each in entry.accessibility],
        public=entry.public,
        tiers=[
            pb.FieldTier(field=field, tier=contract_pb2.Tier.ValueType(tier))
            for field, tier in entry.tiers
        ],
    )
    said.etag = (
        etag_of(service)
        if service.is_live_for(viewer)
        else etag(0, said.SerializeToString(deterministic=True).hex())
    )
    said.update_time.FromDatetime(
        service.update_time
        if service.is_live_for(viewer)
        else service.entry_time or service.create_time
    )
    if open_now is not None:
        said.open_now = open_now
    return shown(said, viewer.tier_of(service.organization_id), dict(entry.tiers))


def match(
    match: Match, matched: Service, viewer: Viewer, now: datetime, *, open_now: bool | None = None
) -> pb.Match:
    """A verdict with its reasons."""
    return pb.Match(
        service=service(matched, viewer, now, open_now=open_now),
        verdict=_VERDICTS.number(match.verdict),
        reasons=[
            pb.MatchReason(
                criterion=number(pb.Criterion, r.criterion),
                verdict=_VERDICTS.number(r.verdict),
                reason_code=r.code,
            )
            for r in match.reasons
        ],
    )


def term(term: Term) -> pb.TaxonomyTerm:
    """A code of the taxonomy."""
    return pb.TaxonomyTerm(
        code=term.code,
        parent_code=term.parent,
        names=term.names,
        htcds_spl_types=term.htcds_types,
        legal_basis=term.legal_basis,
        synonyms=[
            pb.Synonyms(language=language, words=words) for language, words in term.synonyms.items()
        ],
    )


def worker(worker: Worker) -> members_pb2.Worker:
    """A worker, as the own organisation sees one."""
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
    """An invitation as its maker sees it: what was said, and until when it is good."""
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
    """What the notifications service needs to bring the link to whom it is for; to be sealed."""
    return letters_pb2.InvitationLetter(
        email=invitation.entry.email, token=token, language=invitation.entry.language
    ).SerializeToString()


def account_letter(worker: Worker, token: str) -> bytes:
    """What the notifications service needs to tell somebody of her own account; to be sealed."""
    return letters_pb2.AccountLetter(
        email=worker.entry.email, token=token, language=worker.entry.language
    ).SerializeToString()


def api_key(api_key: ApiKey) -> members_pb2.ApiKey:
    """A key, without its secret."""
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
    """What a page shows of the signed-in member."""
    entry = organization.entry
    return members_pb2.OrganizationRef(
        id=organization.id, name=entry.name, country=entry.country, department=entry.department
    )


def _eligibility(message: pb.Eligibility) -> Eligibility:
    return Eligibility(
        minimum_age=message.minimum_age if message.HasField("minimum_age") else None,
        maximum_age=message.maximum_age if message.HasField("maximum_age") else None,
        genders=tuple(_GENDERS.members(message.genders, "service.eligibility.genders")),
        takes_dependants=message.takes_dependants if message.HasField("takes_dependants") else None,
        maximum_dependants=message.maximum_dependants
        if message.HasField("maximum_dependants")
        else None,
        takes_pregnant=message.takes_pregnant if message.HasField("takes_pregnant") else None,
        takes_with_addiction=message.takes_with_addiction
        if message.HasField("takes_with_addiction")
        else None,
        takes_without_papers=message.takes_without_papers
        if message.HasField("takes_without_papers")
        else None,
        maximum_age_of_boys=message.maximum_age_of_boys
        if message.HasField("maximum_age_of_boys")
        else None,
    )


def _capacity(figure: Capacity, need_codes: Sequence[str]) -> pb.Capacity:
    return pb.Capacity(
        intake=_INTAKES.number(figure.intake),
        available=figure.available,
        maximum=figure.maximum,
        unit=number(pb.CapacityUnit, figure.unit),
        update_time=timestamp(figure.update_time),
        declined_time=timestamp(figure.declined_time),
        stale_time=timestamp(stale_time(figure, need_codes)),
    )
