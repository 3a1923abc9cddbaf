"""Puts the typed values back into a rejected form: one rule for all forms and all pages.

The module changes the finished page, so that views and templates need not care. Hidden fields,
passwords, PINs and codes stay as the page has them. Limitation: it can read only our own pages,
which write their tags in full, with attributes in double quotes, and without ">" in an attribute.
"""

import re
from collections.abc import Iterator, Mapping
from html import unescape
from urllib.parse import unquote

from flask import Response, render_template, request
from markupsafe import escape

from services.gateway.site.parts import merging
from services.gateway.site.shell.kept import CARRIED, SECRETS, rejected_form, sent_fields

NOT_REFILLED = frozenset({"hidden", "password", "file", "submit", "button", "image", "reset"})
_FORM = re.compile(r"<form\b.*?</form>", re.DOTALL)
_FIELD = re.compile(r"<input\b[^>]*>|<(select|textarea)\b.*?</\1>", re.DOTALL)
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')


def fill(response: Response) -> None:
    """Fills this request's form if the answer shows the form again to its writer.

    Opens the folds around a form with fields. If the answer has no form for this path, adds the
    typed values as text.
    """
    refused = (
        request.method == "POST"
        and response.status_code >= 400
        and response.status_code != merging.MERGED
    )
    if not (refused and response.mimetype == "text/html" and (written := rejected_form())):
        return
    page, sent = response.get_data(as_text=True), sent_fields()
    forms = [form for form in _FORM.finditer(page) if _goes_to(request.path, form[0])]
    if written.typed and not forms:
        page = page.replace("</main>", render_template("written.html", form=written) + "</main>", 1)
    edits = set[tuple[int, int, str]]()
    for form in (form for form in forms if _carries(form[0], sent)):
        edits.add((*form.span(), _filled(form[0], sent)))
        if any(_is_filled(_attributes(field[0])) for field in _FIELD.finditer(form[0])):
            edits |= {
                (*fold.span(), re.sub(r"<details(?![^>]*\sopen\b)", "<details open", fold[0]))
                for fold in _folds_around(form.start(), page)
            }
    for start, end, text in sorted(edits, reverse=True):
        page = page[:start] + text + page[end:]
    response.set_data(page)


def _attributes(tag: str) -> dict[str, str]:
    """Returns the attributes of the first tag in a text."""
    return {name: unescape(value) for name, value in _ATTRIBUTE.findall(tag.partition(">")[0])}


def _goes_to(path: str, form: str) -> bool:
    """Returns whether a form is sent to a path; without an action, it goes to the page's own."""
    has = _attributes(form)
    action = unquote(re.split(r"[?#]", has.get("action", ""))[0])
    return has.get("method", "").lower() == "post" and action in ("", path)


def _carries(form: str, sent: Mapping[str, list[str]]) -> bool:
    """Returns whether this is the form that was sent.

    Several forms may be sent to one path; they differ in their hidden values.
    """
    return all(
        has["value"] in sent.get(has["name"], [has["value"]])
        for has in (_attributes(field[0]) for field in _FIELD.finditer(form))
        if has.get("type") == "hidden" and has["name"] not in CARRIED | SECRETS
    )


def _folds_around(position: int, page: str) -> list[re.Match[str]]:
    """Returns the start tags of the folds that are open at a position of the page."""
    folds = list[re.Match[str]]()
    for tag in re.finditer(r"<(/?)details\b[^>]*>", page[:position]):
        folds = folds[:-1] if tag[1] else [*folds, tag]
    return folds


def _is_filled(has: Mapping[str, str]) -> bool:
    """Returns whether a field with these attributes gets the value that was sent."""
    return has.get("name", "") not in {"", *SECRETS} and has.get("type") not in NOT_REFILLED


def _filled(form: str, sent: Mapping[str, list[str]]) -> str:
    """Returns a form with the values that were sent. Fields of one name get them in their order."""
    left = {name: iter(values) for name, values in sent.items()}
    return _FIELD.sub(lambda field: _filled_field(field[0], sent, left), form)


def _filled_field(
    field: str, sent: Mapping[str, list[str]], left: Mapping[str, Iterator[str]]
) -> str:
    """Returns a field with its value. `left` has the sent values that no field has yet."""
    has = _attributes(field)
    if not _is_filled(has):
        return field
    name, kind = has["name"], has.get("type")
    if field.startswith("<select") and name in sent:
        return re.sub(
            r"<option\b[^>]*>", lambda option: _marked(option[0], "selected", sent[name]), field
        )
    if kind in ("checkbox", "radio"):
        return _marked(field, "checked", sent.get(name, []))
    if (value := next(left.get(name, iter(())), None)) is None:
        return field
    text = str(escape(value))
    if field.startswith("<textarea"):
        start_tag = field.partition(">")[0]
        # a browser drops a line end at the beginning of a text area
        return start_tag + (">\n" if text[:1] in ("\r", "\n") else ">") + text + "</textarea>"
    return _with(re.sub(r'\svalue="[^"]*"', "", field), f'value="{text}"')


def _marked(tag: str, mark: str, values: list[str]) -> str:
    """Returns the tag of a choice, with the mark if its value was sent."""
    bare = re.sub(rf'\s{mark}(="[^"]*")?(?=[\s/>])', "", tag)
    return _with(bare, mark) if _attributes(tag).get("value", "") in values else bare


def _with(tag: str, attribute: str) -> str:
    return f"{tag.rstrip('/> ')} {attribute}>"
