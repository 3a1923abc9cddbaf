"""Reads forms, and assigns their problems to the fields.

Only the shape is checked here: a number is a number, a date is a date. The services check what is
allowed.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from types import MappingProxyType
from typing import Any, TypeVar

from flask import request
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from werkzeug.datastructures import MultiDict

from chassis import wire
from chassis.errors import Conflict, Exhausted, Invalid, Refusal, Reused, Stale
from chassis.shape import TIME, shape
from services.gateway.site.language import _, i18n, words

M = TypeVar("M", bound=Message)
V = TypeVar("V")
Problems = Mapping[str, str]
"""The problems of a form, as text by field."""
NO_PROBLEMS: Problems = MappingProxyType({})
LAST_DAYS = ("review_time", "until_time")
"""Times for which a form asks only for a day. The day is included up to its last minute."""
PASSWORDS = ("password", "new_password")
"""Texts that are passed on exactly as they were typed."""


class Incomplete(Exception):
    """Problems of a form that are found without calling a service, as text by field."""


# Refusals that a page can show in the form itself. If a page has a renderer `again`
# (shell/access.py), the form also shows Exhausted. Any other refusal leads to an error page.
SHOWN_IN_PLACE = (Invalid, Conflict, Stale, Reused, Incomplete)


def filled(message: M) -> M:
    """Fills a message, including nested messages, with the form's values for its fields.

    A form field has the same name as the message's field. Fields that the form leaves out, and
    fields that only a service sets, keep their values. Raises Invalid for all numbers and times
    that cannot be read; the other fields of the message are then filled.
    """
    if violations := [*_fill(message)]:
        raise Invalid(*violations)
    return message


def _fill(message: Message) -> Iterator[tuple[str, str]]:
    """Fills a message; yields field and reason of each value that cannot be read."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.full_name != TIME:
            if not field.is_repeated and _is_in_form(field.message_type):
                getattr(message, field.name).SetInParent()
                yield from _fill(getattr(message, field.name))
        elif field.name in request.form and not shape(field).output_only:
            try:
                _fill_field(message, field)
            except Invalid as refusal:
                yield from refusal.violations


def _is_in_form(message: Any) -> bool:
    return any(
        field.name in request.form
        or (field.message_type is not None and _is_in_form(field.message_type))
        for field in message.fields
    )


def _fill_field(message: Message, field: Any) -> None:
    name = field.name
    if field.is_repeated:
        getattr(message, name).extend(
            texts(name)
            if field.enum_type is None
            else filter(None, map(wire.numbers(field.enum_type).get, texts(name)))
        )
    elif field.message_type is not None:
        if (time := moment(name)) is not None:
            getattr(message, name).CopyFrom(time)
    elif field.enum_type is not None:
        setattr(message, name, wire.numbers(field.enum_type).get(text(name), 0))
    elif field.type == FieldDescriptor.TYPE_BOOL:
        setattr(message, name, flag(name))
    elif field.type == FieldDescriptor.TYPE_STRING:
        setattr(message, name, request.form[name] if name in PASSWORDS else text(name))
    elif (number := whole_number(name)) is not None:
        setattr(message, name, number)
    elif text(name):  # a browser without fields for numbers sends any text, such as "3 hijos"
        raise Invalid((name, "malformed"))


def text(name: str) -> str:
    """Returns a text without surrounding white space; "" if none was sent.

    The text is never cut off, because the service refuses a text that is too long. A browser sends
    two characters for the end of a line, but counts them as one for its limit.
    """
    return request.form.get(name, "").replace("\r\n", "\n").strip()


def texts(name: str) -> list[str]:
    """Returns the values of all ticked boxes of a group."""
    return [value for value in request.form.getlist(name) if value]


def flag(name: str) -> bool:
    """Returns whether a single check box is ticked."""
    return request.form.get(name, "") not in ("", "0")


def whole_number(name: str) -> int | None:
    """Returns a whole number; None if the field is empty or holds no number."""
    return _number(text(name))


def version_in_address() -> int:
    """Returns the version that the URL names, or else 0, which means the newest version."""
    return _number(request.args.get("version", "")) or 0


def _number(value: str) -> int | None:
    # a number too large for any field of a contract counts as none
    return int(value) if re.fullmatch("[0-9]{1,9}", value) else None


def moment(name: str) -> Timestamp | None:
    """Returns a date or time, read in the reader's zone; None if the field is empty.

    A day stands for its first minute, or for its last minute if the field is one of LAST_DAYS.
    Raises Invalid: malformed for a text that is not a time (a browser without a calendar may send
    one), and out_of_range for a year that nobody can mean (chassis.wire.PLAUSIBLE_YEARS).
    """
    typed = text(name)
    whole_day = name in LAST_DAYS and len(typed) == len("2026-11-29")
    try:
        time = i18n.local_to_stamp(f"{typed}T23:59" if whole_day else typed)
    except OverflowError as error:
        raise Invalid((name, "out_of_range")) from error
    if time is None and typed:
        raise Invalid((name, "malformed"))
    return time


def unreadable(read: Callable[[V], object], part: V) -> dict[str, str]:
    """Reads a part of the form with `read` (filled or moment); returns the problems by field.

    Returns {} if every number and time in this part can be read.
    """
    try:
        read(part)
    except Invalid as refusal:
        return problems(refusal)
    return {}


def of_other_pages(
    values: MultiDict[str, str], fields_of_page: Mapping[str, Iterable[str]], page: str
) -> list[tuple[str, str]]:
    """Returns the values of the other pages of a form, which the form carries in hidden fields."""
    names = {*chain(*(fields for other, fields in fields_of_page.items() if other != page))}
    return [(name, value) for name, value in values.items(multi=True) if name in names]


def part_of(request_id: str, part: str) -> str:
    """Returns a request id for one of several calls that a form makes.

    The id stays the same if the form is sent again.
    """
    return hashlib.sha256(f"{request_id}:{part}".encode()).hexdigest()[:32]


def refuse(errors: dict[str, str]) -> None:
    """Rejects the form with these problems, if there are any. Raises Incomplete."""
    if errors:
        raise Incomplete(errors)


def require(name: str, answer: object) -> None:
    """Rejects the form if its required field `name` has no answer. Raises Incomplete."""
    refuse({} if answer else {name: words.violation("required", name)})


@contextmanager
def publishing(field_of: Callable[[str], str], stale_text: str) -> Iterator[None]:
    """Rejects the form if the block's request is refused as invalid or stale. Raises Incomplete.

    `field_of` returns the form field for the path of a problem; `stale_text` is the text for a
    version that somebody else has published meanwhile.
    """
    try:
        yield
    except Invalid as refusal:
        raise Incomplete(
            {field_of(path): words.violation(reason) for path, reason in refusal.violations}
        ) from refusal
    except Stale as refusal:
        raise Incomplete({"_form": stale_text}) from refusal


def problems(refusal: Refusal | Incomplete) -> dict[str, str]:
    """Returns the problems by field, for the summary and for the fields themselves.

    Keys with a leading underscore belong to no field.
    """
    if isinstance(refusal, Incomplete):
        return dict(refusal.args[0])
    if isinstance(refusal, Invalid):
        messages = {
            (name := words.field_name(field)): words.violation(reason, name)
            for field, reason in refusal.violations
        }
        return messages or {"_form": _("Revise lo que escribió y envíelo otra vez.")}
    return {
        "_form": words.wait(refusal.retry_after)
        if isinstance(refusal, Exhausted)
        else words.conflict(refusal.reason, getattr(refusal, "about", ()))
    }


def status_of(refusal: Refusal | Incomplete) -> int:
    """Returns the status of a page that shows a rejected form."""
    return (
        429
        if isinstance(refusal, Exhausted)
        else 409
        if isinstance(refusal, Stale | Reused)
        else 422
    )
