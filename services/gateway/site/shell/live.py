"""Whether an open page is behind: asked by every one of them every few seconds, so it must cost
next to nothing, and answered from memory.

The services are asked once for all viewers of all organisations, by the watch tokens that each gave
to one of its own viewers. A page proves by a *ticket* whose viewer it is: signed, bound to its
session, for three minutes; no service is asked for it. So a session that has ended may hear for so
long that something changed, and never what.
"""

import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock
from typing import NamedTuple

from flask import Flask, current_app
from itsdangerous import BadSignature, TimestampSigner
from werkzeug.http import parse_cookie

from services.gateway.edge import cookies
from services.gateway.edge.credentials import SignedIn, fingerprint
from services.gateway.edge.limits import Reply
from services.gateway.site.shell import session

PATH = "/live"
# each viewer's renewal asks partners: with 60 that was a quarter of what 200 viewers cost
TICKET_SECONDS = 180
# so old an answer may be before the services are asked again; with the pages' 3.3 s a change is
# seen within five
FRESH_SECONDS = 1.5
KEPT_SECONDS = 5.0  # so old it may be while one viewer asks them, or they don't answer
# of the 60 that a watch token is good: then one of the organisation's own viewers asks
RENEW_SECONDS = 45.0
LEFT_SECONDS = 10.0  # nobody looks any more: nothing is asked for them
MOST = 500  # watch tokens that a service takes at once
# Closed after each answer: hundreds of connections that are kept would cost more at each turn of
# the server than the few that come anew.
_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}
_NETWORK = ("coordinator", "auditor")


class Answer(NamedTuple):
    """How the services' lists stand, and with which tokens that may be asked again: the second is
    empty for who has no messages, both when a service is away.
    """

    queue: str
    unread: str
    tokens: tuple[str, str]


@dataclass
class _Heard:
    answer: Answer
    at: float
    named: float  # when it was asked in a viewer's own name
    polled: float  # when somebody looked
    sent: float = 0.0  # when somebody was sent to ask in her own name


class Live:
    """What the lists of each group of viewers stand at, as far as this process was told."""

    def __init__(self, signing_key: bytes, now: Callable[[], float] = time.monotonic) -> None:
        self._signer = TimestampSigner(signing_key, salt="live", digest_method=sha256)
        self._heard: dict[str, _Heard] = {}
        self._sent = 0.0  # when somebody was sent to ask for all
        self._lock = Lock()
        self._now = now

    def ticket(self, who: SignedIn) -> str:
        """Proof that this session sees what it sees."""
        return self._signer.sign(f"{fingerprint(who.secret)[:16]}:{_group(who)}").decode()

    def last(self, who: SignedIn) -> str:
        """The version that was heard last, however long ago; empty if none was.

        A page says that it is at least as new.
        """
        heard = self._heard.get(_group(who))
        return _text(heard.answer) if heard else ""

    def version(
        self,
        who: SignedIn,
        ask: Callable[[], Answer],
        ask_for_all: Callable[[list[tuple[str, str]]], list[Answer]],
    ) -> str:
        """The version now: remembered, asked for all who look, or asked in this viewer's name when
        her organisation's tokens are old or refused.
        """
        group, began = _group(who), self._now()
        with self._lock:
            heard = self._heard.get(group)
            if heard and began - heard.at < FRESH_SECONDS:
                return _text(heard.answer)
            watched = [
                name
                for name, one in self._heard.items()
                if began - one.polled < LEFT_SECONDS and one.answer.tokens[0]
            ][:MOST]
            tokens = [self._heard[name].answer.tokens for name in watched]
        if heard and began - heard.named < RENEW_SECONDS and group in watched:
            answers = ask_for_all(tokens)
            with self._lock:
                for name, answer in zip(watched, answers, strict=True):
                    if answer.queue:  # empty: that organisation's own viewers ask
                        self._heard[name].answer, self._heard[name].at = answer, began
                if heard.at == began:
                    return _text(heard.answer)
        answer = ask()
        with self._lock:
            self._heard[group] = _Heard(answer, began, began, began)
        return _text(answer)

    def known(self, secret: str, ticket: str) -> str | None:
        """The version for whoever brings this ticket of hers, from memory; None if the services
        must be asked, which one viewer does for all.
        """
        try:
            mark, _, group = (
                self._signer.unsign(ticket, max_age=TICKET_SECONDS).decode().partition(":")
            )
        except BadSignature:
            return None
        if not hmac.compare_digest(mark, fingerprint(secret)[:16]):
            return None
        with self._lock:
            heard, now = self._heard.get(group), self._now()
            if heard is None:
                return None
            heard.polled = now
            if now - heard.at > KEPT_SECONDS:
                return None
            if now - heard.named > RENEW_SECONDS and now - heard.sent > FRESH_SECONDS:
                heard.sent = now
                return None
            if now - heard.at > FRESH_SECONDS and now - self._sent > FRESH_SECONDS:
                self._sent = now
                return None
            return _text(heard.answer)


def _text(answer: Answer) -> str:
    return f"{answer.queue}.{answer.unread}"


def _group(who: SignedIn) -> str:
    """Those for whom something changes at the same time: an organisation's workers; apart those of
    them who see the network.
    """
    return "/".join([who.organization_id, *(role for role in _NETWORK if role in who.roles)])


def live() -> Live:
    """The process's, from within a request."""
    live: Live = current_app.extensions["live"]
    return live


def answers_without_app(app: Flask) -> Callable[[str, Mapping[str, str]], Reply | None]:
    """Makes what answers a page with a good ticket before Flask has to do with it, by path and
    headers. Neither logged, timed nor counted.
    """
    memory: Live = app.extensions["live"]
    with app.app_context():
        cookie = cookies.full_name(session.COOKIE)

    def know(path: str, headers: Mapping[str, str]) -> Reply | None:
        if path != PATH or "LIVE_TICKET" not in headers:
            return None
        secret = parse_cookie(headers.get("COOKIE", "")).get(cookie, "").partition("~")[0]
        version = memory.known(secret, headers["LIVE_TICKET"])
        if version is None:
            return None
        return Reply("200 OK", _HEADERS, json.dumps({"version": version}).encode())

    return know
