"""Reading what a form brought, and saying what was wrong with it next to the field.

Only shape is looked at here (a number is a number, a date a date); what is allowed is the services'
to judge.
"""

import hashlib
from typing import Any, TypeVar

from flask import request
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import wire
from chassis.errors import Conflict, Exhausted, Invalid, Refusal, Reused, Stale
from chassis.shape import TIME, shape
from services.gateway.site.language import i18n, words
from services.gateway.site.language.i18n import _

M = TypeVar("M", bound=Message)


class Incomplete(Exception):
    """What a form lacks, seen before any service was asked: by field, in words."""


# What a page can show in the form itself; everything else becomes an error page.
SHOWN_IN_PLACE = (Invalid, Conflict, Stale, Reused, Incomplete)


def filled(message: M) -> M:
    """Fills a message with what the form brought for its fields, also those of the messages inside
    it: a field is asked for by its name in the contract.

    What the form left out, and what only a service says, stays as it is.
    """
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.full_name != TIME:
            if not field.is_repeated and _is_asked(field.message_type):
                getattr(message, field.name).SetInParent()
                filled(getattr(message, field.name))
        elif field.name in request.form and not shape(field).output_only:
            _fill(message, field)
    return message


def _is_asked(message: Any) -> bool:
    return any(
        field.name in request.form
        or (field.message_type is not None and _is_asked(field.message_type))
        for field in message.fields
    )


def _fill(message: Message, field: Any) -> None:
    name = field.name
    if field.is_repeated:
        values: list[Any] = texts(name)
        if field.enum_type is not None:
            values = [
                number for value in values if (number := wire.numbers(field.enum_type).get(value))
            ]
        getattr(message, name).extend(values)
    elif field.message_type is not None:
        if (time := moment(name)) is not None:
            getattr(message, name).CopyFrom(time)
    elif field.enum_type is not None:
        setattr(message, name, wire.numbers(field.enum_type).get(text(name), 0))
    elif field.type == FieldDescriptor.TYPE_BOOL:
        setattr(message, name, flag(name))
    elif field.type == FieldDescriptor.TYPE_STRING:
        setattr(message, name, text(name))
    elif (number := whole_number(name)) is not None:
        setattr(message, name, number)


def text(name: str) -> str:
    """A text without blanks around it; empty when it was not sent.

    It is never cut: the service says when it is too long.
    """
    return request.form.get(name, "").strip()


def texts(name: str) -> list[str]:
    """All values of a group of check boxes."""
    return [value for value in request.form.getlist(name) if value]


def flag(name: str) -> bool:
    """A single check box."""
    return request.form.get(name, "") not in ("", "0")


def whole_number(name: str) -> int | None:
    """A whole number, or None when it is empty or none."""
    value = text(name)
    # what no field of a contract could hold is none
    return int(value) if value.isdecimal() and len(value) < 10 else None


def version_asked() -> int:
    """Which version the address asks for; 0, the newest, where it names none."""
    number = request.args.get("version", "")
    return int(number) if number.isdecimal() and len(number) < 9 else 0


def moment(name: str) -> Timestamp | None:
    """A date or time in the reader's zone."""
    try:
        return i18n.local_to_stamp(text(name))
    except OverflowError as error:
        raise Invalid((name, "out_of_range")) from error


def request_id() -> str:
    """What makes sending a form twice act once."""
    return text("request_id")


def part_of(request_id: str, part: str) -> str:
    """A request id of its own for each of several calls that one form makes, the same whenever the
    form is sent again.
    """
    return hashlib.sha256(f"{request_id}:{part}".encode()).hexdigest()[:32]


def etag() -> str:
    """The version the form was made from."""
    return text("etag")


def given(**fields: Any) -> dict[str, Any]:
    """Those that the form brought."""
    return {name: value for name, value in fields.items() if value is not None}


def refuse(errors: dict[str, str]) -> None:
    """Has the form come back with these, if there are any."""
    if errors:
        raise Incomplete(errors)


def problems(refusal: Refusal | Incomplete) -> dict[str, str]:
    """What to write in the summary and beside the fields.

    Keys with a leading underscore belong to no field.
    """
    if isinstance(refusal, Incomplete):
        return dict(refusal.args[0])
    if isinstance(refusal, Invalid):
        messages = {
            (name := words.named(field)): words.violation(reason, name)
            for field, reason in refusal.violations
        }
        return messages or {"_form": _("Revise lo que escribió y envíelo otra vez.")}
    about = refusal.about if isinstance(refusal, Conflict) else ()
    return {
        "_form": words.wait(refusal.retry_after)
        if isinstance(refusal, Exhausted)
        else words.conflict(refusal.reason, about)
    }


def status_of(refusal: Refusal | Incomplete) -> int:
    """Returns the status of a page whose form came back."""
    return (
        429
        if isinstance(refusal, Exhausted)
        else 409
        if isinstance(refusal, Stale | Reused)
        else 422
    )
