"""With whom or where she is not safe: the question as enquiries and referrals ask it, and what its answer lacks."""

from collections.abc import Iterable

from werkzeug.datastructures import MultiDict

from protos.partners.v1 import directory_pb2 as d
from services.gateway.site.language import words
from services.gateway.site.language.i18n import _

ORGANIZATIONS, DEPARTMENTS = "unsafe_organization_ids", "unsafe_departments"
FIELDS = ("unsafe_code", ORGANIZATIONS, DEPARTMENTS)
NAMED = "named"


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
        {organizations: _("marque a quién o dónde; si no está en la lista, diga que no está en el directorio")}
        if code == NAMED and not ticked
        else {}
    )


def answer(said: MultiDict[str, str]) -> dict[str, object]:
    """The answer as fields of a referral."""
    lists = {name: [value for value in said.getlist(name) if value] for name in (ORGANIZATIONS, DEPARTMENTS)}
    return {"unsafe_code": words.number("unsafe_answer", code_of(said)), **lists}


def choices(services: Iterable[d.Service]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The organisations and the departments of these services, to be named."""
    listed = list(services)
    organizations = {one.organization_id: f"{one.organization_name}{words.shares(one)}" for one in listed}
    departments = {one.department: words.department(one.department) for one in listed if one.department}
    return sorted(organizations.items(), key=lambda pair: pair[1]), sorted(departments.items(), key=lambda pair: pair[1])
