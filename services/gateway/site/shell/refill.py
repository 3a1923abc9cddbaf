"""Puts the typed values back into a rejected form: one rule for all forms and all pages.

The module changes the finished page, so that no view or template has to do this. Hidden fields,
passwords, PINs and codes stay as the page has them. Limitation: it can read only our own pages,
which write their tags in full, with attributes in double quotes, and without ">" in an attribute.
"""

import re
from collections.abc import Iterator, Mapping
from html import unescape
from urllib.parse import unquote

from flask import Response, render_template, request
from markupsafe import escape

from services.gateway.site.language import words
from services.gateway.site.parts import merging
from services.gateway.site.shell.kept import CARRIED, SECRETS, rejected_form, sent_fields

NOT_REFILLED = frozenset({"hidden", "password", "file", "submit", "button", "image", "reset"})
_FORM = re.compile(r"<form\b.*?</form>", re.DOTALL)
_FIELD = re.compile(r"<input\b[^>]*>|<(select|textarea)\b.*?</\1>", re.DOTALL)
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
_PROBLEMS = re.compile(r"<div\b[^>]*\sdata-refusal>.*?</div>", re.DOTALL)


def fill(response: Response) -> None:
    """Fills this request's form if the answer shows the form again to its writer.

    Opens the folds around a form with fields. If the form that was sent is gone, the page does not
    tell the reader to send it again. If the answer has no form for this path, the typed values are
    added as text.
    """
    is_refused = (
        request.method == "POST"
        and response.status_code >= 400
        and response.status_code != merging.MERGED
    )
    if not (is_refused and response.mimetype == "text/html" and (kept_form := rejected_form())):
        return
    page, sent_values = response.get_data(as_text=True), sent_fields()
    forms = [form for form in _FORM.finditer(page) if _goes_to(request.path, form[0])]
    sent_forms = [form for form in forms if _carries(form[0], sent_values)]
    if not sent_forms:
        stale, too_late = (
            str(escape(words.conflict(code))) for code in ("stale_etag", "illegal_transition")
        )
        page = _PROBLEMS.sub(lambda problems: problems[0].replace(stale, too_late), page)
    if kept_form.typed and not forms:
        # after too many attempts, only waiting helps
        again = response.status_code == 429
        text = render_template("written.html", form=kept_form, again=again)
        page = page.replace("</main>", text + "</main>", 1)
    edits = set[tuple[int, int, str]]()
    for form in sent_forms:
        edits.add((*form.span(), _fill_form(form[0], sent_values)))
        if any(_is_refilled(_attributes(field[0])) for field in _FIELD.finditer(form[0])):
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
    """Returns whether a form is sent to a path; without an action, the path is the page's own."""
    attributes = _attributes(form)
    action = unquote(re.split(r"[?#]", attributes.get("action", ""))[0])
    return attributes.get("method", "").lower() == "post" and action in ("", path)


def _carries(form: str, sent_values: Mapping[str, list[str]]) -> bool:
    """Returns whether this is the form that was sent.

    Several forms may be sent to one path; they differ in their hidden values.
    """
    return all(
        attributes["value"] in sent_values.get(attributes["name"], [attributes["value"]])
        for attributes in (_attributes(field[0]) for field in _FIELD.finditer(form))
        if attributes.get("type") == "hidden" and attributes["name"] not in CARRIED | SECRETS
    )


def _folds_around(position: int, page: str) -> list[re.Match[str]]:
    """Returns the start tags of the folds that are open at a position of the page."""
    folds = list[re.Match[str]]()
    for tag in re.finditer(r"<(/?)details\b[^>]*>", page[:position]):
        folds = folds[:-1] if tag[1] else [*folds, tag]
    return folds


def _is_refilled(attributes: Mapping[str, str]) -> bool:
    """Returns whether a field with these attributes gets the value that was sent."""
    return (
        attributes.get("name", "") not in {"", *SECRETS}
        and attributes.get("type") not in NOT_REFILLED
    )


def _fill_form(form: str, sent_values: Mapping[str, list[str]]) -> str:
    """Returns a form with the values that were sent.

    Several fields with the same name get their values in the order in which they were sent.
    """
    remaining = {name: iter(values) for name, values in sent_values.items()}
    return _FIELD.sub(lambda field: _fill_field(field[0], sent_values, remaining), form)


def _fill_field(
    field: str, sent_values: Mapping[str, list[str]], remaining: Mapping[str, Iterator[str]]
) -> str:
    """Returns a field with its value. `remaining` has the sent values that no field has yet."""
    attributes = _attributes(field)
    if not _is_refilled(attributes):
        return field
    name, kind = attributes["name"], attributes.get("type")
    if field.startswith("<select") and name in sent_values:
        return re.sub(
            r"<option\b[^>]*>",
            lambda option: _mark_choice(option[0], "selected", sent_values[name]),
            field,
        )
    if kind in ("checkbox", "radio"):
        return _mark_choice(field, "checked", sent_values.get(name, []))
    if (value := next(remaining.get(name, iter(())), None)) is None:
        return field
    text = str(escape(value))
    if field.startswith("<textarea"):
        start_tag = field.partition(">")[0]
        # a browser drops a line end at the beginning of a text area
        return start_tag + (">\n" if text[:1] in ("\r", "\n") else ">") + text + "</textarea>"
    return _add_attribute(re.sub(r'\svalue="[^"]*"', "", field), f'value="{text}"')


def _mark_choice(tag: str, mark: str, values: list[str]) -> str:
    """Returns the tag of a choice, with the mark if its value was sent."""
    bare = re.sub(rf'\s{mark}(="[^"]*")?(?=[\s/>])', "", tag)
    return _add_attribute(bare, mark) if _attributes(tag).get("value", "") in values else bare


def _add_attribute(tag: str, attribute: str) -> str:
    return f"{tag.rstrip('/> ')} {attribute}>"
