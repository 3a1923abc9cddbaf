"""Puts the typed values back into a rejected form: one rule for all forms and all pages.

The module changes the finished page, so that views and templates need not care. Hidden fields,
passwords, PINs and codes stay as the page has them. Limitation: it can read only our own pages,
whose attributes are in double quotes.
"""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import unquote

from flask import Response, render_template, request
from markupsafe import escape

from services.gateway.site.parts import merging
from services.gateway.site.shell.kept import CARRIED, SECRETS, rejected_form, sent_fields

NOT_REFILLED = frozenset({"hidden", "password", "file", "submit", "button", "image", "reset"})


def fill(response: Response) -> None:
    """Fills this request's form if the answer shows the form again to its writer.

    Opens the folds around it. If the answer has no form for this path, adds the typed values as
    text.
    """
    refused = (
        request.method == "POST"
        and response.status_code >= 400
        and response.status_code != merging.MERGED
    )
    if refused and response.mimetype == "text/html" and (form := rejected_form()):
        page = response.get_data(as_text=True)
        forms, sent = _Page(page, request.path).forms, sent_fields()
        if form.typed and not forms:
            page = page.replace(
                "</main>", render_template("written.html", form=form) + "</main>", 1
            )
        edits = {edit for form in forms if form.is_of(sent) for edit in form.edits(page, sent)}
        for start, end, text in sorted(edits, reverse=True):
            page = page[:start] + text + page[end:]
        response.set_data(page)


@dataclass
class _Field:
    """A field of a page, with the positions of its start tag and of the end of a text area."""

    tag: str
    name: str
    value: str
    kind: str
    start: int
    end: int
    close: int = 0


@dataclass
class _Form:
    """A form for the request's path: its hidden values, its fields, and the folds around it.

    `folds` are the positions of the folds' start tags.
    """

    carried: list[tuple[str, str]] = field(default_factory=list)
    fields: list[_Field] = field(default_factory=list)
    folds: list[tuple[int, int]] = field(default_factory=list)

    def is_of(self, sent: dict[str, list[str]]) -> bool:
        """Returns whether this is the form that was sent.

        Several forms may be sent to one path; they differ in their hidden values.
        """
        return all(
            value in sent.get(name, [value]) for name, value in self.carried if name not in CARRIED
        )

    def edits(self, page: str, sent: dict[str, list[str]]) -> list[tuple[int, int, str]]:
        """Returns the replacements: start, end, and the new text."""
        replacements, count = list[tuple[int, int, str]](), dict[str, int]()
        for control in self.fields:
            values, tag = sent.get(control.name, []), page[control.start : control.end]
            if control.tag == "option" or control.kind in ("checkbox", "radio"):
                if control.tag != "option" or control.name in sent:
                    replacements.append(
                        (control.start, control.end, _marked(tag, control, control.value in values))
                    )
                continue
            number = count.get(control.name, 0)
            count[control.name] = number + 1
            if number >= len(values):
                continue
            text = str(escape(values[number]))
            if control.tag == "textarea":
                replacements.append(
                    (control.end, control.close, "\n" + text if text[:1] in "\r\n" else text)
                )
            else:
                replacements.append(
                    (
                        control.start,
                        control.end,
                        _with(re.sub(r'\svalue="[^"]*"', "", tag), f'value="{text}"'),
                    )
                )
        if replacements:
            replacements += [
                (start, end, re.sub(r"<details(?![^>]*\sopen\b)", "<details open", page[start:end]))
                for start, end in self.folds
            ]
        return replacements


def _marked(tag: str, choice: _Field, chosen: bool) -> str:
    mark = "selected" if choice.tag == "option" else "checked"
    bare = re.sub(rf'\s{mark}(="[^"]*")?(?=[\s/>])', "", tag)
    return _with(bare, mark) if chosen else bare


def _with(tag: str, attribute: str) -> str:
    return f"{tag.rstrip('/> ')} {attribute}>"


class _Page(HTMLParser):
    """Finds the forms that are sent to a path, with their fields.

    Fields outside their form are left out: no page that shows a form again has one.
    """

    def __init__(self, page: str, path: str) -> None:
        super().__init__()
        self.forms: list[_Form] = []
        self._path = path
        self._lines = [0, *(match.end() for match in re.finditer("\n", page))]
        self._here: _Form | None = None
        self._folds: list[tuple[int, int]] = []
        self._select = ""
        self._area: _Field | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        start = self._at()
        end = start + len(self.get_starttag_text() or "")
        if tag == "details":
            self._folds.append((start, end))
        elif tag == "form":
            goes = unquote(re.split(r"[?#]", has.get("action", ""))[0]) or self._path
            self._here = (
                _Form(folds=list(self._folds))
                if has.get("method", "").lower() == "post" and goes == self._path
                else None
            )
            if self._here:
                self.forms.append(self._here)
        elif tag == "select":
            self._select = has.get("name", "")
        elif tag in ("input", "textarea", "option"):
            name, kind = (
                self._select if tag == "option" else has.get("name", ""),
                has.get("type", "text"),
            )
            self._note(_Field(tag, name, has.get("value", ""), kind, start, end))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._here = None
        elif tag == "details" and self._folds:
            self._folds.pop()
        elif tag == "select":
            self._select = ""
        elif tag == "textarea" and self._area:
            self._area.close, self._area = self._at(), None

    def _note(self, control: _Field) -> None:
        if control.tag == "textarea":
            self._area = control
        if not control.name or control.name in SECRETS:
            return
        if control.tag == "input" and control.kind in NOT_REFILLED:
            if control.kind == "hidden" and self._here:
                self._here.carried.append((control.name, control.value))
        elif self._here:
            self._here.fields.append(control)

    def _at(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column
