"""Calls to the directory: an organisation's services, and services that fit a person."""

from collections.abc import Sequence

from chassis.errors import Refusal
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.backend import lists
from services.gateway.site.language import words

# The age that stands for each band: a service's limits are in years, but a person's age is often
# known only as a band.
BAND_AGES = {
    r.AGE_BAND_0_TO_11: 7,
    r.AGE_BAND_12_TO_17: 15,
    r.AGE_BAND_18_TO_24: 21,
    r.AGE_BAND_25_TO_59: 40,
    r.AGE_BAND_60_AND_OVER: 65,
}


def provider_of(service: d.Service) -> str:
    """Returns the name of the organisation that provides a service.

    The authority with which it shares information follows, if there is one.
    """
    return f"{service.organization_name}{words.shares(service)}"


def services_of(organization_id: str) -> lists.Rows[d.Service]:
    return lists.all_of(d.SearchServicesRequest(organization_id=organization_id))


def matches(
    need_code: str,
    person: r.CoarsePerson,
    home: str,
    years: int | None = None,
    limit: int = 30,
    unsafe_departments: Sequence[str] = (),
    excluded_organization_ids: Sequence[str] = (),
    needed_support: Sequence[d.Accessibility.ValueType] = (),
) -> list[d.Match]:
    """Returns services with a verdict and its reasons, from the person's coarse attributes alone.

    Without `years`, her age is taken from BAND_AGES. Services in departments that are not safe for
    her and services of organisations that she named (`excluded_organization_ids`) are left out.
    `home` is the country to search if her own country is unknown. `needed_support` lists what she
    needs to be able to use a place.
    """
    request = d.MatchServicesRequest(
        need_code=need_code,
        country=person.country or home,
        department=person.department,
        gender=d.Gender.ValueType(
            words.number("gender", words.snake(words.code("person_gender", person.gender_code)))
        ),
        language=person.language,
        limit=limit,
        excluded_areas=unsafe_departments,
        excluded_organization_ids=excluded_organization_ids,
        accessibility=needed_support,
    )
    if person.HasField("dependants"):
        request.dependants = person.dependants
    age = BAND_AGES.get(person.age_band) if years is None else years
    if age is not None:
        request.age = age
    return list(clients().directory.MatchServices(request).matches)


def alternatives(referral: r.Referral) -> list[tuple[str, str]]:
    """Returns services that may fit, from organisations other than the receiver, as id and name.

    A worker who declines can suggest such a service; a sender can choose one to ask instead.
    Returns an empty list if the directory refuses.
    """
    try:
        found_matches = matches(
            referral.need_code,
            referral.person,
            home="",
            limit=8,
            unsafe_departments=referral.unsafe_departments,
            excluded_organization_ids=[
                referral.receiver_organization_id,
                *referral.unsafe_organization_ids,
            ],
        )
    except Refusal:
        return []
    return [
        (m.service.id, f"{m.service.name} · {provider_of(m.service)}")
        for m in found_matches
        if m.verdict != d.VERDICT_DOES_NOT_FIT
    ]
