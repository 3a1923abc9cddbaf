"""Whom and where she can name as not safe: what fits, what is searched for in the directory, and what is ticked already."""

from collections.abc import Iterable

from werkzeug.datastructures import MultiDict

from chassis.errors import Invalid
from protos.partners.v1 import directory_pb2 as d
from services.gateway.edge.clients import clients
from services.gateway.site.backend import names
from services.gateway.site.language import words
from services.gateway.site.parts.unsafe_form import DEPARTMENTS, ORGANIZATIONS, SEARCH, Choice, Choices

MOST = 30
"""So many organisations are shown of those that were searched for."""


def choices(services: Iterable[d.Service], said: MultiDict[str, str], organizations: str = ORGANIZATIONS) -> Choices:
    """Whom and where she can name: what these services are, what was searched for, and what is ticked already."""
    sought = said.get(SEARCH, "").strip()
    answer = search(sought) if sought else d.SearchServicesResponse()
    listed = list(services)
    hits = {one.organization_id: called(one) for one in answer.services}
    named = {one.organization_id: called(one) for one in listed} | dict(list(hits.items())[:MOST])
    ticked = [each for each in said.getlist(organizations) if each and each not in named]
    known = names.names(ticked)
    named |= {each: known.organization(each) for each in ticked}
    near = {one.department for one in listed if one.department} | {each for each in said.getlist(DEPARTMENTS) if each}
    departments = sorted(((code, words.department(code)) for code in near), key=by_name)
    more = len(hits) > MOST or bool(answer.next_page_token)
    return Choices(sorted(named.items(), key=by_name), departments, sought, more, bool(sought) and not hits)


def search(sought: str) -> d.SearchServicesResponse:
    """The services that are found by these words, of whichever need; by them their organisations are known."""
    try:
        return clients().directory.SearchServices(d.SearchServicesRequest(words=sought, page_size=100))
    except Invalid:  # longer than any name
        return d.SearchServicesResponse()


def called(service: d.Service) -> str:
    """Whose service it is, and with which authority that one shares what it hears."""
    return f"{service.organization_name}{words.shares(service)}"


def by_name(choice: Choice) -> str:
    """What choices are in order of."""
    return choice[1]
