"""The browser's side of a session: its cookie, and the token that proves that a form is ours.

The cookie holds only the session's secret and the chosen language. It is set at sign-in and never
before.
"""

import hmac
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import abort, current_app, g, request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from chassis import log
from chassis.errors import NotAllowed, Refusal, Unauthenticated
from protos.partners.v1 import members_pb2
from services.gateway.edge import limits
from services.gateway.edge.clients import Caller, ServiceFault, clients, current_caller
from services.gateway.edge.credentials import SignedIn, exchange, fingerprint, in_the_name_of
from services.gateway.site.language import i18n
from services.gateway.site.parts import cookies

Record = TypeVar("Record", bound=Any)
COOKIE = "s"
PUBLIC = "public"  # mark of forms that belong to no session
LEAVE_SECONDS = 3.0
FORM_SECONDS = 12 * 3600  # duration of the longest session, which a form cannot outlive
# endpoints that do not look up the session, so that they work even when the partners service is
# down
WITHOUT_SESSION = ("static", "signin.quick_exit", "home.status")


def read_cookie() -> tuple[str, str]:
    """Returns the session's secret and the chosen language; two empty texts without a session."""
    secret, _, language = cookies.read(COOKIE).partition("~")
    return secret, language


def set_cookie(response: Response, secret: str, language: str = "") -> None:
    """Sets the cookie, which ends when the browser is closed."""
    cookies.write(response, COOKIE, f"{secret}~{language}" if language else secret)


def recognise(required: bool) -> None:
    """Identifies the reader at the start of each request; she may be anonymous.

    Sets g.me and the caller of every following call. If no session is `required`, the page opens
    even when the reader can't be identified.
    """
    g.me = None
    secret, g.language_choice = read_cookie()
    mark = fingerprint(secret) if secret else ""
    current_caller.set(Caller(request_id=g.request_id, mark=mark or limits.address_mark()))
    if request.endpoint not in WITHOUT_SESSION:
        limits.admit(mark, exchange().knows(secret))
    if secret and request.endpoint not in WITHOUT_SESSION:
        try:
            g.me = exchange().session(secret, passive=is_background_request())
        except Unauthenticated:
            g.session_ended = True
        except (Refusal, ServiceFault):
            if required:
                raise
    current_caller.set(in_the_name_of(g.me, i18n.language()))


def is_background_request() -> bool:
    """Returns whether the page's script, rather than the user, sent this request.

    The script checks for updates. It sends the header `Passive` or the parameter `auto`. A client
    that sends either falsely only harms itself, because such requests don't extend its session.
    """
    return request.headers.get("Passive") == "1" or (
        request.method == "GET" and "auto" in request.args
    )


def me() -> SignedIn:
    """Returns the signed-in worker, on a page that needs a session.

    Raises Unauthenticated session_ended if there is none.
    """
    signed_in: SignedIn | None = g.me
    if signed_in is None:
        raise Unauthenticated("session_ended")
    return signed_in


def own(record: Record) -> Record:
    """Returns a record of the reader's organisation; answers 404 for any other record."""
    if record.organization_id != me().organization_id:
        abort(404)
    return record


def leave(wait: bool) -> None:
    """Ends the session everywhere.

    Leaving never fails: if the partners service is down, the session ends when it reaches its idle
    limit. Quick exit (`wait` false) does not wait for the service.
    """
    secret, _ = read_cookie()
    if not secret:
        return
    exchange().forget(secret)
    try:
        if wait:
            clients().tokens.EndSession(
                members_pb2.EndSessionRequest(session_secret=secret), timeout=LEAVE_SECONDS
            )
        else:
            clients().end_session_later(secret)
    except Exception as error:
        log.get().warning("leave", fault=log.fault(error), request_id=g.request_id)


def form_token() -> str:
    """Returns the token that proves that this site made a form for this session.

    All forms on a page share one token. If nobody is signed in, the token belongs to no session.
    """
    if "form_token" not in g:
        g.form_token = signer().dumps(current_binding())
    return str(g.form_token)


def form_token_of(secret: str, worker_id: str) -> str:
    """Returns the form token of a session that has just begun, before its cookie comes back."""
    return str(signer().dumps(_binding(secret, worker_id)))


def current_binding() -> str:
    """Returns the session mark and worker to which this request's forms are bound, or PUBLIC."""
    return _binding(g.me.secret, g.me.worker_id) if g.me else PUBLIC


def _binding(secret: str, worker_id: str) -> str:
    return f"{_mark(secret)}:{worker_id}"


def _mark(secret: str) -> str:
    return fingerprint(secret)[:16]


def maker_of_form() -> tuple[str, str]:
    """Returns the id of the worker for whom a form was made, and the mark of her session.

    Expired tokens are accepted, too. For a form that belongs to no session, the id is empty and the
    mark is PUBLIC. For a form that is not ours, id and mark are empty.
    """
    try:
        mark, _, worker_id = str(signer().loads(request.form.get("form_token", ""))).partition(":")
    except (BadSignature, HTTPException):
        return "", ""
    return worker_id, mark


def mark_of_cookie() -> str:
    """Returns the mark in the forms of the cookie's session; "" without a cookie."""
    secret, _ = read_cookie()
    return _mark(secret) if secret else ""


def signer() -> URLSafeTimedSerializer:
    """Returns the signer of form tokens, with the gateway's key."""
    return URLSafeTimedSerializer(current_app.config["SIGNING_KEY"], salt="form")


def check_form() -> None:
    """Refuses a form from another site or another session.

    Raises NotAllowed form_foreign or form_expired.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise NotAllowed("form_foreign")
    # Our own pages send `Origin: null`, because they send no referrer. Only an Origin that names
    # another site shows that the form is foreign.
    origin = request.headers.get("Origin", "null")
    if origin != "null" and origin.partition("://")[2] not in (
        request.host,
        urlsplit(current_app.config["PUBLIC_URL"]).netloc,
    ):
        raise NotAllowed("form_foreign")
    try:
        form_binding = signer().loads(request.form.get("form_token", ""), max_age=FORM_SECONDS)
    except BadSignature:
        raise NotAllowed("form_expired") from None
    if not hmac.compare_digest(str(form_binding), current_binding()):
        raise NotAllowed("form_expired")
