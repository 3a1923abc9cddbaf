"""The questions about a person: the same in a new referral and in a new file. Everything but the safe-contact plan may stay empty."""

from typing import Any

from flask import request

from protos.referrals.v1 import people_pb2 as p
from services.gateway import forms, session, words

IDENTITY = tuple(field.name for field in p.Identity.DESCRIPTOR.fields if not field.is_repeated)


class Values:
    """What the form shows: what was just written, else what is known, else nothing."""

    def __init__(self, start: dict[str, str] | None = None) -> None:
        self._start = start or {}

    def __getitem__(self, name: str) -> Any:
        return request.form[name] if name in request.form else self._start.get(name, "")


def missing() -> dict[str, str]:
    """The one thing that can't wait: how to reach her without harm."""
    return {} if forms.text("channel_code") else {"channel_code": words.violation("required", "channel_code")}


def request_of(request_id: str) -> p.CreatePersonRequest:
    """The request for a new file."""
    asked = forms.filled(p.CreatePersonRequest())
    asked.request_id = request_id
    asked.coarse.language = asked.coarse.language or "es"
    asked.coarse.country = asked.coarse.country or session.me().country
    return asked
