"""Answers, from memory, the open pages that ask whether they are out of date.

Every open page asks every few seconds, so an answer must cost next to nothing. One call to each
service therefore serves the viewers of all organisations. The call carries one watch token for each
group of viewers; the service has given that token to one viewer of the group. A page proves with a
*ticket* which group it belongs to. The ticket is signed, bound to the session, and valid for three
minutes; this process checks it without calling a service. For up to three minutes, a session that
has ended may therefore still learn that something changed, but never what.
"""

import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock
from typing import NamedTuple, cast

from flask import Flask, current_app
from itsdangerous import BadSignature, TimestampSigner
from werkzeug.sansio.http import parse_cookie

from services.gateway.edge.credentials import SignedIn, fingerprint
from services.gateway.edge.limits import Reply
from services.gateway.site.parts import cookies
from services.gateway.site.shell import session

PATH = "/live"
# lifetime of a ticket; each renewal calls partners, and with 60 s, renewals made up a quarter of
# the cost of 200 viewers
TICKET_SECONDS = 180
# maximum age of an answer before the services are asked again; because a page checks every 3.3 s,
# it shows a change within five seconds
FRESH_SECONDS = 1.5
MAX_AGE_SECONDS = 5.0  # maximum age while a request asks the services, or while they don't answer
# age at which one of the group's own viewers must renew the watch token, which is valid for 60 s
RENEW_SECONDS = 45.0
# time without viewers after which the services are no longer asked for a group
ABSENCE_SECONDS = 10.0
MAX_TOKENS = 500  # maximum number of watch tokens that a service accepts in one call
# The server closes the connection after each answer, because watching hundreds of idle connections
# would cost more than opening a new connection for each question.
_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}
_NETWORK = ("coordinator", "auditor")


class Answer(NamedTuple):
    """The versions of the services' lists, and the watch tokens for requesting them again.

    Both tokens are empty if the notifications service gave no answer; the next call for the group
    is then made in a viewer's own name.
    """

    queue: str
    unread: str
    tokens: tuple[str, str]


@dataclass
class _GroupState:
    """The state of one group of viewers, as this process knows it."""

    answer: Answer
    requested_at: float  # time when the answer was requested
    named_at: float  # time of the last call in a viewer's own name
    polled_at: float  # time when a viewer last checked
    sent_at: float = 0.0  # time when a request last went on to Flask, for a call in a viewer's name


class Live:
    """The versions of the lists of each group of viewers, as this process knows them."""

    def __init__(self, signing_key: bytes, now: Callable[[], float] = time.monotonic) -> None:
        self._signer = TimestampSigner(signing_key, salt="live", digest_method=sha256)
        self._groups: dict[str, _GroupState] = {}
        self._sent_at = 0.0  # time when a request last went on to Flask, for a call for all groups
        self._lock = Lock()
        self._now = now

    def ticket(self, signed_in: SignedIn) -> str:
        """Returns a ticket, which proves that this session belongs to its group of viewers."""
        return self._signer.sign(
            f"{fingerprint(signed_in.secret)[:16]}:{_group(signed_in)}"
        ).decode()

    def last_version(self, signed_in: SignedIn) -> str:
        """Returns the latest known version, however old; "" if none is known.

        A page carries the version known before its data were read, so its content is at least as
        new as that version.
        """
        state = self._groups.get(_group(signed_in))
        return _text(state.answer) if state else ""

    def version(
        self,
        viewer: SignedIn,
        ask: Callable[[], Answer],
        ask_for_all: Callable[[list[tuple[str, str]]], list[Answer]],
    ) -> str:
        """Returns the current version.

        The version comes from memory if it is fresh there, else from one call for all groups. If
        this viewer's group has no tokens, or its tokens are old or refused, the version comes
        from a call in her name.
        """
        group, start_time = _group(viewer), self._now()
        with self._lock:
            state = self._groups.get(group)
            if state and start_time - state.requested_at < FRESH_SECONDS:
                return _text(state.answer)
            watched_groups = [
                name
                for name, entry in self._groups.items()
                if start_time - entry.polled_at < ABSENCE_SECONDS and entry.answer.tokens[0]
            ][:MAX_TOKENS]
            tokens = [self._groups[name].answer.tokens for name in watched_groups]
        if state and start_time - state.named_at < RENEW_SECONDS and group in watched_groups:
            answers = ask_for_all(tokens)
            with self._lock:
                for name, answer in zip(watched_groups, answers, strict=True):
                    # An empty version means that the tokens were refused; the group's own viewers
                    # then call the services.
                    if answer.queue:
                        self._groups[name].answer = answer
                        self._groups[name].requested_at = start_time
                if state.requested_at == start_time:
                    return _text(state.answer)
        answer = ask()
        with self._lock:
            self._groups[group] = _GroupState(answer, start_time, start_time, start_time)
        return _text(answer)

    def cached_version(self, secret: str, ticket: str) -> str | None:
        """Returns the version for the holder of this ticket, from memory.

        Returns None if the ticket is not valid for this session, or if the request must go on to
        Flask, which calls the services.
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
            state, now = self._groups.get(group), self._now()
            if state is None:
                return None
            state.polled_at = now
            if now - state.requested_at > MAX_AGE_SECONDS:
                return None
            if now - state.named_at > RENEW_SECONDS and now - state.sent_at > FRESH_SECONDS:
                state.sent_at = now
                return None
            if now - state.requested_at > FRESH_SECONDS and now - self._sent_at > FRESH_SECONDS:
                self._sent_at = now
                return None
            return _text(state.answer)


def _text(answer: Answer) -> str:
    return f"{answer.queue}.{answer.unread}"


def _group(signed_in: SignedIn) -> str:
    """Returns the group of viewers to which a reader belongs.

    Each change concerns all viewers of a group or none. The workers of an organisation form one
    group, but its coordinators and auditors form separate groups, one for each combination of
    these two roles.
    """
    return "/".join(
        [signed_in.organization_id, *(role for role in _NETWORK if role in signed_in.roles)]
    )


def live() -> Live:
    """Returns this process's `Live` object, from within a request."""
    return cast(Live, current_app.extensions["live"])


def answers_without_app(app: Flask) -> Callable[[str, Mapping[str, str]], Reply | None]:
    """Returns the function that answers a valid ticket before Flask handles the request.

    The function reads only the path and the headers. Its answers are not logged, timed or counted.
    """
    memory: Live = app.extensions["live"]
    with app.app_context():
        cookie = cookies.full_name(session.COOKIE)

    def answer_from_memory(path: str, headers: Mapping[str, str]) -> Reply | None:
        if path != PATH or "LIVE_TICKET" not in headers:
            return None
        secret = parse_cookie(headers.get("COOKIE", "")).get(cookie, "").partition("~")[0]
        version = memory.cached_version(secret, headers["LIVE_TICKET"])
        if version is None:
            return None
        return Reply("200 OK", _HEADERS, json.dumps({"version": version}).encode())

    return answer_from_memory
