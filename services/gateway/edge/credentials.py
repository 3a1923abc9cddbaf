"""The credential of a request, exchanged at the partners service for short-lived caller tokens.

A credential is the secret of a session, or an API key. Tokens are cached for little more than a
second, so that an ended session is refused everywhere within five seconds. The partners service
enforces the idle and absolute limits of sessions.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import cast

from flask import current_app

from chassis import wire
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2
from services.gateway.edge.clients import Caller, clients, current_caller

# Seconds for which a token is cached. A token is valid for three seconds; the remaining time is for
# the calls that carry it.
CACHE_SECONDS = 1.2
CACHE_SIZE = 2_000
SCOPE_WORDS = wire.words(contract_pb2.Scope.DESCRIPTOR)
ROLE_WORDS = wire.words(contract_pb2.Role.DESCRIPTOR)


@dataclass(frozen=True)
class SignedIn:
    """The worker or system behind a session or API key, as the partners service describes it."""

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
        """Returns whether the worker has one of these roles."""
        return not self.roles.isdisjoint(roles)


class Exchange:
    """Exchanges secrets for caller tokens.

    Caches each answer for little more than a second, by the secret's hash.
    """

    def __init__(self) -> None:
        # cached answers, by the secret's hash and whether the request was passive
        self._known: dict[tuple[str, bool], tuple[float, SignedIn]] = {}
        self._lock = Lock()

    def session(self, secret: str, *, passive: bool = False) -> SignedIn:
        """Returns the account of a session.

        `passive` means that the page refreshes itself; this does not count as a use of the session.
        Raises Unauthenticated when the session has ended.
        """
        request = members_pb2.IssueTokenRequest(session_secret=secret, passive=passive)
        return replace(self._ask(request, secret), secret=secret)

    def api_key(self, key: str) -> SignedIn:
        """Returns the owner of an API key.

        Raises Unauthenticated when the key is unknown, revoked or expired.
        """
        return self._ask(members_pb2.IssueTokenRequest(api_key=key), key)

    def knows(self, secret: str) -> bool:
        """Returns whether the partners service accepted the secret a moment ago."""
        return self._recall(fingerprint(secret), passive=True) is not None

    def forget(self, secret: str) -> None:
        """Drops the cached answers for a secret; called at sign-out."""
        with self._lock:
            for passive in (False, True):
                self._known.pop((fingerprint(secret), passive), None)

    def _ask(self, request: members_pb2.IssueTokenRequest, secret: str) -> SignedIn:
        mark = fingerprint(secret)
        return self._recall(mark, passive=request.passive) or self._fetch(
            request, mark, time.monotonic()
        )

    def _recall(self, mark: str, *, passive: bool) -> SignedIn | None:
        """Returns the cached answer; None if there is none that is fresh enough.

        The answer to a passive request is not used for a click, because the partners service would
        then not count the click as a use of the session.
        """
        with self._lock:
            for was_passive in (False, True)[: 1 + passive]:
                valid_until, cached_answer = self._known.get((mark, was_passive), (0.0, None))
                if cached_answer is not None and time.monotonic() < valid_until:
                    return cached_answer
        return None

    def _fetch(self, request: members_pb2.IssueTokenRequest, mark: str, now: float) -> SignedIn:
        answer = clients().tokens.IssueToken(request)
        signed_in = SignedIn(
            tokens=dict(answer.tokens),
            renew=lambda: self._fetch(request, mark, time.monotonic()).tokens,
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
            self._known[mark, request.passive] = (now + CACHE_SECONDS, signed_in)
        return signed_in


def fingerprint(secret: str) -> str:
    """Returns a hash that names a secret without revealing it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def exchange() -> Exchange:
    """Returns the process's exchange, from within a request."""
    return cast(Exchange, current_app.extensions["exchange"])


def in_the_name_of(signed_in: SignedIn | None, language: str) -> Caller:
    """Returns the caller for the calls of this request."""
    return replace(
        current_caller.get(),
        tokens=signed_in.tokens if signed_in else {},
        language=language,
        renew=signed_in.renew if signed_in else None,
    )
