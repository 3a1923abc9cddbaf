"""The questions about a person: the same in a new referral and in a new file. Everything but the safe-contact plan may stay empty."""

from typing import Any

from flask import request

from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway import forms, session, words

IDENTITY = (
    "given_name",
    "family_name",
    "birth_date",
    "phone",
    "address",
    "health_note",
    "exploitation_note",
    "family_note",
    "document_number",
)


class Values:
    """What the form shows: what was just written, else what is known, else nothing."""

    def __init__(self, start: dict[str, str] | None = None) -> None:
        self._start = start or {}

    def __getitem__(self, name: str) -> Any:
        return request.form[name] if name in request.form else self._start.get(name, "")


def missing() -> dict[str, str]:
    """The one thing that can't wait: how to reach her without harm."""
    return {} if forms.text("channel_code") else {"channel_code": words.violation("required")}


def identity() -> p.Identity:
    """The sealed part; empty fields stay empty."""
    sealed = p.Identity()
    for name in IDENTITY:
        setattr(sealed, name, forms.text(name))
    return sealed


def coarse() -> r.CoarsePerson:
    """What may be said without saying who she is."""
    return r.CoarsePerson(
        age_band=words.number("age_band", forms.text("age_band")),
        gender_code=words.number("person_gender", forms.text("gender_code")),
        language=forms.text("language") or "es",
        dependants=forms.whole_number("dependants"),
        country=forms.text("country") or session.me().country,
        department=forms.text("department"),
    )


def safe_contact() -> p.SafeContact:
    """How, when and whether she may be contacted."""
    return p.SafeContact(
        channel_code=words.number("safe_channel", forms.text("channel_code")),
        hours=forms.text("hours"),
        code_word=forms.text("code_word"),
        never_say=forms.text("never_say"),
        message_may_be_left=forms.flag("message_may_be_left"),
    )


def request_of(request_id: str) -> p.CreatePersonRequest:
    """The request for a new file."""
    return p.CreatePersonRequest(
        identity=identity(),
        coarse=coarse(),
        trafficking_status_code=words.number("trafficking_status", forms.text("trafficking_status_code")),
        exploitation_country=forms.text("exploitation_country"),
        safe_contact=safe_contact(),
        request_id=request_id,
    )
