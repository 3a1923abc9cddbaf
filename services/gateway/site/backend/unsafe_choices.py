"""Collects the organisations and departments that a person is likely to name as unsafe.

The choices come from services that fit, from a search of the directory, and from earlier choices.
"""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from werkzeug.datastructures import MultiDict

from chassis.errors import Invalid
from protos.partners.v1 import directory_pb2 as d
from services.gateway.site.backend import answer_or, names
from services.gateway.site.backend.directory import provider_of
from services.gateway.site.language import words
from services.gateway.site.parts.unsafe_form import DEPARTMENTS, ORGANIZATIONS, SEARCH_TEXT

MOST = 30
"""Maximum number of organisations that a search adds to the choices."""


def choices(
    services: Iterable[d.Service],
    answers: MultiDict[str, str],
    organizations_field: str = ORGANIZATIONS,
) -> dict[str, Any]:
    """Returns the choices: providers of these services, hits of the search, earlier choices.

    The choices are the organisations and departments that the page lists first, as (id or code,
    name); below them, the page offers every other department. `more`: the search may have found
    more organisations than are listed. `nothing`: the search found no organisation.
    """
    search_text = answers.get(SEARCH_TEXT, "").strip()
    answer = search(search_text) if search_text else d.SearchServicesResponse()
    fitting_services = list(services)
    hits = {service.organization_id: provider_of(service) for service in answer.services}
    names_by_id = {
        service.organization_id: provider_of(service) for service in fitting_services
    } | dict(list(hits.items())[:MOST])
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
        "more": len(hits) > MOST or bool(answer.next_page_token),
        "nothing": bool(search_text) and not hits,
    }


def search(search_text: str) -> d.SearchServicesResponse:
    """Returns up to 100 services that match these words; none if the words are too long.

    The person can name the providers of these services as unsafe.
    """
    return answer_or(
        d.SearchServicesResponse(),
        d.SearchServicesRequest(words=search_text, page_size=100),
        Invalid,
    )
