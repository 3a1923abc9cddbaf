"""The organisations and departments that a person can name as unsafe.

They come from the services that fit, from a search of the directory, and from earlier choices.
"""

from collections.abc import Iterable
from operator import itemgetter

from werkzeug.datastructures import MultiDict

from chassis.errors import Invalid
from protos.partners.v1 import directory_pb2 as d
from services.gateway.edge.clients import clients
from services.gateway.site.backend import names
from services.gateway.site.backend.directory import provider_of
from services.gateway.site.language import words
from services.gateway.site.parts.unsafe_form import DEPARTMENTS, ORGANIZATIONS, SEARCH, Choices

MOST = 30
"""Maximum number of organisations shown from a search."""


def choices(
    services: Iterable[d.Service], said: MultiDict[str, str], organizations: str = ORGANIZATIONS
) -> Choices:
    """Returns the choices: providers of these services, hits of the search, earlier choices."""
    sought = said.get(SEARCH, "").strip()
    answer = search(sought) if sought else d.SearchServicesResponse()
    listed = list(services)
    hits = {one.organization_id: provider_of(one) for one in answer.services}
    named = {one.organization_id: provider_of(one) for one in listed} | dict(
        list(hits.items())[:MOST]
    )
    ticked = [each for each in said.getlist(organizations) if each and each not in named]
    known = names.names(ticked)
    named |= {each: known.organization(each) for each in ticked}
    near = {one.department for one in listed if one.department} | {
        each for each in said.getlist(DEPARTMENTS) if each
    }
    departments = sorted(((code, words.department(code)) for code in near), key=itemgetter(1))
    more = len(hits) > MOST or bool(answer.next_page_token)
    return Choices(
        sorted(named.items(), key=itemgetter(1)),
        departments,
        sought,
        more,
        bool(sought) and not hits,
    )


def search(sought: str) -> d.SearchServicesResponse:
    """Returns the services that these words find, for any need.

    The person can name the organisations of these services.
    """
    try:
        return clients().directory.SearchServices(
            d.SearchServicesRequest(words=sought, page_size=100)
        )
    except Invalid:  # longer than any name
        return d.SearchServicesResponse()
