"""The content of a rejected form: the page that rejects the form carries the content.

Only the writer of the form gets the content back, and only that page stores it. As long as the
writer's session lasts, the page shows the form filled in (`rejected_form`). If the session has
ended, the sign-in page carries the form sealed: nobody who sits at a shared machine can read it,
and only the same account can open it (`seal`, `unseal`). The form is sent only when its writer
presses the button again. Passwords, PINs and codes must be typed again, except after a step-up,
because the step-up page carries the whole form, sealed, too. Limitation: a form of more than 40 kB,
compressed, does not survive a sign-in or a step-up.
"""

import base64
import hashlib
import json
import re
import zlib
from dataclasses import dataclass

from flask import current_app, g, request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.exceptions import HTTPException

from keys.sealing import CannotOpen, Keyring
from services.gateway.site.language import vocabulary, words
from services.gateway.site.shell import access, session

# maximum size of a compressed form, in bytes; once sealed and encoded, it must fit into a form of
# 64 kB
MAX_BYTES = 40_000
CARRIED = frozenset({"form_token", "request_id", "etag"})  # fields that differ on each page
SIGN_IN, PROOF = "sign-in", "proof"
"""The page that carries a form: SIGN_IN after the session has ended, PROOF during the session."""
SECRETS = frozenset(
    {
        "password",
        "new_password",
        "again",
        "pin",
        "code",
        "passkey",
        "passkey_options",
        "challenge",
        "client_secret",
    }
)
# an id, a need, a country, a department, a municipality, or the value of a check box
_CODE = re.compile(r"[0-9a-f]{32}|[A-Z]{2,3}([.-][A-Z0-9]{1,3})?(\.[a-z-]+)?|[01]|on")
_CODES = frozenset(code for table in vocabulary.TABLES.values() for code in table)


@dataclass(frozen=True)
class Form:
    """A form as it was sent: its path, and its fields in their order.

    `secrets` names the secret fields that were sent. For a step-up, `fields` holds them, too;
    after a sign-in, they must be typed again.
    """

    path: str
    fields: tuple[tuple[str, str], ...]
    secrets: tuple[str, ...] = ()
    token: str = ""

    @property
    def typed(self) -> list[tuple[str, str, str]]:
        """Returns the fields that a person may have typed, as name, label and value."""
        return [
            (name, words.field(name), value) for name, value in self.fields if is_typed(name, value)
        ]

    @property
    def chosen(self) -> list[tuple[str, str]]:
        """Returns all other fields: codes, ids, and values that the page itself put in."""
        return [(name, value) for name, value in self.fields if not is_typed(name, value)]


def is_typed(name: str, value: str) -> bool:
    """Returns whether a value is shown, to be read and changed.

    A value is shown if its field has a label, and the value is neither a code nor an id. The codes
    of languages and units look like words.
    """
    return (
        bool(value.strip())
        and words.field_name(name) not in ("language", "languages", "unit")
        and bool(words.spanish("field", words.field_name(name)))
        and not (_CODE.fullmatch(value) or value in _CODES)
    )


def rejected_form() -> Form | None:
    """Returns this request's form for the page that rejects it.

    Returns None if the reader of that page did not write the form, and also if the session has
    ended, because then somebody else may be using the machine.
    """
    if g.get("session_ended") or g.get("foreign_form"):
        return None
    writer, mark = session.maker_of_form()
    is_public = access.roles_of(current_app, request.endpoint) == access.ANYBODY
    if g.get("me"):
        is_own = writer == g.me.worker_id or (is_public and mark == session.PUBLIC)
        token = session.form_token()
    elif mark == session.PUBLIC:
        is_own, token = is_public, session.form_token()
    else:  # the reader can't be identified, but the session is the same
        is_own = bool(mark) and mark == session.mark_of_cookie()
        token = session.form_token() if is_public else request.form.get("form_token", "")
    return _form(token) if is_own else None


def _form(token: str = "", *, with_secrets: bool = False) -> Form:
    fields = [
        (name, value)
        for name, values in sent_fields().items()
        for value in values
        if name != "form_token"
    ]
    return Form(
        request.path,
        tuple((name, value) for name, value in fields if with_secrets or name not in SECRETS),
        tuple(name for name, value in fields if name in SECRETS and value),
        token,
    )


def sent_fields() -> dict[str, list[str]]:
    """Returns the fields of this request's form; {} if the form is too large to be read."""
    try:
        return dict(request.form.lists())
    except HTTPException:
        return {}


def seal(purpose: str = SIGN_IN) -> str:
    """Returns this request's form, sealed; for a step-up page, including its secret fields.

    Returns "" if the form was made for no session, or is too long.
    """
    worker_id, _mark = session.maker_of_form()
    form = _form(with_secrets=purpose == PROOF)
    content = zlib.compress(
        json.dumps([form.path, form.fields, form.secrets], ensure_ascii=False).encode(), 9
    )
    if not worker_id or len(content) > MAX_BYTES:
        return ""
    return str(
        _serializer().dumps(
            base64.urlsafe_b64encode(
                _keyring().seal_bytes(content, _context(worker_id, purpose))
            ).decode()
        )
    )


def unseal(text: str, worker_id: str, token: str = "", purpose: str = SIGN_IN) -> Form | None:
    """Opens a sealed form for the worker who wrote it.

    Returns None for any other worker, and for a text that this site did not make, that is too old,
    or that was made for another page.
    """
    try:
        ciphertext = base64.urlsafe_b64decode(
            _serializer().loads(text, max_age=session.FORM_SECONDS)
        )
        path, fields, secrets = json.loads(
            zlib.decompress(_keyring().open_bytes(ciphertext, _context(worker_id, purpose)))
        )
    except (BadSignature, CannotOpen):
        return None
    return Form(path, tuple((name, value) for name, value in fields), tuple(secrets), token)


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.config["SIGNING_KEY"], salt="kept form")


def _keyring() -> Keyring:
    return Keyring(hashlib.sha256(b"kept form/" + current_app.config["SIGNING_KEY"]).digest())


def _context(worker_id: str, purpose: str) -> str:
    return f"kept form/{purpose}/{worker_id}"
