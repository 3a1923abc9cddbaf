"""Reads a request: its credential, its body or query, Idempotency-Key and If-Match.

Reading is strict on purpose. Input that the gateway does not understand is refused with its place
and a reason word; it is never processed in part, and never repeated in the answer. No cookie is
read here, so other sites cannot forge a request.
"""

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from flask import Request, g, json, request
from marshmallow import RAISE, Schema, ValidationError
from webargs import core
from webargs.flaskparser import FlaskParser

from chassis.errors import Invalid, Stale, Unauthenticated
from chassis.ids import new_id
from chassis.languages import SOURCE, known
from chassis.wire import without_repeats
from services.gateway.edge import bodies, limits
from services.gateway.edge.clients import AUDIENCES, Caller, current_caller
from services.gateway.edge.credentials import SignedIn, exchange, fingerprint, in_the_name_of
from services.gateway.edge.problems import NAME, HttpRefusal

IDEMPOTENCY_KEY = re.compile(r"^[\x21\x23-\x7e]{1,100}$")
SESSION = re.compile(r"[A-Za-z0-9_-]{43}\Z")
JWT = re.compile(r"^[\w-]{1,4000}\.[\w-]{1,4000}\.[\w-]{1,4000}$", re.ASCII)
API_KEY = re.compile(r"^enl_[\w-]{1,200}$", re.ASCII)
MERGE_PATCH = "application/merge-patch+json"
WORDS = {"Missing data for required field.": "required", "Unknown field.": "unknown_field"}
REASON = re.compile(r"^[a-z_]+$")


class Nothing(Schema):
    """The schema for the body or query of an operation that accepts no fields."""


class Parser(FlaskParser):
    """Reads body and query by a schema, and refuses with our reason words."""

    DEFAULT_VALIDATION_STATUS = 400
    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "json": RAISE,
        "query": RAISE,
    }

    def load_json(self, req: Request, schema: Schema) -> Any:
        """Returns the parsed body, or `missing` if none was sent.

        Raises HttpRefusal for a body that is too large, has an unsupported content type, or is not
        JSON.
        """
        raw = req.get_data(cache=True)
        if not raw:
            return core.missing
        if req.content_length is None and len(raw) >= (
            req.max_content_length or bodies.DEFAULT_SIZE
        ):
            # The body is chunked: werkzeug stops reading at the limit and reports nothing.
            raise HttpRefusal("body_too_large")
        if req.mimetype != "application/json" and (
            req.mimetype != MERGE_PATCH or req.method != "PATCH"
        ):
            raise HttpRefusal("content_type_unsupported")
        try:
            body = json.loads(
                raw.decode("utf-8-sig"),  # RFC 8259, 8.1; from bytes json would guess UTF-16, too
                parse_constant=_refuse_constant,
                object_pairs_hook=without_repeats,
            )
        except (ValueError, RecursionError) as error:
            # not UTF-8, not JSON, a name twice, 5,000 digits, or thousands of brackets
            raise HttpRefusal("malformed_json") from error
        return g.writable_part(body, schema) if "writable_part" in g else body

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        """Returns the parameters. Refuses several values for a parameter that is not a list."""
        parameters = super().load_querystring(req, schema)
        repeated_names = [
            name
            for name, values in req.args.lists()
            if len(values) > 1 and name in schema.fields and name not in parameters.multiple_keys
        ]
        if repeated_names:
            raise Invalid(*((name, "malformed") for name in repeated_names))
        return parameters

    def handle_error(
        self, error: ValidationError, req: Request, schema: Schema, **_options: Any
    ) -> NoReturn:
        """Raises Invalid with the violations that a schema found.

        webargs groups the messages by the place where it looked (json, query).
        """
        by_place = error.messages if isinstance(error.messages, dict) else {"json": error.messages}
        all_violations = [
            violation for messages in by_place.values() for violation in violations(messages)
        ]
        raise Invalid(*dict.fromkeys(all_violations))


def _refuse_constant(_constant: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def violations(messages: Any, path: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Returns the messages of marshmallow as pairs of field path and reason word.

    The path leaves out names that do not look like the name of a field.
    """
    if isinstance(messages, Mapping):
        pairs = []
        for name, inner in messages.items():
            is_path_element = isinstance(name, int) or bool(NAME.match(str(name)))
            # `_schema` stands for the object as a whole
            pairs += violations(inner, (*path, str(name)) if is_path_element else path)
        return pairs
    return [
        (".".join(path), WORDS.get(word, word if REASON.match(word) else "malformed"))
        for word in messages[:1]
    ]


def admit(needs_credential: bool) -> None:
    """Sets the caller in whose name the services are called, and counts the request.

    Refuses with token_missing, token_invalid, rate_limited, or the partners service's own refusal
    of a key or session.
    """
    # The credential itself is exchanged without a token.
    secret = request.headers.get("Authorization", "").partition(" ")[2] if needs_credential else ""
    mark = fingerprint(secret) if secret else ""
    current_caller.set(
        Caller(request_id=g.request_id, language=language(), mark=mark or limits.address_mark())
    )
    limits.admit(mark, exchange().knows(secret))
    if needs_credential:
        current_caller.set(in_the_name_of(credential(), language()))


def language() -> str:
    """Returns the first language of Accept-Language in which the pages exist.

    If there is none, returns the source language. werkzeug's best_match would skip fr-CA if en
    follows it.
    """
    candidates = map(known, request.accept_languages.values())
    return next(filter(None, candidates), SOURCE)


def credential() -> SignedIn:
    """Returns the holder of the API key, session or caller token that was sent.

    The services verify a caller token; here only its form is checked.
    """
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if not scheme:
        raise Unauthenticated("token_missing")
    if scheme.lower() == "bearer" and API_KEY.match(secret):
        return exchange().api_key(secret)
    if scheme.lower() == "bearer" and SESSION.match(secret):
        return exchange().session(secret)
    if scheme.lower() == "bearer" and JWT.match(secret):
        return SignedIn(dict.fromkeys(AUDIENCES, secret))
    raise Unauthenticated("token_invalid")


def request_key() -> str:
    """Returns the Idempotency-Key, or a fresh key if none was sent.

    Without the header, a repeated request counts as a new one.
    """
    header = request.headers.get("Idempotency-Key")
    if header is None:
        return new_id()
    # The IETF draft puts the key in quotes; most clients do not.
    key = header.strip().removeprefix('"').removesuffix('"')
    if not IDEMPOTENCY_KEY.match(key):
        raise Invalid(("Idempotency-Key", "malformed"))
    return key


def if_match(required: bool = True) -> str:
    """Returns the etag that a change is based on; "" if none was sent and none is needed.

    Raises Stale for a weak or empty etag, several etags, or `*`, because these do not name one
    version. Raises HttpRefusal etag_required if an etag is needed and none was sent.
    """
    strong_etags = list(request.if_match.as_set())
    if len(strong_etags) == 1 and strong_etags[0]:
        return str(strong_etags[0])
    if "If-Match" in request.headers:
        raise Stale
    if required:
        raise HttpRefusal("etag_required")
    return ""
