"""How a refusal sounds to a system: problem+json (RFC 9457), here and nowhere else; pages have their own words.

A problem says a stable reason word, what it means, the request id, and for wrong fields where they are; never anything of what was sent.
Limit: a reason that a service invents and this table does not know is passed on with the title of its kind.
"""

import re
from dataclasses import dataclass
from typing import Any

from flask import Response, g, json, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from chassis import errors, log

DOCS = "/api/v1/docs"
MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5  # a service that restarts is back within that time
WRONG_HEADERS = {"etag_required": [("If-Match", "required")]}
HEADERS = ("Authorization", "Idempotency-Key", "If-Match", "If-None-Match")
# Fields of our contracts that a request by REST carries in a header.
CARRIED = {"etag": "If-Match", "request_id": "Idempotency-Key"}
# A name that a programmer gave; anything else in a field's place may be a person's.
NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}$")
# What our contracts call otherwise than our query parameters.
PARAMETERS = {"page_token": "cursor", "page_size": "limit", "need_code": "need", "states": "state"}


@dataclass(frozen=True)
class Meaning:
    """What a reason means, and what its reader does about it."""

    status: int
    title: str
    remedy: str


class HttpRefusal(errors.Refusal):
    """A refusal that only HTTP knows: body, header or method."""


# In the order of the documentation: who asks, what is asked, the state of things, later again.
REASONS = {
    "token_missing": Meaning(
        401, "No credential was sent.", "Send `Authorization: Bearer` with an API key, a session secret or a caller token."
    ),
    "token_invalid": Meaning(
        401,
        "The credential is not one of ours.",
        "Check that the key is whole (enl_, id and secret), and that a caller token is for this service.",
    ),
    "token_expired": Meaning(
        401,
        "The caller token has expired.",
        "Fetch a fresh one and ask again; nothing was done. For a key or a session the gateway does it.",
    ),
    "key_invalid": Meaning(401, "The API key is unknown, revoked or expired.", "Ask your organisation's manager for a new key."),
    "sign_in_failed": Meaning(
        401, "E-mail and password do not belong together, or the account is closed.", "Ask again; an unknown e-mail looks the same."
    ),
    "session_ended": Meaning(401, "The session has ended.", "Sign in again."),
    "invitation_invalid": Meaning(401, "The invitation is used, replaced, too old or unknown.", "Ask for another."),
    "reference_or_pin_wrong": Meaning(401, "Reference and PIN do not belong together.", "Ask again; an unknown reference looks the same."),
    "right_missing": Meaning(403, "The role or scope has no right to this.", "Ask for a key with the scope that the operation names."),
    "organization_not_active": Meaning(403, "The member is suspended or has left.", "Speak to the coordinator."),
    "member_on_probation": Meaning(403, "A member on probation does not open identities.", "Wait for the approval by the coordinator."),
    "not_found": Meaning(404, "It does not exist, or it is not yours.", "Check the id; the two cases look the same on purpose."),
    "method_not_allowed": Meaning(405, "This method is not offered here.", "Use one that `Allow` names."),
    "malformed_json": Meaning(400, "The body is not JSON.", "Send one JSON object in UTF-8, without NaN or Infinity."),
    "malformed_request": Meaning(400, "The request is not understood.", "Check path, headers and query."),
    "content_type_unsupported": Meaning(
        415, "The body is of another type.", "Send application/json, or application/merge-patch+json to PATCH."
    ),
    "body_too_large": Meaning(413, "The body is larger than 64 kB.", "Send less."),
    "invalid_fields": Meaning(400, "Some fields are wrong.", "`errors` names each by pointer, parameter or header, with a reason."),
    "etag_required": Meaning(428, "A change needs the version it is based on.", "Read it, and send its ETag as If-Match."),
    "stale_etag": Meaning(412, "It has changed since you read it.", "Read it again and decide anew."),
    "request_id_reused": Meaning(422, "This Idempotency-Key came before with another request.", "Use a fresh key for each new request."),
    "illegal_transition": Meaning(409, "Not possible in this state, or not for your side.", "Read it again; `allowed_verbs` says what is."),
    "already_asked": Meaning(409, "A question was asked before; one is the limit.", "Decide, or call the sender."),
    "not_a_draft": Meaning(409, "Only a draft can be changed.", "Withdraw it and open a new one."),
    "incomplete_draft": Meaning(409, "Need, urgency or service is missing.", "Complete the draft with PATCH."),
    "service_unknown": Meaning(409, "The service is inactive or not known yet.", "Choose another, or try again in a few seconds."),
    "safe_contact_missing": Meaning(409, "There is no safe-contact plan for the person.", "PUT one; `none` is a plan."),
    "receipt_missing": Meaning(
        409, "No consent covers this.", "Record a receipt for the recipient, or send on an override if you have that right."
    ),
    "receipt_expired": Meaning(409, "The consent has run out.", "Ask the person again, and record a new receipt."),
    "receipt_withdrawn": Meaning(409, "The consent was withdrawn.", "Respect it; a new receipt needs a new consent."),
    "receipt_recipient_differs": Meaning(409, "The consent is for another organisation.", "Record a receipt for this recipient."),
    "receipt_purpose_differs": Meaning(409, "The consent is for another purpose.", "Record a receipt that names this need."),
    "receipt_field_group_differs": Meaning(
        409, "The consent does not cover these field groups.", "Ask for fewer, or record a new receipt."
    ),
    "receipt_unconfirmed": Meaning(409, "A second person has not confirmed it.", "Have somebody else confirm it, or record a consent."),
    "guardian_required": Meaning(
        409, "A child does not consent alone.", "Record the guardian's or authority's consent, or a decision in its best interest."
    ),
    "two_people_required": Meaning(
        409, "Type, country and public number are the network's.", "Propose the change; another person of the coordination confirms it."
    ),
    "second_person_required": Meaning(409, "Who began it can't confirm it.", "Have somebody else do it."),
    "override_after_withdrawal": Meaning(
        409, "She took her consent to this receiver back.", "Respect it; a new danger needs its own reason and another person."
    ),
    "receiver_not_active": Meaning(409, "The receiving member is suspended or has left.", "Choose another service."),
    "person_erased": Meaning(409, "The person's data were erased.", "Nothing can bring them back."),
    "referral_limit": Meaning(409, "A member on probation has five live referrals at most.", "Wait for an answer or the approval."),
    "nothing_to_confirm": Meaning(409, "Nothing waits for a confirmation.", "Read it again: somebody may have confirmed it."),
    "email_taken": Meaning(
        409, "Your address has an account at another organization.", "Sign in with it, or be invited with another address."
    ),
    "manager_exists": Meaning(409, "The organisation has a manager.", "She invites its people herself."),
    "too_many_invitations": Meaning(409, "Twenty invitations in 72 hours are the limit.", "Wait until one has run out."),
    "too_many_keys": Meaning(409, "Two live keys are the limit.", "Revoke one."),
    "too_many_webhooks": Meaning(409, "Twenty webhooks are the limit.", "Remove one, or tell more kinds to one."),
    "not_in_development": Meaning(409, "Only a development set-up keeps e-mails.", "Look into the mailbox instead."),
    "too_many_attempts": Meaning(429, "Too many wrong attempts.", "Wait for Retry-After."),
    "rate_limited": Meaning(429, "You asked more often than your share.", "Wait for Retry-After; `RateLimit` says how much is left."),
    "too_many_requests": Meaning(429, "Too much for now.", "Wait for Retry-After."),
    "store_full": Meaning(429, "There is no room for more facts just now.", "Wait for Retry-After; tell operations."),
    "store_busy": Meaning(503, "Others change the same thing just now; nothing was written.", "Send the same request again."),
    "store_unavailable": Meaning(
        503, "A database is away; nothing was written.", "Send the same request with the same Idempotency-Key again."
    ),
    "service_unreachable": Meaning(
        503, "The connection to a service was lost.", "Send the same request with the same Idempotency-Key again."
    ),
    "service_away": Meaning(
        503, "A service is known to be away; nothing was sent to it.", "Send the same request with the same Idempotency-Key again."
    ),
    "service_busy": Meaning(
        503, "A service has as much to do as it can; nothing was sent to it.", "Send the same request with the same Idempotency-Key again."
    ),
    "deadline_exceeded": Meaning(504, "A service did not answer in time.", "Send the same request with the same Idempotency-Key again."),
    "fault": Meaning(500, "Something broke here.", "Tell operations the request id."),
}
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
HTTP_REASONS = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 415: "content_type_unsupported"}


def problem(error: Exception) -> Response:
    """The answer to whatever was raised: refusals say why, anything else is a fault that is logged and told to nobody."""
    if isinstance(error, errors.Refusal):
        return _of_refusal(error)
    if isinstance(error, HTTPException):
        return _of_http(error)
    log.get().error("fault", request_id=request_id(), route=request.endpoint, method=request.method, fault=log.fault(error))
    return _answer(500, "fault")


def request_id() -> str:
    """The id of this request, as the logs have it."""
    return str(g.get("request_id", ""))


def _of_refusal(error: errors.Refusal) -> Response:
    violations = error.violations if isinstance(error, errors.Invalid) else WRONG_HEADERS.get(error.reason, [])
    response = _answer(status_of(error), error.reason, violations=violations)
    if isinstance(error, errors.Exhausted):
        response.headers["Retry-After"] = str(max(1, round(error.retry_after)))
    elif isinstance(error, errors.Unavailable):
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    elif isinstance(error, errors.Unauthenticated):
        wrong = "" if error.reason == "token_missing" else ', error="invalid_token"'
        response.headers["WWW-Authenticate"] = f'Bearer realm="enlace"{wrong}'
    return response


def status_of(error: errors.Refusal) -> int:
    """The status of a refusal: its kind decides, but for a few reasons that HTTP tells apart."""
    if isinstance(error, HttpRefusal) or error.reason == "deadline_exceeded":
        return REASONS[error.reason].status
    return next((status for kind, status in KINDS if isinstance(error, kind)), 500)


def _of_http(error: HTTPException) -> Response:
    status = error.code or 500
    response = _answer(status, HTTP_REASONS.get(status, "malformed_request" if status < 500 else "fault"))
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _answer(status: int, reason: str, violations: list[tuple[str, str]] | None = None) -> Response:
    body = body_of(status, reason, request_id())
    if violations:
        body["errors"] = [{**location_of(field), "reason": why} for field, why in violations]
    return Response(json.dumps(body), status, content_type=MEDIA_TYPE)


def body_of(status: int, reason: str, request_id: str) -> dict[str, Any]:
    """The body of an answer that says no (RFC 9457)."""
    known = REASONS.get(reason)
    title = known.title if known else HTTP_STATUS_CODES.get(status, "")
    return {"type": f"{DOCS}#{reason}", "title": title, "status": status, "reason": reason, "request_id": request_id}


def location_of(field: str) -> dict[str, str]:
    """Where a wrong field is: a header, a query parameter, or a JSON pointer (RFC 6901) into the body."""
    if field in HEADERS:
        return {"header": field}
    # A pointer ends where a name is not one of a programmer: the rest may be what somebody typed.
    parts: list[str] = []
    if field == "update_mask":  # an empty patch: the whole of it is wrong
        field = ""
    for part in filter(None, re.split(r"[.\[\]]", field)):
        if not (NAME.match(part) or part.isdecimal()):
            break
        parts.append(part)
    if parts and parts[-1] in CARRIED:
        return {"header": CARRIED[parts[-1]]}
    if parts and parts[0] == g.get("wrapped_in") and len(parts) > 1:
        parts = parts[1:]
    if request.method in ("GET", "HEAD", "DELETE"):
        names = [part for part in parts if not part.isdecimal()]
        return {"parameter": PARAMETERS.get(names[-1], names[-1]) if names else ""}
    if parts:
        parts[-1] = {"page_token": "cursor", "page_size": "limit"}.get(parts[-1], parts[-1])
    return {"pointer": "".join(f"/{part}" for part in parts)}
