"""Calls to the directory: an organisation's services, services that fit a person, and the
organisations that she may name as unsafe.
"""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from werkzeug.datastructures import MultiDict

from chassis.errors import Invalid, Refusal
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.backend import answer_or, lists, names
from services.gateway.site.language import words
from services.gateway.site.parts.unsafe_form import DEPARTMENTS, ORGANIZATIONS, SEARCH_TEXT

# The youngest, a usual and the oldest age of each band: a service's limits are in years, but a
# person's age is often known only as a band. The oldest age of all means no limit.
BAND_AGES = {
    r.AGE_BAND_0_TO_11: (0, 7, 11),
    r.AGE_BAND_12_TO_17: (12, 15, 17),
    r.AGE_BAND_18_TO_24: (18, 21, 24),
    r.AGE_BAND_25_TO_59: (25, 40, 59),
    r.AGE_BAND_60_AND_OVER: (60, 65, 99),
}
MAX_FOUND = 30
"""Maximum number of organisations that a search adds to the choices."""


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

    Without `years`, a usual age of her band is compared, and a service that takes only a part of
    the band gets the verdict "ask". Services in departments that are not safe for her and services
    of organisations that she named (`excluded_organization_ids`) are left out.
    `home` is the country to search if her country and department are unknown. `needed_support`
    lists what she needs to be able to use a place.
    """
    request = d.MatchServicesRequest(
        need_code=need_code,
        country=person.country or person.department[:2] or home,
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
    band = BAND_AGES.get(person.age_band) if years is None else None
    if band:
        request.age = band[1]
    elif years is not None:
        request.age = years
    found_matches = clients().directory.MatchServices(request).matches
    if band:
        for match in found_matches:
            _ask_about_part_of_band(match, band[0], band[2])
    return sorted(found_matches, key=lambda match: match.verdict)


def _ask_about_part_of_band(match: d.Match, youngest: int, oldest: int) -> None:
    """Changes the verdict about the age to "ask" if the service takes only a part of these ages."""
    limits = match.service.eligibility
    maximum = limits.maximum_age if limits.HasField("maximum_age") else oldest
    takes_all = limits.minimum_age <= youngest and oldest <= maximum
    takes_none = oldest < limits.minimum_age or maximum < youngest
    for reason in match.reasons:
        if reason.criterion == d.CRITERION_AGE and not takes_all and not takes_none:
            reason.verdict, reason.reason_code = d.VERDICT_ASK, "age_unknown"
            match.verdict = max(other.verdict for other in match.reasons)


def may_fit(match: d.Match, need_code: str) -> bool:
    """Returns whether a service fits or may fit.

    A shelter without room may fit: others see its room as it was up to six hours ago.
    """
    criteria = [
        reason.criterion for reason in match.reasons if reason.verdict == d.VERDICT_DOES_NOT_FIT
    ]
    is_only_full = criteria == [d.CRITERION_ROOM] and need_code.startswith("HOU")
    return match.verdict != d.VERDICT_DOES_NOT_FIT or is_only_full


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
        if may_fit(m, referral.need_code)
    ]


def unsafe_choices(
    services: Iterable[d.Service],
    answers: MultiDict[str, str],
    organizations_field: str = ORGANIZATIONS,
) -> dict[str, Any]:
    """Returns the organisations and departments that a person is likely to name as unsafe.

    They come from services that fit, from a search of the directory, and from earlier choices. The
    page lists them first, as (id or code, name); below them, it offers every other department.
    `more`: the search may have found more organisations than are listed. `nothing`: the search
    found no organisation.
    """
    search_text = answers.get(SEARCH_TEXT, "").strip()
    answer = d.SearchServicesResponse()
    if search_text:  # without an answer, because no service has words as long as these
        answer = answer_or(
            answer, d.SearchServicesRequest(words=search_text, page_size=100), Invalid
        )
    fitting_services = list(services)
    hits = {service.organization_id: provider_of(service) for service in answer.services}
    names_by_id = {
        service.organization_id: provider_of(service) for service in fitting_services
    } | dict(list(hits.items())[:MAX_FOUND])
    ticked_ids = [
        value
        for value in answers.getlist(organizations_field)
        if value and value not in names_by_id
    ]
    page_names = names.names(ticked_ids)
    names_by_id |= {value: page_names.organization(value) for value in ticked_ids}
    department_codes = {
        service.department for service in fitting_services if service.department
    } | {value for value in answers.getlist(DEPARTMENTS) if value}
    return {
        "organizations": sorted(names_by_id.items(), key=itemgetter(1)),
        "departments": sorted(
            ((code, words.department_abroad(code)) for code in department_codes),
            key=itemgetter(1, 0),
        ),
        "searched_text": search_text,
        "more": len(hits) > MAX_FOUND or bool(answer.next_page_token),
        "nothing": bool(search_text) and not hits,
    }
