"""Renders the gateway's refusals as problem+json (RFC 9457).

Pages have their own words for refusals. A problem names a stable reason, its meaning, the request
id, and the places of wrong fields; it never repeats the input. Limitation: a reason that REASONS
lacks is passed on with the title of its HTTP status.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from flask import Response, g, json, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from chassis import errors, log
from chassis.shape import enum_name_of
from chassis.wire import words
from protos.contract.v1 import contract_pb2
from services.gateway.edge.comments import COMMENTS

DOCS = "/api/v1/docs"
MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5  # a service that restarts is back within this time
WRONG_HEADERS = {"etag_required": [("If-Match", "required")]}
HEADERS = ("Authorization", "Idempotency-Key", "If-Match", "If-None-Match")
# Fields of our contracts that a REST request carries in a header.
HEADER_OF_FIELD = {"etag": "If-Match", "request_id": "Idempotency-Key"}
# The pattern of a field's name as programmers write it. Any other text in the place of a name may
# be a person's data.
NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}$")
# The REST names of body fields, by their names in the contracts.
BODY_NAMES = {"page_token": "cursor", "page_size": "limit"}
# The REST names of query parameters, by the names of their fields in the contracts.
PARAMETERS = BODY_NAMES | {"need_code": "need", "states": "state"}


@dataclass(frozen=True)
class Meaning:
    """The meaning of a reason, and what its reader can do about it."""

    status: int
    title: str
    remedy: str


class HttpRefusal(errors.Refusal):
    """A refusal that exists only in HTTP, because of a body, a header or a method."""


def _meanings() -> Iterator[tuple[str, Meaning]]:
    for number, word in words(contract_pb2.Reason.DESCRIPTOR).items():
        value = contract_pb2.Reason.DESCRIPTOR.values_by_number[number]
        title, _, remedy = COMMENTS[
            f"{contract_pb2.Reason.DESCRIPTOR.full_name}.{value.name}"
        ].partition(". ")
        yield (
            word,
            Meaning(value.GetOptions().Extensions[contract_pb2.http_status], f"{title}.", remedy),
        )


REASONS = dict(_meanings())
"""Every reason of the contract, in its order.

The order is: reasons about the caller, about the request, about the state of the resource, and
reasons that a later retry may resolve.
"""
KINDS: tuple[tuple[type[errors.Refusal], int], ...] = (
    (errors.Unauthenticated, 401),
    (errors.NotAllowed, 403),
    (errors.NotFound, 404),
    (errors.Invalid, 400),
    (errors.Conflict, 409),
    (errors.Stale, 412),
    (errors.Reused, 422),
    (errors.Exhausted, 429),
    (errors.Unavailable, 503),
)
HTTP_REASONS = {
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "content_type_unsupported",
}


def problem(error: Exception) -> Response:
    """Returns the response to an exception, as problem+json.

    For a refusal, the problem names the refusal's reason. For an HTTP error, the problem names the
    reason that belongs to the HTTP status. Anything else is a fault; its details are logged and not
    shown.
    """
    if isinstance(error, errors.Refusal):
        return _of_refusal(error)
    if isinstance(error, HTTPException):
        return _of_http(error)
    log.get().error(
        "fault",
        request_id=request_id(),
        route=request.endpoint,
        method=request.method,
        fault=log.fault(error),
    )
    return _answer(500, "fault")


def request_id() -> str:
    """Returns the id of this request, as it appears in the logs."""
    return str(g.get("request_id", ""))


def _of_refusal(error: errors.Refusal) -> Response:
    violations = (
        error.violations
        if isinstance(error, errors.Invalid)
        else WRONG_HEADERS.get(error.reason, [])
    )
    response = _answer(
        status_of(error),
        error.reason,
        violations=violations,
        about=error.about if isinstance(error, errors.Conflict) else (),
    )
    if isinstance(error, errors.Exhausted):
        response.headers["Retry-After"] = str(max(1, round(error.retry_after)))
    elif isinstance(error, errors.Unavailable):
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    elif isinstance(error, errors.Unauthenticated):
        error_parameter = "" if error.reason == "token_missing" else ', error="invalid_token"'
        response.headers["WWW-Authenticate"] = f'Bearer realm="enlace"{error_parameter}'
    return response


def status_of(error: errors.Refusal) -> int:
    """Returns the status of a refusal.

    The refusal's kind determines it, except for a few reasons that HTTP distinguishes.
    """
    if isinstance(error, HttpRefusal) or error.reason == "deadline_exceeded":
        return REASONS[error.reason].status
    return next((status for kind, status in KINDS if isinstance(error, kind)), 500)


def _of_http(error: HTTPException) -> Response:
    status = error.code or 500
    response = _answer(
        status, HTTP_REASONS.get(status, "malformed_request" if status < 500 else "fault")
    )
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _answer(
    status: int,
    reason: str,
    violations: list[tuple[str, str]] | None = None,
    about: Sequence[str] = (),
) -> Response:
    body = body_of(status, reason, request_id())
    if about:
        body["about"] = list(about)
    if violations:
        body["errors"] = [
            {**location_of(field, field_reason), "reason": field_reason, **code_list_of(field)}
            for field, field_reason in violations
        ]
    return Response(json.dumps(body), status, content_type=MEDIA_TYPE)


def body_of(status: int, reason: str, request_id: str) -> dict[str, Any]:
    """Returns the problem+json body of a refusal (RFC 9457)."""
    meaning = REASONS.get(reason)
    return {
        "type": f"{DOCS}#{reason}",
        "title": meaning.title if meaning else HTTP_STATUS_CODES.get(status, ""),
        "status": status,
        "reason": reason,
        "request_id": request_id,
    }


def code_list_of(field: str) -> dict[str, str]:
    """Returns the code list of a field, as an entry for the problem; empty if it has none."""
    message, wrapper = g.get("request_type"), g.get("wrapped_in")
    name = enum_name_of(message, field) or (
        enum_name_of(message, f"{wrapper}.{field}") if wrapper else ""
    )
    return {"list": name} if name else {}


def location_of(field: str, reason: str) -> dict[str, str]:
    """Returns the place of a wrong field: header, query parameter, or JSON pointer (RFC 6901).

    An unknown parameter keeps the name that the caller sent, even if a field of a contract has the
    same name.
    """
    if field in HEADERS:
        return {"header": field}
    if field == "update_mask":  # an empty patch: the whole body is wrong
        return {"pointer": ""}
    # A pointer ends before a part that is not a programmer's name, because somebody may have typed
    # the rest.
    all_parts = filter(None, re.split(r"[.\[\]]", field))
    parts = list(takewhile(lambda part: NAME.match(part) or part.isdecimal(), all_parts))
    if parts and parts[-1] in HEADER_OF_FIELD:
        return {"header": HEADER_OF_FIELD[parts[-1]]}
    if parts[:1] == [g.get("wrapped_in")] and (len(parts) > 1 or reason == "required"):
        parts = parts[1:]
    is_unknown_parameter = reason == "unknown_field" and field in request.args
    if request.method in ("GET", "HEAD", "DELETE") or is_unknown_parameter:
        names = [part for part in parts if not part.isdecimal()]
        parameters = {} if reason == "unknown_field" else PARAMETERS
        return {"parameter": parameters.get(names[-1], names[-1]) if names else ""}
    if parts:
        parts[-1] = BODY_NAMES.get(parts[-1], parts[-1])
    return {"pointer": "".join(f"/{part}" for part in parts)}
