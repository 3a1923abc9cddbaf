"""Tells an open page whether it is out of date, from memory.

Every open page asks every few seconds, so an answer must cost next to nothing. The services are
asked once for the viewers of all organisations. The call carries one watch token for each group of
viewers; the services gave it to one viewer of that group. A page proves with a *ticket* which group
it belongs to. The ticket is signed, bound to the session, and valid for three minutes, and no
service is asked about it. A session that has ended may therefore still learn for three minutes that
something changed, but never what.
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

from services.gateway.edge.credentials import SignedIn, fingerprint
from services.gateway.edge.limits import Reply
from services.gateway.site.parts import cookies
from services.gateway.site.shell import session

PATH = "/live"
# Each renewal calls partners. With 60 s, renewals made a quarter of the cost of 200 viewers.
TICKET_SECONDS = 180
# maximum age of an answer before the services are asked again; as a page asks every 3.3 s, a change
# is seen within five seconds
FRESH_SECONDS = 1.5
KEPT_SECONDS = 5.0  # maximum age while one viewer asks the services, or while they don't answer
# age at which one of the organisation's own viewers must renew a watch token, which is valid for 60
# s
RENEW_SECONDS = 45.0
LEFT_SECONDS = 10.0  # time without a viewer after which the services are not asked for a group
MOST = 500  # watch tokens that a service accepts in one call
# The connection is closed after each answer. Hundreds of open connections would cost more at each
# turn of the server than the few new ones.
_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}
_NETWORK = ("coordinator", "auditor")


class Answer(NamedTuple):
    """The versions of the services' lists, and the tokens with which to ask for them again.

    The second token is empty for a viewer without messages. Both are empty when the notifications
    service is away.
    """

    queue: str
    unread: str
    tokens: tuple[str, str]


@dataclass
class _Heard:
    answer: Answer
    at: float
    named: float  # time of the last call in a viewer's own name
    polled: float  # time when a viewer last asked
    sent: float = 0.0  # time when a viewer was last sent to ask in her own name


class Live:
    """The versions of the lists of each group of viewers, as this process knows them."""

    def __init__(self, signing_key: bytes, now: Callable[[], float] = time.monotonic) -> None:
        self._signer = TimestampSigner(signing_key, salt="live", digest_method=sha256)
        self._heard: dict[str, _Heard] = {}
        self._sent = 0.0  # time when a viewer was last sent to ask for all
        self._lock = Lock()
        self._now = now

    def ticket(self, who: SignedIn) -> str:
        """Returns the proof that this session belongs to its group of viewers."""
        return self._signer.sign(f"{fingerprint(who.secret)[:16]}:{_group(who)}").decode()

    def last(self, who: SignedIn) -> str:
        """Returns the latest known version, however old; "" if none is known.

        A page states that it is at least as new.
        """
        heard = self._heard.get(_group(who))
        return _text(heard.answer) if heard else ""

    def version(
        self,
        who: SignedIn,
        ask: Callable[[], Answer],
        ask_for_all: Callable[[list[tuple[str, str]]], list[Answer]],
    ) -> str:
        """Returns the present version.

        It comes from memory, from one call for all viewers, or from a call in this viewer's name if
        her organisation's tokens are old or refused.
        """
        group, began = _group(who), self._now()
        with self._lock:
            heard = self._heard.get(group)
            if heard and began - heard.at < FRESH_SECONDS:
                return _text(heard.answer)
            watched = [
                name
                for name, entry in self._heard.items()
                if began - entry.polled < LEFT_SECONDS and entry.answer.tokens[0]
            ][:MOST]
            tokens = [self._heard[name].answer.tokens for name in watched]
        if heard and began - heard.named < RENEW_SECONDS and group in watched:
            answers = ask_for_all(tokens)
            with self._lock:
                for name, answer in zip(watched, answers, strict=True):
                    # An empty version means that the tokens were refused; that organisation's own
                    # viewers then ask.
                    if answer.queue:
                        self._heard[name].answer, self._heard[name].at = answer, began
                if heard.at == began:
                    return _text(heard.answer)
        answer = ask()
        with self._lock:
            self._heard[group] = _Heard(answer, began, began, began)
        return _text(answer)

    def known(self, secret: str, ticket: str) -> str | None:
        """Returns the version for the holder of this ticket, from memory.

        Returns None if the services must be asked, which one viewer does for all.
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
    """Returns the group of viewers for whom something changes at the same time.

    The workers of an organisation are a group; those of them who see the network are another.
    """
    return "/".join([who.organization_id, *(role for role in _NETWORK if role in who.roles)])


def live() -> Live:
    """Returns the process's versions, from within a request."""
    live: Live = current_app.extensions["live"]
    return live


def answers_without_app(app: Flask) -> Callable[[str, Mapping[str, str]], Reply | None]:
    """Returns the function that answers a valid ticket before Flask handles the request.

    It decides by path and headers. Such an answer is neither logged, timed nor counted.
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
