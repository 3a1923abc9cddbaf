"""Reading what a form brought, and saying what was wrong with it next to the field.

Only shape is looked at here (a number is a number, a date a date); what is allowed is the services' to judge.
"""

from flask import request
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import Conflict, Invalid, Refusal
from services.gateway import i18n, words
from services.gateway.i18n import gettext as _

# What a page can show in the form itself; everything else becomes an error page.
SHOWN_IN_PLACE = (Invalid, Conflict)


def text(name: str, limit: int = 2000) -> str:
    """A text without blanks around it; empty when it was not sent."""
    return request.form.get(name, "").strip()[:limit]


def texts(name: str) -> list[str]:
    """All values of a group of check boxes."""
    return [value for value in request.form.getlist(name) if value]


def flag(name: str) -> bool:
    """A single check box."""
    return request.form.get(name, "") not in ("", "0")


def whole_number(name: str) -> int | None:
    """A whole number, or None when it is empty or none."""
    value = text(name, 9)
    return int(value) if value.isdecimal() else None


def moment(name: str) -> Timestamp | None:
    """A date or time in the reader's zone."""
    return i18n.local_to_stamp(text(name, 40))


def request_id() -> str:
    """What makes sending a form twice act once."""
    return text("request_id", 64)


def etag() -> str:
    """The version the form was made from."""
    return text("etag", 100)


def problems(refusal: Refusal) -> dict[str, str]:
    """What to write in the summary and beside the fields. Keys with a leading underscore belong to no field."""
    if isinstance(refusal, Invalid):
        found = {field.rsplit(".", 1)[-1]: words.violation(reason) for field, reason in refusal.violations}
        return found or {"_form": _("Revise lo que escribió y envíelo otra vez.")}
    return {"_form": words.conflict(refusal.reason)}
