"""Who is at the page: the session cookie, the caller token behind it, and proof that a form is ours.

The cookie holds the session's secret and the chosen language, nothing else; it is set at sign-in and never before. Each request exchanges
the secret for short-lived tokens at the partners service, kept here for a good second, so that an ended session is out everywhere within
five. Idle and absolute limits are the partners service's to judge.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from urllib.parse import urlsplit

from flask import current_app, g, request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from chassis import log, wire
from chassis.errors import NotAllowed, Refusal, Unauthenticated
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2
from services.gateway import cookies, i18n, limits
from services.gateway.clients import Caller, ServiceFault, calling, clients

COOKIE = "s"
PUBLIC = "public"  # of forms that are made for nobody's session
CACHE_SECONDS = 1.2  # of the three that a token lives: the rest is for the calls that are made with it
CACHE_SIZE = 2_000
LEAVE_SECONDS = 3.0
FORM_SECONDS = 12 * 3600  # the longest session: a form can't outlive it
UNASKED = ("static", "signin.quick_exit", "health.alive", "health.ready", "health.status")  # they must not wait for anybody
SCOPE_WORDS = wire.words(contract_pb2.Scope.DESCRIPTOR)
ROLE_WORDS = {
    contract_pb2.ROLE_WORKER: "worker",
    contract_pb2.ROLE_OPERATOR: "operator",
    contract_pb2.ROLE_MANAGER: "manager",
    contract_pb2.ROLE_COORDINATOR: "coordinator",
    contract_pb2.ROLE_AUDITOR: "auditor",
    contract_pb2.ROLE_EMERGENCY: "emergency",
}


@dataclass(frozen=True)
class SignedIn:
    """Whoever a session or an API key stands for, as the partners service said it."""

    tokens: Mapping[str, str]
    renew: Callable[[], Mapping[str, str]] | None = None
    worker_id: str = ""
    name: str = ""
    language: str = ""
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    organization_id: str = ""
    organization_name: str = ""
    country: str = ""
    department: str = ""
    secret: str = ""

    def may(self, *roles: str) -> bool:
        """Whether one of these roles is held."""
        return not self.roles.isdisjoint(roles)


class Exchange:
    """Secrets against caller tokens, remembered for a few seconds by the secret's hash."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bool], tuple[float, SignedIn]] = {}  # by the mark, and whether it was asked passively
        self._lock = Lock()

    def session(self, secret: str, *, passive: bool = False) -> SignedIn:
        """Who this session is; `passive`: a page asks by itself, which is no use of it. Raises Unauthenticated when it has ended."""
        question = members_pb2.IssueTokenRequest(session_secret=secret, passive=passive)
        return replace(self._ask(question, secret), secret=secret)

    def api_key(self, key: str) -> SignedIn:
        """Whose key this is. Raises Unauthenticated when it is unknown, revoked or expired."""
        return self._ask(members_pb2.IssueTokenRequest(api_key=key), key)

    def knows(self, secret: str) -> bool:
        """Whether partners vouched for it just now."""
        return self._recall(fingerprint(secret), passive=True) is not None

    def forget(self, secret: str) -> None:
        """Drops what is remembered, at sign-out."""
        with self._lock:
            for passive in (False, True):
                self._known.pop((fingerprint(secret), passive), None)

    def _ask(self, question: members_pb2.IssueTokenRequest, secret: str) -> SignedIn:
        mark = fingerprint(secret)
        return self._recall(mark, passive=question.passive) or self._fetch(question, mark, time.monotonic())

    def _recall(self, mark: str, *, passive: bool) -> SignedIn | None:
        """What is remembered; what was asked passively is no answer to a use, or a click would not count as one."""
        with self._lock:
            for how in (False, True)[: 1 + passive]:
                until, known = self._known.get((mark, how), (0.0, None))
                if known is not None and time.monotonic() < until:
                    return known
        return None

    def _fetch(self, question: members_pb2.IssueTokenRequest, mark: str, now: float) -> SignedIn:
        answer = clients().tokens.IssueToken(question)
        fresh = SignedIn(
            tokens=dict(answer.tokens),
            renew=lambda: self._fetch(question, mark, time.monotonic()).tokens,
            worker_id=answer.worker.id,
            name=answer.worker.name,
            language=answer.worker.language,
            roles=frozenset(ROLE_WORDS[role] for role in answer.worker.roles if role in ROLE_WORDS),
            scopes=frozenset(SCOPE_WORDS[scope] for scope in answer.scopes if scope in SCOPE_WORDS),
            organization_id=answer.organization.id,
            organization_name=answer.organization.name,
            country=answer.organization.country,
            department=answer.organization.department,
        )
        with self._lock:
            if len(self._known) >= CACHE_SIZE:
                self._known.clear()
            self._known[mark, question.passive] = (now + CACHE_SECONDS, fresh)
        return fresh


def fingerprint(secret: str) -> str:
    """A name for a secret that is not the secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def exchange() -> Exchange:
    """The process's exchange, from within a request."""
    exchange: Exchange = current_app.extensions["exchange"]
    return exchange


def read_cookie() -> tuple[str, str]:
    """The session's secret and the chosen language, both empty before sign-in."""
    secret, _, language = cookies.read(COOKIE).partition("~")
    return secret, language


def set_cookie(response: Response, secret: str, language: str = "") -> None:
    """Keeps the session; it ends with the browser at the latest."""
    cookies.keep(response, COOKIE, f"{secret}~{language}" if language else secret)


def drop_cookie(response: Response) -> None:
    """Takes the cookie away."""
    cookies.drop(response, COOKIE)


def recognise(needed: bool) -> None:
    """Finds out who asks, at the start of each request; nobody is also an answer. Sets g.me and the caller of every call that follows.

    A page that needs no session (`needed` false) opens even when it can't be found out.
    """
    g.me = None
    secret, g.language_choice = read_cookie()
    mark = fingerprint(secret) if secret else ""
    calling.set(Caller(request_id=g.request_id, who=mark or limits.address()))
    if request.endpoint not in UNASKED:
        limits.admit(mark, exchange().knows(secret))
    if secret and request.endpoint not in UNASKED:
        try:
            g.me = exchange().session(secret, passive=asked_by_itself())
        except Unauthenticated:
            g.session_ended = True
        except (Refusal, ServiceFault):
            if needed:
                raise
    calling.set(in_the_name_of(g.me, i18n.language()))


def asked_by_itself() -> bool:
    """Whether nobody did anything: an open page looks whether it is behind. Who says so wrongly only ends her own session sooner."""
    return request.headers.get("Passive") == "1" or (request.method == "GET" and "auto" in request.args)


def in_the_name_of(who: SignedIn | None, language: str) -> Caller:
    """How the services are asked in this request."""
    return replace(calling.get(), tokens=who.tokens if who else {}, language=language, renew=who.renew if who else None)


def me() -> SignedIn:
    """Who is signed in; only for pages that need a session."""
    signed_in: SignedIn | None = g.me
    if signed_in is None:
        raise Unauthenticated("session_ended")
    return signed_in


def leave(wait: bool) -> None:
    """Ends the session everywhere. Leaving never fails: a service that is away ends the session by its idle limit.

    Quick exit doesn't wait for it, and asks nobody whether it can be done just now.
    """
    secret, _ = read_cookie()
    if not secret:
        return
    exchange().forget(secret)
    try:
        if wait:
            clients().tokens.EndSession(members_pb2.EndSessionRequest(session_secret=secret), timeout=LEAVE_SECONDS)
        else:
            clients().end_session_later(secret)
    except Exception as error:
        log.get().warning("leave", fault=log.fault(error), request_id=g.request_id)


def form_token() -> str:
    """Proof that a form was made here, for this session (or for nobody's, on public pages); one for all forms of a page."""
    if "form_token" not in g:
        g.form_token = signer().dumps(bound_to())
    return str(g.form_token)


def form_token_of(secret: str, worker_id: str) -> str:
    """The same for a session that has just begun, before its cookie was brought back."""
    return str(signer().dumps(_binding(secret, worker_id)))


def bound_to() -> str:
    """What a form token is tied to."""
    secret, _ = read_cookie()
    return _binding(secret, g.me.worker_id) if g.me else PUBLIC


def _binding(secret: str, worker_id: str) -> str:
    return f"{_mark(secret)}:{worker_id}"


def _mark(secret: str) -> str:
    return fingerprint(secret)[:16]


def maker_of_form() -> tuple[str, str]:
    """Returns for whom this request's form was made, however long ago: the worker's id, and the mark of her session; PUBLIC as the mark of a form for
    nobody's; both empty for a form that is not ours."""
    try:
        mark, _, worker_id = str(signer().loads(request.form.get("form_token", ""))).partition(":")
    except (BadSignature, HTTPException):
        return "", ""
    return worker_id, mark


def mark_of_cookie() -> str:
    """Returns the mark that forms of the cookie's session have; "" without one."""
    secret, _ = read_cookie()
    return _mark(secret) if secret else ""


def signer() -> URLSafeTimedSerializer:
    """Signs form tokens with the gateway's key."""
    return URLSafeTimedSerializer(current_app.config["SIGNING_KEY"], salt="form")


def check_form() -> None:
    """Refuses a form that came from another site or another session: NotAllowed form_foreign | form_expired."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise NotAllowed("form_foreign")
    # Our own pages send `Origin: null`, for they send no referrer; only a named foreign origin is a sign.
    origin = request.headers.get("Origin", "null")
    if origin != "null" and urlsplit(origin).netloc not in (request.host, urlsplit(current_app.config["PUBLIC_URL"]).netloc):
        raise NotAllowed("form_foreign")
    try:
        bound = signer().loads(request.form.get("form_token", ""), max_age=FORM_SECONDS)
    except BadSignature:
        raise NotAllowed("form_expired") from None
    if not hmac.compare_digest(str(bound), bound_to()):
        raise NotAllowed("form_expired")


def new_request_id() -> str:
    """What a form carries so that sending it twice acts once."""
    return secrets.token_hex(16)


def part_of(request_id: str, part: str) -> str:
    """A request id of its own for each of several calls that one form makes, the same whenever the form is sent again."""
    return hashlib.sha256(f"{request_id}:{part}".encode()).hexdigest()[:32]
