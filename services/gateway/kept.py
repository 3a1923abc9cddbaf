"""What somebody had written when her session ended, or when she had to prove who she is: kept in the page that asks her, sealed, for the same worker.

It is stored nowhere but in that page, where nobody can read it: on a shared machine the next person sits before it. It is sent only when its
writer presses a button again. Limit: 40 kB; a longer form is lost, as is one that is older than the longest session.
"""

import base64
import hashlib
import json
from dataclasses import dataclass

from flask import current_app, request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from chassis.sealing import CannotOpen, Keyring
from services.gateway import session

MOST = 40_000  # bytes; sealed and written out it has to fit into a form of 64 kB again


@dataclass(frozen=True)
class Form:
    """A form as it was sent: where to, and its fields in their order."""

    path: str
    fields: tuple[tuple[str, str], ...]


def sealed() -> str:
    """This request's form for the sign-in page; empty if it was not made for the session that ended, or is too long."""
    worker_id = session.writer_of_form()
    fields = [(name, value) for name, value in request.form.items(multi=True) if name != "form_token"]
    said = json.dumps([request.path, fields]).encode()
    if not worker_id or len(said) > MOST:
        return ""
    return str(_serializer().dumps(base64.urlsafe_b64encode(_keyring().seal_bytes(said, _context(worker_id))).decode()))


def opened(text: str, worker_id: str) -> Form | None:
    """The form again, for the worker who wrote it; None for anybody else, and for what is not ours or too old."""
    try:
        form = base64.urlsafe_b64decode(_serializer().loads(text, max_age=session.FORM_SECONDS))
        path, fields = json.loads(_keyring().open_bytes(form, _context(worker_id)))
    except (BadSignature, CannotOpen):
        return None
    return Form(path, tuple((name, value) for name, value in fields))


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.config["SIGNING_KEY"], salt="kept form")


def _keyring() -> Keyring:
    return Keyring(hashlib.sha256(b"kept form/" + current_app.config["SIGNING_KEY"]).digest())


def _context(worker_id: str) -> str:
    return f"kept form/{worker_id}"
