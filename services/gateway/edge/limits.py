"""The quotas of callers at the gateway: one for each key or session, and one for each IP address.

The quota of an address counts requests without a credential, or with one that is not verified yet.
Requests for quick exit, the status page, the probes, static files and the API's docs pages are
never counted, nor are polls with a valid ticket (site/shell/live.py). Addresses are stored
as keyed hashes, in this process's memory only.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass
from math import ceil

from flask import Response, current_app, g, request
from werkzeug.http import HTTP_STATUS_CODES

from chassis.errors import Exhausted
from chassis.ids import new_id
from chassis.limits import WINDOW, Limiter, Quota, network_of
from services.gateway.edge.credentials import fingerprint
from services.gateway.edge.problems import MEDIA_TYPE, body_of

# The quota of an address, as a multiple of a caller's. An office, a hospital, or all customers of a
# country's network operator may share one address.
CALLERS_PER_ADDRESS = 4
_HASH_KEY = secrets.token_bytes(16)


@dataclass(frozen=True)
class Reply:
    """An answer that is known before Flask handles the request."""

    status: str
    headers: dict[str, str]
    body: bytes


class Limits:
    """The counters of the process."""

    def __init__(self, rate: int) -> None:
        self._limiters = {"caller": Limiter(rate), "address": Limiter(rate * CALLERS_PER_ADDRESS)}

    def count(self, policy: str, caller_mark: str) -> None:
        """Counts this request, and notes the quota for the headers of the response.

        Raises Exhausted rate_limited if the quota is used up.
        """
        g.quota = policy, self._limiters[policy].take(caller_mark)
        if g.quota[1].wait:
            raise Exhausted("rate_limited", g.quota[1].wait)

    def refuse(self, path: str, authorization: str) -> Reply | None:
        """Returns the refusal for a system whose quota is used up; None for any other request.

        Does not count the request. The refusal is neither logged nor timed.
        """
        secret = authorization.partition(" ")[2] if path.startswith("/api/") else ""
        quota = self._limiters["caller"].peek(fingerprint(secret)) if secret else None
        if quota is None or not quota.wait:
            return None
        return refusal(429, "rate_limited", quota.wait, **fields("caller", quota))


def refusal(status: int, reason: str, seconds: float, **headers: str) -> Reply:
    """Returns a refusal that asks a REST client to wait. `headers` are further headers."""
    request_id = new_id()
    return Reply(
        f"{status} {HTTP_STATUS_CODES[status].upper()}",
        {
            "Content-Type": MEDIA_TYPE,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Request-Id": request_id,
            "Retry-After": str(max(1, round(seconds))),
            **headers,
        },
        json.dumps(body_of(status, reason, request_id)).encode(),
    )


def admit(mark: str, is_known: bool) -> None:
    """Counts a request by its credential, by its address, or by both.

    A request is counted by the hash of its credential if it has one, and by its address if the
    credential is missing or not yet verified. Raises Exhausted rate_limited if a quota is used up.
    """
    limits: Limits = current_app.extensions["limits"]
    if not is_known:
        limits.count("address", address_mark())
    if mark:
        limits.count("caller", mark)


def address_mark() -> str:
    """Returns a keyed hash of the address of the request."""
    return hashlib.blake2b(client_network().encode(), key=_HASH_KEY, digest_size=16).hexdigest()


def client_network() -> str:
    """Returns the IP address of the request; for IPv6, the customer's /64 network."""
    return network_of(request.remote_addr or "")


def add_headers(response: Response) -> Response:
    """Adds the quota to a response, so that a system can slow down before it is refused."""
    if "quota" in g:
        response.headers.update(fields(*g.quota))
    return response


def fields(policy: str, quota: Quota) -> dict[str, str]:
    """Returns the header fields of draft-ietf-httpapi-ratelimit-headers-10."""
    return {
        "RateLimit-Policy": f'"{policy}";q={quota.total};w={WINDOW}',
        "RateLimit": f'"{policy}";r={quota.left};t={ceil(quota.reset)}',
    }
