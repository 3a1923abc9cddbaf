"""The question with whom or where the person is not safe, for enquiries and referrals.

She can name any organisation of the directory. The page lists organisations whose services fit;
others can be found by name (`SEARCH`). Ticked choices stay on the page.
"""

from dataclasses import dataclass

from werkzeug.datastructures import MultiDict

from services.gateway.site.language import _, words

ORGANIZATIONS, DEPARTMENTS = "unsafe_organization_ids", "unsafe_departments"
FIELDS = ("unsafe_code", ORGANIZATIONS, DEPARTMENTS)
NAMED = "named"
SEARCH, SOUGHT, LOOK = "unsafe_search", "unsafe_sought", "unsafe_look"
"""The search text, the text for which this page has searched, and the search button."""
Choice = tuple[str, str]


@dataclass(frozen=True)
class Choices:
    """The organisations and departments that the person can name, as (id or code, name).

    The page also offers all other departments. `more`: the search found more organisations than
    `organizations` has room for. `nothing`: the search found none.
    """

    organizations: list[Choice]
    departments: list[Choice]
    sought: str = ""
    more: bool = False
    nothing: bool = False


def code_of(answers: MultiDict[str, str], organizations: str = ORGANIZATIONS) -> str:
    """Returns the code of the answer.

    If an organisation or a department is ticked, the person has named it, and the code is NAMED.
    """
    return NAMED if _is_ticked(answers, organizations) else answers.get("unsafe_code", "")


def problems(answers: MultiDict[str, str], organizations: str = ORGANIZATIONS) -> dict[str, str]:
    """Returns the problems: no answer, or the answer NAMED with nothing ticked."""
    code = code_of(answers, organizations)
    if not words.number("unsafe_answer", code):
        return {"unsafe_code": words.violation("required", "unsafe_code")}
    return (
        {
            organizations: _(
                "marque a quién o dónde; si no está en la lista, búsquela por su nombre o diga que"
                " no está en el directorio"
            )
        }
        if code == NAMED and not _is_ticked(answers, organizations)
        else {}
    )


def answer(answers: MultiDict[str, str]) -> dict[str, object]:
    """Returns the answer as fields of a referral."""
    lists = {
        name: [value for value in answers.getlist(name) if value]
        for name in (ORGANIZATIONS, DEPARTMENTS)
    }
    return {"unsafe_code": words.number("unsafe_answer", code_of(answers)), **lists}


def only_searches(answers: MultiDict[str, str]) -> bool:
    """Returns whether the form only requests a search.

    It does so if the search button was pressed, or if it has a name for which the page has not
    searched yet.
    """
    sought = answers.get(SEARCH, "").strip()
    return LOOK in answers or (bool(sought) and sought != answers.get(SOUGHT, ""))


def _is_ticked(answers: MultiDict[str, str], organizations: str) -> bool:
    return any(answers.getlist(organizations)) or any(answers.getlist(DEPARTMENTS))
