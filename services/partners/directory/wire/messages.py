"""Converts services between the domain and the messages of protos/partners/v1.

Numbers of enums become the words of the domain; a number that only newer versions know is refused
as an unknown code.
"""

from collections.abc import Sequence
from datetime import datetime

from chassis.errors import Invalid
from chassis.wire import EnumCodec, etag, number, timestamp, word
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as pb
from services.partners.directory.domain.matching import Match, Question, Verdict
from services.partners.directory.domain.search import Near, SearchTerms
from services.partners.directory.domain.service import (
    NOT_STATED,
    Capacity,
    Eligibility,
    Gender,
    Intake,
    Service,
    ServiceEntry,
    stale_time,
)
from services.partners.directory.domain.taxonomy import Term
from services.partners.directory.wire.locations import ACCESSIBILITY
from services.partners.directory.wire.schedules import schedule, schedules
from services.partners.members.domain.shares_with import shares_with
from services.partners.members.wire.messages import SHARES, TYPES
from services.partners.network.domain.visibility import Tier, Viewer
from services.partners.network.wire.messages import etag_of
from services.partners.network.wire.phones import phone
from services.partners.network.wire.visibility import visible_part

_GENDERS = EnumCodec(pb.Gender, Gender)
_INTAKES = EnumCodec(pb.Intake, Intake)
_VERDICTS = EnumCodec(pb.Verdict, Verdict)


def service_entry(message: pb.Service, *, active: bool) -> ServiceEntry:
    """Returns the entry that a message describes; `active` comes from the caller.

    A field's tier is left out if this version does not know the tier.
    """
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
            (field_tier.field, Tier(field_tier.tier))
            for field_tier in message.tiers
            if field_tier.tier in contract_pb2.Tier.values()
        ),
    )


def capacity(message: pb.Capacity, at: str) -> Capacity:
    """Returns the figure in a message, without a time: the domain sets the time.

    `at`: the path of the figure, which a refusal names.
    """
    return Capacity(
        intake=_INTAKES.member(message.intake, f"{at}.intake"),
        available=message.available if message.HasField("available") else None,
        maximum=message.maximum if message.HasField("maximum") else None,
        unit=word(pb.CapacityUnit, message.unit, f"{at}.unit"),
    )


def question(message: pb.MatchServicesRequest) -> Question:
    """Returns the need and the attributes of the person to be matched, and what to leave out."""
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


def search_terms(message: pb.SearchServicesRequest, now: datetime) -> SearchTerms:
    """Returns the terms of a search."""
    near = message.near
    return SearchTerms(
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
    """Returns the ids of the organisations that are to be left out.

    Raises Invalid if the request excludes workers: results without the organisation of a worker
    would show where she works.
    """
    if message.excluded_worker_ids:
        raise Invalid(("excluded_worker_ids", "out_of_range"))
    return tuple(message.excluded_organization_ids)


def service(
    service: Service, viewer: Viewer, now: datetime, *, open_now: bool | None = None
) -> pb.Service:
    """Returns a service as this viewer sees it.

    If the viewer does not see the live figure, the etag is computed from the data with the figure
    that the viewer sees, and the update time is that of the entry: the version and the time of the
    last update would reveal changes to the room.
    """
    entry, figure = service.entry, service.figure_for(viewer, now).capacity
    message = pb.Service(
        id=service.id,
        organization_id=service.organization_id,
        organization_name=service.organization_name,
        organization_type=TYPES.number(service.organization_type),
        shares_with=SHARES.number(shares_with(service.organization_type)),
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
        schedules=[schedule(hours) for hours in entry.schedules],
        area_codes=entry.area_codes,
        accessibility=[ACCESSIBILITY.number(means) for means in entry.accessibility],
        public=entry.public,
        tiers=[
            pb.FieldTier(field=field, tier=contract_pb2.Tier.ValueType(tier))
            for field, tier in entry.tiers
        ],
    )
    message.etag = (
        etag_of(service)
        if service.is_live_for(viewer)
        else etag(0, message.SerializeToString(deterministic=True).hex())
    )
    message.update_time.FromDatetime(
        service.update_time
        if service.is_live_for(viewer)
        else service.entry_time or service.create_time
    )
    if open_now is not None:
        message.open_now = open_now
    return visible_part(message, viewer.tier_of(service.organization_id), dict(entry.tiers))


def match(
    match: Match,
    matched_service: Service,
    viewer: Viewer,
    now: datetime,
    *,
    open_now: bool | None = None,
) -> pb.Match:
    """Returns a matched service with its verdict and the reasons for the verdict."""
    return pb.Match(
        service=service(matched_service, viewer, now, open_now=open_now),
        verdict=_VERDICTS.number(match.verdict),
        reasons=[
            pb.MatchReason(
                criterion=number(pb.Criterion, reason.criterion),
                verdict=_VERDICTS.number(reason.verdict),
                reason_code=reason.code,
            )
            for reason in match.reasons
        ],
    )


def term(term: Term) -> pb.TaxonomyTerm:
    """Returns a taxonomy term as a message."""
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
