"""With whom or where she is not safe: the question as enquiries and referrals ask it, and what its
answer lacks.

She can name any organisation of the directory: those whose services fit stand there, the others are
searched for by name (`SEARCH`). What was ticked stays.
"""

from dataclasses import dataclass

from werkzeug.datastructures import MultiDict

from services.gateway.site.language import words
from services.gateway.site.language.i18n import _

ORGANIZATIONS, DEPARTMENTS = "unsafe_organization_ids", "unsafe_departments"
FIELDS = ("unsafe_code", ORGANIZATIONS, DEPARTMENTS)
NAMED = "named"
SEARCH, SOUGHT, LOOK = "unsafe_search", "unsafe_sought", "unsafe_look"
"""What is looked for, what the page shown looked for already, and the button that looks."""
Choice = tuple[str, str]


@dataclass(frozen=True)
class Choices:
    """Whom and where she can name, as (id or code, name); the page has the other departments, too.

    `more`: the search found others that have no room here; `nothing`: it found nobody.
    """

    organizations: list[Choice]
    departments: list[Choice]
    sought: str = ""
    more: bool = False
    nothing: bool = False


def code_of(said: MultiDict[str, str], organizations: str = ORGANIZATIONS) -> str:
    """The answer. Whoever ticks somebody or some place has said that she named it."""
    return NAMED if _is_ticked(said, organizations) else said.get("unsafe_code", "")


def problems(said: MultiDict[str, str], organizations: str = ORGANIZATIONS) -> dict[str, str]:
    """No answer, or that she named somebody and nobody is ticked."""
    code = code_of(said, organizations)
    if not words.number("unsafe_answer", code):
        return {"unsafe_code": words.violation("required", "unsafe_code")}
    return (
        {
            organizations: _(
                "marque a quién o dónde; si no está en la lista, búsquela por su nombre o diga que"
                " no está en el directorio"
            )
        }
        if code == NAMED and not _is_ticked(said, organizations)
        else {}
    )


def answer(said: MultiDict[str, str]) -> dict[str, object]:
    """The answer as fields of a referral."""
    lists = {
        name: [value for value in said.getlist(name) if value]
        for name in (ORGANIZATIONS, DEPARTMENTS)
    }
    return {"unsafe_code": words.number("unsafe_answer", code_of(said)), **lists}


def looks(said: MultiDict[str, str]) -> bool:
    """Whether the page is asked to look for an organisation and to go no further: by its button, or
    because a name stands there that was not looked for.
    """
    sought = said.get(SEARCH, "").strip()
    return LOOK in said or (bool(sought) and sought != said.get(SOUGHT, ""))


def _is_ticked(said: MultiDict[str, str], organizations: str) -> bool:
    return any(said.getlist(organizations)) or any(said.getlist(DEPARTMENTS))
