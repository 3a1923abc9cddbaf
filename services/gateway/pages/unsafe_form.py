"""With whom or where she is not safe: the question as enquiries and referrals ask it, and what its answer lacks.

She can name any organisation of the directory: those whose services fit stand there, the others are searched for by name (`SEARCH`). What was ticked stays.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from werkzeug.datastructures import MultiDict

from chassis.errors import Invalid
from protos.partners.v1 import directory_pb2 as d
from services.gateway import names, words
from services.gateway.clients import clients
from services.gateway.i18n import gettext as _

ORGANIZATIONS, DEPARTMENTS = "unsafe_organization_ids", "unsafe_departments"
FIELDS = ("unsafe_code", ORGANIZATIONS, DEPARTMENTS)
NAMED = "named"
SEARCH, SOUGHT, LOOK = "unsafe_search", "unsafe_sought", "unsafe_look"
"""What is looked for, what the page shown looked for already, and the button that looks."""
MOST = 30
"""So many organisations are shown of those that were searched for."""
Choice = tuple[str, str]


@dataclass(frozen=True)
class Choices:
    """Whom and where she can name, as (id or code, name); the page has the other departments, too. `more`: the search found others that have no room here;
    `nothing`: it found nobody."""

    organizations: list[Choice]
    departments: list[Choice]
    sought: str = ""
    more: bool = False
    nothing: bool = False


def code_of(said: MultiDict[str, str], organizations: str = ORGANIZATIONS) -> str:
    """The answer. Whoever ticks somebody or some place has said that she named it."""
    ticked = any(said.getlist(organizations)) or any(said.getlist(DEPARTMENTS))
    return NAMED if ticked else said.get("unsafe_code", "")


def problems(said: MultiDict[str, str], organizations: str = ORGANIZATIONS) -> dict[str, str]:
    """No answer, or that she named somebody and nobody is ticked."""
    code = code_of(said, organizations)
    if not words.number("unsafe_answer", code):
        return {"unsafe_code": words.violation("required", "unsafe_code")}
    ticked = any(said.getlist(organizations)) or any(said.getlist(DEPARTMENTS))
    return (
        {organizations: _("marque a quién o dónde; si no está en la lista, búsquela por su nombre o diga que no está en el directorio")}
        if code == NAMED and not ticked
        else {}
    )


def answer(said: MultiDict[str, str]) -> dict[str, object]:
    """The answer as fields of a referral."""
    lists = {name: [value for value in said.getlist(name) if value] for name in (ORGANIZATIONS, DEPARTMENTS)}
    return {"unsafe_code": words.number("unsafe_answer", code_of(said)), **lists}


def looks(said: MultiDict[str, str]) -> bool:
    """Whether the page is asked to look for an organisation and to go no further: by its button, or because a name stands there that was not looked for."""
    sought = said.get(SEARCH, "").strip()
    return LOOK in said or (bool(sought) and sought != said.get(SOUGHT, ""))


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
