"""The question about who or what place is unsafe for the person, for enquiries and referrals.

She can name any organisation in the directory. The page lists the organisations whose services fit;
a search by name (`SEARCH_TEXT`) finds all other organisations. Ticked choices stay on the page.
"""

from werkzeug.datastructures import MultiDict

from services.gateway.site.language import _, words

ORGANIZATIONS, DEPARTMENTS = "unsafe_organization_ids", "unsafe_departments"
FIELDS = ("unsafe_code", ORGANIZATIONS, DEPARTMENTS)
NAMED = "named"
SEARCH_TEXT, SEARCHED_TEXT, SEARCH_BUTTON = "unsafe_search", "unsafe_sought", "unsafe_look"
"""The form fields for the search text and for the text that was last searched for, and the name of
the search button.
"""


def code_of(answers: MultiDict[str, str], organizations_field: str = ORGANIZATIONS) -> str:
    """Returns the code of the answer.

    If any organisation or department is ticked, the code is NAMED.
    """
    return NAMED if _is_ticked(answers, organizations_field) else answers.get("unsafe_code", "")


def problems(
    answers: MultiDict[str, str], organizations_field: str = ORGANIZATIONS
) -> dict[str, str]:
    """Returns the problems by field: no valid answer, or the answer NAMED with nothing ticked."""
    code = code_of(answers, organizations_field)
    if not words.number("unsafe_answer", code):
        return {"unsafe_code": words.violation("required", "unsafe_code")}
    return (
        {
            organizations_field: _(
                "marque a quién o dónde; si no está en la lista, búsquela por su nombre o diga que"
                " no está en el directorio"
            )
        }
        if code == NAMED and not _is_ticked(answers, organizations_field)
        else {}
    )


def answer(answers: MultiDict[str, str]) -> dict[str, object]:
    """Returns the answer as fields of a referral."""
    return {
        "unsafe_code": words.number("unsafe_answer", code_of(answers)),
        **{
            name: [value for value in answers.getlist(name) if value]
            for name in (ORGANIZATIONS, DEPARTMENTS)
        },
    }


def only_searches(answers: MultiDict[str, str]) -> bool:
    """Returns whether the form only requests a search.

    This is so if the search button was pressed, or if the form has a search text other than the
    text that was last searched for.
    """
    search_text = answers.get(SEARCH_TEXT, "").strip()
    return SEARCH_BUTTON in answers or (
        bool(search_text) and search_text != answers.get(SEARCHED_TEXT, "")
    )


def _is_ticked(answers: MultiDict[str, str], organizations_field: str) -> bool:
    return any(answers.getlist(organizations_field)) or any(answers.getlist(DEPARTMENTS))
